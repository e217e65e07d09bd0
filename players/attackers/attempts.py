"""Brief an attacker, and follow its reply through reader, schema and gate to the incident that defenders get."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from players.attackers.base import Brief
from players.base import Row
from players.incidents import Craft, read_craft
from rubric import AttackerTurn
from scenario import OBSERVED, Admission, Scenario, admit, recall
from schema import Label, Task
from tasks.registry import Split
from verifier.playbook import attacker_instructions
from world import World


def brief_of(
    task: Task,
    seed: int,
    *,
    split: Split = "train",
    salt: str = "",
    asked: Label | None = None,
    instructed: bool = False,
) -> Brief:
    """Return the brief of an episode of self-play.

    Args:
        task, seed, split, salt: of the episode.
        asked: the action that the incident should deserve.
        instructed: whether the environment's instructions, which are long, come along.
    """
    context = recall(task, seed, split, salt).world.to_context()
    return Brief(task, seed, split, context, asked, attacker_instructions() if instructed else "")


class Attempt(NamedTuple):
    """An attacker's reply to a brief, and what became of it.

    `admission` is None where nothing could be read; `craft.fault` then says why.
    """

    brief: Brief
    craft: Craft
    admission: Admission | None

    @property
    def scenario(self) -> Scenario | None:
        """The incident that was admitted; None where none was."""
        return self.admission.scenario if self.admission else None

    @property
    def refusal(self) -> str:
        """Why there is no incident, in a sentence; empty where there is one."""
        if self.admission is None:
            return self.craft.fault
        return self.admission.fault or "; ".join(self.admission.reasons)

    @property
    def row(self) -> Row:
        """The admitted incident as defenders are asked: id, task and observation."""
        assert self.scenario is not None
        view = self.scenario.view()
        observation = {name: view[name] for name in OBSERVED}
        return {"id": self.brief.id, "task": self.brief.task, "observation": observation}

    def turn(self, *, novel: bool = False, fooled: bool | None = None, success_rate: float = 0.5) -> AttackerTurn:
        """Return the attempt as the rubric scores it (`rubric.score_attacker`); arguments as of `AttackerTurn`."""
        valid = self.admission is not None and not self.admission.fault
        reasons = self.admission.reasons if self.admission else ()
        return AttackerTurn(valid=valid, reasons=reasons, novel=novel, fooled=fooled, success_rate=success_rate)


def attempt(
    brief: Brief, text: str | None, *, salt: str = "", seen: Mapping[str, int] | None = None, gated: bool = True
) -> Attempt:
    """Read a reply and ask schema and gate, as a step of the environment does.

    Args:
        brief: that was answered.
        text: the reply's; None for none.
        salt: of the deployment.
        seen: how often each play was admitted before; None where nobody counts.
        gated: whether the gate is asked.
    """
    craft = read_craft(text, brief.context)
    if craft.content is None:
        return Attempt(brief, craft, None)
    world = World.from_context(brief.context)
    return Attempt(
        brief, craft, admit(craft.content, world, task=brief.task, seed=brief.seed, salt=salt, seen=seen, gated=gated)
    )


# ---------------------------------------------------------------- who won


# ---------------------------------------------------------------- why an incident is refused
_PLACE = re.compile(r"^(?:line \d+|[A-Z]\d+-\d+|The craft_incident is malformed): ")
_GIVEN = re.compile(r"; got .*$", re.DOTALL)
_NAMED = re.compile(r"'[^']*'|\"[^\"]*\"|\S*[\d@/\\]\S*|\S+\.[a-z]{2,4}(?= )")


def refusal_kinds(attempt: Attempt) -> list[tuple[str, str]]:
    """Return who refused an attempt (`reader`, `schema` or `gate`) and why, without names, numbers and lines; each kind once."""
    if attempt.admission is None:
        return [("reader", _kind(attempt.craft.fault))]
    if attempt.admission.fault:
        return [("schema", _kind(attempt.admission.fault))]
    return list(dict.fromkeys(("gate", _kind(reason)) for reason in attempt.admission.reasons))


def _kind(reason: str) -> str:
    return re.sub(r"…(?:,? …)+", "…", _NAMED.sub("…", _GIVEN.sub("", _PLACE.sub("", reason))))[:200]
