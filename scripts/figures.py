"""Read every figure that a page quotes from the files that hold it, and put each into its mark: python scripts/figures.py [PART]

The module helps whoever writes a page: a mark `<!--=embedded.test_seed.macro_f1-->0.858<!--/-->` takes the text between its two comments from `figures()`, so
no figure is typed. `scripts/make_docs.py` fills the marks and checks them; the command lists the keys that contain PART, with their texts.

A key is the path to a figure in its file, after the file's prefix (SOURCES); of a list, an item's name stands for it. A name is written in small letters, digits
and underscores: `embedded (first)` is `embedded_first`. A figure with an interval gives `KEY`, `KEY.interval` (95 %), `KEY.full` (both), `KEY.percent`, `KEY.percent.full`
and `KEY.n` (items); a difference is signed. Texts of files are taken as they are, whole numbers get commas, others three decimals.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import schema  # noqa: E402
from tasks.families import FAMILIES, families_of  # noqa: E402
from verifier import RULES  # noqa: E402

SOURCES = {  # prefix: file, and the path to what is read in it
    "": ("eval/leaderboard/leaderboard.json", "entries"),
    "attackers": ("eval/leaderboard/attackers.json", "entries"),
    "results": ("docs/results.json", ""),
    "benchmarks": ("docs/benchmarks.json", ""),
    "examples": ("data/demo_examples.json", ""),
    "arena": ("data/demo_arena.json", "pairs"),
    "manifest": ("data/manifest.json", ""),
    "defender": ("models/defender/defender.json", ""),
    "attacker": ("models/attacker/attacker.json", ""),
}
MARK = re.compile(r"(<!--=([^<>\s]+)-->)(.*?)(<!--/-->)", re.DOTALL)
TRANSPARENT = ("sets", "metrics", "figures")  # levels of a file that a key leaves out
AUDITED = re.compile(r"(\d[\d.]*)(?: (\[[^]]+\]))?")


def figures(root: Path = ROOT) -> dict[str, str]:
    """Map the key of every figure to its text; a file that is missing gives none."""
    found: dict[str, str] = {}
    for prefix, (name, part) in SOURCES.items():
        if (root / name).is_file():
            stored = json.loads((root / name).read_text(encoding="utf-8"))
            found |= _walk(prefix, stored[part] if part else stored)
    found |= _examples(found) | _models(root) | _training(root / "docs" / "results.json")
    found |= _audit(root / "data" / "audit.json")
    for path in sorted((root / "docs" / "images").glob("*.csv")):
        found |= _chart(path)
    return found | _counts(root)


def fill(text: str, known: Mapping[str, str]) -> str:
    """Put each figure into its mark.

    Raises:
        KeyError: a mark names a figure that no file holds.
    """

    def filled(mark: re.Match[str]) -> str:
        if mark[2] not in known:
            near = ", ".join(get_close_matches(mark[2], known, 3)) or "none is like it"
            raise KeyError(f"Expected the key of a figure in a mark, got {mark[2]!r}; near it: {near}.")
        return f"{mark[1]}{known[mark[2]]}{mark[4]}"

    return MARK.sub(filled, text)


def noun(name: object) -> str:
    """Write a name as a part of a key: `embedded (first)` as `embedded_first`."""
    return re.sub(r"[^a-z0-9]+", "_", str(name).lower()).strip("_")


def _walk(key: str, node: Any) -> dict[str, str]:
    if isinstance(node, Mapping):
        shown = _measured(key, node)
        parts = ((f"{key}" if name in TRANSPARENT else _below(key, name), part) for name, part in node.items())
        return shown or {found: text for part in parts for found, text in _walk(*part).items()}
    if isinstance(node, list):
        return {found: text for name, part in _named(node) for found, text in _walk(_below(key, name), part).items()}
    return {} if node is None else {key: _text(node)}


def _below(key: str, name: object) -> str:
    return f"{key}.{noun(name)}" if key else noun(name)


def _named(items: list[Any]) -> Iterator[tuple[object, Any]]:
    """Give items their names: their own, both players', or (of plain values) their places."""
    for place, item in enumerate(items):
        if not isinstance(item, Mapping):
            if not isinstance(item, list):
                yield place, item
        elif "name" in item:
            yield item["name"], item
        elif {"attacker", "defender"} <= item.keys():
            yield f"{item['attacker']} {item['defender']}", item


