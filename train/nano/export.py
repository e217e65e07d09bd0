"""Export a small Qwen2 checkpoint as the embedded defender: python -m train.nano.export CHECKPOINT [--out models/defender]

Writes model.onnx (one graph with a cache), tokenizer.json, defender.json (what decoding needs, and what was measured) and README.md, the model card.
The float32 graph must answer as the checkpoint does on every item that is compared; the 8-bit one is kept where it does so too, as that of a
checkpoint that train.nano.quantise put on the 8-bit grid. All is written aside and renamed, so an export that breaks off leaves the old one. Without a checkpoint, `--metrics RUN` writes
the card of what is there anew, with the figures of a run of eval.run:

    python -m train.nano.export out/tiny/best
    python -m eval.run --defender embedded --split benchmark --out out/embedded
    python -m train.nano.export --metrics out/embedded

Exit code: 0 done; 2 a wrong call, a checkpoint that cannot be exported, or a model that is too large.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from players.base import Density
from players.codec import MARK
from players.embedded import ABOUT, GRAPH, MODEL, TOKENIZER, About, Embedded
from players.prompt import messages, parse
from schema import BadRequestError, OpenSOCError
from train.nano.card import CARD, card

LIMIT = 20_000_000  # bytes of all files together
ITEMS_SET = "holdout"
ITEMS = 200
RUN = "run.json"  # what a training run says of itself
LONGEST = 64  # tokens of an answer; a right one has about ten
DENSITY: Density = "compact"


class Answers(NamedTuple):
    """To some rows, in their order: each reply's tokens and text, and the seconds that it took."""

    tokens: list[list[int]]
    texts: list[str]
    seconds: list[float]

    def decisions(self) -> list[tuple[str, str]]:
        """Action and cited line of each; of a malformed reply, nothing and its text."""
        answers = [parse(text).answer for text in self.texts]
        return [
            (answer["action"], answer["cited_log_id"]) if answer else ("", text)
            for answer, text in zip(answers, self.texts, strict=True)
        ]

    def accuracy(self, rows: Sequence[Mapping[str, Any]]) -> float:
        """The share of rows whose true action was named."""
        pairs = zip(self.decisions(), rows, strict=True)
        return sum(action == row["ground_truth"]["action"] for (action, _), row in pairs) / len(rows)


# ---------------------------------------------------------------- the checkpoint
class Checkpoint:
    """A model with its tokenizer, as transformers has them; torch computes on one core from here on, as the graph does.

    Raises:
        BadRequestError: there is none in the directory, or its chat template has no system role.
        OpenSOCError: torch or transformers is not installed.
    """

    def __init__(self, path: Path) -> None:
        if not (path / "config.json").is_file():
            raise BadRequestError(
                f"Expected a checkpoint with config.json in {str(path)!r}, and found none; train one with train.sft."
            )
        try:
            import torch
            from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
            from transformers.utils import logging

            torch.set_num_threads(1)
            logging.disable_progress_bar()
            self.model = AutoModelForCausalLM.from_pretrained(path, dtype="float32", local_files_only=True).eval()
            # Not AutoTokenizer, which splits as Qwen does whatever tokenizer.json says.
            self.tokenizer = PreTrainedTokenizerFast.from_pretrained(path, local_files_only=True)
        except ImportError as error:
            raise OpenSOCError(
                f"Expected {error.name} for an export, and it is not installed; install the extra `train`."
            ) from error
        except Exception as error:  # transformers, safetensors and tokenizers each have their own
            raise BadRequestError(
                f"Expected a whole checkpoint in {str(path)!r}, and loading it gave {type(error).__name__}: {str(error)[:200]}."
            ) from error
        self.path = path
        self.context = int(self.model.config.max_position_embeddings)
        self.template = self._template()

    def _template(self) -> tuple[str, str, str]:
        """What the chat template puts around a system and a user message."""
        system, user = "[[system]]", "[[user]]"
        try:
            text = str(self._chat([{"role": "system", "content": system}, {"role": "user", "content": user}]))
            before, rest = text.split(system)
            between, after = rest.split(user)
        except Exception as error:  # a template is a program, and may raise anything
            raise BadRequestError(
                f"Expected a chat template with a system and a user message in {str(self.path)!r}, and got {str(error)[:120]!r}; "
                "save the ChatML template of train.nano.model with the tokenizer."
            ) from error
        return before, between, after

    def _chat(self, prompt: list[dict[str, str]]) -> Any:
        return self.tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)

    def read(self, row: Mapping[str, Any]) -> list[int]:
        """The tokens of a row's prompt."""
        text = self._chat(messages(row["observation"], density=DENSITY))
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def say(self, row: Mapping[str, Any]) -> tuple[list[int], str]:
        """What transformers generates, greedily; nothing where the prompt leaves no room."""
        import torch

        read, end = self.read(row), self.tokenizer.eos_token_id
        if len(read) > self.context - LONGEST:
            return [], ""
        given = torch.tensor([read])
        with torch.inference_mode():
            made = self.model.generate(
                given, attention_mask=torch.ones_like(given), max_new_tokens=LONGEST, eos_token_id=end, pad_token_id=end,
                do_sample=False, temperature=None, top_k=None, top_p=None,
            )  # fmt: skip
        tokens = [int(token) for token in made[0, len(read) :]]
        tokens = tokens[: tokens.index(end)] if end in tokens else tokens
        return tokens, str(self.tokenizer.decode(tokens, skip_special_tokens=True))


