"""Teach an export to notice: python -m train.nano.noticing [--out models/defender] --work out/noticing

Reads fresh incidents with the weights of the export, and learns for each rule that a line names (`rules=`) whether the verifier finds something by it there: small layers
on the last state of the token where the rule's name ends. The weights of the export stay as they are; its graph gets one output more, and the player adds
what was noticed to the chain (`players.noticing`). Then the export settles anew how it decides, as `train.nano.export --settle` does: test sets have no say.

An incident gives some twenty labels in place of one answer, so a few thousand do, read on two cores in half an hour. What was read is kept in parts in --work: the same
command after a stop, however hard, reads the rest, and with more incidents further ones:

    python -m train.nano.noticing --incidents 5000 --drilled 2500 --work out/noticing

Exit code: 0 done; 2 a wrong call, or an export that cannot be read; 130 interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from players.embedded import MODEL, About, read_export
from players.noticing import RULE_IDS, named_in, tokens_at
from players.prompt import messages
from runs.arguments import natural, positive
from runs.directory import locked
from runs.ending import INTERRUPTED, refusing
from runs.extras import require
from runs.files import write_atomically, written_aside
from runs.progress import progress
from runs.provenance import stable_seed
from runs.workers import worker_processes
from schema import TASKS, BadRequestError, Row
from tasks.registry import Split
from train.data import AS_TOLD, Shares, training_row
from train.nano.export import ITEMS, report, write_settled
from train.nano.onnx_graph import Noticing, with_noticing, without_noticing
from train.nano.unpack import chat_tokenizer, model_of
from verifier.decision import judge_observation

PART = 100  # incidents of a file
OF_RULE, INNER = 48, 192  # numbers for each rule, and within the layers
DROPOUT, DECAY, RATE, EPOCHS, BATCH = 0.3, 0.05, 2e-3, 20, 512
CHECKED: tuple[Split, ...] = ("val", "val_family")
DRILLED = Shares(drills=1.0, other_words=0.3)


class Readings(NamedTuple):
    """What was read where the lines of some prompts name a rule.

    Args:
        states: of the model at each name, float16 [n, width].
        rules: which rule it is, text [n].
        finds: whether it finds something in the line, bool [n].
    """

    states: Any
    rules: Any
    finds: Any


class Part(NamedTuple):
    """Some incidents of a stream: so many from an index on.

    Args:
        split: whose families are told.
        drilled: whether each has a rule's own example among its lines (`train.drills`).
        seed: of the stream.
        first: index of the first.
        number: of incidents.
    """

    split: Split
    drilled: bool
    seed: int
    first: int
    number: int

    @property
    def name(self) -> str:
        """Return the name of its file."""
        return f"{self.split}{'-drilled' if self.drilled else ''}-{self.seed}-{self.first}-{self.number}.npz"

    def rows(self) -> Iterator[Row]:
        """Make its incidents."""
        stream = stable_seed(f"noticing/{self.seed}/{self.split}/{self.drilled}")
        for index in range(self.first, self.first + self.number):
            yield training_row(
                stream, index, tasks=TASKS, split=self.split, shares=DRILLED if self.drilled else AS_TOLD
            )


# ---------------------------------------------------------------- reading
def parts_of(split: Split, number: int, *, seed: int, drilled: bool = False) -> list[Part]:
    """Cut so many incidents of a stream into parts."""
    return [Part(split, drilled, seed, first, min(PART, number - first)) for first in range(0, number, PART)]


def read_part(export: Path, part: Part, path: Path) -> int:
    """Read a part's incidents with an export's weights on one core, write what was read to a file, and return how many incidents it were."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    about, model, tokenizer = _loaded(export)
    states: list[Any] = [np.zeros((0, model.config.hidden_size), np.float16)]
    rules: list[str] = []
    finds: list[bool] = []
    for row in part.rows():
        text = about.chat(messages(row["observation"], about.density))
        encoding, named = tokenizer.encode(text, add_special_tokens=False), named_in(text)
        if not named or len(encoding.ids) > about.context:
            continue
        with torch.no_grad():
            last = model.model(torch.tensor([encoding.ids]), use_cache=False).last_hidden_state[0]
        states.append(last[tokens_at(encoding.offsets, named)].numpy().astype(np.float16))
        found = judge_observation(row["observation"]).findings
        right = {(finding.rule_id, log_id) for finding in found for log_id in finding.evidence}
        rules += [name.rule_id for name in named]
        finds += [(name.rule_id, name.log_id) in right for name in named]
    with written_aside(path) as file:
        np.savez(file, states=np.concatenate(states), rules=np.array(rules, str), finds=np.array(finds, bool))
    return part.number


