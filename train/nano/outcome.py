"""What came of a training line: figures of every model and seed from its runs of eval.run, gains with paired intervals, and the model that is chosen.

A model is chosen by `val` and `val_family` alone; `test_seed` is only told.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.compare import compare
from eval.runs import Run, load_run
from schema import TASKS

if TYPE_CHECKING:
    from rich.console import Console

SETS = ("val", "val_family", "test_seed")
CHOSEN_BY = ("val", "val_family")
WAYS = {"greedy": 0.0, "sampled": 1.0}  # temperatures
METRICS = {  # by their columns
    "accuracy": "accuracy",
    "macro-F1": "macro_f1",
    "dismissed": "dismiss_on_malicious",
    "acted": "over_reaction",
    "evidence": "citation_recall",
    "format": "format_ok",
    "reward": "mean_reward",
}
COMPARED = ("accuracy", "macro_f1")
WIDTH = 120  # characters of the printed tables, at least: cut intervals would tell nothing
Figures = Mapping[str, Any]


# ---------------------------------------------------------------- from files
def summary(lines: Mapping[int, tuple[Path, Mapping[str, Path]]]) -> dict[str, Any]:
    """Return the figures of every seed, their means, and which model `val` and `val_family` choose.

    Args:
        lines: of each seed the directory of its runs, `NAME-WAY`, and its models; each is compared with the one before it.

    Raises:
        BadRequestError: a run is missing or not complete.
    """
    seeds = {str(seed): _seed(runs, list(models)) for seed, (runs, models) in lines.items()}
    paths = {(str(seed), name): str(path) for seed, (_, models) in lines.items() for name, path in models.items()}
    return {"seeds": seeds, "means": _means(list(seeds.values())), "chosen": _chosen(seeds, paths)}


def _seed(runs: Path, names: Sequence[str]) -> dict[str, Any]:
    loaded = {(name, way): load_run(runs / f"{name}-{way}") for name in names for way in WAYS}
    sets: dict[str, Any] = {}
    for chosen in SETS:
        for (name, way), run in loaded.items():
            sets.setdefault(chosen, {}).setdefault(name, {})[way] = _figures(run.metrics(chosen))
    gains = {
        f"{after} over {before}": _gains([loaded[before, "greedy"], loaded[after, "greedy"]])
        for before, after in _pairs(names)
    }
    return {"sets": sets, "gains": gains}


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return each model with the one before it, and the last with the first."""
    return list(dict.fromkeys([(names[0], names[-1]), *pairwise(names)]))


def _figures(metrics: Figures) -> dict[str, Any]:
    stages = {task: _short(metrics["by_task"][task]["macro_f1"]) for task in TASKS}
    return {name: _short(metrics[name]) for name in METRICS.values() if name in metrics} | {"macro_f1_by_task": stages}


def _short(metric: Figures) -> dict[str, Any]:
    return {name: metric.get(name) for name in ("value", "low", "high", "n")}


def _gains(pair: Sequence[Run]) -> dict[str, Any]:
    """Return by set, task (or `all`) and metric how the second run differs from the first."""
    return {
        chosen: {
            task or "all": {
                gain.metric: {"difference": gain.difference, "low": gain.low, "high": gain.high}
                for gain in compare(pair, chosen, metrics=COMPARED, task=task)
            }
            for task in (None, *TASKS)
        }
        for chosen in SETS
    }


def _means(seeds: Sequence[Figures]) -> dict[str, Any]:
    """Return by set and model the mean, least and most of the greedy figures over the seeds."""
    first = seeds[0]["sets"]
    return {
        chosen: {
            name: {
                metric: _spread([seed["sets"][chosen][name]["greedy"].get(metric) for seed in seeds])
                for metric in METRICS.values()
            }
            for name in first[chosen]
        }
        for chosen in SETS
    }


def _spread(metrics: Sequence[Figures | None]) -> dict[str, Any] | None:
    values = [metric["value"] for metric in metrics if metric and metric["value"] is not None]
    return {"mean": statistics.fmean(values), "least": min(values), "most": max(values)} if values else None


def _chosen(seeds: Mapping[str, Figures], paths: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    def by(item: tuple[str, str]) -> dict[str, float]:
        seed, name = item
        return {chosen: seeds[seed]["sets"][chosen][name]["greedy"]["macro_f1"]["value"] for chosen in CHOSEN_BY}

    best = max(paths, key=lambda item: sum(by(item).values()))
    return {"seed": int(best[0]), "model": best[1], "path": paths[best], "macro_f1": by(best)}


# ---------------------------------------------------------------- printed
def show(found: Figures) -> None:
    """Print a summary: every model on each set, by stage, the gains, and the choice."""
    from rich.console import Console

    console = Console()
    console.width = max(console.width, WIDTH)
    for chosen in SETS:
        _show_set(console, chosen, found["seeds"])
    if len(found["seeds"]) > 1:
        _show_means(console, found["means"])
    for seed, figures in found["seeds"].items():
        for pair, gains in figures["gains"].items():
            console.print(f"seed {seed}: greedy macro-F1, {pair}", highlight=False)
            for chosen in SETS:
                parts = (
                    f"{task.split('_')[0]} {_gain(metrics['macro_f1'])}" for task, metrics in gains[chosen].items()
                )
                console.print(f"  {chosen:<12}{'   '.join(parts)}", highlight=False, soft_wrap=True)
    best = found["chosen"]
    console.print(
        f"Chosen by {' and '.join(CHOSEN_BY)}: {best['model']} of seed {best['seed']}, {best['path']}",
        highlight=False,
        soft_wrap=True,
    )


def _show_set(console: Console, chosen: str, seeds: Mapping[str, Figures]) -> None:
    rows = [
        (f"{name}, seed {seed}" if len(seeds) > 1 else name, way, figures)
        for seed, one in seeds.items()
        for name, ways in one["sets"][chosen].items()
        for way, figures in ways.items()
    ]
    cells = (
        [name, way, *(_cell(figures.get(metric), interval=metric in COMPARED) for metric in METRICS.values())]
        for name, way, figures in rows
    )
    _print_table(console, f"{chosen}, with 95 % intervals", ("model", "answers", *METRICS), cells)
    greedy = (
        [name, *(_cell(figures["macro_f1_by_task"][task], digits=2) for task in TASKS)]
        for name, way, figures in rows
        if way == "greedy"
    )
    _print_table(
        console, f"{chosen}, greedy macro-F1 by stage", ("model", *(task.split("_")[0] for task in TASKS)), greedy
    )


def _show_means(console: Console, means: Figures) -> None:
    rows = (
        [chosen, name, *(_range(figures[metric]) for metric in METRICS.values())]
        for chosen, by_name in means.items()
        for name, figures in by_name.items()
    )
    _print_table(console, "greedy, mean of the seeds (least to most)", ("set", "model", *METRICS), rows)


def _print_table(console: Console, title: str, columns: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _cell(metric: Figures | None, *, digits: int = 3, interval: bool = True) -> str:
    if metric is None or metric["value"] is None:
        return "-"
    value = f"{metric['value']:.{digits}f}"
    shown = interval and metric["low"] is not None
    return f"{value} [{metric['low']:.{digits}f}, {metric['high']:.{digits}f}]" if shown else value


def _range(spread: Figures | None) -> str:
    return f"{spread['mean']:.3f} ({spread['least']:.3f} to {spread['most']:.3f})" if spread else "-"


def _gain(gain: Figures) -> str:
    spread = "" if gain["low"] is None else f" [{gain['low']:+.3f}, {gain['high']:+.3f}]"
    return f"{gain['difference']:+.3f}{spread}"
