"""The chain of reasons says what the verifier found, is read back as it was written, and leads to the action that the verifier decides."""

import json
import time
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from generator import generate
from players.compact import compact, is_silent
from players.prompt import answer_text, rationale_in_words
from players.reasons import (
    MORE,
    RUNGS,
    Chain,
    Reason,
    action_by,
    chain_of,
    in_words,
    parse_chain,
    parse_reasons,
    renamed,
    rungs_of,
    write_chain,
)
from players.values import SHORT_NAME
from scenario import Scenario, item_of
from schema import TASKS
from tasks.registry import SPLITS

STAGED = Reason(
    "unit-written",
    ("L1-3",),
    "suspicious",
    "host",
    hosts=("@crown1",),
    accounts=("@user2",),
    tool="tee",
    explanation="@t1",
)
SHELL = Reason(
    "remote-shell-pipe", ("L1-4",), "confirmed", "host", hosts=("@host4",), accounts=("@user4",), tool="rundll32.exe"
)
STAGED_TEXT = "unit-written L1-3 suspicious host on=@crown1 by=@user2 with=tee ok=@t1"
SHELL_TEXT = "remote-shell-pipe L1-4 confirmed host on=@host4 by=@user4 with=rundll32.exe ok=no"


def test_a_chain_reads_as_the_documentation_says():
    chain = Chain((STAGED, SHELL), "host")

    assert write_chain(chain) == f"{STAGED_TEXT} {SHELL_TEXT} so=host"
    assert parse_chain(write_chain(chain)) == chain


@pytest.mark.parametrize("split", SPLITS)
def test_the_action_follows_from_the_chain_of_every_incident(split):
    for task in TASKS:
        for index in range(60):
            scenario = Scenario(generate(task, index, split=split))
            truth = scenario.truth
            seen = scenario.view()
            whole = renamed(chain_of(truth), compact(seen).names)
            chain = parse_chain(write_chain(whole))

            assert [(reason.rule_id, reason.strength) for reason in chain.reasons] == [
                (reason.rule_id, reason.strength) for reason in whole.reasons
            ]
            assert action_by(chain) == truth.action == RUNGS[chain.rung][0], write_chain(whole)
            assert (truth.rung, truth.together) in rungs_of(chain.reasons, silent=is_silent(seen)), write_chain(whole)


def test_findings_stand_in_the_order_of_their_lines_and_the_gravest_are_kept():
    for index in range(200):
        truth = Scenario(generate("stage4_adversarial", index)).truth
        reasons = chain_of(truth).reasons
        kept = {(finding.rule_id, finding.evidence) for finding in truth.findings if not finding.explained_by}

        assert [int(reason.lines[0].split("-")[1]) for reason in reasons] == sorted(
            int(reason.lines[0].split("-")[1]) for reason in reasons
        )
        assert len(reasons) == min(6, len(truth.findings))
        assert len(kept) > 6 or kept <= {(reason.rule_id, reason.lines) for reason in reasons}


@pytest.mark.parametrize(
    ("reasons", "rung", "together", "action"),
    [
        ((), "nothing", False, "dismiss"),
        ((), "silent", False, "monitor"),
        ((STAGED,), "explained", False, "dismiss"),
        ((STAGED, SHELL), "host", False, "quarantine_host"),
        ((SHELL._replace(hosts=("@crown2",)),), "crown", False, "escalate"),
        ((SHELL._replace(accounts=("@priv1",)),), "privileged", False, "escalate"),
        ((SHELL._replace(harm=True),), "harm", False, "escalate"),
        ((SHELL._replace(hosts=("@host1", "@host2", "@lab1")),), "several", False, "escalate"),
        ((SHELL._replace(strength="suspicious"),), "suspicious", False, "monitor"),
        ((SHELL._replace(scope="network", remote="@out1"),), "outside", False, "block_ip"),
        ((SHELL._replace(scope="network"),), "neither", False, "escalate"),
        ((SHELL._replace(scope="identity", tool="cloud administration", remote="@in1"),), "neither", False, "escalate"),
        ((SHELL._replace(scope="identity", tool="cloud administration", remote="@bad1"),), "outside", False, "block_ip"),
        ((SHELL._replace(strength="suspicious"), STAGED._replace(hosts=("@host4",), explanation="")), "host", True, "quarantine_host"),
        ((SHELL._replace(strength="suspicious"), STAGED._replace(explanation="")), "host", True, "monitor"),
        ((SHELL._replace(strength="suspicious"), STAGED._replace(hosts=("@host4",))), "host", True, "monitor"),
        ((SHELL,), "", False, None),
    ],
)  # fmt: skip
def test_the_ladder_of_a_chain(reasons, rung, together, action):
    assert action_by(Chain(reasons, rung, together)) == action


