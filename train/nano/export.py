"""Export a small Qwen2 checkpoint as the embedded defender: python -m train.nano.export CHECKPOINT [--out models/defender]

Writes model.onnx (one graph with a cache), tokenizer.json, defender.json (what decoding needs, and what was measured) and README.md, the model card.
The checkpoint, its float32 graph and its 8-bit graph answer the same incidents of the split `val`. The float32 graph must decide as the checkpoint does; the
8-bit one is kept if it costs at most a point of accuracy. All is written aside and renamed, so an export that breaks off leaves the old one. Without a checkpoint,
`--metrics RUN` writes the card of what is there anew, with the figures of a run of eval.run:

    python -m train.nano.export out/tiny/best
    python -m eval.run --defender embedded --split benchmark --out out/embedded
    python -m train.nano.export --metrics out/embedded

Exit code: 0 done; 2 a wrong call, a checkpoint that cannot be exported, or a model that is too large.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from eval.rollouts import rollout
from players.base import MARK, Density, Options, Reply
from players.codec import LONGEST, PromptCodec
from players.embedded import GRAPH, MODEL, TOKENIZER, About, Calibration, Certainty, Embedded, Generation, read_export
from players.nano import TOGETHER, NanoModel
from players.reply import parse
from players.weights import ABOUT, ABOUT_ATTACKER, TEXT_VERSION, is_exported
from runs.ending import refusing
from runs.files import move_files, replace_directory, write_atomically
from runs.progress import track
from runs.provenance import commit
from schema import BadRequestError, OpenSOCError, Row
from train.data import frozen, validation_rows
from train.nano.calibration import Judged, calibrate
from train.nano.card import CARD, card
from train.nano.caution import NEVER, Choice, choose_bound, is_doubted, reward_at
from train.nano.checkpoint import Checkpoint, history, read_record
from train.nano.model import template_of
from train.nano.onnx_graph import graph_of

LIMIT = 20_000_000  # bytes of all files together
ITEMS = 400
SEED = 17  # of the incidents of `val`
MAY_LOSE = 0.01  # of the accuracy, for 8 bits
MUST_AGREE = 0.99  # of the decisions: two likeliest tokens may be as likely as makes no difference
DENSITY: Density = "compact"
NOTICE_BOUNDS = (0.5, 0.7, 0.85, 0.95)  # of the likelihood of a finding; how many are tried costs minutes
MEASURED = ("accuracy", "macro_f1", "citation_recall")


class Answers(NamedTuple):
    """To some rows, in their order: the texts; of an export also the seconds of one core that each took, how sure it was, and how likely it held nothing."""

    texts: list[str]
    seconds: list[float]
    certainties: list[Certainty | None]
    nothings: list[float | None]

    def at(self, places: Sequence[int]) -> Answers:
        """Return the answers at some places."""
        return Answers._make([column[place] for place in places] for column in self)

    def with_others(self, places: Sequence[int], others: Answers) -> Answers:
        """Return the answers with others at some places, one for each."""
        pairs: Iterator[tuple[Sequence[Any], Sequence[Any]]] = zip(self, others, strict=True)
        columns = [dict(enumerate(own)) | dict(zip(places, other, strict=True)) for own, other in pairs]
        return Answers._make(list(column.values()) for column in columns)

    def decisions(self) -> list[tuple[str, str]]:
        """Return action and cited line of each; of a malformed reply, nothing and its text."""
        answers = [parse(text).answer for text in self.texts]
        return [
            (answer["action"], answer["cited_log_id"]) if answer else ("", text)
            for answer, text in zip(answers, self.texts, strict=True)
        ]


# ---------------------------------------------------------------- who answers
class Source(Checkpoint):
    """A checkpoint that reads and answers rows as the export must.

    Raises:
        BadRequestError: there is none in the directory, or its chat template has no system role.
        OpenSOCError: torch or transformers is not installed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.template = self._template()

    def _template(self) -> tuple[str, str, str]:
        """Return what the chat template puts around a system and a user message."""
        try:
            return template_of(self.tokenizer)
        except Exception as error:  # a template is a program, and may raise anything
            raise BadRequestError(
                f"Expected a chat template with a system and a user message in {str(self.path)!r}, and got {str(error)[:120]!r}; "
                "save the ChatML template of train.nano.model with the tokenizer."
            ) from error

    def answers(self, rows: Sequence[Row]) -> Answers:
        """Return what the checkpoint answers, greedily."""
        player = NanoModel(self.model, self.tokenizer, Options(density=DENSITY, max_tokens=LONGEST), threads=1)
        parts = [rows[start : start + TOGETHER] for start in range(0, len(rows), TOGETHER)]
        batches = track(parts, f"times {TOGETHER} items, checkpoint", total=len(parts))
        return Answers([reply.text or "" for part in batches for reply in player.answer(part)], [], [], [])


