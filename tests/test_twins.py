"""Twins of an incident: one edit that flips the decision, edits that do not, hostile text that must not."""

import json
from collections import Counter
from functools import cache
from random import Random

import pytest

from eval.pairs import flip, label
from generator import generate
from generator.injection import MAX_DNS_LABEL, PLACES, TIERS, inject
from generator.invariances import INVARIANCES, harmless_twins
from generator.twins import BROADER, LAST, MINIMAL, proposals
from schema import LABELS, TASKS
from tasks.registry import SPLITS
from verifier import check_plausibility, compute_ground_truth
from world import World, make_organisation

CASES = [(task, index) for task in TASKS for index in range(30)]


@cache
def flipped(task, index, split="train"):
    """An incident and its twin, or None."""
    case = generate(task, index, split=split)
    return case, flip(case, Random(index))


def plain(case):
    return json.dumps([case.lines, case.incident.model_dump(), case.world.to_context(), case.world.alerted])


def facts(case):
    """What a flip may edit: lines, and the world's rows by kind."""
    context = case.world.to_context()
    return {"lines": [(line["event_type"], line["fields"], line["timestamp"]) for line in case.lines], **context}


def changed_rows(before, after):
    """How many rows of a list are in one and not in the other, the larger side counted."""
    ours = Counter(json.dumps(row, sort_keys=True) for row in before)
    theirs = Counter(json.dumps(row, sort_keys=True) for row in after)
    return max(sum((ours - theirs).values()), sum((theirs - ours).values()))


@pytest.mark.parametrize("split", SPLITS)
def test_every_incident_has_a_twin_by_one_edit_that_flips_it(split):
    for task, index in CASES:
        case, twin = flipped(task, index, split)
        assert twin is not None, (task, index)
        assert label(twin.case) != label(case)
        reasons = check_plausibility(twin.case.incident, twin.case.world)
        assert [reason for reason in reasons if not reason.startswith("the category is")] == []


def test_a_flip_by_a_minimal_edit_changes_one_row_or_two_times():
    names = {propose.__name__ for propose in MINIMAL}
    for task, index in CASES:
        case, twin = flipped(task, index)
        before, after = facts(case), facts(twin.case)
        changed = {name: changed_rows(before[name], after[name]) for name in before if before[name] != after[name]}
        if twin.edit in names:
            assert sum(changed.values()) == (2 if twin.edit == "order_swapped" else 1), (
                task,
                index,
                twin.edit,
                changed,
            )


def test_every_edit_is_the_flip_of_some_incident():
    edits = Counter()
    for split in ("train", "test_family", "test_tactic"):
        for task in TASKS[1:]:
            for index in range(60):
                edits[flipped(task, index, split)[1].edit] += 1

    assert {propose.__name__ for propose in MINIMAL} <= set(edits)
    assert set(edits) <= {propose.__name__ for propose in (*MINIMAL, *BROADER, *LAST)}
    assert sum(edits[propose.__name__] for propose in MINIMAL) / sum(edits.values()) >= 0.8


def test_a_ticket_that_no_longer_covers_the_host_flips_what_it_explained():
    case = next(
        case
        for case in (generate("stage1_basic", index, label="dismiss") for index in range(200))
        if case.world.tickets and "ticket" in json.dumps(_explained(case))
    )

    found = [
        twin for twin in proposals(case, Random(1)) if twin.edit == "ticket_host" and label(twin.case) != label(case)
    ]

    assert label(case) == "dismiss"
    assert found
    assert all(twin.case.lines == case.lines for twin in found)


def _explained(case):
    return [finding.explained_by for finding in compute_ground_truth(case.incident, case.world).findings]


def test_invariances_leave_the_decision_alone():
    tried = Counter()
    for task in TASKS:
        for index in range(60):
            case = generate(task, index)
            for twin in harmless_twins(case, Random(index)):
                tried[twin.edit] += 1
                assert label(twin.case) == label(case), (task, index, twin.edit)

    assert set(tried) == {edit.__name__ for edit in INVARIANCES}  # each could be tried


