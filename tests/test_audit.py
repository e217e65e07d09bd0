"""The audit passes on what we generate, and fails on generators that leak: it can."""

import json
from dataclasses import replace

import numpy as np
import pytest

from env import OpenSOCEnv
from eval import audit, checks, halves, probes
from eval import shortcuts as shortcut_probes
from eval.checks import Check, fresh_item
from eval.features import fields
from eval.halves import fit_and_label, tokens
from eval.relations import relations
from eval.shortcuts import HALVES, shortcuts
from generator import generate
from players.bag_of_words import words
from scenario import Scenario
from schema import LABELS, TASKS

LEAKS = {}


def leak(name):
    return lambda source: LEAKS.setdefault(name, source)


def with_view(item, **parts):
    return replace(item, observation={**item.observation, **parts})


@leak("alert.title")
def title_tells(task, index, label, split="train"):
    """The alert's title is another one for incidents to dismiss."""
    item = fresh_item(task, index, label, split)
    title = "Routine activity" if item.truth.action == "dismiss" else item.observation["alert"]["title"]
    return with_view(item, alert={**item.observation["alert"], "title": title})


@leak("context.sensors")
def sensors_tell(task, index, label, split="train"):
    """Silent sensors are listed for incidents to monitor and for no others."""
    item = fresh_item(task, index, label, split)
    sensors = [
        {"host": "A", "telemetry": "endpoint", "silent_from": item.case.world.now, "silent_to": item.case.world.now}
    ]
    shown = sensors if item.truth.action == "monitor" else []
    return with_view(item, context={**item.observation["context"], "sensors": shown})


def words_tell(task, index, label, split="train"):
    """The note spells the action in words of its own, never twice the same."""
    item = fresh_item(task, index, label, split)
    note = f"ticket {index} {item.truth.action} reference {index * 7919}"
    return with_view(item, alert={**item.observation["alert"], "narrative": note})


def relations_tell(task, index, label, split="train"):
    """The alert's host has as many more lines as the action's number; hosts, types and counts of fields say nothing."""
    item = fresh_item(task, index, label, split)
    lines = item.observation["log_window"]
    alerted = next(line for line in lines if line["log_id"] == item.observation["alert"]["log_id"])
    others = [host["name"] for host in item.observation["context"]["hosts"]] + [
        f"{task}-{index}-A",
        f"{task}-{index}-B",
    ]
    host = alerted["fields"].get("device_hostname") or others[0]
    elsewhere = [name for name in others if name != host]
    wanted = LABELS.index(item.truth.action)
    moved = []
    for line in lines:
        if line is alerted:
            name = host
        elif wanted:
            name, wanted = host, wanted - 1
        else:
            name = elsewhere[len(moved) % len(elsewhere)]
        moved.append({**line, "fields": {**line["fields"], "device_hostname": name}})
    return with_view(item, log_window=moved)


WORKING = ("opened", "copied", "renamed", "printed", "archived")


def lines_tell(task, index, label, split="train"):
    """The lines' status says by one of five words which action it is to be; the context is as it was."""
    item = fresh_item(task, index, label, split)
    status = f"{WORKING[LABELS.index(item.truth.action)]} {index}"
    lines = [{**line, "fields": {**line["fields"], "status": status}} for line in item.observation["log_window"]]
    return with_view(item, log_window=lines)


def context_tells(task, index, label, split="train"):
    """A tool's department says by one of five words which action it is to be; the lines are as they were."""
    item = fresh_item(task, index, label, split)
    tool = {"name": f"tool{index}", "department": WORKING[LABELS.index(item.truth.action)]}
    context = item.observation["context"]
    return with_view(item, context={**context, "tools": [*context["tools"], tool]})


def hidden_fact(task, index, label, split="train"):
    """Tickets count for the verifier and are not shown."""
    item = fresh_item(task, index, label, split)
    return with_view(item, context={**item.observation["context"], "tickets": []})


def failures(source, probe, number=250):
    items = [source("stage3_mixed", index, LABELS[index % len(LABELS)]) for index in range(number)]
    return {check.name: check.offending for check in shortcuts(items, strict=False, probes=[probe]) if check.offending}


@pytest.mark.parametrize("field", LEAKS)
def test_a_field_that_tells_the_label_is_named(field):
    failed = failures(LEAKS[field], "fields")

    assert failed["fields"].startswith(field)
    assert "the bound is 0.25" in failed["fields"]