def _measured(key: str, node: Mapping[str, Any]) -> dict[str, str]:
    """Give the texts of a figure with an interval, or nothing where the node is none."""
    sign = "+" if "difference" in node else ""
    value = node.get("value", node.get("difference"))
    if not isinstance(value, int | float) or "low" not in node:
        return {}
    found = {key: f"{value:{sign}.3f}", f"{key}.percent": f"{100 * value:.0f} %"}
    if node["low"] is not None:
        found[f"{key}.interval"] = f"[{node['low']:{sign}.3f}, {node['high']:{sign}.3f}]"
        found[f"{key}.full"] = f"{found[key]} {found[f'{key}.interval']}"
        found[f"{key}.percent.full"] = f"{found[f'{key}.percent']} [{100 * node['low']:.0f}, {100 * node['high']:.0f}]"
    if "n" in node:
        found[f"{key}.n"] = _text(node["n"])
    return found


def _text(value: object) -> str:
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _examples(found: Mapping[str, str]) -> dict[str, str]:
    """Name the first and the last checkpoint of the demo's answers `before` and `after`."""
    stored = [key for key in found if key.startswith("examples.checkpoints.")]
    names = list(dict.fromkeys(key.split(".")[2] for key in stored))
    sides = {names[0]: "before", names[-1]: "after"} if names else {}
    return {
        f"examples.{sides[name]}.{rest}": found[key]
        for key in stored
        for _, _, name, rest in [key.split(".", 3)]
        if name in sides
    }


def _models(root: Path) -> dict[str, str]:
    """Tell the size of each shipped model in millions and megabytes, and the incidents of all its runs."""
    found = {}
    for name in ("defender", "attacker"):
        path = root / "models" / name / f"{name}.json"
        card = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if card:
            found[f"{name}.millions"] = f"{card['parameters'] / 1e6:.1f}"
            found[f"{name}.trained_on"] = _text(sum(run["incidents"] for run in card["made"].get("runs", ())))
        if latency := card.get("measured", {}).get("int8", {}).get("latency_median_s"):
            found[f"{name}.milliseconds"] = f"{1000 * latency:.0f}"
            found[f"{name}.megabytes"] = f"{card['measured']['int8']['bytes'] / 1e6:.1f}"
    return found


def _training(path: Path) -> dict[str, str]:
    """Add up the time of all trainings of the results, as `results.total`."""
    runs = json.loads(path.read_text(encoding="utf-8")).get("trainings", []) if path.is_file() else []
    return {
        f"results.total.{part}": f"{sum(run[part] for run in runs):.1f}"
        for part in ("gpu_minutes", "core_hours")
        if runs
    }


def _audit(path: Path) -> dict[str, str]:
    """Key the audit's checks as `audit.CHECK.TASK.SPLIT`, and count all and those that fail."""
    checks = json.loads(path.read_text(encoding="utf-8"))["checks"] if path.is_file() else []
    failing = sum(bool(check["offending"]) for check in checks)
    found = {"audit.checks": _text(len(checks)), "audit.failing": _text(failing)}
    for check in checks:
        key = ".".join(noun(check[part]) for part in ("name", "task", "split"))
        if figure := AUDITED.match(check["figure"]):
            found[f"audit.{key}"] = figure[1]
            if figure[2]:
                found[f"audit.{key}.interval"] = figure[2]
    return found


def _chart(path: Path) -> dict[str, str]:
    """Key a chart's points as `CHART.NAME.NAME`, by its columns of names; a chart without intervals gives none."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found: dict[str, str] = {}
    for row in rows if rows and {"value", "low", "high"} <= rows[0].keys() else ():
        names = list(row.values())[: list(row).index("value")]
        point = {side: float(row[side]) for side in ("value", "low", "high") if row[side]}
        if len(point) == 3:
            found |= _measured(".".join(noun(name) for name in (path.stem, *names)), point)
    return found


def _counts(root: Path) -> dict[str, str]:
    """Count what the code has; of the tests' functions, the full 500s."""
    pages = (path.read_text(encoding="utf-8") for path in (root / "tests").glob("test_*.py"))
    tests = sum(page.count("\ndef test_") for page in pages)
    counted = {
        "rules": len(RULES),
        "techniques": len({rule.technique for rule in RULES}),
        "tactics": len({rule.tactic for rule in RULES}),
        "families": len(FAMILIES),
        "train_families": len(families_of("train")),
        "event_types": len(schema.EVENT_TYPES),
        "tests": tests // 500 * 500,
    }
    return {f"count.{name}": _text(number) for name, number in counted.items()}


def main() -> None:
    """List the keys that contain a part, each with its text."""
    parser = argparse.ArgumentParser(description="List the figures that pages may quote: each one's key, and its text.")
    parser.add_argument("part", nargs="?", default="", metavar="PART", help="of the keys (default: all of them)")
    part = parser.parse_args().part
    for key, text in figures().items():
        if part in key:
            print(f"{key}\t{text[:100]!r}")


if __name__ == "__main__":
    main()