def _answers_of(
    directory: Path,
    rows: Sequence[Row],
    who: str,
    *,
    timed: bool = False,
    nothing_from: float | None = None,
    notice_from: float | None = None,
) -> Answers:
    """Return what an export answers by what its description says, `nothing_from` and `notice_from` in place of its own: a row on each core, or one after the other where its seconds count."""
    exported, answers = Embedded(directory), Answers([], [], [], [])

    def answer(row: Row) -> tuple[Generation, float]:
        started = time.thread_time()
        generation = exported.generate(row["observation"], nothing_from=nothing_from, notice_from=notice_from)
        return generation, time.thread_time() - started

    with ThreadPoolExecutor(1 if timed else os.cpu_count() or 1) as pool:
        pairs = list(track(pool.map(answer, rows), f"items, {who}", total=len(rows)))
    for generation, seconds in pairs:
        answers.seconds.append(seconds)
        answers.texts.append(generation.text or "")
        answers.certainties.append(generation.certainty)
        answers.nothings.append(generation.nothing)
    return answers


# ---------------------------------------------------------------- the export
def export(checkpoint: Path, out: Path, *, int8: str = "auto", items: int = ITEMS, run: Path | None = None) -> About:
    """Write the embedded defender of a checkpoint.

    Args:
        checkpoint: a directory that save_pretrained wrote, Qwen2.
        out: the directory to write; one that is there is replaced.
        int8: `auto` keeps 8 bits if they cost at most `MAY_LOSE` of the accuracy, `yes` always, `no` never.
        items: how many incidents of the split `val` are compared.
        run: a run of eval.run on this very export, for the card.

    Returns:
        What defender.json says.

    Raises:
        BadRequestError: the checkpoint cannot be exported, it and its graph disagree, or the files are larger than `LIMIT`.
        OpenSOCError: a library is not installed, or the directory cannot be written.
    """
    check_place(out)
    source = Source(checkpoint)
    rows = validation_rows(SEED, items)
    with _replaced(out) as aside:
        return _write_export(source, aside, rows, int8, run)


@contextmanager
def _replaced(out: Path) -> Iterator[Path]:
    """Give an empty directory that takes an export's place.

    Raises:
        OpenSOCError: it cannot be written.
    """
    try:
        with replace_directory(out) as aside:
            yield aside
    except OSError as error:
        rest = "the one that was there is kept" if out.exists() else "nothing is left of it"
        raise OpenSOCError(f"Could not write the export to {str(out)!r}: {error}; {rest}.") from error


