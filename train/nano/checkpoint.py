"""Checkpoints of small models: written whole or not at all, read as transformers has them, with the commands that made them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from players.base import MARK
from players.weights import TEXT_VERSION, check_text_version, load_model, text_version
from runs.directory import RUN
from runs.ending import StoppedError
from runs.files import move_files, replace_directory
from schema import TASKS, BadRequestError

LAST = "last"  # a run's newest checkpoint, with what a resumed run needs
STATE = "state.pt"
MADE_BY = 10  # commands that a history goes back at most


# ---------------------------------------------------------------- written
def save(
    model: Any,
    tokenizer: Any,
    path: Path,
    *,
    about: Mapping[str, Any],
    resumable: Mapping[str, Any] | None = None,
    fallback: Path | None = None,
) -> None:
    """Write a checkpoint into a directory, which it replaces.

    Args:
        model: with `save_pretrained`.
        tokenizer: goes with it.
        path: the checkpoint's directory.
        about: what is written beside the weights, with the version of the compact text that they learned.
        resumable: state of the optimizer and the run, for a run that is resumed.
        fallback: the checkpoint that is there should this fail; None for the old one at `path`.

    Raises:
        StoppedError: it cannot be written (a full disk, say); the one before it stays.
    """
    import torch
    from safetensors import SafetensorError
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        with replace_directory(path) as aside:
            model.save_pretrained(aside)
            tokenizer.save_pretrained(aside)
            described = {**about, "text_version": TEXT_VERSION}
            (aside / MARK).write_text(json.dumps(described, indent=1) + "\n", "utf-8")
            if resumable is not None:
                torch.save(dict(resumable), aside / STATE)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch.save tells of a full disk by a RuntimeError
        raise StoppedError(
            f"Could not save a checkpoint to {str(path)!r}: {error}; {remaining(fallback or path)}. "
            "Make room and give the same command again."
        ) from error


def remaining(path: Path) -> str:
    """Say which checkpoint is there."""
    return f"the checkpoint before it is kept in {str(path)!r}" if path.exists() else "there is no earlier one"


def finish(model: Any, tokenizer: Any, out: Path, *, about: Mapping[str, Any]) -> None:
    """Put a model into a run's own directory, file by file, the mark last.

    Raises:
        StoppedError: it cannot be written.
    """
    aside = out / ".model"
    save(model, tokenizer, aside, about=about, fallback=out / LAST)
    move_files(aside, out, last=lambda name: name == MARK)


# ---------------------------------------------------------------- read
def _begun_from(settings: Mapping[str, Any], home: Path) -> Path:
    """Return the model that a run in a directory began from, also where both were copied to another place."""
    model, out = Path(str(settings.get("model"))), settings.get("out")
    return model if model.exists() or not out else home / os.path.relpath(model, str(out))


def check_free(out: Path) -> None:
    """Refuse a directory in which there is something."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise BadRequestError(f"Expected nothing in {str(out)!r}, and found something; give another --out.")


class Checkpoint:
    """A model with its tokenizer, as transformers has them; torch computes on one core from here on, as an exported graph does.

    Raises:
        BadRequestError: there is none in the directory, or it learned another version of the compact text.
        OpenSOCError: torch or transformers is not installed.
    """

    def __init__(self, path: Path) -> None:
        if not (path / "config.json").is_file():
            raise BadRequestError(
                f"Expected a checkpoint with config.json in {str(path)!r}, and found none; train one with train.sft."
            )
        if (path / MARK).exists():
            check_text_version(text_version(path), path)
        self.model, self.tokenizer = load_model(path, dtype="float32")
        import torch

        torch.set_num_threads(1)
        self.model.eval()
        self.path = path
        self.context = int(self.model.config.max_position_embeddings)


def read_state(path: Path) -> dict[str, Any]:
    """Return the optimizer's state and the run's own.

    Raises:
        BadRequestError: there is none, or it cannot be read.
    """
    import torch

    try:
        stored: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        return {name: stored[name] for name in ("optimizer", "state")}
    except Exception as error:  # torch, pickle and zipfile each have their own
        raise BadRequestError(
            f"expected the state of a run in {str(path)!r}; reading it gave {type(error).__name__}: {str(error)[:200]}; "
            "start over with --fresh, or from the weights beside it with another --out"
        ) from error


def read_record(path: Path) -> dict[str, Any]:
    """Return the object that training wrote into a file; empty if it wrote none."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def history(checkpoint: Path) -> list[dict[str, Any]]:
    """Return the commands that made a checkpoint, the first one first, as far back as their run.json are there, or as an export says that was unpacked.

    Returns:
        Of each `command`, `commit`, `device`, `threads`, and `steps`, `incidents` and `seconds`, counted over the stages that led here; also
        `by_task`, the incidents of each stage of difficulty, where the run says which they were.
    """
    commands: list[dict[str, Any]] = []
    path = checkpoint
    while len(commands) < MADE_BY:
        saved = read_record(path / MARK)  # how far a run came that has not ended
        path = path.parent if path.name == LAST else path
        if not (run := read_record(path / RUN)):
            commands = [*(saved.get("runs") or []), *commands]  # of an export that was unpacked
            break
        run = {"steps": saved.get("step"), "incidents": saved.get("incidents"), "seconds": saved.get("seconds"), **run}
        whole = read_record(path.parent / RUN)
        stages = whole.get("stages") or []
        passed = stages[: stages.index(path.name) + 1] if path.name in stages else []
        runs = [read_record(path.parent / stage / RUN) for stage in passed] or [run]
        sums: dict[str, Any] = {
            name: sum(round(stage.get(name) or 0) for stage in runs) for name in ("steps", "incidents", "seconds")
        }
        began = whole if passed else run  # a stage says which commit there was when it began
        settings = run.get("settings") or {}
        how = {name: settings.get(name) for name in ("device", "threads")}
        by_task = {stage: done.get("incidents") for stage, done in zip(passed, runs, strict=False)} or _by_task(
            settings, sums["incidents"]
        )
        about = {"command": run.get("command"), "commit": began.get("commit"), **sums, **how, "by_task": by_task}
        commands.insert(0, about)
        path = _begun_from(settings, path.parent if passed else path)
    return commands


def _by_task(settings: Mapping[str, Any], incidents: int) -> dict[str, int]:
    """Count the fresh incidents of an SFT run by task: the easy ones first, then all tasks in turn; empty for another run."""
    if not settings.get("generate"):
        return {}
    tasks = str(settings.get("tasks")).split(",")
    easy = min(int(settings.get("easy_first") or 0), incidents)
    each, more = divmod(incidents - easy, len(tasks))
    counts = {task: each + (index < more) for index, task in enumerate(tasks)}
    return {**counts, TASKS[0]: counts.get(TASKS[0], 0) + easy} if easy else counts
