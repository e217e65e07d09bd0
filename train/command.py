"""The shape of a training command: its flags as a table, the run's directory, and how it ends.

A run's directory holds `run.json` (settings, seed, commit, command, libraries), `log.jsonl` (a JSON object a line), `checkpoints/` and, when
training is over, the model. The same command resumes a run that is there; other settings are refused.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from players import smollm2
from players.base import DENSITIES, MARK
from runs import directory
from runs.directory import Run, locked, new_run
from runs.ending import exit_code
from schema import TASKS, BadRequestError, Task
from train.nano.presets import PRESETS

OWNERS_MODEL = "Qwen/Qwen2.5-3B-Instruct"
LIBRARIES = ("accelerate", "datasets", "peft", "torch", "transformers", "trl", "unsloth", "vllm")
SAVING = "Finishing the step under way, then saving"  # printed at Ctrl-C
LR_GRPO = 1e-5  # of GRPO on an adapter
TRL, PLAIN = "TRL", "plain loop"
TITLES = {TRL: "TRL", PLAIN: "the plain loop"}


# ---------------------------------------------------------------- flags
@dataclass(frozen=True, slots=True)
class Flag:
    """A flag: how it is written and explained, what it may be, and who reads it.

    Args:
        name: as it is written, such as `--eval-n`; without dashes for a positional argument.
        help: what it means; the trainer that reads it alone and the default are added.
        kind: of its value; None for a switch.
        default: its value if it is left out.
        default_text: the default in words, if the value does not say it.
        metavar: what stands for the value in --help.
        choices: the values that it may have.
        required: whether it must be given.
        trainer: TRL or PLAIN if that trainer alone reads it.
        zero: whether a number may be 0; others are above 0.
        share: whether a number is at most 1.
        free: whether a resumed run may have another value, as it does not change what is trained.
        aliases: other ways to write it.
        turns_off: the attribute that a switch turns off.
    """

    name: str
    help: str
    kind: Callable[[str], Any] | None = str
    default: Any = None
    default_text: str = ""
    metavar: str | None = None
    choices: Sequence[str] | None = None
    required: bool = False
    trainer: str = ""
    zero: bool = False
    share: bool = False
    free: bool = False
    aliases: tuple[str, ...] = ()
    turns_off: str = ""

    @property
    def attribute(self) -> str:
        """Return the name of its value among the parsed arguments."""
        return self.turns_off or self.name.removeprefix("--").replace("-", "_")

    @property
    def value(self) -> Any:
        """Return its value if it is left out."""
        return bool(self.turns_off) if self.kind is None else self.default

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        """Add it to a parser or a group of one."""
        how: dict[str, Any] = {"help": self._help()}
        if self.name.startswith("--"):
            how |= {"dest": self.attribute, "required": self.required}
        if self.kind is None:
            how["action"] = "store_false" if self.turns_off else "store_true"
        else:
            how |= {"type": self.kind, "metavar": self.metavar, "choices": self.choices, "default": self.default}
        parser.add_argument(self.name, *self.aliases, **how)

    def _help(self) -> str:
        default = self.default_text or (
            f"{self.default:g}" if isinstance(self.default, float) else "" if self.default is None else self.default
        )
        notes = [self.trainer, f"default: {default}" if default != "" and self.kind is not None else ""]
        text = "; ".join(note for note in notes if note)
        return f"{self.help} ({text})" if text else self.help

    def check(self, value: Any) -> None:
        """See that a number lies in its range.

        Raises:
            BadRequestError: it does not.
        """
        if isinstance(value, bool) or not isinstance(value, int | float):
            return
        most = 1.0 if self.share else float("inf")
        if not 0 <= value <= most or value == float("inf") or (value == 0 and not self.zero):
            least = "0 or more" if self.zero else "more than 0"
            raise BadRequestError(
                f"Expected {least}{' and at most 1' if self.share else ''} as {self.name}, and got {value}."
            )


DEVICE = Flag("--device", "cpu, or cuda for a GPU", default="cpu", metavar="NAME", trainer=PLAIN, free=True)
OUT = Flag(
    "--out", "the run's directory; a run that is there is resumed", Path, metavar="DIR", required=True, free=True
)
FRESH = Flag("--fresh", "forget the run that is in --out and start over", None, free=True)
SEED = Flag("--seed", "of data, order, adapters and sampling", int, 0, zero=True)
THREADS = Flag("--threads", "cores that share a step", int, 2, metavar="N", trainer=PLAIN, free=True)
START = (
    Flag(
        "--model",
        f"a model's or adapter's directory, a name on the hub (NAME@COMMIT pins its files), {smollm2.NAME}, or one of {', '.join(PRESETS)}",
        default=OWNERS_MODEL,
        metavar="PATH_OR_HUB_ID_OR_PRESET",
    ),
    OUT,
    FRESH,
    Flag(
        "--backend",
        "trl, Unsloth's kernels under trl, or the plain loop of small models; auto: plain for presets and what it made, else trl",
        default="auto",
        choices=("auto", "trl", "unsloth", "plain"),
        free=True,
    ),
    Flag(
        "--density",
        "prompts with the playbook, short, or short with a legend",
        default="legend",
        default_text="legend; plain loop: compact",
        choices=DENSITIES,
    ),
    SEED,
)
WIDE = Flag(
    "--wide",
    "padded batches made ahead by worker processes, also on a CPU; always so on a GPU",
    None,
    trainer=PLAIN,
)
COMPILE = Flag(
    "--no-compile", "read a model on a GPU without compiling it first", None, trainer=PLAIN, turns_off="compiles"
)
BF16 = Flag("--bf16", "read wide batches in bfloat16 on a CPU too, if it multiplies that", None, trainer=PLAIN)
BATCH = Flag("--batch", "incidents of a step", int, default_text="16; wide: 256", metavar="N", trainer=PLAIN)
PACE = (
    Flag(
        "--minutes",
        "of training at most, evaluation not counted; with --steps whichever comes first",
        float,
        metavar="MIN",
        trainer=PLAIN,
    ),
    THREADS,
    DEVICE,
    WIDE,
    BF16,
    COMPILE,
)
OPTIMIZER = (
    Flag(
        "--warmup",
        "share of the steps, 0 to 1",
        float,
        0.03,
        metavar="SHARE",
        trainer=TRL,
        zero=True,
        share=True,
    ),
    Flag("--weight-decay", "of AdamW", float, 0.0, trainer=TRL, zero=True),
    Flag("--full", "train all weights instead of a LoRA adapter", None, trainer=TRL),
    Flag("--lora-rank", "rank of the adapter", int, 16, metavar="R", trainer=TRL),
    Flag("--lora-alpha", "scale of the adapter, divided by the rank", int, 32, metavar="A", trainer=TRL),
    Flag(
        "--no-checkpointing",
        "keep activations instead of computing them again: faster, more memory",
        None,
        trainer=TRL,
        turns_off="checkpointing",
    ),
)
LENGTH = (
    Flag(
        "--max-length",
        "longest prompt and answer together",
        int,
        default_text="the model's context",
        metavar="TOKENS",
        trainer=TRL,
    ),
    Flag("--skip-long", "leave out and count what is longer, instead of stopping", None),
)
WATCHING = (
    Flag("--eval-n", "incidents of the split val, the five actions equally", int, 100, metavar="N", free=True),
    Flag(
        "--eval-batch",
        "prompts answered at once in evaluation",
        int,
        16,
        metavar="N",
        trainer=TRL,
        free=True,
    ),
    Flag(
        "--eval-tokens",
        "longest answer in evaluation",
        int,
        default_text="above the longest right one",
        metavar="TOKENS",
        trainer=TRL,
        free=True,
    ),
    Flag(
        "--save-every",
        "steps between checkpoints",
        int,
        50,
        default_text="50; the plain loop writes one a minute",
        metavar="STEPS",
        trainer=TRL,
        free=True,
    ),
    Flag("--keep", "checkpoints that are kept", int, 2, metavar="N", trainer=TRL, free=True),
    Flag(
        "--log-every",
        "steps between two lines of log.jsonl",
        int,
        1,
        metavar="STEPS",
        trainer=TRL,
        free=True,
    ),
)


def common_flags(*, lr: str, steps: str) -> dict[str, tuple[Flag, ...]]:
    """Return the flags of SFT and GRPO by group; `lr` and `steps` say in words what the defaults are."""
    count = Flag("--steps", "optimizer steps", int, default_text=steps, metavar="N")
    rate = Flag("--lr", "peak learning rate", float, default_text=lr, metavar="RATE")
    return {
        "": START,
        "training": (count, *PACE, rate, *OPTIMIZER),
        "length": LENGTH,
        "watching and keeping": WATCHING,
    }


Work = Callable[[argparse.Namespace, Sequence[str]], Path]  # of the flags and the command line; returns what it made


@dataclass(frozen=True, slots=True)
class Command:
    """A training command and its flags.

    Args:
        module: that `python -m` runs.
        description: a sentence for --help.
        groups: the flags by the title of their group; the empty title is none.
        epilog: what --help ends with.
    """

    module: str
    description: str
    groups: Mapping[str, Sequence[Flag]]
    epilog: str = ""

    def flags(self) -> Iterator[Flag]:
        """Yield all flags."""
        for flags in self.groups.values():
            yield from flags

    def parse(self, argv: Sequence[str] | None = None) -> argparse.Namespace:
        """Parse a command line."""
        parser = argparse.ArgumentParser(
            prog=f"python -m {self.module}", description=self.description, epilog=self.epilog
        )
        for title, flags in self.groups.items():
            group = parser.add_argument_group(title) if title else parser
            for flag in flags:
                flag.add_to(group)
        return parser.parse_args(argv)

    def run(self, argv: Sequence[str] | None, work: Work) -> int:
        """Do a command's work alone in the directory --out, say how it ended, and return the exit code.

        Args:
            argv: the command line; None for this process's own.
            work: is done once every number lies in its flag's range.
        """
        argv = sys.argv[1:] if argv is None else list(argv)
        args = self.parse(argv)

        def alone() -> None:
            with locked(args.out) if is_main() else nullcontext():
                self.check_ranges(args)
                path = work(args, argv)
            if is_main():
                print(f"Done: {path}")

        return exit_code(alone, f"what is saved is in {str(args.out)!r}")

    def check_ranges(self, args: argparse.Namespace) -> None:
        """See that every number lies in its flag's range.

        Raises:
            BadRequestError: one does not.
        """
        for flag in self.flags():
            flag.check(getattr(args, flag.attribute))

    def check_trainer(self, args: argparse.Namespace) -> None:
        """See that no flag is given that the trainer does not read.

        Raises:
            BadRequestError: one is.
        """
        trainer, other = (PLAIN, TRL) if args.backend == "plain" else (TRL, PLAIN)
        unread = sorted(
            flag.name for flag in self.flags() if flag.trainer == other and getattr(args, flag.attribute) != flag.value
        )
        if unread:
            verb, pronoun = ("is", "it") if len(unread) == 1 else ("are", "them")
            raise BadRequestError(
                f"Expected flags that {TITLES[trainer]} reads, and {', '.join(unread)} {verb} of {TITLES[other]} alone; "
                f"leave {pronoun} out."
            )

    def open_run(
        self, out: Path, argv: Sequence[str], args: argparse.Namespace, *, fresh: bool = False, **more: Any
    ) -> Run:
        """Begin a run's directory, or resume the run that is there; return what run.json holds.

        Args:
            out: the directory.
            argv: the command line, for run.json.
            args: the resolved settings.
            fresh: forget the run that is there.
            more: settings that no flag has.

        Raises:
            BadRequestError: the directory cannot be written, or holds a run with other settings.
        """
        free = {flag.attribute for flag in self.flags() if flag.free}
        run = new_run(
            f"python -m {self.module} {shlex.join(argv)}",
            LIBRARIES,
            settings=_settings_of(args) | more,
            seed=args.seed,
            processes=int(os.environ.get("WORLD_SIZE", "1")),
        )

        def shares(run: Run) -> dict[str, Any]:
            settings = run["settings"]
            start = _beside(str(settings.get("model")), str(settings.get("out")))
            return {name: value for name, value in settings.items() if name not in free} | {"model": start}

        return directory.open_run(out, run, shares=shares, fresh=fresh, writes=is_main())


def resolved(args: argparse.Namespace, **values: Any) -> argparse.Namespace:
    """Return settings with some of them resolved; the parsed ones stay as they are."""
    return argparse.Namespace(**(vars(args) | values))


def _beside(model: str, out: str) -> str:
    """Return a model as it is seen from a run's directory if both lie in one, which may have been copied; else as it is."""
    around = Path(out).parent
    return os.path.relpath(model, out) if Path(model).is_relative_to(around) and around != Path() else model