def _write_export(source: Source, out: Path, rows: list[Row], int8: str, run: Path | None) -> About:
    """Write both precisions into an empty directory, compare them with the checkpoint, and keep one."""
    about, small = describe_source(source), out / "int8"
    write_model(source, out, about, eight_bits=False)
    _check_reading(source, out, rows)
    expected, answers = source.answers(rows), _answers_of(out, rows, "float32", timed=True)
    _check_same(rows, expected, answers)
    measured: dict[str, Any] = {"set": "val", "items": len(rows), "checkpoint": _figures(expected, expected, rows)}
    measured["float32"] = {**_figures(answers, expected, rows), "bytes": bytes_of(out)}
    precision = "float32"
    if int8 != "no":
        small.mkdir()
        write_model(source, small, about, eight_bits=True)
        fewer = _answers_of(small, rows, "int8", timed=True)
        measured["int8"] = {**_figures(fewer, expected, rows), "bytes": bytes_of(small)}
        if int8 == "yes" or measured["checkpoint"]["accuracy"] - measured["int8"]["accuracy"] <= MAY_LOSE + 1e-9:
            precision, answers = "int8", fewer
            move_files(small, out, last=lambda name: name == ABOUT)
        else:
            shutil.rmtree(small)
    check_size(out, precision)
    described = _settle(out, rows, about, precision, measured)
    (out / CARD).write_text(card(described, run), "utf-8")
    return described


def settle(out: Path, *, items: int = ITEMS, run: Path | None = None) -> About:
    """Choose anew how an export decides, without its checkpoint: by the ladder, how likely "nothing" must be, what its confidence is.

    Args:
        out: an export; the graph and the figures of its weights stay.
        items: how many incidents of `val`, of `val_family` and of `test_seed` are answered.
        run: a run of eval.run on this very export, for the card.

    Raises:
        BadRequestError: there is no export, or it is an attacker's.
        OpenSOCError: it cannot be written.
    """
    about, graph, tokenizer = read_export(out)
    about.check_defender(out, ", which decides nothing by a ladder")
    return write_settled(out, about, graph, tokenizer, items=items, run=run)


def write_settled(
    out: Path, about: About, graph: bytes, tokenizer: bytes, *, items: int = ITEMS, run: Path | None = None
) -> About:
    """Write an export of a graph in place of one, and settle anew how it decides.

    Args:
        out: the directory of the export.
        about: what it said of itself.
        graph: content of the model.onnx to write.
        tokenizer: content of the tokenizer.json to write.
        items: as in `settle`.
        run: as in `settle`.

    Raises:
        OpenSOCError: it cannot be written.
    """
    with _replaced(out) as aside:
        for name, content in ((GRAPH, graph), (TOKENIZER, tokenizer)):
            (aside / name).write_bytes(content)
        kept = about.model_dump(mode="json")
        described = _settle(aside, validation_rows(SEED, items), kept, about.precision, {**about.measured})
        (aside / CARD).write_text(card(described, run), "utf-8")
        return described


def _settle(
    out: Path, rows: Sequence[Row], about: Mapping[str, Any], precision: str, measured: dict[str, Any]
) -> About:
    """Describe an export whose graph is written: how it decides, and what that was measured to be worth on `val`."""
    settled = {**about, "by_ladder": True, "nothing_from": 0.0, "notice_from": None, "calibration": None}
    describe(out, settled, precision, measured)
    sets = {"val": rows, "val_family": validation_rows(SEED, len(rows), split="val_family")}
    answers = {name: _answers_of(out, items, f"{name}, by the ladder") for name, items in sets.items()}
    measured["by_ladder"] = {"items": len(rows), **_metrics_of(answers["val"], rows)}
    if Embedded(out).notices:
        settled["notice_from"], answers = _with_notice(out, sets, answers, measured)
        describe(out, settled, precision, measured)
    settled["nothing_from"], answers = _with_caution(out, sets, answers, measured)
    describe(out, settled, precision, measured)
    settled["calibration"] = _calibration(out, rows, answers["val"])
    return describe(out, settled, precision, measured)


def _with_notice(
    out: Path, sets: Mapping[str, Sequence[Row]], answers: Mapping[str, Answers], measured: dict[str, Any]
) -> tuple[float | None, dict[str, Answers]]:
    """Choose how likely a finding must be for the chain to say so: the bound with the best mean of the sets' mean rewards, None where it should say none; note what each earns."""
    tried: dict[float | None, dict[str, Answers]] = {None: dict(answers)}
    for bound in NOTICE_BOUNDS:
        tried[bound] = {
            name: _answers_of(out, rows, f"{name}, what is noticed from {bound:g}", notice_from=bound)
            for name, rows in sets.items()
        }
    rewards = {
        bound: {name: _mean_reward(name, sets[name], some) for name, some in both.items()}
        for bound, both in tried.items()
    }
    best = max(tried, key=lambda bound: sum(rewards[bound].values()))
    measured["notice"] = [
        {"from": bound, **{name: round(reward, 6) for name, reward in of.items()}} for bound, of in rewards.items()
    ]
    return best, tried[best]


