"""The leaderboard: a JSON file of defenders whose figures follow from their rollouts; `python -m eval.leaderboard` checks and fills it.

`leaderboard.json` is the board, `schema.json` its form (made from the models here). An entry holds the figures of every set that was run; the
rollouts themselves stay with whoever submits, and their hash is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from eval.intervals import MEASURING, RESAMPLES
from eval.metric_table import RANKING, names_in
from eval.reverify import reverify
from eval.runs import BENCHMARK, Run, load_run, stored_metrics
from rubric import TableName
from runs.extras import require
from schema import BadRequestError

HERE = Path(__file__).parent
BOARD = HERE / "leaderboard.json"
SCHEMA = HERE / "schema.json"
SAME = 1e-5  # figures are kept to six digits
KEPT = names_in("board")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Strict(BaseModel):
    """A part of the board; nothing that is not named may stand in it."""

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


def load_board(path: Path) -> Leaderboard:
    """The board in a file.

    Raises:
        BadRequestError: there is none, or it does not have the form of `schema.json`.
    """
    try:
        return Leaderboard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadRequestError(
            f"Expected a leaderboard in {str(path)!r}, and got {error}; give another file."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise BadRequestError(
            f"Expected a leaderboard as schema.json has it, and {str(path)!r} has a wrong {where}: {first['msg']}; correct it."
        ) from error


def schema_text() -> str:
    """The board's JSON schema as `schema.json` holds it."""
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Leaderboard.model_json_schema()}
    return json.dumps(made, indent=1, sort_keys=True) + "\n"


# ---------------------------------------------------------------- submissions
def entry_of(path: Path, *, resamples: int = RESAMPLES) -> Entry:
    """The entry that a run directory is worth, after everything it says has been computed anew.

    Args:
        path: a run directory.
        resamples: of the bootstrap.

    Raises:
        BadRequestError: the run is incomplete or damaged, its answers and rewards do not follow from its replies and the frozen sets, or the
            figures of its metrics.json do not follow from its rollouts.
    """
    require("eval", *MEASURING)
    run = load_run(path)
    drift = reverify(run)
    if drift:
        first = drift[0]
        raise BadRequestError(
            f"Expected rollouts that follow from their replies, and {first.id!r} of {first.set} has {first.what} {first.was!r} where "
            f"{first.now!r} comes out ({len(drift)} such); run it again on this version of OpenSOC."
        )
    _check_figures(run, stored_metrics(path), resamples)
    info = run.info
    return Entry(
        name=run.name,
        kind=info.defender.kind,
        opensoc=info.opensoc,
        commit=info.commit,
        command=info.command,
        seed=info.seed,
        density=info.density,
        reward_table=info.reward_table,
        rollouts_sha256=hashlib.sha256((path / "rollouts.jsonl").read_bytes()).hexdigest(),
        sets={name: _set_entry(run, name, resamples) for name in run.sets},
    )


def _set_entry(run: Run, name: str, resamples: int) -> SetEntry:
    found = run.metrics(name, resamples=resamples)
    figures = {metric: Figure(**{part: found[metric][part] for part in Figure.model_fields}) for metric in KEPT}
    return SetEntry(sha256=run.sha256(name), items=found["items"], metrics=figures)


def _check_figures(run: Run, stored: Mapping[str, Any], resamples: int) -> None:
    """Check that every value that the run states is the one that its rollouts give."""
    for name in (name for name in run.sets if name in stored or name != BENCHMARK):
        found = run.metrics(name, resamples=resamples)
        stated = stored.get(name)
        if not isinstance(stated, dict):
            raise BadRequestError(
                f"Expected the metrics of {name} in metrics.json, and there are none; run eval.run again."
            )
        for metric, said, comes_out in _values(stated, found):
            if not _same(said, comes_out):
                raise BadRequestError(
                    f"Expected figures that follow from the rollouts, and {metric} of {name} is stated as {said!r} where {comes_out!r} "
                    "comes out; run eval.run again."
                )


def _values(stated: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for metric in KEPT:
        said = stated.get(metric)
        yield metric, said.get("value") if isinstance(said, dict) else said, found[metric]["value"]


def _same(said: Any, comes_out: float | None) -> bool:
    if comes_out is None or not isinstance(said, int | float):
        return said is None and comes_out is None
    return abs(said - comes_out) <= SAME


def add(board: Leaderboard, entry: Entry) -> Leaderboard:
    """The board with an entry, in the place of one of the same name; the best macro-F1 first, on `benchmark` where that was run."""
    entries = [one for one in board.entries if one.name != entry.name] + [entry]
    return Leaderboard(version=1, entries=sorted(entries, key=_rank))


def _rank(entry: Entry) -> tuple[bool, float, str]:
    whole = BENCHMARK in entry.sets
    first = entry.sets[BENCHMARK] if whole else next(iter(entry.sets.values()))
    return not whole, -(first.metrics[RANKING].value or 0.0), entry.name
