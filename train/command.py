"""What the training commands share: flags, the run's directory with its settings and log, Ctrl-C, exit codes.

A run's directory holds `run.json` (settings, seed, commit, command, libraries), `log.jsonl` (a JSON object a line), `checkpoints/` and, when
training is over, the model. The same command goes on with a run that is there; other settings are refused.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from players.base import DENSITIES
from players.codec import MARK
from runs.provenance import commit, now_text, versions
from schema import TASKS, VERSION, BadRequestError, OpenSOCError, Task
from train.nano.model import PRESETS

DONE, STOPPED, WRONG, INTERRUPTED = 0, 1, 2, 130
OWNERS_MODEL = "Qwen/Qwen2.5-3B-Instruct"
LIBRARIES = ("accelerate", "datasets", "peft", "torch", "transformers", "trl", "unsloth", "vllm")
# Settings that do not change what is trained; a run may go on with others.
FREE = frozenset(
    {"out", "fresh", "backend", "eval_every", "eval_n", "eval_batch", "eval_tokens", "save_every", "log_every", "keep"}
    | {"collapse_window", "max_zero_variance", "max_one_action"}
)
# Numbers that may be 0, and those that are shares.
ZERO_OK = frozenset(
    {
        "seed",
        "warmup",
        "weight_decay",
        "eval_every",
        "beta",
        "entropy_coef",
        "balance_coef",
        "max_zero_variance",
        "max_one_action",
    }
)
SHARES = frozenset({"warmup", "max_zero_variance", "max_one_action", "vllm_memory"})
# Settings that one of the two trainers alone reads.
OF_TRL = frozenset(
    {
        "warmup",
        "weight_decay",
        "full",
        "lora_rank",
        "lora_alpha",
        "checkpointing",
        "max_length",
        "eval_batch",
        "eval_tokens",
        "save_every",
        "keep",
        "log_every",
        "batch_size",
        "accumulate",
        "max_answer",
        "loss_type",
        "scale_rewards",
        "epsilon",
        "use_vllm",
        "vllm_mode",
        "vllm_memory",
        "vllm_server",
    }
)
OF_PLAIN = frozenset({"minutes", "threads", "device", "best_of", "raw_rewards", "anchor", "balance_coef"})
LOCK = ".lock"
UNFINISHED = ".unfinished"
SAVING = "Finishing the step under way, then saving"  # told at Ctrl-C


def add_device(parser: argparse._ActionsContainer) -> None:
    """The flag for where the plain loop trains."""
    parser.add_argument(
        "--device", default="cpu", metavar="NAME", help="cpu, or cuda for a GPU (plain loop; default: cpu)"
    )


def check_device(name: str) -> None:
    """Whether torch has a device.

    Raises:
        BadRequestError: it has none of this name here.
    """
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        told = str(error).split("\n")[0][:160]
        raise BadRequestError(
            f"Expected a device that torch has here as --device, and {name!r} gave: {told}; leave it out for the CPU."
        ) from None


def tasks_of(text: str, flag: str) -> list[Task]:
    """The tasks that a flag names, in their order.

    Raises:
        BadRequestError: there is no such task, or one comes twice.
    """
    names = [name for name in text.split(",") if name]
    if not names or not set(names) <= set(TASKS) or len(set(names)) < len(names):
        raise BadRequestError(f"Expected some of {', '.join(TASKS)} as {flag}, each once, and got {text!r}.")
    return cast("list[Task]", names)


class StoppedError(OpenSOCError):
    """Training stopped before its end, and why; the last good checkpoint is in its place."""


# ---------------------------------------------------------------- flags
def add_common(parser: argparse.ArgumentParser, *, lr: str, steps: str) -> None:
    """The flags that both commands have."""
    add = parser.add_argument
    add(
        "--model",
        default=OWNERS_MODEL,
        metavar="PATH_OR_HUB_ID_OR_PRESET",
        help=f"a model's or adapter's directory, a name on the hub, or one of {', '.join(PRESETS)} (default: {OWNERS_MODEL})",
    )
    add("--out", type=Path, required=True, metavar="DIR", help="the run's directory; a run that is there goes on")
    add("--fresh", action="store_true", help="forget the run that is in --out and start over")
    add(
        "--backend",
        choices=("auto", "trl", "unsloth", "plain"),
        default="auto",
        help="trl, Unsloth's kernels under trl, or the plain loop of small models; auto: plain for presets and what it made, else trl",
    )
    add(
        "--density",
        choices=DENSITIES,
        default="full",
        help="prompts with the playbook, or short (default: full; plain loop: compact)",
    )
    add("--seed", type=int, default=0, help="of data, order, adapters and sampling (default: 0)")

    train = parser.add_argument_group("training")
    add = train.add_argument
    add("--steps", type=int, metavar="N", help=f"optimizer steps ({steps})")
    add(
        "--minutes",
        type=float,
        metavar="MIN",
        help="of training at most, evaluation not counted; with --steps whichever comes first (plain loop)",
    )
    add("--threads", type=int, default=2, metavar="N", help="cores that share a step (plain loop; default: 2)")
    add_device(train)
    add("--lr", type=float, metavar="RATE", help=f"peak learning rate ({lr})")
    add("--warmup", type=float, default=0.03, metavar="SHARE", help="share of the steps, 0 to 1 (TRL; default: 0.03)")
    add("--weight-decay", type=float, default=0.0, help="of AdamW (TRL; default: 0)")
    add("--full", action="store_true", help="train all weights instead of a LoRA adapter (TRL)")
    add("--lora-rank", type=int, default=16, metavar="R", help="rank of the adapter (TRL; default: 16)")
    add(
        "--lora-alpha",
        type=int,
        default=32,
        metavar="A",
        help="scale of the adapter, divided by the rank (TRL; default: 32)",
    )
    add(
        "--no-checkpointing",
        dest="checkpointing",
        action="store_false",
        help="keep activations instead of computing them again: faster, more memory (TRL)",
    )

    room = parser.add_argument_group("length")
    add = room.add_argument
    add(
        "--max-length",
        type=int,
        metavar="TOKENS",
        help="longest prompt and answer together (TRL; default: the model's context)",
    )
    add("--skip-long", action="store_true", help="leave out and count what is longer, instead of stopping")

    watch = parser.add_argument_group("watching and keeping")
    add = watch.add_argument
    add(
        "--eval-n",
        type=int,
        default=100,
        metavar="N",
        help="incidents of the split val, the five actions equally (default: 100)",
    )
    add(
        "--eval-batch",
        type=int,
        default=16,
        metavar="N",
        help="prompts answered at once in evaluation (TRL; default: 16)",
    )
    add(
        "--eval-tokens",
        type=int,
        metavar="TOKENS",
        help="longest answer in evaluation (TRL; default: above the longest right one)",
    )
    add(
        "--save-every",
        type=int,
        default=50,
        metavar="STEPS",
        help="steps between checkpoints (TRL; default: 50; the plain loop writes one a minute)",
    )
    add("--keep", type=int, default=2, metavar="N", help="checkpoints that are kept (TRL; default: 2)")
    add(
        "--log-every",
        type=int,
        default=1,
        metavar="STEPS",
        help="steps between two lines of log.jsonl (TRL; default: 1)",
    )


def check_ranges(args: argparse.Namespace) -> None:
    """Every number that is given is above 0, or at least 0 where ZERO_OK names it, and a share is at most 1.

    Raises:
        BadRequestError: one is not.
    """
    for name, value in vars(args).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        flag, most = f"--{name.replace('_', '-')}", 1.0 if name in SHARES else float("inf")
        if not 0 <= value <= most or value == float("inf") or (value == 0 and name not in ZERO_OK):
            least = "0 or more" if name in ZERO_OK else "more than 0"
            raise BadRequestError(
                f"Expected {least}{' and at most 1' if name in SHARES else ''} as {flag}, and got {value}."
            )


def backend_of(args: argparse.Namespace) -> str:
    """Which trainer: what is asked for, or what fits the model.

    Raises:
        BadRequestError: a preset with another trainer than the plain loop, or the other way round.
    """
    ours = args.model in PRESETS or (Path(args.model) / MARK).is_file()
    if args.backend == "auto":
        return "plain" if ours else "trl"
    if args.backend == "plain" and not ours:
        raise BadRequestError(
            f"Expected a preset ({', '.join(PRESETS)}) or a directory that the plain loop made for --backend plain, "
            f"and got {args.model!r}; use --backend trl."
        )
    if args.backend != "plain" and args.model in PRESETS:
        raise BadRequestError(
            f"Expected --backend plain for the preset {args.model!r}, and got {args.backend}; leave --backend out, or give the "
            "directory of a model that the plain loop made."
        )
    return str(args.backend)


def check_trainer(args: argparse.Namespace, defaults: argparse.Namespace) -> None:
    """No flag is given that the trainer does not read.

    Raises:
        BadRequestError: one is.
    """
    plain = args.backend == "plain"
    strange = sorted(
        f"--{name.replace('_', '-')}"
        for name in (OF_TRL if plain else OF_PLAIN)
        if getattr(args, name, None) != getattr(defaults, name, None)
    )
    if strange:
        ours, others = ("the plain loop", "TRL") if plain else ("TRL", "the plain loop")
        raise BadRequestError(
            f"Expected flags that {ours} reads, and {', '.join(strange)} {'is' if len(strange) == 1 else 'are'} of {others} alone; "
            f"leave {'it' if len(strange) == 1 else 'them'} out."
        )


def check_fresh(args: argparse.Namespace) -> None:
    """What a run is made from does not lie in the directory that --fresh empties.

    Raises:
        BadRequestError: it does.
    """
    if not args.fresh:
        return
    out = args.out.resolve()
    for name in ("model", "data", "anchor"):
        given = getattr(args, name, None)
        if given and Path(given).exists() and Path(given).resolve().is_relative_to(out):
            raise BadRequestError(
                f"Expected --{name} outside of {str(args.out)!r}, which --fresh empties, and got {given!r}; give another --out."
            )


# ---------------------------------------------------------------- the directory
def is_main() -> bool:
    """Whether this process writes: the only one, or the first of many."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _writable(out: Path) -> Iterator[None]:
    """Translate what goes wrong with a run's directory.

    Raises:
        BadRequestError: it cannot be made, written or read.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        raise BadRequestError(
            f"Expected a directory to write to at {str(out)!r}, and got {type(error).__name__}: {error}; give another --out."
        ) from error


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Hold a run's directory against a second command; one that nothing was written to is removed again.

    Raises:
        BadRequestError: another command trains there, or it cannot be made.
    """
    if not is_main():
        yield
        return
    with _writable(out):
        out.mkdir(parents=True, exist_ok=True)
        file = (out / LOCK).open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadRequestError(
                f"Expected nobody else to train in {str(out)!r}, and another command does; wait for it, or give another --out."
            ) from error
        try:
            yield
        finally:
            with suppress(OSError):
                if [one.name for one in out.iterdir()] == [LOCK]:
                    (out / LOCK).unlink()
                    out.rmdir()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a small file whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n", "utf-8")
    fresh.replace(path)


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """The resolved flags as plain data."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in sorted(vars(args).items())}


def open_run(
    out: Path, module: str, argv: Sequence[str], settings: Mapping[str, Any], *, fresh: bool
) -> dict[str, Any]:
    """Begin a run's directory, or take up the one that is there; what run.json holds.

    Raises:
        BadRequestError: the directory cannot be written, or holds a run with other settings.
    """
    path = out / "run.json"
    with _writable(out):
        if fresh and path.exists() and is_main():
            for one in out.iterdir():
                if one.name != LOCK:
                    shutil.rmtree(one) if one.is_dir() else one.unlink()
        out.mkdir(parents=True, exist_ok=True)
        # what the first process is about to remove is not for the others to read
        found = json.loads(path.read_text("utf-8")) if path.exists() and (is_main() or not fresh) else None
    if found is not None:
        if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
            raise BadRequestError(f"Expected a run's settings in {str(path)!r}, and found others; give another --out.")
        before, now = found["settings"], json.loads(json.dumps(settings, default=str))
        other = sorted(
            name for name in before.keys() | now.keys() if name not in FREE and before.get(name) != now.get(name)
        )
        if other:
            told = ", ".join(f"{name} {before.get(name)!r} (now {now.get(name)!r})" for name in other[:4])
            raise BadRequestError(
                f"Expected the settings of the run in {str(out)!r}, and these differ: {told}; give another --out, or --fresh to start over."
            )
        return dict(found)
    run = {
        "opensoc": VERSION,
        "commit": commit(),
        "command": f"python -m {module} {shlex.join(argv)}",
        "settings": dict(settings),
        "seed": settings.get("seed"),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "libraries": versions(LIBRARIES),
        "started": now_text(),
        "finished": None,
        "complete": False,
    }
    if is_main():
        write_json(path, run)
    return run


def is_complete(out: Path, run: Mapping[str, Any]) -> bool:
    """Whether a run is over, and then it is told."""
    if run["complete"]:
        print(f"The run in {str(out)!r} is complete.", file=sys.stderr)
    return bool(run["complete"])


def close_run(out: Path, run: dict[str, Any], **figures: Any) -> None:
    """Mark a run as complete."""
    if is_main():
        write_json(out / "run.json", run | {"finished": now_text(), "complete": True, **figures})


# ---------------------------------------------------------------- the end of it
def train_by(
    parse: Callable[[Sequence[str]], argparse.Namespace],
    argv: Sequence[str],
    by_trl: Callable[[argparse.Namespace, Sequence[str]], Path],
    plain: str,
) -> int:
    """Train with the backend that the flags mean, `plain` naming the plain loop's function; the exit code."""
    args = parse(argv)

    def work() -> Path:
        check_ranges(args)
        args.backend = backend_of(args)
        check_trainer(args, parse(["--out", "."]))
        check_fresh(args)
        if args.backend != "plain":
            return by_trl(args, argv)
        from train.nano import methods as loops

        return Path(getattr(loops, plain)(args, argv))

    return exit_code(work, args.out)


def exit_code(work: Callable[[], Path], out: Path) -> int:
    """Do the work of a command, say how it ended, and return the exit code."""
    try:
        with _alone_in(out):
            made = work()
    except StoppedError as error:
        print(error, file=sys.stderr)
        return STOPPED
    except OSError as error:  # a full disk meets the log as well as a checkpoint
        print(
            f"Stopped: {error}; what is saved is in {str(out)!r}. Make room, and run the same command to go on.",
            file=sys.stderr,
        )
        return STOPPED
    except OpenSOCError as error:
        print(error, file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print(f"Interrupted; what is saved is in {str(out)!r}. Run the same command to go on.", file=sys.stderr)
        return INTERRUPTED
    if is_main():
        print(f"Done: {made}")
    return DONE
