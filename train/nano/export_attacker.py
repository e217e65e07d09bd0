"""Export a small Qwen2 checkpoint as the embedded attacker: python -m train.nano.export_attacker CHECKPOINT [--out models/attacker]

Writes model.onnx (8 bits), tokenizer.json, attacker.json (what decoding needs, and what was measured) and README.md, the model card. Checkpoint and export write
incidents for the same briefs of the split `val`: the checkpoint freely, the export freely and within the grammar; the card says how many the gate admits. All is
written aside and renamed. Without a checkpoint the card of the export in --out is written anew, after what --measure names is measured again.

Exit code: 0 done; 2 a wrong call, or a checkpoint that cannot be exported.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eval.attacks import counted
from players.attackers.attempts import attempt, brief_of
from players.attackers.base import Attacker, Brief, asked_in_turn
from players.attackers.embedded import MODEL, EmbeddedAttacker
from players.attackers.nano import IncidentCodec, NanoAttacker
from players.base import Options
from players.embedded import About
from runs.arguments import positive
from runs.ending import refusing
from runs.files import replace_directory
from runs.progress import track
from schema import LABELS, TASKS, OpenSOCError
from train.nano.card import CARD, Result, front_matter, made_by
from train.nano.export import (
    Source,
    bytes_of,
    check_place,
    check_size,
    describe,
    describe_source,
    latency,
    write_card,
    write_model,
)

BRIEFS = 100
SALT = "export"  # of the briefs' worlds


class Way(NamedTuple):
    """How an export writes: at which temperature, and whether freely, without the grammar."""

    temperature: float
    free: bool = False


WAYS = {
    "free": Way(0.0, free=True),
    "free at 1": Way(1.0, free=True),
    "greedy": Way(0.0),
    "at 0.7": Way(0.7),
    "at 1": Way(1.0),
}
RESULTS = {"admitted": "incidents that the gate admits", "on_target": "incidents that deserve the action asked for"}


def export(checkpoint: Path, out: Path, *, briefs: int = BRIEFS) -> About:
    """Write the embedded attacker of a checkpoint, and return what is written beside it.

    Args:
        checkpoint: a directory that the plain loop made, of the attacker's seat.
        out: the directory to write; one that is there is replaced.
        briefs: of the split `val` that are written for.

    Raises:
        BadRequestError: the checkpoint cannot be exported, or its files are too large.
        OpenSOCError: a library is not installed, or the directory cannot be written.
    """
    check_place(out)
    source = Source(checkpoint)
    try:
        with replace_directory(out) as aside:
            return _write(source, aside, _briefs(briefs))
    except OSError as error:
        raise OpenSOCError(f"Could not write the export to {str(out)!r}: {error}.") from error


def _briefs(number: int) -> list[Brief]:
    """Return what is asked for: each action in turn, in worlds of `val`."""
    return [
        brief_of(TASKS[index // len(LABELS) % len(TASKS)], index, split="val", salt=SALT, asked=asked_in_turn(index))
        for index in range(number)
    ]


def _write(source: Source, out: Path, briefs: Sequence[Brief]) -> About:
    about = describe_source(source, seat="attacker", longest=IncidentCodec.longest)
    write_model(source, out, about, eight_bits=True)
    check_size(out, "int8")
    started = NanoAttacker(source.model, source.tokenizer, Options())
    measured = {
        "set": "val",
        "items": len(briefs),
        "bytes": bytes_of(out),
        "checkpoint": _figures(started, briefs, "checkpoint"),
        **{name: _figures(_writer(out, name), briefs, name) for name in WAYS},
    }
    described = describe(out, about, "int8", measured)
    (out / CARD).write_text(card(described), "utf-8")
    return described


def measure_again(out: Path, names: Sequence[str]) -> About:
    """Measure ways of an export to write anew, on as many briefs as before, write its description, and return it.

    Raises:
        BadRequestError: there is no exported attacker.
        OpenSOCError: a library is not installed, or the description cannot be written.
    """
    about = EmbeddedAttacker(Options(), out).about
    briefs = _briefs(about.measured["items"])
    measured = about.measured | {name: _figures(_writer(out, name), briefs, name) for name in names}
    try:
        return describe(out, about.model_dump(mode="json"), about.precision, measured)
    except OSError as error:
        raise OpenSOCError(f"Could not write the description in {str(out)!r}: {error}.") from error


def _writer(out: Path, name: str) -> EmbeddedAttacker:
    way = WAYS[name]
    return EmbeddedAttacker(Options(temperature=way.temperature), out, free=way.free)


def _figures(attacker: Attacker, briefs: Sequence[Brief], name: str) -> dict[str, Any]:
    """Return what an attacker's incidents are: how many were admitted, what they deserve, how many plays there are, and the seconds of one."""
    parts = [briefs[start : start + attacker.batch] for start in range(0, len(briefs), attacker.batch)]
    attempts, seconds = [], []
    for part in track(parts, f"times {attacker.batch} incidents, {name}", total=len(parts)):
        began = time.perf_counter()
        replies = attacker.craft(part)
        seconds += [(time.perf_counter() - began) / len(part)] * len(part)
        attempts += [attempt(brief, reply.text, salt=SALT) for brief, reply in zip(part, replies, strict=True)]
    admitted = [made for made in attempts if made.scenario is not None]
    truths = Counter(made.scenario.truth.action for made in admitted if made.scenario)
    return {
        "admitted": counted(len(admitted), len(briefs)),
        "on_target": counted(
            sum(made.scenario.truth.action == made.brief.asked for made in admitted if made.scenario), len(briefs)
        ),
        "truths": {label: truths[label] for label in LABELS},
        "plays": len({made.admission.play for made in admitted if made.admission}),
        **dict(latency(sorted(seconds))),
    }


