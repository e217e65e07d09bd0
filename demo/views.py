"""Render the demo's HTML from demo/pieces.html and the plain data of `demo_data`.

Everything that an attacker can write passes through `visible` (control and direction characters become escapes) and through Jinja's escaping.
Imports no gradio.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from demo.facts import facts_of
from demo.figures import clock
from demo.words import (
    ACTION_NAMES,
    ACTION_SIGNS,
    ACTIONS,
    TYPE_NAMES,
    cut,
    event_words,
    first_clauses,
    is_notation,
    left_over,
    phrase,
    readable,
    reason_in_words,
    reward_in_words,
    rule_summary,
    spaced,
)
from players.labels import attacker_in_words, defender_in_words
from schema import NO_TIME
from verifier.playbook import playbook_for

if TYPE_CHECKING:
    from demo.draft import Sent
    from demo.flip import Edit, Reaction
    from demo.games import Bout
    from demo.recorded import JudgedLog
    from demo_data import DemoCase, Game, GateResult, ScoredAnswer

HERE = Path(__file__).resolve().parent
TalkRow = tuple[str, str, list[tuple[str, bool]]]  # source, target, and their lines with whether each is evidence
MOST_MATTER = 5  # lines that are told in sentences
MOST_FACTS = 3  # of a line
_REASON = re.compile(r"(?<=\.) (?=So [a-z_]+: |[a-z0-9-]+ in L\d)")  # between two sentences of a chain in words
COLUMNS = (  # of records, in the order of reading; others follow
    *("name", "ticket_id", "value", "host", "ip", "kind", "role", "criticality", "privileged", "department"),
    *("status", "starts_at", "ends_at", "hosts", "accounts", "tool"),
)
NAMES = ("criticality", "role", "kind", "department", "telemetry")  # of records: columns whose values are names of ours


@cache
def pieces(name: str = "pieces.html") -> Any:
    """Return the macros of demo/pieces.html, or of another of the demo's files."""
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
    environment.filters["columns"] = lambda record: sorted(record, key=(*COLUMNS, *record).index)
    environment.filters["field"] = lambda record, name: spaced(record[name] or "") if name in NAMES else record[name]
    environment.filters["lasting"] = lambda ms: f"{ms / 1000:.1f} s" if ms >= 999.5 else f"{ms:.0f} ms"
    environment.filters["points"] = lambda value: "-" if value is None else f"{value:+.2f}"
    environment.filters["reward"] = lambda answer: reward_in_words(answer.reward, answer.components)
    environment.filters["short"] = lambda who: who.partition(" (")[0]
    environment.filters["reasons"] = reasons_of
    environment.filters["clauses"] = first_clauses
    environment.tests["notation"] = is_notation
    environment.filters["plainly"] = reason_in_words
    environment.filters["attacker"] = attacker_in_words
    environment.filters["defender"] = defender_in_words
    environment.filters["action"] = lambda answer: answer.triage["action"] if answer.triage else ""
    environment.filters["rule_says"] = rule_summary
    environment.globals["actions"] = ACTIONS
    environment.globals["type_names"] = TYPE_NAMES
    environment.globals["action_names"] = ACTION_NAMES
    environment.globals["action_signs"] = ACTION_SIGNS
    return environment.get_template(name).module


def _technique_url(technique: str) -> str:
    """Return the address of a technique's page at MITRE, made of the id's letters and digits alone."""
    parent, _, sub = re.sub(r"[^A-Z0-9.]", "", technique).partition(".")
    return f"https://attack.mitre.org/techniques/{parent}/" + (f"{sub}/" if sub else "")


class Reason(NamedTuple):
    """A sentence of a chain: the rule that it names, or else the action that follows, and the rest of the sentence."""

    rule: str
    action: str
    rest: str


