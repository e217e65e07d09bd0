"""A small transformer that sees one half of an observation: the lines without the context, or the context without the lines.

Each line, and each row of the context, is one position: the mean of its hashed words. Names and addresses become `name1`, `address2`
in the order in which the half shows them, so that the learner can see what belongs together and nothing by heart; times become
minutes since the half's first. The alert stands before either half. A decision needs both, so neither may tell it alone. Needs torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from zlib import crc32

import numpy as np

from schema import LABELS, epoch_s

Half = Literal["lines", "context"]
POSITIONS = 48  # the alert, and lines or rows; more are cut off
WORDS = 32  # of a position
BUCKETS = 4096  # of hashed words
WIDTH, HEADS, LAYERS = 64, 4, 2
BATCH, RATE = 32, 4e-3
EPOCHS, STEPS = 6, 200  # at least so many passes, and so many batches
LEAST_SHARE = 0.02
FORGOTTEN = 0.2  # of a position's words, other ones in each pass, so that no single word is learned by heart
_TIME = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")
_ADDRESS = re.compile(r"^(?:\d{1,3}\.){3}\d{1,3}$")
_WORD = re.compile(r"[a-z_]{2,}|\d+")
_NAMES = frozenset({"device_hostname", "host", "hosts", "actor_user", "user_name", "accounts", "name"})

Row = tuple[str, Mapping[str, Any]]  # what it is, and its fields


def tokens(observation: Mapping[str, Any], half: Half) -> np.ndarray:
    """Hash one half of an observation: int16, `POSITIONS` x `WORDS`, 0 where there is nothing."""
    rows = _rows(observation, half)
    first = min((epoch_s(text) for _, row in rows for _, text in _texts(row) if _TIME.match(text)), default=0.0)
    names: dict[str, str] = {}
    hashed = np.zeros((POSITIONS, WORDS), dtype=np.int16)
    for position, (kind, row) in enumerate(rows[:POSITIONS]):
        words = [kind, *dict.fromkeys(word for pair in _texts(row) for word in _words(*pair, names, first))][:WORDS]
        hashed[position, : len(words)] = [1 + crc32(word.encode()) % (BUCKETS - 1) for word in words]
    return hashed


def _rows(observation: Mapping[str, Any], half: Half) -> list[Row]:
    alert = observation["alert"]
    rows: list[Row] = [("alert", {name: value for name, value in alert.items() if name != "log_id"})]
    if half == "lines":
        for line in observation["log_window"]:
            kind = "alerted " if line["log_id"] == alert["log_id"] else ""
            rows.append((f"{kind}{line['event_type']}", {"timestamp": line["timestamp"], **line["fields"]}))
        return rows
    for part, members in observation["context"].items():
        for row in [{"now": members}] if part == "now" else members:
            rows.append((part, row if isinstance(row, Mapping) else {"value": row}))
    return rows


def _texts(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield fields and their values as text, each member of a list on its own."""
    for name, value in row.items():
        for member in value if isinstance(value, list) else (value,):
            yield name, str(member)


def _words(field: str, text: str, names: dict[str, str], first: float) -> Iterator[str]:
    """Yield a value's words, with the field's name; a name's or an address's number also without, so that fields can be compared."""
    if _TIME.match(text):
        yield f"{field} {(epoch_s(text) - first) // 180:.0f}"
    elif field in _NAMES or _ADDRESS.match(text) or text in names:
        number = names.setdefault(text, f"name{len(names)}")
        yield from (number, f"{field} {number}")
    else:
        yield from (f"{field} {word}" for word in _WORD.findall(text.lower()))


def fit_and_label(seen: np.ndarray, labels: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Train a transformer on one half of some incidents, and label others: numbers of decisions, the same on every run.

    Args:
        seen: `tokens` of the incidents to train on, incidents x positions x words.
        labels: their decisions, numbers.
        unseen: `tokens` of those to label.
    """
    import torch

    seen, unseen = _frequent(seen, unseen)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tasks are probed side by side, and sums come in one order
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = _model()
            _train(model, seen, labels)
            return _label(model, unseen)
    finally:
        torch.set_num_threads(threads)


def _frequent(seen: np.ndarray, unseen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop the words that less than `LEAST_SHARE` of the incidents to train on have: they can only be learned by heart."""
    times = np.zeros(BUCKETS, dtype=np.int64)
    for incident in seen:
        times[np.unique(incident)] += 1
    rare = times < LEAST_SHARE * len(seen)
    return np.where(rare[seen], 0, seen), np.where(rare[unseen], 0, unseen)


def _model() -> Any:
    """Build the transformer: 4,096 hashed words, two layers of width 64, one answer of five; 330,000 parameters."""
    import torch
    from torch import nn

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.EmbeddingBag(BUCKETS, WIDTH, mode="sum", padding_idx=0)
            nn.init.normal_(self.words.weight, std=0.02)
            layer = nn.TransformerEncoderLayer(
                WIDTH, HEADS, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True, activation="gelu"
            )
            self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
            self.answer = nn.Sequential(nn.LayerNorm(3 * WIDTH), nn.Linear(3 * WIDTH, len(LABELS)))

        def forward(self, batch: Any) -> Any:
            size, positions, width = batch.shape
            empty = (batch == 0).all(2)
            inner = self.words(batch.reshape(size * positions, width)).reshape(size, positions, WIDTH)
            outer = inner.masked_fill(empty[:, :, None], 0)
            inner = self.layers(inner, src_key_padding_mask=empty).masked_fill(empty[:, :, None], 0)
            mean = inner.sum(1) / (~empty).sum(1, keepdim=True)
            return self.answer(torch.cat([outer.sum(1), mean, inner.amax(1)], 1))

    return Transformer()


def _train(model: Any, seen: np.ndarray, labels: np.ndarray) -> None:
    import torch

    batches = -(-len(seen) // BATCH)
    epochs = max(EPOCHS, STEPS // batches)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=epochs * batches)
    rng = np.random.default_rng(0)
    model.train()
    for _ in range(epochs):
        for chosen in np.array_split(rng.permutation(len(seen)), batches):
            rows = seen[chosen] * (rng.random(seen[chosen].shape) >= FORGOTTEN)
            loss = torch.nn.functional.cross_entropy(model(_batch(rows)), torch.from_numpy(labels[chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def _label(model: Any, unseen: np.ndarray) -> np.ndarray:
    import torch

    model.eval()
    with torch.no_grad():
        parts = [
            model(_batch(unseen[start : start + 4 * BATCH])).argmax(1).numpy()
            for start in range(0, len(unseen), 4 * BATCH)
        ]
    return np.concatenate(parts)


def _batch(rows: np.ndarray) -> Any:
    """Cut off the positions that no incident of a batch fills."""
    import torch

    filled = int(rows.any(axis=(0, 2)).sum())
    return torch.from_numpy(rows[:, :filled].astype(np.int64))
