"""Measure what an attacker writes: how much the gate admits and why it refuses, its mix of truths and tactics, and how far it repeats itself.

Incidents of one play (`verifier.plausibility.signature`) resemble each other, so a share of incidents has the wider of two 95 % intervals: Wilson's over
incidents, and a bootstrap over plays.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from eval.intervals import LEAST_FAMILIES, RESAMPLES, draws, one_thread, per_family, percentiles, quotient, rounded
from players.attackers.attempts import Attempt, attempt, brief_of, refusal_kinds
from players.attackers.base import Brief, asked_in_turn
from players.attackers.stored import WrittenIncident
from players.incidents import Craft, write_incident
from schema import LABELS, TASKS, BadRequestError, Incident
from tasks.registry import Split
from telemetry.scoring import wilson
from verifier.rules import RULES

INCIDENTS, JUDGED = "incidents.jsonl", "judged.jsonl"  # of a run of eval.attack
SPLIT: Split = "test_seed"  # of the attackers' board: no training sees its worlds
SEEDS = 100_000  # of worlds, between two seeds of a command line
COMMONEST = 20  # kinds of refusal, rules and plays that are listed
COMPARED = 300  # incidents whose likeness is measured, each with each
TACTICS = {rule.rule_id: rule.tactic for rule in RULES}
NO_TACTIC = "no finding"

Share = dict[str, Any]  # value, low, high (None where n is 0), n


# ---------------------------------------------------------------- briefs
def briefs_of(split: Split, number: int, seed: int) -> list[Brief]:
    """Make the briefs that every attacker gets: the tasks in turn, each action asked for equally often.

    Args:
        split: of the worlds.
        number: how many.
        seed: another one gives other worlds.
    """
    return [
        brief_of(
            TASKS[index % len(TASKS)],
            SEEDS * seed + index // len(TASKS),
            split=split,
            asked=asked_in_turn(index),
        )
        for index in range(number)
    ]


def judge(briefs: Sequence[Brief], incidents: Iterable[WrittenIncident]) -> list[Attempt]:
    """Ask schema and gate about the incident of each brief, in the order of the briefs; the gate counts the plays.

    Raises:
        BadRequestError: a brief has none, or an incident has no brief.
    """
    by_id = {incident.id: incident for incident in incidents}
    if apart := sorted(by_id.keys() ^ {brief.id for brief in briefs}):
        raise BadRequestError(
            f"Expected an incident for each of {len(briefs)} briefs ({briefs[0].id} ... {briefs[-1].id}) and no other, and {apart[0]!r} is in one of both only; "
            "write null where there is none."
        )
    plays: Counter[str] = Counter()
    attempts = []
    for brief in briefs:
        attempted = _judged(brief, by_id[brief.id], plays)
        if attempted.admission and attempted.scenario:
            plays[attempted.admission.play] += 1
        attempts.append(attempted)
    return attempts


def _judged(brief: Brief, incident: WrittenIncident, plays: Mapping[str, int]) -> Attempt:
    if incident.craft_incident is None:
        return Attempt(brief, Craft(None, incident.fault or "expected an incident; got null"), None)
    return attempt(brief, json.dumps(incident.craft_incident), seen=plays)


def verdict(attempted: Attempt) -> dict[str, Any]:
    """Return what became of an incident, as plain data: `action` and `play` are None for one that was refused, whose `refusal` says why."""
    scenario, admission = attempted.scenario, attempted.admission
    return {
        "id": attempted.brief.id,
        "admitted": scenario is not None,
        "refusal": attempted.refusal,
        "action": scenario.truth.action if scenario else None,
        "play": admission.play if scenario and admission else None,
    }


# ---------------------------------------------------------------- shares
def share(hits: Sequence[bool], plays: Sequence[str]) -> Share:
    """Return the share of incidents that are hits, with the wider of both intervals.

    Args:
        hits: one an incident.
        plays: each incident's play.
    """
    if not hits:
        return {"value": None, "low": None, "high": None, "n": 0}
    low, high = wilson(sum(hits), len(hits))
    if spread := percentiles(resampled_share(hits, plays), len(set(plays))) if len(set(plays)) > 1 else None:
        low, high = min(low, spread[0]), max(high, spread[1])
    return {"value": rounded(sum(hits) / len(hits)), "low": rounded(low), "high": rounded(high), "n": len(hits)}


def counted(hits: int, of: int) -> Share:
    """Return a share of briefs, each of which is a draw of its own, with Wilson's interval."""
    low, high = wilson(hits, of)
    return {"value": rounded(hits / of), "low": rounded(low), "high": rounded(high), "n": of}