def _with_caution(
    out: Path, sets: Mapping[str, Sequence[Row]], answers: Mapping[str, Answers], measured: dict[str, Any]
) -> tuple[float, dict[str, Answers]]:
    """Choose how likely "nothing" must be (`train.nano.caution`), note what that earns, and return it with the answers under it."""
    choices, found = {}, {}
    for name, items in sets.items():
        first = answers[name]
        places = [place for place, nothing in enumerate(first.nothings) if nothing is not None]
        again = _answers_of(out, [items[place] for place in places], f"{name}, with a finding", nothing_from=NEVER)
        found[name] = first.with_others(places, again)
        rewards = ([line["reward"] for line in _lines(name, items, either)] for either in (first, found[name]))
        choices[name] = [Choice(*choice) for choice in zip(first.nothings, *rewards, strict=True)]
    bound = choose_bound(list(choices.values()))
    measured["caution"] = {
        name: {"reward": round(reward_at(some, bound), 6), "reward_without": round(reward_at(some, 0.0), 6)}
        for name, some in choices.items()
    }
    doubted = {
        name: [place for place, choice in enumerate(some) if is_doubted(choice, bound)]
        for name, some in choices.items()
    }
    return bound, {name: answers[name].with_others(places, found[name].at(places)) for name, places in doubted.items()}


def _mean_reward(name: str, rows: Sequence[Row], answers: Answers) -> float:
    return sum(line["reward"] for line in _lines(name, rows, answers)) / len(rows)


def _calibration(out: Path, rows: Sequence[Row], answers: Answers) -> Calibration | None:
    """Fit a confidence on the answers to `val`, and measure it on as many rows of `test_seed`."""
    others = frozen("test_seed", limit=len(rows))
    sets = {"val": (rows, answers), "test_seed": (others, _answers_of(out, others, "test_seed"))}
    return calibrate(*(Judged(_lines(name, *of), of[1].certainties) for name, of in sets.items()))


def write_model(source: Source, directory: Path, about: Mapping[str, Any], *, eight_bits: bool) -> None:
    """Write the graph, the tokenizer and their description."""
    (directory / GRAPH).write_bytes(graph_of(source.model, eight_bits=eight_bits).SerializeToString())
    source.tokenizer.backend_tokenizer.save(str(directory / TOKENIZER))
    describe(directory, about, "int8" if eight_bits else "float32", {})


def describe_source(source: Source, *, seat: str = "defender", longest: int | None = None) -> dict[str, Any]:
    """Return what decoding needs, and where the checkpoint comes from."""
    size = source.model.config
    made = {
        "size": f"{size.hidden_size} wide, {size.num_hidden_layers} layers, {size.num_attention_heads} heads, {size.intermediate_size} within, "
        f"a vocabulary of {size.vocab_size:,}",
        **read_record(source.path / MARK),
    }
    if commands := history(source.path):
        made["runs"] = commands
    return {
        "template": source.template,
        "end": source.tokenizer.eos_token_id,
        "context": source.context,
        "longest": longest or LONGEST,
        "seat": seat,
        "text_version": TEXT_VERSION,
        "density": DENSITY,
        "calibration": None,
        "parameters": sum(weight.numel() for weight in source.model.parameters()),
        "checkpoint": _named(source.path),
        "commit": commit(),
        "made": made,
    }


def write_card(out: Path, text: str) -> None:
    """Put a card into an export.

    Raises:
        OpenSOCError: it cannot be written.
    """
    try:
        write_atomically(out / CARD, text)
    except OSError as error:
        raise OpenSOCError(f"Could not write {out / CARD}: {error}.") from error