def card(about: About) -> str:
    """Return the model card."""
    measured = about.measured
    results = [
        Result(key, title, measured["greedy"][key]["value"], f"{measured['items']} briefs of {measured['set']}")
        for key, title in RESULTS.items()
    ]
    return "\n".join(
        [
            front_matter("OpenSOC embedded attacker", ("red-team", "self-play"), results),
            "# The embedded attacker",
            "",
            f"A causal language model of the Qwen2 architecture with {about.parameters:,} parameters that writes incidents for OpenSOC as lines (`players.incidents`):",
            "it reads a world and which action is asked for, and invents events in that world. No pretrained weights and no outside data are in it.",
            "",
            "```bash",
            ".venv/bin/python -m eval.attack --attacker embedded --n 200 --out out/attack",
            "```",
            "",
            "`python -m train.nano.unpack models/attacker --out out/attacker` makes a float32 checkpoint of it, to train on.",
            "",
            "## How it was made",
            "",
            *made_by(about),
            "",
            f"## What the gate admits, of {measured['items']} briefs of `{measured['set']}`",
            "",
            "| | admitted | deserves what was asked | plays | " + " | ".join(LABELS) + " |",
            "|---|---|---|---|" + "---|" * len(LABELS),
            *(_row(name, measured[name]) for name in ("checkpoint", *WAYS)),
            "",
            "`checkpoint` is the float32 one, greedy and free; the other rows are this export, greedy or at a temperature. `free` ones write whatever the model finds likeliest;",
            "the others, as `--attacker embedded` does, only what the grammar of incidents allows in the world at hand (`players.attackers.grammar`). Intervals are 95 % (Wilson).",
            "",
            "## Limits",
            "",
            "- It knows the event types, rules and families of OpenSOC's generator, and nothing else: what it writes are exercises, not attacks on any system.",
            "- Half of what it writes deserves another action than it was asked for; the verifier, not the model, says what is right.",
            "",
        ]
    )


def _row(name: str, figures: Mapping[str, Any]) -> str:
    def cell(share: Mapping[str, Any]) -> str:
        return f"{share['value']:.2f} [{share['low']:.2f}, {share['high']:.2f}]"

    truths = " | ".join(str(figures["truths"][label]) for label in LABELS)
    return f"| {name} | {cell(figures['admitted'])} | {cell(figures['on_target'])} | {figures['plays']} | {truths} |"


@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m train.nano.export_attacker",
        description="Export a small checkpoint as the embedded attacker.",
        epilog=(__doc__ or "").split("\n\n")[-1],
    )
    parser.add_argument(
        "checkpoint",
        nargs="?",
        type=Path,
        help="a directory that the plain loop made; without it the card alone is written",
    )
    parser.add_argument("--out", type=Path, default=MODEL, help="the directory to write (default models/attacker)")
    parser.add_argument("--briefs", type=positive, default=BRIEFS, help=f"that are written for (default {BRIEFS})")
    parser.add_argument(
        "--measure",
        nargs="+",
        choices=WAYS,
        default=(),
        help="measure these rows of the card anew, without a checkpoint",
    )
    args = parser.parse_args(argv)
    if args.checkpoint is None:
        about = EmbeddedAttacker(Options(), args.out).about
        write_card(args.out, card(measure_again(args.out, args.measure) if args.measure else about))
        return 0
    about = export(args.checkpoint, args.out, briefs=args.briefs)
    for name in ("checkpoint", *WAYS):
        admitted = about.measured[name]["admitted"]
        print(f"{name}: {admitted['value']:.2f} [{admitted['low']:.2f}, {admitted['high']:.2f}] admitted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
