"""Make a set of recorded telemetry, and score a defender on it: `python -m eval.run --split real --manifest FILE`.

Import and window are those of `telemetry.judging`. A recording is one item: the window in an empty world (or a declared one), with an alert on
the line that is worth most by the window's own label-blind order. Whether an incident is malicious is known, which of the five actions
is right is not, so an item has no ground truth and no reward: scored are *noticed* and *acted* (`telemetry.scoring`), one decision a
recording. Where the recorder cleared the log before it began, the recording is asked a second time without the lines that tell it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.intervals import RESAMPLES, draws, quotient
from schema import BadRequestError, Row
from tasks.sets import RECORDED, FrozenSet
from telemetry.importers.archives import file_of
from telemetry.judging import Judgement, find_files, judge_files
from telemetry.observing import observation_of
from telemetry.scoring import ACTED, NOTICED, Decision, load_manifest, score, wilson
from world import World

UNCLEARED = " without log_clear"  # ends the id of a recording's second item


def recordings(manifest: Path, places: Sequence[Path], world: World, *, mask: bool = True) -> FrozenSet:
    """Make a set of a manifest's recordings, in the manifest's order.

    Args:
        manifest: labels by file (`telemetry.scoring.load_manifest`); `group` names recordings that are alike.
        places: files and folders that hold them; the manifest's own folder where none is given.
        world: the organisation around them.
        mask: replace what a model may know by heart (`telemetry.masking`).

    Raises:
        BadRequestError: a place or every recording is missing, or one cannot be read.
        OpenSOCError: the manifest cannot be read.
    """
    labels = load_manifest(manifest)
    paths, errors, _ = find_files(places or [manifest.parent], manifest=manifest)
    files = [(name, path) for name, path in paths if _label(labels, name)]
    if errors or not files:
        raise BadRequestError(
            errors[0]
            if errors and files
            else f"Expected recordings of {str(manifest)!r} in {', '.join(map(repr, map(str, places or [manifest.parent])))}, "
            "and found none; name their folder with --recordings."
        )
    rows: list[Row] = []
    digest = hashlib.sha256(f"mask {mask} world {world!r}\n".encode())
    for judgement in judge_files(files, world):
        if judgement.error:
            raise BadRequestError(f"{judgement.error} Correct the file or take it out of the manifest.")
        label = _label(labels, judgement.file)
        digest.update(
            f"{label['file']} {label['malicious']} ".encode()
            + hashlib.sha256(file_of(Path(judgement.path)).read_bytes()).digest()
        )
        rows += _rows(judgement, label, world, mask=mask)
    return FrozenSet(RECORDED, manifest, digest.hexdigest(), rows)


def _label(labels: Mapping[str, dict[str, str]], name: str) -> dict[str, str]:
    return labels.get(name) or labels.get(Path(name).name) or {}


def _rows(judgement: Judgement, label: Mapping[str, str], world: World, *, mask: bool) -> list[Row]:
    """Make the item of a recording, or two if its recorder cleared the log."""
    row: Row = {
        "id": label["file"],
        "task": RECORDED,
        "split": RECORDED,
        "family": label.get("group") or label["file"],
        "weight": 1.0,
        "ground_truth": None,
        "records": judgement.records,
        "recording": dict(label),
        "observation": observation_of(judgement.events, world, mask=mask),
    }
    if "log_clear_by_recorder" not in (label.get("artefacts") or ""):
        return [row]
    others = [event for event in judgement.events if event["fields"]["activity"] != "log_clear"]
    if len(others) == len(judgement.events):
        return [row]
    return [row, {**row, "id": row["id"] + UNCLEARED, "observation": observation_of(others, world, mask=mask)}]


# ---------------------------------------------------------------- scores
def measure_recordings(
    items: FrozenSet,
    rollouts: Sequence[Mapping[str, Any]],
    labels: Mapping[str, Mapping[str, str]],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Score a defender on recordings.

    Args:
        items: the set, one or two items a recording.
        rollouts: the line of every item.
        labels: the manifest's rows by file; those without an item are named as not judged.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Returns:
        `noticed_recall`, `noticed_false_positives`, `acted_recall`, `acted_false_positives` and the precisions at as many benign as malicious
        recordings, each `{"value", "low", "high", "n", "method"}`: Wilson intervals over recordings for rates, a bootstrap clustered by
        the manifest's `group` for precisions and, under `by_group`, for the rates too (recordings of one source are alike);
        `format_ok`; and `recordings`, the whole of `telemetry.scoring.score` with the parts that are reported apart.
    """
    actions = {line["id"]: line["action"] for line in rollouts}
    firsts = [row for row in items.rows if not row["id"].endswith(UNCLEARED)]
    table = score(
        [
            Decision(
                row["id"],
                actions[row["id"]],
                actions.get(row["id"] + UNCLEARED, actions[row["id"]]),
                row["records"],
                is_read=bool(row["observation"]["log_window"]),
            )
            for row in firsts
        ],
        labels,
    )
    shown = [line for line in rollouts if line["window"]]
    ok = [not line["fault"] for line in shown]
    metrics: dict[str, Any] = {"format_ok": _wilson(sum(ok), len(ok))}
    groups = np.unique([row["family"] for row in firsts], return_inverse=True)[1]
    malicious = np.array([row["recording"]["malicious"] == "yes" for row in firsts])
    for name, wanted in (("noticed", NOTICED), ("acted", ACTED)):
        hit = np.array([actions[row["id"]] in wanted for row in firsts])
        clusters = _clustered(hit, malicious, groups, seed, resamples)
        metrics[f"{name}_recall"] = _wilson(int(hit[malicious].sum()), int(malicious.sum())) | {
            "by_group": clusters["recall"]
        }
        metrics[f"{name}_false_positives"] = _wilson(int(hit[~malicious].sum()), int((~malicious).sum())) | {
            "by_group": clusters["false"]
        }
        metrics[f"{name}_precision_at_50_50"] = clusters["precision"]
    return {**metrics, "recordings": table}