def _named(path: Path) -> str:
    """Return a path from the working directory, or a name alone: what lies elsewhere on a machine is nobody's business."""
    full = path.resolve()
    return str(full.relative_to(Path.cwd())) if full.is_relative_to(Path.cwd()) else full.name


def describe(directory: Path, about: Mapping[str, Any], precision: str, measured: Mapping[str, Any]) -> About:
    """Write the description of an export, with the hashes of what lies beside it."""
    files = {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in (GRAPH, TOKENIZER)}
    described = About.model_validate({**about, "files": files, "precision": precision, "measured": measured})
    name = ABOUT if described.seat == "defender" else ABOUT_ATTACKER
    (directory / name).write_text(json.dumps(described.model_dump(mode="json"), indent=1) + "\n", "utf-8")
    return described


def _figures(answers: Answers, expected: Answers, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the main metrics, how many decisions are the checkpoint's, and the core's seconds of one."""
    same = sum(ours == theirs for ours, theirs in zip(answers.decisions(), expected.decisions(), strict=True))
    return {**_metrics_of(answers, rows), "same_decisions": same, **dict(latency(sorted(answers.seconds)))}


def _metrics_of(answers: Answers, rows: Sequence[Row]) -> dict[str, float]:
    """Return the main metrics of answers to `val`."""
    from eval.metrics import measure  # numpy, which --help does without

    metrics = measure(_lines("val", rows, answers), resamples=1)
    return {name: round(metrics[name]["value"], 6) for name in MEASURED if metrics[name]["value"] is not None}


def _lines(name: str, rows: Sequence[Row], answers: Answers) -> list[dict[str, Any]]:
    """Return the answers as a run of eval.run has them."""
    return [rollout(name, row, Reply(text), "hardened") for row, text in zip(rows, answers.texts, strict=True)]


def latency(seconds: Sequence[float]) -> Iterator[tuple[str, float]]:
    """Yield median, 99th percentile and longest of sorted seconds, none of no seconds."""
    if seconds:
        for name, share in (("median", 0.5), ("p99", 0.99), ("max", 1.0)):
            yield f"latency_{name}_s", round(seconds[min(int(share * len(seconds)), len(seconds) - 1)], 4)


# ---------------------------------------------------------------- checks
def _check_reading(source: Source, directory: Path, rows: Sequence[Row]) -> None:
    """See that the exported tokenizer reads what the checkpoint's does."""
    exported, codec = Embedded(directory), PromptCodec(source.tokenizer)
    for row in rows:
        if exported.read(row["observation"]) != codec.read(row):
            raise BadRequestError(
                f"Expected the exported tokenizer to read {row['id']} as the checkpoint's does, and it does not; nothing was written."
            )


def _check_same(rows: Sequence[Row], expected: Answers, answers: Answers) -> None:
    """See that the float32 graph decides as the checkpoint does."""
    pairs = zip(rows, expected.decisions(), answers.decisions(), strict=True)
    others = [(row["id"], theirs, ours) for row, theirs, ours in pairs if theirs != ours]
    if len(others) > (1 - MUST_AGREE) * len(rows):
        name, theirs, ours = others[0]
        raise BadRequestError(
            f"Expected the float32 graph to decide as the checkpoint does, and on {len(others)} of {len(rows)} incidents it does not; on {name} "
            f"it says {ours!r} for {theirs!r}; nothing was written."
        )


def check_place(out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not is_exported(out))):
        raise BadRequestError(
            f"Expected an exported defender or nothing in {str(out)!r}, and found something else; give another --out."
        )


def bytes_of(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.iterdir())


def check_size(directory: Path, precision: str) -> None:
    size = bytes_of(directory)
    if size > LIMIT:
        advice = "take a smaller preset" if precision == "int8" else "take --int8 yes or a smaller preset"
        raise BadRequestError(
            f"Expected an embedded defender of at most {LIMIT / 1e6:.0f} MB, and as {precision} it has {size / 1e6:.2f} MB; {advice}."
        )