def _asked(
    rows: Sequence[Mapping[str, Any]], say: Callable[[Mapping[str, Any]], tuple[list[int], str]], who: str
) -> Answers:
    from rich.console import Console
    from rich.progress import track

    answers = Answers([], [], [])
    console = Console(stderr=True)
    for row in track(rows, description=who, console=console, disable=not console.is_terminal):
        started = time.perf_counter()
        tokens, text = say(row)
        answers.seconds.append(time.perf_counter() - started)
        answers.tokens.append(tokens)
        answers.texts.append(text)
    return answers


def _of_export(directory: Path) -> Callable[[Mapping[str, Any]], tuple[list[int], str]]:
    exported = Embedded(directory)

    def say(row: Mapping[str, Any]) -> tuple[list[int], str]:
        decision = exported.generate(row["observation"])
        return decision.tokens, decision.text or ""

    return say


# ---------------------------------------------------------------- the export
def export(
    checkpoint: Path, out: Path, *, int8: str = "auto", items: int = ITEMS, run: Path | None = None
) -> dict[str, Any]:
    """Write the embedded defender of a checkpoint.

    Args:
        checkpoint: a directory that save_pretrained wrote, Qwen2.
        out: the directory to write; one that is there is replaced.
        int8: `auto` keeps 8 bits where every item that is compared gets the checkpoint's answer, `yes` always, `no` never.
        items: how many items of the frozen hold-out are compared.
        run: a run of eval.run on this very export, for the card.

    Returns:
        What was measured, as defender.json has it.

    Raises:
        BadRequestError: the checkpoint cannot be exported, it and its graph disagree, or the files are larger than `LIMIT`.
        OpenSOCError: a library is not installed, or the directory cannot be written.
    """
    from runs.provenance import commit
    from train.data import frozen
    from train.nano.onnx_graph import graph_of

    _check_place(out)
    source = Checkpoint(checkpoint)
    rows = frozen(ITEMS_SET, limit=items)
    with _aside(out) as (plain, small):
        _write_graph(graph_of(source.model), plain / GRAPH)
        made = written(checkpoint / MARK)
        if runs := history(checkpoint):
            made["runs"] = runs
        about = {
            "template": source.template,
            "end": source.tokenizer.eos_token_id,
            "context": source.context,
            "longest": LONGEST,
            "density": DENSITY,
            "parameters": sum(weight.numel() for weight in source.model.parameters()),
            "checkpoint": _named(checkpoint),
            "commit": commit(),
            "made": made,
        }
        source.tokenizer.backend_tokenizer.save(str(plain / TOKENIZER))
        _describe(plain, about, "float32", {})
        theirs = _asked(rows, source.say, "checkpoint")
        ours = _asked(rows, _of_export(plain), "float32")
        _check_same(source, plain, rows, theirs, ours)
        measured: dict[str, Any] = {"set": ITEMS_SET, "items": len(rows), "checkpoint": _figures(theirs, theirs, rows)}
        measured["float32"] = {**_figures(ours, theirs, rows), "bytes": _size(plain)}
        precision, chosen = "float32", plain
        if int8 != "no":
            _write_graph(graph_of(source.model, eight_bits=True), small / GRAPH)
            shutil.copy(plain / TOKENIZER, small / TOKENIZER)
            _describe(small, about, "int8", {})
            fewer = _asked(rows, _of_export(small), "int8")
            measured["int8"] = {**_figures(fewer, theirs, rows), "bytes": _size(small)}
            if int8 == "yes" or measured["int8"]["same_decisions"] == len(rows):
                precision, chosen = "int8", small
        described = _describe(chosen, about, precision, measured)
        (chosen / CARD).write_text(card(described, run), "utf-8")
        _check_size(chosen, precision)
        _swap(chosen, out)
    return measured