def reasons_of(rationale: str) -> list[Reason]:
    """Split a chain in words into its sentences; any other rationale is one."""
    reasons = []
    for text in _REASON.split(rationale):
        first, _, rest = text.partition(" in ")
        action = text.removeprefix("So ").partition(": ")[0]
        if rule_summary(first):
            reasons.append(Reason(first, "", f" in {rest}"))
        elif text.startswith("So ") and action in ACTION_NAMES:
            reasons.append(Reason("", action, text.partition(": ")[2]))
        else:
            reasons.append(Reason("", "", text))
    return reasons


def alert_card(case: DemoCase) -> str:
    """Render what the SIEM raised, and how to come back to this incident."""
    query = "&".join(f"{name}={value}" for name, value in case.link.items())
    return str(pieces().alert_card(case.title, case.observation["alert"], query, len(case.observation["log_window"])))


def case_head(case: DemoCase, answers: Sequence[ScoredAnswer], *, revealed: bool = False, live: str = "") -> str:
    """Render the top of a case file: the alert, after the reveal the truth, and the verdicts side by side.

    Args:
        case: the incident.
        answers: the verdict that always stands, then those beside it (one for each of their `steps`).
        revealed: whether the truth is told.
        live: what is said of an incident that was just drawn; empty for a stored one.
    """
    alert, told = alert_card(case), (ruling(case) if revealed else "")
    cards = [(answer.steps, answer_card(answer, case if revealed else None)) for answer in answers]
    return str(pieces().case_head(alert, told, cards, revealed, live))


def ruling(case: DemoCase) -> str:
    """Render the ground truth in one line: the action, why, and the evidence."""
    return str(pieces().ruling(case.truth))


def matter(case: DemoCase, answers: Sequence[ScoredAnswer] = (), *, revealed: bool = False) -> str:
    """Render the lines that matter as sentences with what the records say on them.

    Before the reveal these are the alert's line, the lines that were cited and those on which the records say most; after it the evidence comes before the last.
    """
    context = case.observation["context"]
    cited = _cited(answers)
    evidence = set(case.truth.evidence_log_ids) if revealed else set()
    shown, told = [], set[str]()
    for line in _chosen(case, cited, evidence):
        facts = [fact for fact in facts_of(line, context) if fact.words not in told][:MOST_FACTS]
        row = _sentence(case, line, cited, evidence)
        told |= set() if row["steps"] else {fact.words for fact in facts}
        shown.append({**row, "facts": facts})
    unseen = len(evidence - {row["id"] for row in shown})
    return str(pieces().matter(shown, unseen, revealed))


def folds(case: DemoCase, answers: Sequence[ScoredAnswer] = (), *, revealed: bool = False) -> str:
    """Render what a case file folds: all lines, the records, the playbook, and after the reveal the verifier's findings."""
    window = case.observation["log_window"]
    return str(
        pieces().folds(
            len(window),
            log_table(case, answers, revealed=revealed),
            world_tables(case.observation["context"]),
            playbook(window),
            findings(case) if revealed else "",
        )
    )


def _cited(answers: Iterable[ScoredAnswer]) -> dict[str, dict[str, str]]:
    """Return who cites a line, and at which steps that is shown, by line."""
    cited: dict[str, dict[str, str]] = {}
    for answer in answers:
        if answer.triage:
            by = cited.setdefault(answer.triage["cited_log_id"], {})
            who = answer.who.partition(" (")[0]
            by[who] = answer.steps
    return cited


def _chosen(case: DemoCase, cited: Mapping[str, Any], evidence: Collection[str]) -> list[Mapping[str, Any]]:
    """Choose the lines that matter, in the window's order; a line that is cited at some steps alone takes no other's place."""
    window, alerted = case.observation["log_window"], case.observation["alert"]["log_id"]
    ids = {line["log_id"]: line for line in window}
    always = [log_id for log_id, by in cited.items() if "" in by.values()]
    proof = [log_id for log_id in ids if log_id in evidence]
    wanted = dict.fromkeys(log_id for log_id in (alerted, *always, *proof) if log_id in ids)
    weights = {log_id: _weight(line, case) for log_id, line in ids.items() if log_id not in wanted}
    spoken = sorted((log_id for log_id, weight in weights.items() if weight), key=lambda log_id: -weights[log_id])
    if evidence:
        spoken = []  # what decides is known
    chosen = {*list(wanted)[:MOST_MATTER], *spoken[: max(0, 4 - len(wanted))], *cited}
    return [line for line in window if line["log_id"] in chosen]