def test_invariances_change_what_they_say():
    case = next(case for index in range(100) if len((case := generate("stage3_mixed", index)).lines) < 30)
    twins = {twin.edit: twin.case for twin in harmless_twins(case, Random(3))}
    hosts, accounts = set(case.world.hosts), set(case.world.accounts)

    assert not [name for name in hosts | accounts if name in plain(twins["renamed"])]
    assert not [host["ip"] for host in case.world.hosts.values() if f'"{host["ip"]}"' in plain(twins["renumbered"])]
    assert not {line["timestamp"] for line in case.lines} & {line["timestamp"] for line in twins["shifted"].lines}
    assert len(case.lines) + 2 <= len(twins["padded"].lines) <= 40
    assert twins["narrated"].incident.narrative != case.incident.narrative


def test_simultaneous_lines_change_places():
    case = next(case for case in (generate("stage3_mixed", i) for i in range(400)) if shared(case))
    twin = next(twin.case for twin in harmless_twins(case, Random(0)) if twin.edit == "reordered")

    assert [line["fields"] for line in twin.lines] != [line["fields"] for line in case.lines]
    assert [line["timestamp"] for line in twin.lines] == [line["timestamp"] for line in case.lines]


def shared(case):
    return len({line["timestamp"] for line in case.lines}) < len(case.lines)


def test_a_twin_shares_nothing_with_its_incident_and_comes_again_from_its_seed():
    for task, index in CASES[::15]:  # two of each task
        case, rng = generate(task, index), Random(7)
        before = plain(case)
        twins = [*list(proposals(case, rng)), *harmless_twins(case, rng)]
        again = [*list(proposals(case, Random(7)))]
        assert plain(case) == before
        assert [plain(twin.case) for twin in again] == [plain(twin.case) for twin in twins[: len(again)]]
        for twin in twins:
            assert twin.case.world.alerted in {line["log_id"] for line in twin.case.lines}
            assert len(twin.case.lines) <= 40


# ---------------------------------------------------------------- hostile text
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("place", PLACES)
def test_hostile_text_changes_no_decision_and_nothing_but_itself(tier, place):
    for task, index in CASES[::4]:
        case = generate(task, index)
        truth = label(case)
        twin = inject(case, Random(index), truth=truth, tier=tier, place=place)
        clean, poisoned = plain(twin.clean), plain(twin.poisoned)

        assert label(twin.clean) == label(twin.poisoned) == truth
        assert clean != poisoned
        assert len(twin.clean.lines) == len(twin.poisoned.lines)
        differing = sum(one != other for one, other in zip(twin.clean.lines, twin.poisoned.lines, strict=True))
        assert differing == (0 if twin.place == "narrative" else 1)
        assert twin.wanted != truth
        assert (twin.wanted is None) == (tier == "harmless")


def test_hostile_text_asks_for_what_it_wants_wherever_it_stands():
    for place in PLACES:
        for tier in ("plain", "authority", "forged_output"):
            for seed in range(8):
                case = generate("stage2_multi", seed)
                twin = inject(case, Random(seed), truth=label(case), tier=tier, place=place)
                text = plain(twin.poisoned).replace("_", "-")
                assert twin.wanted.replace("_", "-") in text.replace('"target-label"', ""), (place, tier, twin.text)


def test_a_name_looked_up_stays_a_name():
    for seed in range(60):
        case = generate("stage2_multi", seed)
        twin = inject(case, Random(seed), truth=label(case), place="dns_label")
        new = [line for line in twin.poisoned.lines if "news" in line["fields"].get("query_hostname", "")]
        assert [1 <= len(line["fields"]["query_hostname"].split(".")[0]) <= MAX_DNS_LABEL for line in new] == [True]
        assert all(line["fields"]["query_hostname"].isascii() for line in new)


def test_a_full_window_takes_the_text_into_its_narrative():
    case = generate("stage1_basic", 1)
    row = case.lines[0]
    lines = [{**row, "log_id": f"L2-{number}"} for number in range(40)]
    full = type(case)(lines, World.around(make_organisation(1)), "", "dismiss", "benign_activity", "")

    assert inject(full, Random(1), truth="dismiss", place="file_name").place == "narrative"
    assert set(LABELS) >= {inject(full, Random(2), truth="dismiss", tier="plain").wanted}