def _wilson(hits: int, of: int) -> dict[str, Any]:
    low, high = (round(end, 4) for end in wilson(hits, of)) if of else (None, None)
    value = round(hits / of, 4) if of else None
    return {"value": value, "low": low, "high": high, "n": of, "method": "Wilson 95 %, one decision a recording"}


def _clustered(
    hit: np.ndarray, malicious: np.ndarray, groups: np.ndarray, seed: int, resamples: int
) -> dict[str, dict[str, Any]]:
    """Return recall, false-positive rate and balanced precision with percentile intervals over resampled groups."""
    count = int(groups.max()) + 1
    sums = np.stack(
        [np.bincount(groups, weights, count) for weights in (hit & malicious, malicious, hit & ~malicious, ~malicious)]
    )
    values = _rates(sums.sum(axis=1)[None])
    spread = _rates(draws(count, seed=seed, resamples=resamples) @ sums.T)
    method = f"percentile bootstrap 95 % over {count} groups of recordings, {resamples} resamples"
    return {
        name: _interval(float(values[index][0]), spread[index], len(hit), method)
        for index, name in enumerate(("recall", "false", "precision"))
    }


def _rates(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rates of rows of counts: hits and all of the malicious, hits and all of the benign; nan where there is none."""
    recall, false = quotient(counts[:, 0], counts[:, 1]), quotient(counts[:, 2], counts[:, 3])
    return recall, false, quotient(recall, recall + false)


def _interval(value: float, spread: np.ndarray, n: int, method: str) -> dict[str, Any]:
    drawn = spread[~np.isnan(spread)]
    low, high = (round(float(end), 4) for end in np.quantile(drawn, (0.025, 0.975))) if len(drawn) else (None, None)
    return {"value": None if np.isnan(value) else round(value, 4), "low": low, "high": high, "n": n, "method": method}