def _weight(line: Mapping[str, Any], case: DemoCase) -> int:
    return sum(fact.weight for fact in facts_of(line, case.observation["context"]))


def _sentence(
    case: DemoCase, line: Mapping[str, Any], cited: Mapping[str, Mapping[str, str]], evidence: Collection[str]
) -> dict[str, Any]:
    log_id, fields, by = line["log_id"], line["fields"], cited.get(line["log_id"], {})
    alerted = log_id == case.observation["alert"]["log_id"]
    shown_always = alerted or log_id in evidence or not by or "" in by.values()
    return {
        "id": log_id,
        "at": line["timestamp"],
        "alerted": alerted,
        "evidence": log_id in evidence,
        "cited": by,
        "steps": "" if shown_always else " ".join(by.values()),
        "event": event_words(line["event_type"], fields.get("activity") or ""),
        "host": fields.get("device_hostname"),
        "who": fields.get("actor_user"),
        "told": phrase(line["event_type"], fields),
    }


@lru_cache(maxsize=64)
def _playbook_html(text: str) -> str:
    ladder, _, rules = text.partition("\n\nRules\n")
    return str(pieces().playbook(ladder, [line.removeprefix("- ").partition(": ")[::2] for line in rules.splitlines()]))


def playbook(lines: Iterable[Mapping[str, Any]]) -> str:
    """Render the playbook by which these lines are judged."""
    return _playbook_html(playbook_for(lines))


def log_table(case: DemoCase, answers: Iterable[ScoredAnswer] = (), *, revealed: bool = False) -> str:
    """Render the window as a table: who cited which line, and after the reveal which lines are evidence."""
    cited = _cited(answers)
    marks: dict[str, list[tuple[str, str]]] = {case.observation["alert"]["log_id"]: [("alert", "")]}
    for log_id, by in cited.items():
        marks.setdefault(log_id, []).extend((f"cited by {who}", steps) for who, steps in by.items())
    evidence = set(case.truth.evidence_log_ids) if revealed else set()
    rows = [
        _log_row(line, marks.get(line["log_id"], []), line["log_id"] in evidence)
        for line in case.observation["log_window"]
    ]
    return str(pieces().log_table(rows, revealed))