SUSPICION, OTHER = SHELL._replace(strength="suspicious"), STAGED._replace(hosts=("@host4",), explanation="")


@pytest.mark.parametrize(
    ("reasons", "silent", "ends"),
    [
        ((), False, [("nothing", False)]),
        ((), True, [("silent", False)]),
        ((STAGED,), False, [("explained", False)]),
        ((STAGED,), True, [("silent", False)]),
        ((STAGED, SHELL), True, [("host", False)]),
        ((SUSPICION, STAGED), True, [("suspicious", False)]),
        ((SUSPICION, OTHER), False, [("suspicious", False), ("host", True)]),
        ((SUSPICION, OTHER._replace(accounts=("@priv1",))), False, [("suspicious", False), ("privileged", True)]),
        ((SUSPICION, OTHER._replace(rule_id=SUSPICION.rule_id)), False, [("suspicious", False)]),
        ((SUSPICION, OTHER, SHELL._replace(lines=("L1-9",), harm=True)), False, [("harm", False)]),
    ],
)
def test_the_ends_that_reasons_lead_to(reasons, silent, ends):
    assert rungs_of(reasons, silent=silent) == ends


@pytest.mark.parametrize(
    ("rationale", "number", "rung"),
    [
        ("", 0, ""),
        ("nonsense", 0, ""),
        ("so=crown", 0, "crown"),
        ("so=panic", 0, ""),
        ("so=crown so=crown", 0, ""),
        (f"{STAGED_TEXT} so=explained", 1, "explained"),
        (f"{STAGED_TEXT} {SHELL_TEXT}", 2, ""),
        (f"{STAGED_TEXT} remote-shell-pipe L1-4 sure host ok=no so=host", 1, ""),
        (f"{STAGED_TEXT} remote-shell-pipe L1-4 confirmed host on=@host4", 1, ""),
        (f"{STAGED_TEXT} remote-shell-pipe line4 confirmed host ok=no so=host", 1, ""),
        (f"{STAGED_TEXT}  so=explained", 1, ""),
        (f"{STAGED_TEXT} so=together,host", 1, "host"),
    ],
)
def test_a_broken_chain_is_read_as_far_as_it_goes(rationale, number, rung):
    assert len(parse_reasons(rationale)) == number
    assert parse_chain(rationale).rung == rung