def write_card(out: Path, run: Path | None) -> None:
    """Write the card of an export anew, with a run's figures.

    Raises:
        BadRequestError: there is no export, or the run is of another model.
    """
    part = out / f".{CARD}.new"
    about = Embedded(out).about
    try:
        part.write_text(card(about, run), "utf-8")
        part.replace(out / CARD)
    except OSError as error:
        raise OpenSOCError(f"Could not write {out / CARD}: {error}.") from error


def written(path: Path) -> dict[str, Any]:
    """The object that training wrote into a file; nothing where it wrote none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def history(checkpoint: Path) -> list[dict[str, Any]]:
    """The commands that made a checkpoint, the first one first, as far back as their run.json are there.

    Returns:
        Of each `command`, `commit`, `steps` and `incidents`, counted over the stages that led here.
    """
    found: list[dict[str, Any]] = []
    path = checkpoint
    while len(found) < 10 and (run := written(path / RUN)):
        whole = written(path.parent / RUN)
        stages = whole.get("stages") or []
        passed = stages[: stages.index(path.name) + 1] if path.name in stages else []
        runs = [written(path.parent / stage / RUN) for stage in passed] or [run]
        sums = {name: sum(int(one.get(name) or 0) for one in runs) for name in ("steps", "incidents")}
        began = whole if passed else run  # a stage says which commit there was when it began
        found.insert(0, {"command": run.get("command"), "commit": began.get("commit"), **sums})
        path = Path(str((run.get("settings") or {}).get("model")))
    return found


def _named(path: Path) -> str:
    """A path from the working directory, or a name alone: what lies elsewhere on a machine is nobody's business."""
    full = path.resolve()
    return str(full.relative_to(Path.cwd())) if full.is_relative_to(Path.cwd()) else full.name


def _write_graph(graph: Any, path: Path) -> None:
    path.write_bytes(graph.SerializeToString())


def _describe(directory: Path, about: Mapping[str, Any], precision: str, measured: Mapping[str, Any]) -> About:
    """Write defender.json, with the hashes of what lies beside it."""
    files = {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in (GRAPH, TOKENIZER)}
    described = About.model_validate({**about, "files": files, "precision": precision, "measured": measured})
    (directory / ABOUT).write_text(json.dumps(described.model_dump(mode="json"), indent=1) + "\n", "utf-8")
    return described


def _figures(answers: Answers, theirs: Answers, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Accuracy, how many decisions are the checkpoint's, and the time of one."""
    same = sum(one == other for one, other in zip(answers.decisions(), theirs.decisions(), strict=True))
    ordered = sorted(answers.seconds)
    return {
        "accuracy": round(answers.accuracy(rows), 6),
        "same_decisions": same,
        "latency_median_s": round(ordered[len(ordered) // 2], 4),
        "latency_max_s": round(ordered[-1], 4),
    }


# ---------------------------------------------------------------- checks
def _check_same(
    source: Checkpoint, directory: Path, rows: Sequence[Mapping[str, Any]], theirs: Answers, ours: Answers
) -> None:
    """The graph reads what the checkpoint reads and decides as it does."""
    exported = Embedded(directory)
    for row, one, other in zip(rows, theirs.decisions(), ours.decisions(), strict=True):
        if exported.read(row["observation"]) != source.read(row):
            raise BadRequestError(
                f"Expected the exported tokenizer to read {row['id']} as the checkpoint's does, and it does not; nothing was written."
            )
        if one != other:
            raise BadRequestError(
                f"Expected the float32 graph to decide as the checkpoint does, and on {row['id']} it says {other!r} for {one!r}; "
                "nothing was written."
            )


def _check_place(out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / ABOUT).is_file())):
        raise BadRequestError(
            f"Expected an exported defender or nothing in {str(out)!r}, and found something else; give another --out."
        )


def _size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.iterdir())