def test_two_fields_that_tell_it_together_are_named():
    rng = np.random.default_rng(0)
    labels = np.arange(1000) % 5
    bit = rng.integers(2, size=1000)
    columns = [bit, (labels >= 3) ^ bit, *rng.integers(2, size=(6, 1000))]
    data = probes.Sample(
        np.array(columns, dtype=np.float32).T,
        [f"{name}#count" for name in "abcdefgh"],
        [],
        rng.integers(12, size=1000),
        labels,
        np.ones(1000, dtype=bool),
    )
    alone = probes.single(data)

    assert alone[0].value < 0.25
    best = probes.pairs(data, alone)[0]
    assert best.field in ("a and b", "b and a")
    assert best.low > 0.30


def test_trees_find_what_no_field_tells_alone():
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 5
    masks = rng.integers(5, size=600)
    columns = [(labels + masks) % 5, masks, *rng.integers(2, size=(4, 600))]
    data = probes.Sample(
        np.array(columns, dtype=np.float32).T,
        list("abcdef"),
        [],
        rng.integers(8, size=600),
        labels,
        np.ones(600, dtype=bool),
    )

    assert probes.boosted_trees(data).low > 0.45


def test_words_that_tell_the_label_are_found():
    assert failures(words_tell, "words")["words"].startswith("bag of words")


def test_a_relation_that_tells_the_label_is_named_though_no_field_does():
    assert failures(relations_tell, "fields") == {}
    assert failures(relations_tell, "relations")["relations"].startswith(
        'relations, most telling "alert\'s host" reaches 0.'
    )


