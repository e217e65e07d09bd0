"""Tell an incident in other words of the playbook: a word that a rule names is replaced by another that the same rule names.

Families tell a few of the programs, operations and settings that a rule lists; whoever learns from their incidents alone knows no others. A word counts
if the finding is gone without it, and a replacement if the finding is there with it, so that what takes a word's place means the same to the rule.
The verifier judges what comes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

from generator.incidents import Case
from verifier.decision import judge_rows
from verifier.rules import RULES
from verifier.window import Finding

TRIES = 8  # words that are tried in a place
PLACES = 6  # places that are tried in an incident
NOTHING = "zqvx"  # a word that no rule names
_WORD = re.compile(r"[A-Za-z0-9_$%-][\w.$%:-]*[\w$%]")
_NUMBER = re.compile(r"(?:0x)?[0-9A-Fa-f]+")
_SUMMARIES = {rule.rule_id: rule.summary for rule in RULES}


def _shape(word: str) -> str:
    """Return what kind of word it is: with which ending, written in which letters."""
    ending = word.rpartition(".")[2].lower() if "." in word else ""
    case = "camel" if re.search(r"[a-z][A-Z]", word) else "capital" if word[0].isupper() else "lower"
    return ending if ending in ("exe", "dll", "sys", "ps1") else f"{case}{'.' in word}{':' in word}"


@cache
def _words_of(rule_id: str) -> Mapping[str, tuple[str, ...]]:
    """Return the words of a rule's summary by their shape."""
    words: dict[str, dict[str, None]] = {}
    for word in _WORD.findall(_SUMMARIES[rule_id]):
        if not _NUMBER.fullmatch(word):
            words.setdefault(_shape(word), {})[word] = None
    return {shape: tuple(found) for shape, found in words.items()}


@cache
def _named(rule_id: str) -> Mapping[str, str]:
    """Return the words of a rule's summary, by themselves in lower case."""
    return {word.lower(): word for words in _words_of(rule_id).values() for word in words}


def in_other_words(case: Case, rng: Random, *, times: int = 1) -> Case:
    """Return the incident with up to so many words replaced; the same where none can be.

    Args:
        case: an incident; its label becomes what the generator aimed at, which need not be true any more.
        rng: draws finding, line, word and replacement.
        times: words at most.
    """
    for _ in range(times):
        lines = _retold(case, rng)
        if lines is None:
            break
        case = replace(case, lines=lines)
    return case


def _retold(case: Case, rng: Random) -> list[dict[str, Any]] | None:
    places = list(_places(case, judge_rows(case.lines, case.world).findings))
    for finding, word in rng.sample(places, min(PLACES, len(places))):
        if _holds(case, _replaced(case.lines, finding, word, NOTHING), finding):
            continue  # the rule does not look at it
        others = [other for other in _words_of(finding.rule_id)[_shape(word)] if other.lower() != word.lower()]
        for other in rng.sample(others, min(TRIES, len(others))):
            lines = _replaced(case.lines, finding, word, other)
            if _holds(case, lines, finding):
                return lines
    return None


def _places(case: Case, findings: Sequence[Finding]) -> Iterator[tuple[Finding, str]]:
    """Yield the words of each finding's lines that its rule names."""
    by_id = {line["log_id"]: line for line in case.lines}
    for finding in findings:
        named = _named(finding.rule_id)
        texts = [
            value
            for log_id in finding.evidence
            for name, value in by_id[log_id]["fields"].items()
            if _is_text(name, value)
        ]
        words = dict.fromkeys(word.lower() for text in texts for word in _WORD.findall(text))
        yield from ((finding, named[word]) for word in words if word in named)


def _replaced(lines: Sequence[dict[str, Any]], finding: Finding, word: str, other: str) -> list[dict[str, Any]]:
    """Return the lines with a word of a finding's lines replaced."""
    pattern = re.compile(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", re.IGNORECASE)
    return [
        {**line, "fields": _with_word(line["fields"], pattern, other)} if line["log_id"] in finding.evidence else line
        for line in lines
    ]


def _with_word(fields: Mapping[str, Any], pattern: re.Pattern[str], other: str) -> dict[str, Any]:
    return {
        name: pattern.sub(lambda match: other, value) if _is_text(name, value) else value
        for name, value in fields.items()
    }


def _is_text(name: str, value: Any) -> bool:
    return isinstance(value, str) and name != "activity" and not _NUMBER.fullmatch(value)


def _holds(case: Case, lines: Sequence[dict[str, Any]], finding: Finding) -> bool:
    """Return whether the rule still finds the same lines."""
    return any(
        other.rule_id == finding.rule_id and other.evidence == finding.evidence and other.strength == finding.strength
        for other in judge_rows(lines, case.world).findings
    )