def _log_row(line: Mapping[str, Any], marks: list[tuple[str, str]], evidence: bool) -> dict[str, Any]:
    fields = line["fields"]
    rest = {name: value for name, value in fields.items() if name not in ("device_hostname", "actor_user")}
    return {
        "id": line["log_id"],
        "at": line["timestamp"],
        "kind": event_words(line["event_type"], fields.get("activity") or ""),
        "host": fields.get("device_hostname"),
        "who": fields.get("actor_user"),
        "told": phrase(line["event_type"], rest),
        "left": left_over(line["event_type"], rest),
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


def learn(checkpoints: Sequence[Mapping[str, Any]], cells: Sequence[Sequence[int]], words: Mapping[str, Any]) -> str:
    """Render the strip that shows how training went: the score, the reward curve and the slider over the checkpoints.

    Args:
        checkpoints: as `eval.bake_demo` stores them, in the order of training.
        cells: of each stored incident the places of the checkpoints that are right.
        words: `set` and `items` of the curve in words.
    """
    rewards = [each["mean_reward"] for each in checkpoints]
    floor = min(0.0, *(reward["low"] for reward in rewards))
    height = max(reward["high"] for reward in rewards) - floor

    def level(value: float) -> float:
        return round(92 - 84 * (value - floor) / height, 2)

    last = max(1, len(checkpoints) - 1)
    dots = [
        {
            "title": each["title"],
            "x": round(100 * place / last, 2),
            "y": level(reward["value"]),
            "low": level(reward["low"]),
            "high": level(reward["high"]),
            "reward": f"{reward['value']:+.2f}",
        }
        for place, (each, reward) in enumerate(zip(checkpoints, rewards, strict=True))
    ]
    more = {
        "total": len(cells),
        "zero": level(0.0),
        "names": "|".join(each["title"] for each in checkpoints),
    }
    line = " ".join(f"{dot['x']},{dot['y']}" for dot in dots)
    return str(
        pieces().learn(checkpoints, dots, line, [" ".join(map(str, right)) for right in cells], {**words, **more})
    )


def ground_truth(case: DemoCase, *, claimed: str = "", recorded: bool = False) -> str:
    """Render the ground truth, its evidence and findings with their techniques, and why, in words; of a recorded log as the verifier's word."""
    truth = case.truth
    return str(pieces().ground_truth(truth, _findings(case), truth.explanation.splitlines(), claimed, recorded))


def findings(case: DemoCase) -> str:
    """Render the verifier's findings with their techniques, and its three steps in words."""
    return str(pieces().findings_of(case.truth, _findings(case), case.truth.explanation.splitlines()))


def _findings(case: DemoCase) -> list[dict[str, Any]]:
    return [
        {
            "rule": finding.rule_id,
            "technique": finding.technique,
            "url": _technique_url(finding.technique),
            "strength": finding.strength,
            "evidence": list(finding.evidence),
            "explained_by": finding.explained_by,
        }
        for finding in case.truth.findings
    ]


def log_file(most: int) -> str:
    """Render the field that takes a file of at most `most` characters from the visitor's computer."""
    return str(pieces().log_file(most))


def score(game: Game, best: int | None = None) -> str:
    """Render the game's score, round by round, and the best of this visit so far."""
    return str(pieces().score(game, game.totals(), game.length, best))


def recap(game: Game, best: int) -> str:
    """Render the end of a game: who won, what both answered round by round, and the link to the same ten incidents."""
    query = "&".join(f"{name}={value}" for name, value in game.link.items())
    return str(pieces().recap(game, game.totals(), game.length, best, game.beaten(), query))


def gate(judged: GateResult) -> str:
    """Render the admission gate's word on a draft."""
    return str(pieces().gate(judged))


def outcome(sent: Sent, query: str = "", *, edited: bool = True) -> str:
    """Render who won and why, with both rewards; `query` is the address that shows the round again, empty for none, and `edited` whether anything was changed."""
    return str(pieces("flip.html").outcome(sent, query, edited))


def bout(played: Bout) -> str:
    """Render a round of the arena: who won and why, or the gate's refusal."""
    return str(pieces().bout(played))


def games(attacker: str, defender: str, verdicts: Sequence[str], shown: int | None) -> str:
    """Render a stored game round by round, the one that is shown marked; `shown` counts from 0."""
    return str(pieces().games(attacker, defender, verdicts, shown))


def note(text: str) -> str:
    """Render a sentence of ours or an error as a paragraph."""
    return str(pieces().note(text))


def talks(rows: Sequence[TalkRow]) -> str:
    """Render who talked to whom in which lines, and in which evidence, as text."""
    return str(pieces().talks(rows))


def links(targets: Sequence[tuple[str, str]]) -> str:
    """Render where the page leads to: names and addresses."""
    return str(pieces().links(targets))


def edited(edit: Edit, reactions: Sequence[Reaction], number: int, total: int) -> str:
    """Render an edit of an incident, number `number` of `total`, and what verifier and models make of it."""
    return str(pieces("flip.html").edited(edit, reactions, number, total))


def unflipped() -> str:
    """Say that no single edit changes an incident's right answer."""
    return str(pieces("flip.html").unflipped())


def empty_round() -> str:
    """Render what a round of an attack looks like, for who has not begun one."""
    return str(pieces("flip.html").empty_round())


def tally(rounds: Mapping[str, int]) -> str:
    """Render how many of a visitor's rounds ended in which verdict."""
    return str(pieces("flip.html").tally(rounds))