def resampled_share(hits: Sequence[bool], plays: Sequence[str], seed: int = 0) -> np.ndarray:
    """Return the share of hits in each resample of plays."""
    names, play = np.unique(plays, return_inverse=True)
    sums = [per_family(values, play, len(names)) for values in (np.array(hits, float), np.ones(len(hits)))]
    drawn = draws(len(names), seed=seed, resamples=RESAMPLES)
    with one_thread():
        return quotient(drawn @ sums[0], drawn @ sums[1])


def gain(
    hits: Sequence[bool], plays: Sequence[str], other_hits: Sequence[bool], other_plays: Sequence[str]
) -> dict[str, Any]:
    """Return by how much the share of hits of other incidents is higher, with a bootstrap over the plays of both.

    Returns:
        `difference`, `low` and `high`; the bounds are None where either side has a single play, `difference` where either has no incident.
    """
    if not hits or not other_hits:
        return {"difference": None, "low": None, "high": None}
    difference = rounded(sum(other_hits) / len(other_hits) - sum(hits) / len(hits))
    fewest = min(len(set(plays)), len(set(other_plays)))
    if fewest < LEAST_FAMILIES:
        return {"difference": difference, "low": None, "high": None}
    spread = percentiles(
        resampled_share(other_hits, other_plays, seed=1) - resampled_share(hits, plays, seed=0), fewest
    )
    low, high = map(rounded, spread) if spread else (None, None)
    return {"difference": difference, "low": low, "high": high}


# ---------------------------------------------------------------- likeness
def parts_of(attempt: Attempt) -> frozenset[str]:
    """Return what an admitted incident's lines say in the short names of its world, each part with its event type; times are left out."""
    content = attempt.craft.content
    assert content is not None
    incident = Incident.model_validate({**content, "narrative": ""})
    lines = write_incident(incident, attempt.brief.context).split("\n")[1:]
    words = [line.split(" ")[1:] for line in lines]
    return frozenset(f"{kind} {part}" for kind, *parts in words for part in ("", *parts))


def self_similarity(sets: Sequence[frozenset[str]]) -> float | None:
    """Return how alike incidents are: the mean share of parts that two of them have in common (Jaccard's index), in [0, 1].

    Args:
        sets: what each incident says (`parts_of`); of the first `COMPARED` each is compared with each.

    Returns:
        1 where all are one incident; None where there are not two.
    """
    pairs = list(itertools.combinations(sets[:COMPARED], 2))
    return rounded(sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs)) if pairs else None


# ---------------------------------------------------------------- an attacker
def measure_attempts(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Measure an attacker's attempts.

    Args:
        attempts: one a brief, at least one.

    Returns:
        `briefs`, `admission` and `as_asked` (of the admitted whose brief asked for an action, those whose truth is it) as shares; `refusals`, the
        commonest first, each with `by`, `kind` and `count`; `truths`, `tasks`, `categories`, `tactics` and `rules`, counts over admitted incidents; `plays`, how many
        differ; `self_similarity`.
    """
    admitted = [attempt for attempt in attempts if attempt.scenario]
    plays = [attempt.admission.play for attempt in admitted if attempt.admission]
    asked = [attempt for attempt in admitted if attempt.brief.asked]
    kinds = Counter(kind for attempt in attempts if not attempt.scenario for kind in refusal_kinds(attempt))
    return {
        "briefs": len(attempts),
        "admission": counted(len(admitted), len(attempts)),
        "as_asked": counted(sum(_truth(attempt) == attempt.brief.asked for attempt in asked), len(asked))
        if asked
        else None,
        "refusals": [{"by": by, "kind": kind, "count": count} for (by, kind), count in kinds.most_common(COMMONEST)],
        "truths": _ordered(Counter(map(_truth, admitted)), LABELS),
        "tasks": _ordered(Counter(attempt.brief.task for attempt in admitted), TASKS),
        "categories": _counts(str(attempt.craft.content["category"]) for attempt in admitted if attempt.craft.content),
        "tactics": _counts(tactic for attempt in admitted for tactic in _tactics(attempt)),
        "rules": _counts(rule for attempt in admitted for rule in _rules(attempt)),
        "plays": len(set(plays)),
        "self_similarity": self_similarity([parts_of(attempt) for attempt in admitted]),
    }


def _truth(attempt: Attempt) -> str:
    assert attempt.scenario is not None
    return attempt.scenario.truth.action


def _rules(attempt: Attempt) -> list[str]:
    assert attempt.scenario is not None
    return list(dict.fromkeys(finding.rule_id for finding in attempt.scenario.truth.findings))


def _tactics(attempt: Attempt) -> list[str]:
    return list(dict.fromkeys(TACTICS[rule] for rule in _rules(attempt))) or [NO_TACTIC]


def _counts(names: Iterator[str]) -> dict[str, int]:
    return dict(Counter(names).most_common(COMMONEST))


def _ordered(counts: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in names}