def _settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the resolved flags as plain data."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in sorted(vars(args).items())}


def tasks_of(text: str, flag: str) -> list[Task]:
    """Return the tasks that a flag names, in their order.

    Raises:
        BadRequestError: there is no such task, or one comes twice.
    """
    names = [name for name in text.split(",") if name]
    if not names or not set(names) <= set(TASKS) or len(set(names)) < len(names):
        raise BadRequestError(f"Expected some of {', '.join(TASKS)} as {flag}, each once, and got {text!r}.")
    return cast("list[Task]", names)


def _backend_of(args: argparse.Namespace) -> str:
    """Return the trainer that is asked for, or that fits the model.

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


def _check_fresh(args: argparse.Namespace) -> None:
    """See that what a run starts from does not lie in the directory that --fresh empties.

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


def check_device(name: str) -> None:
    """See that torch has a device.

    Raises:
        BadRequestError: it has none of this name here.
    """
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0][:160]
        raise BadRequestError(
            f"Expected a device that torch has here as --device, and {name!r} gave: {reason}; leave it out for the CPU."
        ) from None


# ---------------------------------------------------------------- the run
def is_main() -> bool:
    """Return whether this process writes: the only one, or the first of many."""
    return os.environ.get("RANK", "0") == "0"


def is_complete(out: Path, run: Run) -> bool:
    """Return whether a run is over, and print it if it is."""
    if run["complete"]:
        print(f"The run in {str(out)!r} is complete.", file=sys.stderr)
    return bool(run["complete"])


def close_run(out: Path, run: Run, **figures: Any) -> None:
    """Mark a run as complete."""
    if is_main():
        directory.close_run(out, run, **figures)


def train_by(
    command: Command,
    argv: Sequence[str] | None,
    *,
    by_trl: Work,
    by_plain: Work,
    plan: Callable[[argparse.Namespace], str],
) -> int:
    """Train with the backend that the flags mean, or with --dry-run print the plan alone; return the exit code."""

    def chosen(args: argparse.Namespace) -> argparse.Namespace:
        backed = resolved(args, backend=_backend_of(args))
        command.check_trainer(backed)
        _check_fresh(backed)
        return backed

    def work(args: argparse.Namespace, argv: Sequence[str]) -> Path:
        args = chosen(args)
        return by_plain(args, argv) if args.backend == "plain" else by_trl(args, argv)

    def dry() -> None:
        command.check_ranges(args)
        print(plan(chosen(args)))

    args = command.parse(argv)
    return exit_code(dry, "nothing was begun") if args.dry_run else command.run(argv, work)