@lru_cache(maxsize=1)
def _loaded(export: Path) -> tuple[About, Any, Any]:
    """Return an export's description, its weights as a torch model, and its tokenizer."""
    about, graph, tokenizer = read_export(export)
    chat = chat_tokenizer(tokenizer.decode(), about)
    return about, model_of(graph, chat).eval(), chat.backend_tokenizer


def read_all(export: Path, parts: Sequence[Part], work: Path, workers: int) -> None:
    """Read the parts that are not there yet, with a bar that ends."""
    lacking = [part for part in parts if not _is_whole(work / part.name)]
    total, left = (sum(part.number for part in some) for some in (parts, lacking))
    with progress(total, "incidents read", done=total - left, line_s=30.0) as bar, worker_processes(workers) as pool:
        reads = [pool.submit(read_part, export, part, work / part.name) for part in lacking]
        for read in as_completed(reads):
            bar.advance(read.result())


def _is_whole(path: Path) -> bool:
    return path.exists() and zipfile.is_zipfile(path)


def readings(parts: Sequence[Part], work: Path) -> Readings:
    """Return what was read of some parts."""
    import numpy as np

    files = [np.load(work / part.name) for part in parts]
    return Readings(*(np.concatenate([file[name] for file in files]) for name in Readings._fields))


# ---------------------------------------------------------------- learning
def learn(read: Readings, *, seed: int) -> Any:
    """Return a noticer (`noticer_of`) that learned what the rules find.

    AdamW on the binary cross-entropy of each name, `EPOCHS` times over all.
    """
    import torch
    from torch.nn import functional as F

    torch.manual_seed(seed)
    states, rules, finds = _tensors(read)
    noticer = noticer_of(states.shape[1])
    steps = EPOCHS * -(-len(finds) // BATCH)
    optimizer = torch.optim.AdamW(noticer.parameters(), lr=RATE, weight_decay=DECAY)
    falling = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps, pct_start=0.05)
    noticer.train()
    with progress(steps, "steps", line_s=30.0) as bar:
        for _ in range(EPOCHS):
            for some in torch.randperm(len(finds)).split(BATCH):
                loss = F.binary_cross_entropy_with_logits(noticer(states[some], rules[some]), finds[some])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                falling.step()
                bar.advance()
    return noticer.eval()


def noticer_of(width: int) -> Any:
    """Make layers with random weights that give logits (float [n]) for states (float [n, width]) and their rules (places in `RULE_IDS`, int [n])."""
    import torch

    class Noticer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rules = torch.nn.Embedding(len(RULE_IDS), OF_RULE)
            self.drop, self.cut = torch.nn.Dropout(DROPOUT), torch.nn.ReLU()
            sizes = ((width + OF_RULE, INNER), (INNER, INNER), (INNER, 1))
            self.layers = torch.nn.ModuleList(torch.nn.Linear(*size) for size in sizes)

        def forward(self, states: Any, rules: Any) -> Any:
            x = torch.cat([self.drop(states), self.rules(rules)], dim=1)
            for layer in self.layers[:-1]:
                x = self.drop(self.cut(layer(x)))
            return self.layers[-1](x)[:, 0]

    return Noticer()


def _tensors(read: Readings) -> tuple[Any, Any, Any]:
    import torch

    places = {rule_id: place for place, rule_id in enumerate(RULE_IDS)}
    rules = torch.tensor([places[str(rule_id)] for rule_id in read.rules], dtype=torch.long)
    return torch.from_numpy(read.states).float(), rules, torch.from_numpy(read.finds).float()


def average_precision(noticer: Any, read: Readings) -> float:
    """Return the average precision over the names, 0 to 1 (scikit-learn's)."""
    import torch
    from sklearn.metrics import average_precision_score

    states, rules, finds = _tensors(read)
    with torch.no_grad():
        return round(float(average_precision_score(finds.numpy(), noticer(states, rules).numpy())), 4)


