"""Ordinary lines: of every kind that a story may show, as rich in fields, valid, and near no rule, whatever comes beside them."""

from itertools import pairwise
from random import Random
from typing import get_args

import pytest

from generator.stories import explained_strengths
from schema import FIELDS_OF, MAX_EVENTS, Incident
from tasks.families import FAMILIES
from tasks.noise import ROWS, write_noise
from tasks.noise.rows import table
from tasks.scene import SPAN_S, Plan, Scene
from verifier import check_plausibility, compute_ground_truth
from world import World, make_organisation

# Kinds of lines that are never ordinary, each with its reason.
NEVER_ORDINARY = {("detection", "malware"): "what another product calls malware is a finding by itself"}
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def scene_of(seed):
    return Scene(Random(seed), make_organisation(seed), "2026-03-02", 30_000)


def rows_of(scene):
    """The lines of a scene in time order, as an incident holds them."""
    lines = sorted(scene.lines, key=lambda line: line[0])
    return [
        {"timestamp": scene.clock(at), "log_id": f"L1-{number}", **row} for number, (at, row) in enumerate(lines, 1)
    ]


def judged(scene):
    """The incident and the world of a scene."""
    rows = rows_of(scene)
    claim = {"target_label": "dismiss", "category": "benign_activity", "events": rows}
    world = World.around(
        scene.organisation,
        tickets=scene.tickets,
        indicators=scene.indicators,
        now=scene.clock(scene.start + SPAN_S + 7200),
        alerted="L1-1",
    )
    return Incident.model_validate(claim), world


def kinds_and_fields(rows):
    return {((row["event_type"], row["fields"]["activity"]), name) for row in rows for name in row["fields"]}


@pytest.fixture(scope="module")
def ordinary():
    """Kind and field of all that noise shows: of each row one line."""
    scene = scene_of(1)
    for row in ROWS:
        row.write(scene, 31_000)
    return kinds_and_fields(row for _, row in scene.lines)


def test_every_kind_of_line_that_the_schema_has_is_ordinary_but_for_those_with_a_reason(ordinary):
    kinds = {
        (event_type, activity)
        for event_type, fields in FIELDS_OF.items()
        for activity in get_args(fields.model_fields["activity"].annotation)
    }

    assert kinds - {kind for kind, _ in ordinary} == set(NEVER_ORDINARY)


@each_family
def test_what_a_story_tells_has_the_fields_of_ordinary_lines(family, ordinary):
    told = set()
    for strength in family.strengths:
        for seed in range(4):
            scene = scene_of(seed)
            family.play(scene, Plan(strength))
            told |= kinds_and_fields(row for _, row in scene.lines)

    assert {pair for pair in told - ordinary if pair[0] not in NEVER_ORDINARY} == set()


@pytest.mark.parametrize("seed", range(3))
def test_each_row_alone_is_valid_plausible_and_near_no_rule(seed):
    for row in ROWS:
        scene = scene_of(seed)
        row.write(scene, 31_000)
        incident, world = judged(scene)
        assert compute_ground_truth(incident, world).findings == (), rows_of(scene)
        assert check_plausibility(incident, world) == [], rows_of(scene)


@pytest.mark.parametrize("block", range(8))
def test_no_window_of_ordinary_lines_is_near_a_rule(block):
    """Full windows on one host and one account, which no organisation has, and on the usual cast."""
    for seed in range(block * 125, block * 125 + 125):
        scene = scene_of(seed)
        if seed % 2:
            scene.cast_hosts, scene.cast_accounts = scene.cast_hosts[:2], scene.cast_accounts[:1]
            scene.hosts, scene.accounts = {True: [], False: []}, {True: [], False: []}
        write_noise(scene, scene.start, 600, MAX_EVENTS)
        incident, world = judged(scene)
        assert compute_ground_truth(incident, world).findings == (), seed
        assert check_plausibility(incident, world) == [], seed  # under moved thresholds too


@each_family
def test_ordinary_lines_beside_a_story_change_neither_its_decision_nor_its_evidence(family):
    told = [(strength, "") for strength in family.strengths]
    told += [(s, explanation) for explanation in family.explanations for s in explained_strengths(family, explanation)]
    for strength, explanation in told:
        for seed in range(3):
            scene = scene_of(seed)
            scope = family.play(scene, Plan(strength, explanation))
            if explanation == "ticket":
                scene.cover(scope)
            alone = findings(scene)
            write_noise(scene, scene.start, SPAN_S, min(16, MAX_EVENTS - len(scene.lines)))
            assert findings(scene) == alone, (strength, explanation, seed)


def findings(scene):
    """What the verifier decides, finds (its evidence as the lines themselves) and refuses in a scene, also by moved thresholds."""
    incident, world = judged(scene)
    rows = {row["log_id"]: str(row["timestamp"]) + str(row["fields"]) for row in rows_of(scene)}
    truth = compute_ground_truth(incident, world)
    claims = {
        (finding.rule_id, finding.strength, finding.explained_by, *sorted(rows[name] for name in finding.evidence))
        for finding in truth.findings
    }
    return truth.action, claims, check_plausibility(incident, world)


def test_as_many_lines_are_written_as_asked_for_within_the_span():
    for seed in range(50):
        scene = scene_of(seed)
        write_noise(scene, 40_000, 60, 13)
        assert len(scene.lines) == 13
        assert all(40_000 <= at <= 40_060 for at, _ in scene.lines)


def test_lines_come_in_bursts_now_and_then():
    scene = scene_of(3)
    write_noise(scene, 40_000, SPAN_S, 4000)
    texts = [str(row) for _, row in scene.lines]
    same = sum(first == second for first, second in pairwise(texts))

    assert 600 < same < 1100


def test_a_placeholder_stands_for_one_thing_throughout_a_line():
    (row,) = table(
        "service install", "service_name | service_cmd_line", r"<word> | C:\Program Files\<word>\<word2>.exe"
    )
    for seed in range(20):
        scene = scene_of(seed)
        row.write(scene, 31_000)
        fields = scene.lines[0][1]["fields"]
        name = fields["service_name"]
        assert fields["service_cmd_line"].startswith(f"C:\\Program Files\\{name}\\")
        assert list(fields)[:5] == ["activity", "device_hostname", "actor_user", "service_name", "service_cmd_line"]


def test_a_cell_is_a_number_where_the_schema_has_one_and_is_left_out_where_it_is_a_dash():
    (row,) = table("net_conn open", "src_ip | dst_port | bytes_out | url", "<ip> | 443 | <5..5> | -", actor_user="")
    scene = scene_of(1)
    row.write(scene, 31_000)
    fields = scene.lines[0][1]["fields"]

    assert fields["dst_port"] == 443
    assert fields["bytes_out"] == 5
    assert not {"url", "actor_user"} & set(fields)


def test_a_placeholder_that_nothing_is_drawn_for_is_refused_at_once():
    with pytest.raises(KeyError, match="whatever"):
        table("net_conn open", "src_ip", "<whatever>")