@given(st.text(max_size=300) | st.text(alphabet='abL1-0 ,=@`"+oknso', max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_rationale_can_be_read(rationale):
    assert parse_chain(rationale).rung in ("", *RUNGS)


@pytest.mark.parametrize(
    "piece", ["a", '"', "a,", '"a",', "`", "\\", '"\\', "L1-1,", "on=", " ", f"{SHELL_TEXT} ", 'on="a ']
)
def test_an_endless_rationale_is_read_in_bounded_time(piece):
    begun = time.process_time()
    for last in ("", '"', "`", "\\", '" x'):
        parse_chain(piece * 5000 + last)

    assert time.process_time() - begun < 5


NAMES = st.text(min_size=1, max_size=12).filter(lambda name: name not in ("no", MORE))


@example(host="a,b c", account="b`c", tool='a"b', remote="0`")
@given(host=NAMES, account=NAMES, tool=NAMES, remote=NAMES)
@settings(deadline=None)
def test_names_of_any_kind_are_read_back(host, account, tool, remote):
    reason = SHELL._replace(hosts=(host,), accounts=(account,), tool=tool, remote=remote)

    assert parse_chain(write_chain(Chain((reason,), "host"))) == Chain((reason,), "host")


def test_more_than_four_lines_or_hosts_are_cut_and_the_crown_jewel_is_named():
    reason = SHELL._replace(lines=tuple(f"L1-{n}" for n in range(7)), hosts=("b", "c", "d", "e", "a"))
    names = {"a": "@crown1", "b": "@host1", "c": "@host2", "d": "@host3", "e": "@host4"}

    assert write_chain(renamed(Chain((reason,), "crown"), names)) == (
        "remote-shell-pipe L1-0,L1-1,L1-2,+ confirmed host on=@host1,@crown1,@host2,+ by=@user4 with=rundll32.exe ok=no so=crown"
    )


def test_a_chain_in_words_has_a_sentence_for_each_finding_and_one_for_the_conclusion():
    names = {"@crown1": "SQL-01", "@user2": "ana", "@t1": "ticket CHG-7", "@host4": "WEB-02", "@user4": "ben"}
    chain = Chain((STAGED, SHELL._replace(remote="@bad1", harm=True)), "harm")

    assert in_words(renamed(chain, {**names, "@bad1": "203.0.113.9"})) == [
        "unit-written in L1-3: suspicious, on SQL-01 by ana with tee; ticket CHG-7 explains it.",
        "remote-shell-pipe in L1-4: confirmed, harm done, on WEB-02 by ben with rundll32.exe from 203.0.113.9; nothing explains it.",
        "So escalate: harm is already done.",
    ]
    assert in_words(Chain((SHELL._replace(hosts=(), accounts=(), tool="", explanation="tool"),), "")) == [
        "remote-shell-pipe in L1-4: confirmed; an approved tool of the department explains it.",
        "No conclusion.",
    ]
    assert in_words(replace(chain, reasons=(), rung="host", together=True)) == [
        "So quarantine_host: different suspicious things bear each other out; hostile code runs on one host."
    ]


@pytest.mark.parametrize("task", TASKS)
def test_a_rationale_is_told_with_the_names_of_the_organisation(task):
    for index in range(40):
        observation = item_of(generate(task, index))["observation"]
        rationale = json.loads(answer_text(observation, "compact"))["rationale"]
        chain = parse_chain(rationale)
        first = {value: name for name, value in compact(observation).names.items()}
        words = rationale_in_words(rationale, observation)

        assert not SHORT_NAME.search(words), words
        for reason in chain.reasons:
            assert all(first.get(name, name) in words for name in (*reason.hosts, *reason.accounts) if name != MORE)
        assert words.endswith(in_words(Chain((), chain.rung, chain.together))[0])


def test_a_host_is_told_by_its_name_and_not_by_its_address():
    observation = item_of(generate("stage1_basic", 0))["observation"]
    host = observation["context"]["hosts"][0]
    name = compact(observation).names[host["name"]]

    assert compact(observation).names[host["ip"]] == name
    assert rationale_in_words(f"a-rule L1-0 confirmed host on={name} ok=no so=host", observation) == (
        f"a-rule in L1-0: confirmed, on {host['name']}; nothing explains it. So quarantine_host: hostile code runs on one host."
    )


@pytest.mark.parametrize("text", ["It looks odd.", "", "a-rule L1-0 confirmed host on=@host1 ok=no", "a-rule so=host"])
def test_a_rationale_that_is_no_whole_chain_stays_as_it_is(text):
    assert rationale_in_words(text, item_of(generate("stage1_basic", 0))["observation"]) == text
