"""The leaderboard: a JSON file of defenders whose figures follow from their rollouts; `python -m eval.leaderboard` checks and fills it.

`leaderboard.json` is the board, `schema.json` its form (made from the models here). An entry holds the figures of every set that was run; the
rollouts themselves stay with whoever submits, and their hash is kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from eval.metric_table import RANKING, names_in
from eval.runs import BENCHMARK
from rubric import TableName
from schema import BadRequestError, faults, unread

HERE = Path(__file__).parent
BOARD = HERE / "leaderboard.json"
SCHEMA = HERE / "schema.json"
KEPT = names_in("board")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Lenient(BaseModel):
    """A part of what a command wrote, as far as it is read here."""

    model_config = ConfigDict(extra="ignore", strict=True)


class Strict(BaseModel):
    """A part of a board; nothing that is not named may stand in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(Strict):
    """A metric with its 95 % interval over `n` items or pairs; what does not exist is null."""

    value: Finite | None
    low: Finite | None
    high: Finite | None
    n: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _in_order(self) -> Figure:
        if self.value is None and (self.low is not None or self.high is not None):
            raise ValueError("an interval without a value")
        if (self.low is None) != (self.high is None):
            raise ValueError("one bound of an interval without the other")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low} lies above high {self.high}")
        return self


class SetEntry(Strict):
    """The figures on one set, by metric."""

    sha256: dict[str, Sha256] = Field(min_length=1, description="Hash of the set's file, by name; benchmark has three.")
    items: int = Field(ge=1)
    metrics: dict[str, Figure] = Field(min_length=1)

    @model_validator(mode="after")
    def _known(self) -> SetEntry:
        unknown = sorted(set(self.metrics) - set(KEPT))
        if unknown or RANKING not in self.metrics:  # an entry may be older than a metric
            raise ValueError(
                f"metrics are {RANKING} and others of eval.metric_table; got {sorted(self.metrics)}, unknown {unknown}"
            )
        return self


class Entry(Strict):
    """One defender."""

    name: str = Field(min_length=1, max_length=120)
    kind: str = Field(min_length=1, max_length=60)
    opensoc: str = Field(description="Version that it was run with.")
    commit: str | None
    command: str | list[str]
    seed: int
    density: str
    reward_table: TableName
    rollouts_sha256: Sha256 = Field(description="Hash of the run's rollouts.jsonl.")
    sets: dict[str, SetEntry] = Field(min_length=1)


class Leaderboard(Strict):
    """The whole file."""

    version: Literal[1]
    entries: list[Entry]

    @model_validator(mode="after")
    def _once_each(self) -> Leaderboard:
        names = [entry.name for entry in self.entries]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each name once; {twice[0]!r} comes more than once")
        return self


Board = TypeVar("Board", bound=Strict)


def load_board(path: Path) -> Leaderboard:
    """Read the defenders' board in a file.

    Raises:
        BadRequestError: there is none, or it does not have the form of `schema.json`.
    """
    return read_board(path, Leaderboard, SCHEMA)


def read_board(path: Path, board: type[Board], schema: Path) -> Board:
    """Read a board in a file.

    Raises:
        BadRequestError: there is none, or it does not have the form of the schema's file.
    """
    try:
        return board.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadRequestError(
            f"Expected a leaderboard in {str(path)!r}, and got {unread(error)}; give another file."
        ) from error
    except ValidationError as error:
        raise BadRequestError(
            f"Expected a leaderboard as {schema.name} has it, and {str(path)!r} has another form: {faults(error, 'the whole')}; correct it."
        ) from error


def schema_text(board: type[Strict] = Leaderboard) -> str:
    """Render a board's JSON schema as its file holds it."""
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema", **board.model_json_schema()}
    return json.dumps(made, indent=1, sort_keys=True) + "\n"


def add(board: Leaderboard, entry: Entry) -> Leaderboard:
    """Return the board with an entry, in the place of one of the same name.

    Entries are in the order of macro-F1 on `benchmark`, the highest first; those that did not run it come after.
    """
    entries = [row for row in board.entries if row.name != entry.name] + [entry]
    return Leaderboard(version=1, entries=sorted(entries, key=_rank))


def _rank(entry: Entry) -> tuple[bool, float, str]:
    whole = BENCHMARK in entry.sets
    first = entry.sets[BENCHMARK] if whole else next(iter(entry.sets.values()))
    return not whole, -(first.metrics[RANKING].value or 0.0), entry.name