def weights_of(noticer: Any, tokens: Mapping[str, int]) -> Noticing:
    """Return what a graph needs of a noticer.

    Args:
        noticer: has learned.
        tokens: with which token the name of each rule ends.
    """
    layers = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in noticer.layers]
    vectors = noticer.rules.weight.detach().numpy()
    return Noticing({tokens[rule_id]: vector for rule_id, vector in zip(RULE_IDS, vectors, strict=True)}, layers)


# ---------------------------------------------------------------- the export
def teach(
    out: Path, work: Path, *, incidents: int, drilled: int, items: int = ITEMS, seed: int = 0, workers: int = 1
) -> About:
    """Teach an export to notice, and settle anew how it decides.

    Args:
        out: the export; it is replaced when all is done.
        work: a directory for what was read.
        incidents: of `train` that are read, as they are told.
        drilled: that are read with a rule's own example among the lines.
        items: incidents of `val`, of `val_family` and of `test_seed` by which it settles.
        seed: of the incidents, and of the layers.
        workers: processes that read, a core each.

    Returns:
        What defender.json says.

    Raises:
        BadRequestError: there is no defender's export in `out`, it is of another format, or what lies in `work` is of other weights.
        OpenSOCError: a library is not installed, or a file cannot be written.
    """
    require("train", "torch", "transformers", "onnx", "sklearn")
    from tokenizers import Tokenizer

    about, graph, tokenizer = read_export(out)
    about.check_defender(out)
    learned = [*parts_of("train", incidents, seed=seed), *parts_of("train", drilled, seed=seed, drilled=True)]
    checked = {split: parts_of(split, items, seed=seed) for split in CHECKED}
    with locked(work):
        _check_weights(work, graph)
        read_all(out.resolve(), [*learned, *(part for parts in checked.values() for part in parts)], work, workers)
        of_training = readings(learned, work)
        noticer = learn(of_training, seed=seed)
        figures = {split: average_precision(noticer, readings(parts, work)) for split, parts in checked.items()}
    encode = Tokenizer.from_str(tokenizer.decode()).encode
    tokens = {rule_id: encode(rule_id, add_special_tokens=False).ids[-1] for rule_id in RULE_IDS}
    made = {
        "incidents": incidents,
        "drilled": drilled,
        "names": len(of_training.finds),
        "average_precision": figures,
    }
    taught = about.model_copy(update={"measured": {**about.measured, "noticing": made}})
    return write_settled(out, taught, with_noticing(graph, weights_of(noticer, tokens)), tokenizer, items=items)


def _check_weights(work: Path, graph: bytes) -> None:
    """See that what was read there is of these weights: their hash stands in a file beside it."""
    path, weights = work / "weights", hashlib.sha256(without_noticing(graph)).hexdigest()
    if path.exists() and path.read_text() != weights:
        raise BadRequestError(
            f"Expected readings of these weights in {str(work)!r}, and what lies there was read with others; give another --work."
        )
    write_atomically(path, weights)


# ---------------------------------------------------------------- the command
@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Teach an export to notice, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m train.nano.noticing",
        description="Teach an exported defender to say which of the rules that a line names find something there.",
    )
    add = parser.add_argument
    add("--out", type=Path, default=MODEL, metavar="DIR", help="the export (default: models/defender)")
    add("--work", type=Path, required=True, metavar="DIR", help="where to keep what was read, to go on from")
    add("--incidents", type=positive, default=5000, metavar="N", help="incidents to learn from (default: 5000)")
    add(
        "--drilled",
        type=natural,
        default=2500,
        metavar="N",
        help="further ones with a rule's own example among their lines (default: 2500)",
    )
    add(
        "--items",
        type=positive,
        default=ITEMS,
        metavar="N",
        help=f"incidents of each split that it settles by (default: {ITEMS})",
    )
    add("--seed", type=natural, default=0, help="of incidents and layers (default: 0)")
    add(
        "--workers",
        type=positive,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes that read (default: all cores)",
    )
    args = parser.parse_args(argv)
    try:
        report(
            teach(
                args.out,
                args.work,
                incidents=args.incidents,
                drilled=args.drilled,
                items=args.items,
                seed=args.seed,
                workers=args.workers,
            )
        )
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on with what was read, and the export is as it was.", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
