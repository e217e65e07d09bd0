"""Show a cross-play to people: a heat map of success, and a page of tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.attacks import Share
from eval.charts import Chart, Ink, cells, png, save
from runs.files import write_atomically
from schema import LABELS

NAME, DARK = "cross_play", "_dark"
REFUSALS = 5  # kinds that the page lists of an attacker
Result = Mapping[str, Any]  # as cross_play.json holds it


# ---------------------------------------------------------------- the heat map
def heat_map(result: Result) -> Chart:
    """Chart the success of every attacker (rows) against every defender (columns), with intervals."""
    attackers, defenders = list(result["attackers"]), list(result["defenders"])
    pairs = {(pair["attacker"], pair["defender"]): pair for pair in result["pairs"]}

    def draw(figure: Any, ink: Ink) -> None:
        import numpy as np

        shares = [[pairs[up, across]["success"] for across in defenders] for up in attackers]
        values = np.array([[np.nan if each["value"] is None else each["value"] for each in row] for row in shares])
        texts = [[cell_text(each) for each in row] for row in shares]
        axes = figure.add_subplot()
        size = 9.0 if len(defenders) <= 6 else 7.0
        cells(axes, ink, values, texts, across=defenders, up=attackers, size=size)
        axes.set_xlabel("defender")
        axes.set_ylabel("attacker")

    rows = [
        {
            "attacker": pair["attacker"],
            "defender": pair["defender"],
            **pair["success"],
            "of_briefs": pair["success_of_briefs"]["value"],
        }
        for pair in result["pairs"]
    ]
    title = "Admitted incidents on which the defender is wrong, percent and 95 % interval"
    alt = "Success by attacker (rows) and defender (columns): " + "; ".join(map(_in_words, result["pairs"]))
    return Chart(NAME, title, alt, rows, 1.9 + 0.5 * len(attackers), draw)


def cell_text(share: Share) -> str:
    """Write a share as percent with its interval below it."""
    if share["value"] is None:
        return "none\nadmitted"
    return f"{share['value']:.0%}\n[{100 * share['low']:.0f}, {100 * share['high']:.0f}]"


def _in_words(pair: Mapping[str, Any]) -> str:
    return f"{pair['attacker']} against {pair['defender']} {cell_text(pair['success'])}".replace("\n", " ")


def save_both(chart: Chart, folder: Path) -> list[Path]:
    """Write a chart for light pages and for dark ones, and its data.

    Raises:
        BadRequestError: the folder cannot be written.
        OSError: the dark picture cannot be written.
    """
    files = save(chart, folder)
    dark = folder / f"{chart.name}{DARK}.png"
    write_atomically(dark, png(chart, dark=True))
    return [*files, dark]


# ---------------------------------------------------------------- the page
def table_page(result: Result) -> str:
    """Write a cross-play as Markdown: success, attackers, refusals, differences and gains."""
    return "\n\n".join(part for part in _parts(result) if part) + "\n"


def _parts(result: Result) -> Iterator[str]:
    run, attackers, defenders = result["run"], result["attackers"], result["defenders"]
    yield "# Cross-play"
    yield (
        f"{run['briefs']} briefs of the split `{run['split']}` for each attacker (seed {run['seed']}), the four tasks in turn, each action asked for equally often. "
        "*Success* is the share of admitted incidents on which the defender's action is wrong; intervals are 95 %, the wider of Wilson's over incidents and a "
        f"bootstrap over plays.\n\n```bash\n{run['command']}\n```"
    )
    yield "## Success\n\n![" + heat_map(result).alt + f"]({NAME}.png)"
    yield table(("attacker", *defenders), _successes(result, "success"))
    yield "Share of all briefs, refused ones counted as failures:\n\n" + table(
        ("attacker", *defenders), _successes(result, "success_of_briefs")
    )
    yield "## Attackers\n\n" + table(ATTACKER_COLUMNS, [_attacker(*item) for item in attackers.items()])
    yield "Truths of what was admitted, and the commonest tactics of its findings:\n\n" + table(
        ("attacker", *LABELS, "tactics"), [_mix(*item) for item in attackers.items()]
    )
    yield _section("### Refusals", ("attacker", "by", "why", "incidents"), list(_refusals(attackers)))
    yield _differences(result["differences"])
    yield _gains(result["gains"])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown; bars in cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def share_text(share: Share | None) -> str:
    """Write a share with its interval and its number, in percent."""
    if share is None or share["value"] is None:
        return "-"
    return f"{share['value']:.1%} [{100 * share['low']:.1f}, {100 * share['high']:.1f}] of {share['n']}"


def _successes(result: Result, which: str) -> list[list[str]]:
    shares = {(pair["attacker"], pair["defender"]): pair[which] for pair in result["pairs"]}
    return [[up, *(share_text(shares[up, across]) for across in result["defenders"])] for up in result["attackers"]]


ATTACKER_COLUMNS = ("attacker", "admitted", "as asked", "different plays", "self-similarity", "misjudged")


def _attacker(name: str, measured: Mapping[str, Any]) -> list[str]:
    alike = measured["self_similarity"]
    return [
        name,
        share_text(measured["admission"]),
        share_text(measured["as_asked"]),
        str(measured["plays"]),
        "-" if alike is None else f"{alike:.3f}",
        str(len(measured["misjudged"])),
    ]


def _mix(name: str, measured: Mapping[str, Any]) -> list[str]:
    tactics = ", ".join(
        f"{tactic.replace('_', ' ')} {count}" for tactic, count in list(measured["tactics"].items())[:5]
    )
    return [name, *(str(measured["truths"][label]) for label in LABELS), tactics or "-"]


def _refusals(attackers: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    for name, measured in attackers.items():
        for refusal in measured["refusals"][:REFUSALS]:
            yield [name, refusal["by"], refusal["kind"], str(refusal["count"])]


def _differences(differences: Sequence[Mapping[str, Any]]) -> str:
    rows = [[each["attacker"], each["first"], each["second"], _points(each), _p(each)] for each in differences]
    head = ("incidents of", "first", "second", "accuracy of the second minus the first", "p (McNemar, Holm)")
    words = "Two defenders on the same incidents, with a paired bootstrap over plays:"
    return _section(f"## Differences between defenders\n\n{words}", head, rows)


def _gains(gains: Sequence[Mapping[str, Any]]) -> str:
    rows = [[each["second"], each["first"], each["defender"], _points(each)] for each in gains]
    head = ("attacker", "over", "against", "success more")
    return _section("## Gains of attackers\n\nWith a bootstrap over the plays of both:", head, rows)


def _section(head: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table under its words; nothing where it has no row."""
    return f"{head}\n\n{table(columns, rows)}" if rows else ""


def _points(each: Mapping[str, Any]) -> str:
    if each["difference"] is None:
        return "-"
    text = f"{100 * each['difference']:+.1f} points"
    return text if each["low"] is None else f"{text} [{100 * each['low']:+.1f}, {100 * each['high']:+.1f}]"


def _p(each: Mapping[str, Any]) -> str:
    p = each["p_corrected"]
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
