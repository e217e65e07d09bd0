"""Keep written incidents as JSON lines, and play such a file again as an attacker.

A line holds the brief (`task`, `seed`, `split`, perhaps `asked`) and `craft_incident`, the incident as the wire format has it, or null for none. `generator` says for which version of
the generator the world was: another version makes other worlds, so its incidents are refused. What else a line says is not read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from generator.incidents import GENERATOR_VERSION
from players.attackers.base import Attacker, Brief, brief_id
from players.base import Reply
from players.incidents import read_craft
from schema import MAX_SEED, BadRequestError, Label, Task, faults, unread
from tasks.registry import Split

SHOWN = 2000  # characters of a reply that holds no incident which are kept


class WrittenIncident(BaseModel):
    """One line: for which brief, and what was written."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)
    task: Task
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    split: Split
    asked: Label | None = None
    generator: str = GENERATOR_VERSION
    craft_incident: dict[str, Any] | None
    fault: str = ""

    @property
    def episode(self) -> tuple[str, str, int]:
        """Name the episode, whatever was asked for."""
        return self.split, self.task, self.seed

    @property
    def id(self) -> str:
        """The brief's id."""
        return brief_id(self.split, self.task, self.seed, self.asked)


def stored_line(brief: Brief, reply: Reply) -> dict[str, Any]:
    """Return the line of a reply to a brief; a reply that holds no incident is kept as it is, as far as it is short."""
    craft = read_craft(reply.text, brief.context)
    unread = {"reply": (reply.text or "")[:SHOWN]} if craft.content is None else {}
    return {
        "id": brief.id,
        "task": brief.task,
        "seed": brief.seed,
        "split": brief.split,
        "asked": brief.asked,
        "generator": GENERATOR_VERSION,
        "craft_incident": craft.content,
        "fault": reply.fault or craft.fault,
        **unread,
        "latency_s": reply.latency_s,
        "usage": reply.usage,
    }


def read_stored(path: Path) -> list[WrittenIncident]:
    """Read the incidents in a file.

    Raises:
        BadRequestError: it cannot be read, is cut off, a line is no such object or of another version, or an episode comes twice.
    """
    try:
        lines = path.read_text("utf-8").removesuffix("\n").split("\n")  # a text may hold other ends of lines
    except (OSError, UnicodeError) as error:
        raise BadRequestError(
            f"Expected stored incidents in {str(path)!r}, and got {unread(error)}; give another file."
        ) from error
    if lines == [""]:
        raise BadRequestError(f"Expected stored incidents in {str(path)!r}, and it is empty; give another file.")
    incidents: dict[tuple[str, str, int], WrittenIncident] = {}
    for number, line in enumerate(lines, 1):
        where = f"line {number} of {str(path)!r}"
        incident = _incident(line, where)
        if incident.episode in incidents:
            raise BadRequestError(f"Expected each episode once, and {where} repeats {incident.id}; remove it.")
        incidents[incident.episode] = incident
    return list(incidents.values())


def _incident(line: str, where: str) -> WrittenIncident:
    try:
        incident = WrittenIncident.model_validate(json.loads(line))
    except ValidationError as error:
        raise BadRequestError(
            f"Expected task, seed, split and craft_incident in {where}, and it has another form: {faults(error, 'the whole')}; correct it."
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadRequestError(
            f"Expected a JSON object in {where}, and got {unread(error)}: is the file cut off? Remove the line."
        ) from error
    if incident.generator != GENERATOR_VERSION:
        raise BadRequestError(
            f"Expected incidents for worlds of generator version {GENERATOR_VERSION}, and {where} is of {incident.generator!r}; write them anew."
        )
    return incident


class Stored(Attacker):
    """Write what a file holds for each brief.

    Raises:
        BadRequestError: as of `read_stored`.
    """

    kind = "stored"

    def __init__(self, path: Path) -> None:
        super().__init__(path.stem)
        self._incidents = {incident.episode: incident for incident in read_stored(path)}
        self._sha256 = hashlib.sha256(path.read_bytes()).hexdigest()

    @property
    def settings(self) -> dict[str, Any]:
        """Return name, kind, and the file's hash."""
        return {**super().settings, "sha256": self._sha256}

    def craft(self, briefs: Sequence[Brief]) -> list[Reply]:
        """Reply to each brief with the incident of its episode as JSON; without text where there is none."""
        return list(map(self._reply, briefs))

    def _reply(self, brief: Brief) -> Reply:
        incident = self._incidents.get((brief.split, brief.task, brief.seed))
        if incident is None:
            return Reply(None, f"the file holds no incident for {brief.split} {brief.task} {brief.seed}")
        if incident.craft_incident is None:
            return Reply(None, incident.fault or "the file holds null for this brief")
        return Reply(json.dumps(incident.craft_incident))
