"""Rows for the attacker's seat: a brief, and a generated incident of the `train` families as its answer.

An incident is cut to what its findings stand on and a few lines beside, so that it is soon written; only what the gate admits is a row, and the brief
asks for what the verifier says of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from generator.incidents import Case, generate, incident_seed
from players.attackers.attempts import brief_of
from players.attackers.base import Brief, asked_in_turn
from players.incidents import write_incident
from scenario import admit
from schema import LABELS, TASKS, Incident, OpenSOCError, Row, Task, log_id_at
from tasks.registry import Split
from verifier.decision import judge_rows

MOST_LINES = 8  # of an incident
BESIDE = 3  # lines at most that no finding stands on
TRIES = 40  # incidents that are tried for a row


def attack_row(
    stream: int, index: int, *, tasks: Sequence[Task] = TASKS, split: Split = "train", most: int = MOST_LINES
) -> Row:
    """Return the row at an index of a stream: id, brief, and the incident as lines.

    Args:
        stream: two of them share no incident.
        index: the actions are asked for in turn.
        tasks: take turns.
        split: of families and worlds.
        most: lines of an incident.

    Raises:
        OpenSOCError: no incident near the index fits.
    """
    task = tasks[index // len(LABELS) % len(tasks)]
    salt = f"attack/{stream}"
    for number in range(TRIES):
        seed = index * TRIES + number
        case = generate(task, seed, split=split, salt=salt, label=asked_in_turn(index))
        rng = Random(incident_seed("cut", task, seed, salt))
        if (row := _row_of(_cut(case, rng, most), task, seed, split, salt)) is not None:
            return row
    raise OpenSOCError(
        f"Expected an incident of at most {most} lines within {TRIES} of {task}, and found none; raise the most."
    )


def brief_row(salt: str, tasks: Sequence[Task], split: Split, index: int) -> Row:
    """Return the row at an index of a stream: a brief, each action asked for in turn, and the salt of its world."""
    task = tasks[index // len(LABELS) % len(tasks)]
    brief = brief_of(task, index, split=split, salt=salt, asked=asked_in_turn(index))
    return {"id": brief.id, "brief": brief, "salt": salt}


def _cut(case: Case, rng: Random, most: int) -> Case | None:
    """Return the incident with the lines that its findings stand on and a few others; None where they are too many."""
    truth = judge_rows(case.lines, case.world)
    needed = {log_id for finding in truth.findings for log_id in finding.evidence}
    if len(needed) > most:
        return None
    others = [line["log_id"] for line in case.lines if line["log_id"] not in needed]
    beside = rng.randint(0 if needed else 1, BESIDE)
    kept = needed | set(rng.sample(others, min(beside, len(others), most - len(needed))))
    lines = [line for line in case.lines if line["log_id"] in kept]
    return replace(case, lines=[{**line, "log_id": log_id_at(place)} for place, line in enumerate(lines)])


def _row_of(case: Case | None, task: Task, seed: int, split: Split, salt: str) -> Row | None:
    """Return the row of an incident that the gate admits; None for another."""
    if case is None:
        return None
    content: dict[str, Any] = {
        "target_label": case.label,
        "category": case.category,
        "events": case.lines,
        "narrative": case.narrative,
    }
    admission = admit(content, case.world, task=task, seed=seed, salt=salt)
    if admission.scenario is None:
        return None
    brief = Brief(task, seed, split, case.world.to_context(), admission.scenario.truth.action)
    incident = Incident.model_validate(content | {"target_label": brief.asked})
    return {"id": brief.id, "brief": brief, "incident": write_incident(incident, brief.context)}
