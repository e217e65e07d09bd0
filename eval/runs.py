"""Run directories as `eval.run` writes them: `run.json`, `rollouts.jsonl`, `metrics.json`. This module reads and checks them.

A run is read whole or not at all: an incomplete one, a damaged line or a count that does not agree is an error that says where.
Recordings (`--split real`) are left out: which action is right on them is not known.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eval.intervals import RESAMPLES
from eval.metrics import measure
from rubric import TableName
from schema import BadRequestError, Label, faults, unread
from tasks.sets import BENCHMARK as TEST_SETS  # what `benchmark` means
from tasks.sets import RECORDED

BENCHMARK = "benchmark"
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Lenient(BaseModel):
    """A part of a run; what it holds beyond the named fields is kept and not looked at."""

    model_config = ConfigDict(extra="allow")


class SetInfo(_Lenient):
    """One set that a run was made on."""

    name: str
    sha256: str
    items: int = Field(ge=0)


class PlayerInfo(_Lenient):
    """Who answered."""

    name: str = Field(min_length=1)
    kind: str


class RunInfo(_Lenient):
    """`run.json`: what was run, on what, and whether it came to its end."""

    opensoc: str
    commit: str | None
    command: str | list[str]
    defender: PlayerInfo
    seed: int
    density: str
    reward_table: TableName
    sets: list[SetInfo]
    complete: bool

    @property
    def command_text(self) -> str:
        """The command as one line."""
        return self.command if isinstance(self.command, str) else " ".join(self.command)


class StoredAnswer(_Lenient):
    """A well-formed answer."""

    action: Label
    cited_log_id: str
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None


class StoredSteps(_Lenient):
    """How far a chain of reasons is right (`eval.steps.score_steps`)."""

    reasons: int = Field(ge=0)
    rung: bool
    chain: bool
    faithful: bool
    first_wrong: str


class RolloutRow(_Lenient):
    """One line of `rollouts.jsonl`."""

    id: str
    set: str
    task: str
    split: str
    family: str
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    label: Label
    evidence: list[str]
    reply: str | None = None
    answer: StoredAnswer | None
    action: Label | None
    fault: str = ""
    reward: Finite
    steps: StoredSteps | None = None
    pair: str | int | None = None
    side: str | None = None
    tier: str | int | None = None


@dataclass(frozen=True)
class Run:
    """A complete run: what `run.json` says and its rollouts, by set."""

    path: Path
    info: RunInfo
    by_set: Mapping[str, list[dict[str, Any]]]
    measured: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Return the defender's name."""
        return self.info.defender.name

    @property
    def sets(self) -> list[str]:
        """Return the names of its sets, `benchmark` first if it has all test sets."""
        names = [member.name for member in self.info.sets]
        return [BENCHMARK, *names] if set(TEST_SETS) <= set(names) else names

    def sha256(self, name: str) -> dict[str, str]:
        """Return the hash of a set, or of each that `benchmark` means."""
        return {member.name: member.sha256 for member in self.info.sets if member.name in _members(name)}

    def rollouts(self, name: str) -> list[dict[str, Any]]:
        """Return the rollouts of a set, or of all test sets for `benchmark`.

        Raises:
            BadRequestError: the run has no such set.
        """
        if name not in self.sets:
            raise BadRequestError(
                f"Expected a set of the run {str(self.path)!r} ({', '.join(self.sets)}), and got {name!r}; name one of those."
            )
        return [row for member in _members(name) for row in self.by_set[member]]

    def metrics(self, name: str, *, resamples: int = RESAMPLES) -> dict[str, Any]:
        """Measure a set by `eval.metrics.measure`, once."""
        key = (name, resamples)
        if key not in self.measured:
            self.measured[key] = measure(self.rollouts(name), resamples=resamples)
        return self.measured[key]


def _members(name: str) -> tuple[str, ...]:
    return TEST_SETS if name == BENCHMARK else (name,)