@pytest.mark.parametrize(
    ("source", "half"), [(lines_tell, "lines alone"), (context_tells, "context alone")], ids=["lines", "context"]
)
def test_the_half_that_tells_the_label_is_named(source, half, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(halves, "STEPS", 60)

    assert failures(source, half, number=150)[half].startswith(f"transformer over {half} reaches ")


def test_a_half_shows_nothing_of_the_other():
    item = fresh_item("stage3_mixed", 3, "escalate")
    lines, context = (tokens(item.observation, half) for half in ("lines", "context"))
    empty = {name: [] for name in item.observation["context"]}

    assert (tokens({**item.observation, "context": empty}, "lines") == lines).all()
    assert (tokens({**item.observation, "log_window": []}, "context") == context).all()
    assert lines.any(axis=1).sum() == 1 + len(item.observation["log_window"])


def test_renaming_everything_leaves_a_half_as_it_was():
    item = fresh_item("stage3_mixed", 3, "escalate")
    text = json.dumps(item.observation)
    for name in item.observation["context"]["hosts"]:
        text = text.replace(name["name"], f"moved-{name['name'][::-1]}")

    assert (tokens(json.loads(text), "context") == tokens(item.observation, "context")).all()


def test_the_same_half_gives_the_same_answers(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(halves, "STEPS", 10)
    rng = np.random.default_rng(0)
    hashed = rng.integers(0, 9, size=(80, 6, 4)).astype(np.int16)
    first, second = (fit_and_label(hashed[:60], np.arange(60) % 5, hashed[60:]) for _ in range(2))

    assert first.tolist() == second.tolist()


def test_a_probe_that_cannot_run_says_so(monkeypatch, capsys):
    monkeypatch.setattr(shortcut_probes, "find_spec", lambda name: None)
    items = [fresh_item("stage1_basic", index, LABELS[index % 5]) for index in range(20)]
    found = list(shortcuts(items, strict=False, probes=["lines alone"]))
    monkeypatch.setattr(audit, "audit", lambda **options: found)

    assert found == [Check("lines alone", "stage1_basic", "not run: torch is not installed")]
    assert audit.main(["--quick"]) == 0
    seen = capsys.readouterr()
    assert "NOT RUN" in seen.out
    assert seen.err == (
        "Expected torch for the checks lines alone, and it is not installed; they were not run. Install the extra `train`.\n"
    )


def test_relations_join_lines_and_context():
    def line(number, second, host, user, **more):
        row = {"activity": "launch", "device_hostname": host, "actor_user": user, **more}
        return {
            "event_type": "process",
            "timestamp": f"2026-03-02T09:00:{second:02}Z",
            "log_id": f"L1-{number}",
            "fields": row,
        }

    ticket = {"status": "approved", "hosts": ["A"], "accounts": ["eve"], "tool": "psexec", "starts_at": "2026-03-02T08:00:00Z", "ends_at": "2026-03-02T09:00:10Z"}  # fmt: skip
    sensor = {
        "host": "A",
        "telemetry": "endpoint",
        "silent_from": "2026-03-02T08:59:00Z",
        "silent_to": "2026-03-02T09:01:00Z",
    }
    context = {
        "networks": ["10.0.0.0/8"],
        "hosts": [{"name": "A", "ip": "10.0.0.1", "role": "web_server", "criticality": "crown_jewel"}, {"name": "B", "ip": "10.0.0.2", "role": "workstation", "criticality": "lab"}],
        "accounts": [{"name": "eve", "kind": "person", "privileged": True, "department": "it"}, {"name": "bob", "kind": "person", "privileged": False, "department": "hr"}],
        "tools": [{"name": "psexec", "department": "it"}],
        "scanners": [{"ip": "10.0.9.9", "targets": ["10.0.0.0/24"]}],
        "tickets": [ticket],
        "indicators": [{"value": "bad.example", "confidence": "high"}],
        "sensors": [sensor],
    }  # fmt: skip
    lines = [
        line(1, 0, "A", "eve", process_path="C:\\psexec.exe"),
        line(2, 20, "A", "bob", process_cmd_line="curl BAD.example"),
        line(3, 50, "B", "bob", src_ip="10.0.9.9", dst_ip="198.51.100.7"),
    ]
    joined = relations({"alert": {"log_id": "L1-2"}, "log_window": lines, "context": context})

    assert joined["alert's host#before"] == joined["alert's account#after"] == 1
    assert "alert's host#after" not in joined
    assert joined["alert to process#nearness"] == 60 / 80
    assert joined["process then process#on one host alone"] == 1
    assert "process then process#on one host and account" not in joined
    assert joined["indicator of high confidence#alert's line"] == 1
    assert joined["ticket approved covers#lines"] == joined["ticket approved covers#alert's host"] == 1
    assert "ticket approved covers#alert's line" not in joined
    assert joined["tool owned#lines"] == joined["scanner within targets#lines"] == 1
    assert joined["privileged on crown jewel#lines"] == joined["addresses outside#number"] == 1
    assert joined["silent sensor#of the alert"] == 1
    assert joined["one account#hosts"] == 2


def test_what_the_defender_cannot_see_is_found():
    found = audit.audit_part(hidden_fact, "train", "stage1_basic", 60, "answers", False)[0]
    failed = {check.name: check.offending for check in found if check.offending}

    assert failed["identifiable"].startswith("train stage1_basic index")
    assert {"oracle standard", "oracle hardened"} <= set(failed)


def test_a_player_above_the_floor_is_named(monkeypatch):
    monkeypatch.setitem(checks.PLAYERS, "cheat", lambda item: item.truth.action)
    items = [fresh_item("stage1_basic", index, LABELS[index % 5]) for index in range(30)]

    assert [check.offending.partition(" earns")[0] for check in checks.players(items)] == ["player 'cheat'"] * 2


def test_a_type_that_misses_an_action_is_named():
    items = [fresh_item("stage3_mixed", index, "monitor") for index in range(40)]
    monitored = [item for item in items if item.truth.action == "monitor"]

    types, titles = checks.coverage(checks.met(monitored))

    assert "never comes under" in types.offending
    assert "alert.title" in titles.offending


def test_an_edit_that_changes_the_decision_is_named(monkeypatch):
    from generator import invariances

    item = fresh_item("stage1_basic", 2, "quarantine_host")
    wrong = fresh_item("stage1_basic", 0, "dismiss").case
    monkeypatch.setattr(invariances, "INVARIANCES", (lambda case, rng: wrong,))
    flips, moved, swayed = checks.twins([item])

    assert (flips.offending, swayed.offending) == ("", "")
    assert moved.offending == "<lambda> on train stage1_basic index 0"


def test_other_bytes_elsewhere_are_found(monkeypatch):
    monkeypatch.setattr(checks, "digest", lambda number=0: "other")

    assert checks.same_bytes().offending.startswith("other here and ")


def test_the_audit_sees_what_the_environment_shows():
    for task in TASKS:
        seen = OpenSOCEnv().reset(seed=4, task=task).model_dump()
        case = generate(task, 4)
        shown = Scenario(case).view()
        assert {name: seen[name] for name in shown} == shown


def test_names_addresses_and_times_are_masked():
    item = fresh_item("stage3_mixed", 3, "escalate")
    text = words(item.observation)

    assert not [host["name"] for host in item.observation["context"]["hosts"] if host["name"] in text]
    assert item.observation["log_window"][0]["timestamp"] not in text
    assert "HOST" in text
    assert fields(item.observation)[f"alert.title#={item.observation['alert']['title']}"] == 1


def test_a_failed_check_is_printed_and_gives_exit_code_1(monkeypatch, capsys):
    check = Check("fields", "stage2_multi", "0.9", "alert.title reaches 0.900, the bound is 0.25")
    monkeypatch.setattr(audit, "audit", lambda **options: [check])

    assert audit.main(["--quick"]) == 1
    seen = capsys.readouterr()
    assert "FAILS" in seen.out
    assert "fields fails on stage2_multi of train: alert.title reaches 0.900" in seen.err


def test_the_report_is_written_to_a_file_too(monkeypatch, capsys, tmp_path):
    check = Check("fields", "stage2_multi", "0.9", "")
    monkeypatch.setattr(audit, "audit", lambda **options: [check])

    assert audit.main(["--json", "--out", str(tmp_path / "audit.json")]) == 0
    assert (tmp_path / "audit.json").read_text() == capsys.readouterr().out
    assert audit.main(["--out", str(tmp_path)]) == 1
    assert f"Expected to write {str(tmp_path)!r}, and could not ([Errno 21] Is a directory" in capsys.readouterr().err


def test_learners_of_other_families_are_tried_on_a_split_of_few_families():
    trained_on = [words_tell("stage2_multi", index, LABELS[index % 5]) for index in range(200)]
    items = [words_tell("stage2_multi", index, LABELS[index % 5], "test_tactic") for index in range(100)]
    (check,) = shortcuts(items, strict=False, probes=["words"], trained_on=trained_on)

    assert (check.task, check.split) == ("stage2_multi", "test_tactic")
    assert check.offending.startswith("bag of words reaches ")


def test_a_generator_whose_incidents_the_gate_refuses_is_named():
    item = fresh_item("stage1_basic", 0, "dismiss")
    first, *others = item.case.lines
    doubled = [{**first, "log_id": others[0]["log_id"]}, *others]
    refused = replace(item, case=replace(item.case, lines=doubled))

    held = checks.refusals(checks.refused([item] * 1999 + [refused]), strict=True)
    assert (held.figure, held.offending) == ("1 of 2000", "")
    failed = checks.refusals(checks.refused([item] * 1998 + [refused]), strict=True)
    assert failed.offending.startswith("train stage1_basic index 1998: log ids must be unique; ")


def test_every_split_is_audited_by_the_checks_of_one(monkeypatch):
    monkeypatch.setattr(halves, "EPOCHS", 1)
    monkeypatch.setattr(halves, "STEPS", 5)
    found = audit.audit(tasks=["stage2_multi"], numbers={"test_tactic": 40}, strict=False)

    assert {check.split for check in found if check.task == "stage2_multi"} == {"test_tactic"}
    assert [check.name for check in found if check.task == "all"] == ["bytes", "refusals"]
    assert {
        "oracle standard",
        "identifiable",
        "players hardened",
        "flips",
        "invariances",
        "injections",
        "relations",
    } <= {check.name for check in found}


@pytest.mark.parametrize(
    ("number", "workers"), [(120, 1), pytest.param(audit.QUICK, 2, marks=pytest.mark.slow)], ids=["120", "quick"]
)
def test_the_audit_passes_and_prints_a_figure_for_every_stage(number, workers, monkeypatch, capsys):
    monkeypatch.setattr(halves, "STEPS", 20)
    if number < audit.QUICK:  # what learners find is asked above; here each is tried, on every stage
        monkeypatch.setattr(audit, "COVERED", 700)
        monkeypatch.setattr(halves, "EPOCHS", 1)
        monkeypatch.setattr(halves, "STEPS", 4)
        monkeypatch.setattr(probes, "ROUNDS", 10)
        monkeypatch.setattr(probes, "FOLDS", 2)
        monkeypatch.setattr(probes, "BINS", 255)  # a bin for each value: to find fewer takes most of the time
    code = audit.main(["--quick", "--json", "--n", str(number), "--workers", str(workers)])
    written = capsys.readouterr()
    report = json.loads(written.out)

    assert (code, report["ok"]) == (0, True)
    assert (written.err.strip() == "") == (report["not_run"] == [])
    for name in (
        "fields",
        "pairs",
        "words",
        "trees",
        "relations",
        *HALVES,
        "flips",
        "invariances",
        "injections",
        "identifiable",
    ):
        assert [check["task"] for check in report["checks"] if check["name"] == name] == sorted(TASKS)
