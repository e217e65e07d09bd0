"""Render the demo's HTML from demo/pieces.html and the plain data of `demo_data`.

Everything that an attacker can write passes through `visible` (control and direction characters become escapes) and through Jinja's escaping.
Imports no gradio.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from demo.figures import clock
from demo.words import ACTIONS, cut, readable, rule_summary, summary
from schema import NO_TIME

if TYPE_CHECKING:
    from demo.draft import Sent
    from demo.games import Bout
    from demo.recorded import JudgedLog
    from demo_data import DemoCase, Game, GateResult, ScoredAnswer

HERE = Path(__file__).resolve().parent
TalkRow = tuple[str, str, list[tuple[str, bool]]]  # source, target, and their lines with whether each is evidence
KNOWN_BY = ("name", "ticket_id", "value", "host")  # of a record: its first columns


@cache
def pieces() -> Any:
    """Return the macros of demo/pieces.html."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = cut
    environment.filters["clock"] = lambda stamp: clock(readable(stamp))
    environment.filters["moment"] = lambda stamp: "at an unknown time" if stamp == NO_TIME else f"at {stamp}"
    environment.filters["columns"] = lambda record: sorted(record, key=lambda name: name not in KNOWN_BY)
    environment.filters["points"] = lambda value: "-" if value is None else f"{value:+.2f}"
    environment.globals["actions"] = ACTIONS
    return environment.get_template("pieces.html").module


def _technique_url(technique: str) -> str:
    """Return the address of a technique's page at MITRE, made of the id's letters and digits alone."""
    parent, _, sub = re.sub(r"[^A-Z0-9.]", "", technique).partition(".")
    return f"https://attack.mitre.org/techniques/{parent}/" + (f"{sub}/" if sub else "")


def alert_card(case: DemoCase) -> str:
    """Render what the SIEM raised, and how to come back to this incident."""
    query = "&".join(f"{name}={value}" for name, value in case.link.items())
    return str(pieces().alert_card(case.title, case.observation["alert"], query, len(case.observation["log_window"])))


def log_table(case: DemoCase, answers: Iterable[ScoredAnswer] = (), *, revealed: bool = False) -> str:
    """Render the window as a table: who cited which line, and after the reveal which lines are evidence."""
    marks: dict[str, list[str]] = {case.observation["alert"]["log_id"]: ["alert"]}
    for answer in answers:
        if answer.triage:
            marks.setdefault(answer.triage["cited_log_id"], []).append(f"cited by {answer.who.split(' ')[0]}")
    evidence = set(case.truth.evidence_log_ids) if revealed else set()
    rows = [
        _log_row(line, marks.get(line["log_id"], []), line["log_id"] in evidence)
        for line in case.observation["log_window"]
    ]
    return str(pieces().log_table(rows, revealed))


def _log_row(line: Mapping[str, Any], marks: list[str], evidence: bool) -> dict[str, Any]:
    fields = line["fields"]
    rest = {name: value for name, value in fields.items() if name not in ("device_hostname", "actor_user")}
    return {
        "id": line["log_id"],
        "at": line["timestamp"],
        "kind": line["event_type"],
        "activity": fields.get("activity"),
        "host": fields.get("device_hostname"),
        "who": fields.get("actor_user"),
        "told": summary(line["event_type"], rest),
        "fields": fields,
        "marks": marks,
        "evidence": evidence,
    }


def world_tables(context: Mapping[str, Any]) -> str:
    """Render what the organisation knows as tables: assets, accounts, tickets, indicators and the rest."""
    return str(pieces().world(context))


def answer_card(answer: ScoredAnswer | None, case: DemoCase | None = None) -> str:
    """Render one answer with its reward by component; whether it was right is told if the case is given."""
    return str(pieces().answer_card(answer, case is not None)) if answer else ""


def judged(log: JudgedLog) -> str:
    """Render what was read of a log, what was left out and why, and what limits the decision."""
    return str(pieces().judged(log.judgement, log.judgement.notes))


def triage_card(answer: ScoredAnswer) -> str:
    """Render a model's triage of a recorded log, and whether it agrees with the verifier."""
    return str(pieces().triage_card(answer))


def ground_truth(case: DemoCase, *, claimed: str = "", recorded: bool = False) -> str:
    """Render the ground truth, its evidence and findings with their techniques, and why, in words; of a recorded log as the verifier's word."""
    truth = case.truth
    findings = [
        {
            "rule": finding.rule_id,
            "says": rule_summary(finding.rule_id),
            "technique": finding.technique,
            "url": _technique_url(finding.technique),
            "strength": finding.strength,
            "evidence": list(finding.evidence),
            "explained_by": finding.explained_by,
        }
        for finding in truth.findings
    ]
    return str(pieces().ground_truth(truth, findings, truth.explanation.splitlines(), claimed, recorded))


def log_file(most: int) -> str:
    """Render the field that takes a file of at most `most` characters from the visitor's computer."""
    return str(pieces().log_file(most))


def hidden() -> str:
    """Render what stands in the place of the truth before the reveal."""
    return str(pieces().hidden())


def score(game: Game) -> str:
    """Render the game's score, round by round."""
    totals = game.totals() if game.rounds else {"you": (0, 0.0), game.against: (0, 0.0)}
    return str(pieces().score(game, totals, game.length))


def gate(judged: GateResult) -> str:
    """Render the admission gate's word on a draft."""
    return str(pieces().gate(judged))


def outcome(sent: Sent) -> str:
    """Render who won and why, with both rewards."""
    return str(pieces().outcome(sent))


def bout(played: Bout) -> str:
    """Render a round of the arena: who won and why, or the gate's refusal."""
    return str(pieces().bout(played))


def games(attacker: str, defender: str, verdicts: Sequence[str], shown: int | None) -> str:
    """Render a stored game round by round, the one that is shown marked; `shown` counts from 0."""
    return str(pieces().games(attacker, defender, verdicts, shown))


def matrix(pairs: Sequence[Mapping[str, Any]], picture: str) -> str:
    """Render the success of every attacker against every defender: the heat map (base64; empty for none) and its figures."""
    return str(pieces().matrix(pairs, picture))


def note(text: str) -> str:
    """Render a sentence of ours or an error as a paragraph."""
    return str(pieces().note(text))


def talks(rows: Sequence[TalkRow]) -> str:
    """Render who talked to whom in which lines, and in which evidence, as text."""
    return str(pieces().talks(rows))