def _check_size(directory: Path, precision: str) -> None:
    size = _size(directory)
    if size > LIMIT:
        advice = "take a smaller preset" if precision == "int8" else "take --int8 yes or a smaller preset"
        raise BadRequestError(
            f"Expected an embedded defender of at most {LIMIT / 1e6:.0f} MB, and as {precision} it has {size / 1e6:.2f} MB; {advice}."
        )


# ---------------------------------------------------------------- written aside, then renamed
@contextmanager
def _aside(out: Path) -> Iterator[tuple[Path, Path]]:
    """Two empty directories beside `out`, gone at the end; and `out` itself, should an earlier swap have broken off.

    Raises:
        OpenSOCError: something cannot be written, a full disk for instance.
    """
    old, places = _old(out), [out.with_name(f".{out.name}.{kind}") for kind in ("float32", "int8")]
    try:
        if old.exists() and not out.exists():
            old.rename(out)
        for place in (old, *places):
            shutil.rmtree(place, ignore_errors=True)
        for place in places:
            place.mkdir(parents=True)
        yield places[0], places[1]
    except OSError as error:
        kept = "the one that was there is kept" if out.exists() else "nothing is left of it"
        raise OpenSOCError(f"Could not write the export to {str(out)!r}: {error}; {kept}.") from error
    finally:
        for place in places:
            shutil.rmtree(place, ignore_errors=True)


def _old(out: Path) -> Path:
    return out.with_name(f".{out.name}.old")


def _swap(new: Path, out: Path) -> None:
    """Put a directory in the place of another."""
    old = _old(out)
    if out.exists():
        out.rename(old)
    try:
        new.rename(out)
    except BaseException:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


# ---------------------------------------------------------------- the command
def main(argv: Sequence[str] | None = None) -> int:
    """Export, or write the card anew, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m train.nano.export", description="Export a small Qwen2 checkpoint as the embedded defender."
    )
    add = parser.add_argument
    add("checkpoint", nargs="?", type=Path, help="directory of a checkpoint; without it the card alone is written")
    add("--out", type=Path, default=MODEL, metavar="DIR", help="where to write (default: models/defender)")
    add(
        "--int8",
        choices=("auto", "yes", "no"),
        default="auto",
        help="8 bits where they answer all items as the checkpoint does, always, or never (default: auto)",
    )
    add(
        "--items",
        type=int,
        default=ITEMS,
        metavar="N",
        help=f"items of {ITEMS_SET} that are compared (default: {ITEMS})",
    )
    add("--metrics", type=Path, metavar="RUN", help="a run of eval.run on the export, for the figures of the card")
    args = parser.parse_args(argv)
    try:
        if args.items < 1:
            raise BadRequestError(f"Expected 1 or more as --items, and got {args.items}.")
        if args.checkpoint is None:
            if args.metrics is None:
                raise BadRequestError(
                    "Expected a checkpoint's directory, or --metrics RUN for the card alone; got neither."
                )
            write_card(args.out, args.metrics)
        else:
            _report(export(args.checkpoint, args.out, int8=args.int8, items=args.items, run=args.metrics))
    except OpenSOCError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; what was there before is kept.", file=sys.stderr)
        return 130
    print(f"Wrote {_named(args.out)}")
    return 0


def _report(measured: Mapping[str, Any]) -> None:
    print(f"{measured['items']} items of {measured['set']}")
    for name in ("checkpoint", "float32", "int8"):
        if name in measured:
            one = measured[name]
            size = f", {one['bytes'] / 1e6:.2f} MB" if "bytes" in one else ""
            print(
                f"{name:<10} accuracy {one['accuracy']:.3f}, same action and line as the checkpoint {one['same_decisions']}, "
                f"{one['latency_median_s'] * 1000:.0f} ms a decision (longest {one['latency_max_s'] * 1000:.0f} ms){size}"
            )


if __name__ == "__main__":
    sys.exit(main())