# ---------------------------------------------------------------- the command
@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Export, or write the card anew, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m train.nano.export", description="Export a small Qwen2 checkpoint as the embedded defender."
    )
    add = parser.add_argument
    add(
        "checkpoint",
        nargs="?",
        type=Path,
        help="directory of a checkpoint; without it --settle or --metrics says what is done",
    )
    add(
        "--settle",
        action="store_true",
        help="without a checkpoint: choose anew how the export in --out decides, on --items incidents of val and val_family",
    )
    add("--out", type=Path, default=MODEL, metavar="DIR", help="where to write (default: models/defender)")
    add(
        "--int8",
        choices=("auto", "yes", "no"),
        default="auto",
        help="8 bits where they cost at most a point of accuracy, always, or never (default: auto)",
    )
    add(
        "--items",
        type=int,
        default=ITEMS,
        metavar="N",
        help=f"incidents of val that are compared (default: {ITEMS})",
    )
    add("--metrics", type=Path, metavar="RUN", help="a run of eval.run on the export, for the figures of the card")
    args = parser.parse_args(argv)
    try:
        if args.items < 1:
            raise BadRequestError(f"Expected 1 or more as --items, and got {args.items}.")
        if args.checkpoint and args.settle:
            raise BadRequestError(
                "Expected a checkpoint or --settle, and got both; an export settles by itself how it decides."
            )
        if args.checkpoint:
            report(export(args.checkpoint, args.out, int8=args.int8, items=args.items, run=args.metrics))
        elif args.settle:
            report(settle(args.out, items=args.items, run=args.metrics))
        elif args.metrics:
            write_card(args.out, card(Embedded(args.out).about, args.metrics))
        else:
            raise BadRequestError(
                "Expected a checkpoint's directory, --settle, or --metrics RUN for the card alone; got none of them."
            )
    except KeyboardInterrupt:
        print("Interrupted; what was there before is kept.", file=sys.stderr)
        return 130
    print(f"Wrote {_named(args.out)}")
    return 0


def report(about: About) -> None:
    measured = about.measured
    print(f"{measured['items']} incidents of {measured['set']}; a decision's time is that of one core")
    for name in ("checkpoint", "float32", "int8"):
        if figures := measured.get(name):
            print(f"{name:<10} accuracy {figures['accuracy']:.3f}, {', '.join(_told(figures))}")
    if figures := measured.get("by_ladder"):
        print(f"by the ladder: accuracy {figures['accuracy']:.3f} on {figures['items']} incidents of val")
    for tried in measured.get("notice", ()):
        bound = "nothing is noticed" if tried["from"] is None else f"a finding noticed from {tried['from']:g} on"
        print(f"{bound}: mean reward {tried['val']:.3f} on val, {tried['val_family']:.3f} on val_family")
    for name, rewards in measured.get("caution", {}).items():
        print(
            f'{name:<10} mean reward {rewards["reward"]:.3f} where "nothing" must be {about.nothing_from:g} likely, {rewards["reward_without"]:.3f} without a bound'
        )
    if calibration := about.calibration:
        print(
            f"confidence of {calibration.of} at temperature {calibration.temperature:.3f}, {'' if calibration.stated else 'not '}stated"
        )
        for name, of in (("val", calibration.val), ("test_seed", calibration.test_seed)):
            print(
                f"{name:<10} ECE {of.ece:.3f} (the action's probability: {of.ece_before:.3f}), Brier {of.brier:.3f} ({of.brier_before:.3f}), {of.n} answers"
            )


def _told(figures: Mapping[str, Any]) -> Iterator[str]:
    yield f"same action and line as the checkpoint {figures['same_decisions']}"
    if "latency_median_s" in figures:
        times = (figures[f"latency_{name}_s"] * 1000 for name in ("median", "p99", "max"))
        yield "{:.0f} ms a decision (99 % within {:.0f}, longest {:.0f})".format(*times)
    if "bytes" in figures:
        yield f"{figures['bytes'] / 1e6:.2f} MB"


if __name__ == "__main__":
    sys.exit(main())
