"""Attack without a model: by the generator's own incidents, and by random edits of them. Both ask the gate before they answer.

The world of a brief is that of one incident. Where the brief asks for an action that this incident does not deserve, others of the same organisation are
moved to the brief's time and tried: what decided them there (a ticket, an indicator, an outage) need not be in this world.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any, NamedTuple

from generator.incidents import Case, generate, incident_seed, organisations, rebuild
from generator.injection import inject
from generator.twins import OF_LINES
from players.attackers.attempts import attempt
from players.attackers.base import Attacker, Brief
from players.base import Reply
from players.incidents import write_incident
from schema import LABELS, Label, epoch_s, iso_time
from verifier.plausibility import bearable_categories
from world import Organisation, World

INJECTED = 0.2  # share of edits that put hostile text into the incident
MOST_EDITS = 3
TRIES = 24  # incidents that are tried for one brief


class Fit(NamedTuple):
    """An incident that the gate admits under a brief: as a case in the brief's world, as lines, and the action that it deserves."""

    case: Case
    text: str
    action: Label


class Generated(Attacker):
    """Write the incident that the generator makes for the brief's task, seed and split, or another of its world that deserves what is asked."""

    kind = "generator"

    def __init__(self) -> None:
        super().__init__("generator")

    def craft(self, briefs: Sequence[Brief]) -> list[Reply]:
        """Reply to each brief with lines; where nothing fits, the reply has no text and `fault` says why."""
        return [_reply(brief, _generated(brief)) for brief in briefs]


class Edited(Attacker):
    """Write a generated incident with one to three random edits that the gate admits; the same seed and brief give the same one."""

    kind = "edits"

    def __init__(self, seed: int = 0) -> None:
        super().__init__("edits")
        self._seed = seed

    @property
    def settings(self) -> dict[str, Any]:
        """Return name, kind and seed."""
        return {**super().settings, "seed": self._seed}

    def craft(self, briefs: Sequence[Brief]) -> list[Reply]:
        """Reply to each brief with lines; where no edit fits, with the incident as it was, and where nothing fits, without text."""
        return [_reply(brief, self._edited(brief)) for brief in briefs]

    def _edited(self, brief: Brief) -> Fit | None:
        base = _generated(brief)
        if base is None:
            return None
        rng = Random(incident_seed("edits", brief.id, self._seed))
        edits = (_edit(base, rng) for _ in range(TRIES))
        fits = (
            _fit(brief, case)
            for case in edits
            if case.lines != base.case.lines or case.narrative != base.case.narrative
        )
        return next(filter(None, fits), base)


def _reply(brief: Brief, fit: Fit | None) -> Reply:
    if fit:
        return Reply(fit.text)
    asked = f"deserves {brief.asked}" if brief.asked else "the gate admits"
    return Reply(None, f"no generated incident of {TRIES} that fit this world {asked}")


# ---------------------------------------------------------------- what fits a brief
def _generated(brief: Brief) -> Fit | None:
    return next(filter(None, (_fit(brief, case) for case in cases_near(brief))), None)


def cases_near(brief: Brief) -> Iterator[Case]:
    """Yield generated incidents in the brief's world: its own first, then `TRIES` others of its organisation, at its time and aimed at what is asked."""
    own = generate(brief.task, brief.seed, split=brief.split)
    if own.world.to_context() == brief.context:
        yield own
    home = _organisation(brief)
    if home is None:
        return
    goal = brief.asked or LABELS[brief.seed % len(LABELS)]
    world = World.from_context(brief.context)
    for number in range(TRIES):
        salt = f"another {number}"
        case = generate(brief.task, brief.seed, split=brief.split, salt=salt, label=goal, organisation=home)
        gap_s = epoch_s(world.now) - epoch_s(case.world.now)
        lines = [{**line, "timestamp": iso_time(epoch_s(line["timestamp"]) + gap_s)} for line in case.lines]
        yield rebuild(case, lines=lines, world=replace(world, alerted=case.world.alerted))


def _organisation(brief: Brief) -> Organisation | None:
    """Return the organisation whose hosts the brief's world has, if it is one of the split's."""
    names = {host["name"] for host in brief.context["hosts"]}
    return next((home for home in organisations(brief.split) if home.hosts.keys() == names), None)


def _fit(brief: Brief, case: Case) -> Fit | None:
    """Write a case with the claims that it bears, if the gate admits it and it deserves what is asked."""
    bearable = bearable_categories(case.incident, case.world)
    category = case.category if case.category in bearable else next(iter(bearable), case.category)
    incident = case.incident.model_copy(update={"category": category})
    scenario = attempt(brief, write_incident(incident, brief.context)).scenario
    if scenario is None or scenario.truth.action != (brief.asked or scenario.truth.action):
        return None
    action = scenario.truth.action
    text = write_incident(incident.model_copy(update={"target_label": action}), brief.context)
    return Fit(replace(case, world=scenario.world), text, action)


# ---------------------------------------------------------------- edits
def _edit(base: Fit, rng: Random) -> Case:
    """Edit a case one to `MOST_EDITS` times; an edit for which it has no place is left out."""
    case = base.case
    for _ in range(rng.randint(1, MOST_EDITS)):
        if rng.random() < INJECTED:
            case = inject(case, rng, truth=base.action).poisoned
        elif edits := list(rng.choice(OF_LINES)(case, rng)):
            case = rng.choice(edits)
    return case