def load_run(path: Path | str) -> Run:
    """Read the complete run in a directory, without its recordings.

    Raises:
        BadRequestError: a file is missing or damaged, the run did not come to its end, its counts do not agree, or it is over recordings alone.
    """
    path = Path(path)
    info = _checked(RunInfo, _read(path / "run.json"), f"{path / 'run.json'}")
    if not info.complete:
        raise BadRequestError(
            f"Expected a complete run in {str(path)!r}, and it stopped before its end; start it again, it resumes: {info.command_text}"
        )
    info.sets = [part for part in info.sets if part.name != RECORDED]
    if not info.sets:
        raise BadRequestError(
            f"Expected a run over incidents whose right action is known, and {str(path)!r} is over recordings alone; "
            f"its figures stand in {path / 'metrics.json'}."
        )
    by_set: dict[str, list[dict[str, Any]]] = {part.name: [] for part in info.sets}
    for line, row in enumerate(_lines(path / "rollouts.jsonl"), 1):
        if isinstance(row, dict) and row.get("set") == RECORDED:
            continue
        checked = _checked(RolloutRow, row, f"{path / 'rollouts.jsonl'} line {line}")
        if checked.set not in by_set:
            raise BadRequestError(
                f"Expected sets that run.json names ({', '.join(by_set)}), and {path / 'rollouts.jsonl'} line {line} has "
                f"{checked.set!r}; run it again into an empty directory."
            )
        by_set[checked.set].append(row)
    for part in info.sets:
        _check_items(path, part, by_set[part.name])
    return Run(path, info, by_set)


def _check_items(path: Path, part: SetInfo, rows: Sequence[Mapping[str, Any]]) -> None:
    twice = [name for name, times in Counter(row["id"] for row in rows).items() if times > 1]
    if twice:
        raise BadRequestError(f"Expected each item once, and {str(path)!r} has {twice[0]!r} of {part.name} twice.")
    if len(rows) != part.items:
        raise BadRequestError(
            f"Expected {part.items} rollouts of {part.name} in {str(path)!r}, as run.json says, and found {len(rows)}; "
            "run the same command again, it resumes."
        )


Model = TypeVar("Model", bound=BaseModel)


def _checked(model: type[Model], data: Any, source: str) -> Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise BadRequestError(
            f"Expected a run as eval.run writes it, and {source} has another form: {faults(error, 'the whole')}; run it again."
        ) from error


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadRequestError(
            f"Expected JSON in {str(path)!r}, and got {unread(error)}; give a directory that eval.run wrote."
        ) from error


def _lines(path: Path) -> list[Any]:
    rows = []
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise BadRequestError(
            f"Expected rollouts in {str(path)!r}, and got {unread(error)}; give a directory that eval.run wrote."
        ) from error
    for number, line in enumerate(text.split("\n"), 1):
        if line:
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise BadRequestError(
                    f"Expected one JSON object a line, and {path} line {number} is none ({error}); run the same command again."
                ) from error
    return rows


def stored_metrics(path: Path | str) -> dict[str, Any]:
    """Read metrics by set from a run's `metrics.json`.

    Raises:
        BadRequestError: there is none, or it holds no metrics.
    """
    stored = _read(Path(path) / "metrics.json")
    if not isinstance(stored, dict) or not isinstance(stored.get("metrics"), dict):
        raise BadRequestError(f"Expected metrics by set in {str(Path(path) / 'metrics.json')!r}; run eval.run again.")
    return dict(stored["metrics"])


# ---------------------------------------------------------------- several runs
def load_runs(paths: Sequence[Path | str]) -> list[Run]:
    """Read complete runs of defenders that have different names.

    Raises:
        BadRequestError: as `load_run`, or two defenders have one name.
    """
    runs = [load_run(path) for path in paths]
    for name, times in Counter(run.name for run in runs).items():
        if times > 1:
            raise BadRequestError(
                f"Expected each defender once, and {name!r} has {times} runs; rename one in its run.json."
            )
    return runs


def shared_set(runs: Sequence[Run], name: str | None = None) -> str:
    """Choose the set to look at: the one asked for, else `benchmark` if all runs have it, else the first that all have.

    Raises:
        BadRequestError: there is no such set, or the runs were made on different versions of it.
    """
    shared = [set_name for set_name in runs[0].sets if all(set_name in run.sets for run in runs)]
    if not shared or (name is not None and name not in shared):
        had = "; ".join(f"{run.name}: {', '.join(run.sets)}" for run in runs)
        raise BadRequestError(
            f"Expected a set that all runs have, and {name or 'there'} is none ({had}); run the missing ones."
        )
    chosen = name or shared[0]
    for run in runs[1:]:
        if run.sha256(chosen) != runs[0].sha256(chosen):
            raise BadRequestError(
                f"Expected runs over one version of {chosen}, and the hashes differ: {runs[0].name} {runs[0].sha256(chosen)}, "
                f"{run.name} {run.sha256(chosen)}; run one of them again."
            )
    return chosen
