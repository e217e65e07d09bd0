"""Make what the README shows of figures: tables, the picture of the gain, badges. `scripts/make_docs.py` calls it and checks it.

Tables stand between the marks of their names. Pictures are SVG without any script: they follow the reader's theme and load nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from eval.leaderboard import BOARD, load_board
from scripts.figures import ROOT, noun

ARTEFACTS = (  # what was built, the file that shows it, what is said of it, and the figure that takes the place of {}
    ("Environment in plain Python, and its service", "app_runtime/app.py", "{} kinds of events", "count.event_types"),
    ("Verifier and gate", "verifier/decision.py", "{} rules", "count.rules"),
    ("Rewards of both seats", "rubric.py", "two tables", ""),
    ("Rows for fine-tuning", "data/sft_train.jsonl", "{} rows", "manifest.sft_train.rows"),
    ("Frozen hold-out", "data/holdout.jsonl", "{} rows", "manifest.holdout.rows"),
    ("Test sets and twins", "data/manifest.json", "eight frozen sets, each with its hash", ""),
    ("Audit for shortcuts", "data/audit.json", "{} of its checks fail", "audit.failing"),
    ("Trained defender", "models/defender/model.onnx", "{} million parameters", "defender.millions"),
    ("Trained attacker", "models/attacker/model.onnx", "{} million parameters", "attacker.millions"),
    ("Demo at `/demo`", "demo_app.py", "Watch, Play, Attack, Your log, Results", ""),
    ("Answers before and after for the demo", "data/demo_examples.json", "50 incidents", ""),
    ("Evaluation and pictures", "eval/run.py", "metrics with intervals, comparisons, a report", ""),
    ("Training notebook", "train_grpo.ipynb", "runs on a CPU as it is", ""),
    ("Script that trains, measures and draws", "scripts/run_full_pipeline.sh", "one command", ""),
    ("Script that deploys", "scripts/deploy_to_hf.sh", "`--dry-run` prints each step", ""),
    ("Tests", "tests/test_readme.py", "over {} test functions", "count.tests"),
)
COLUMNS = ("accuracy", "macro_f1", "dismiss_on_malicious", "over_reaction", "mean_reward")  # of the table of defenders
SETS = (  # of the table and the picture of the gain
    ("test_seed", "New incidents, known scenarios"),
    ("test_family", "Scenarios never seen"),
    ("test_tactic", "A tactic never seen"),
    ("holdout", "The hold-out"),
)
BEFORE, AFTER = "embedded_first", "embedded"
BADGES = (  # name, left, right ({} takes the figure), the figure, colour
    ("openenv", "OpenEnv", "environment", "", "#3b5b92"),
    ("python", "Python", "3.11 or later", "", "#3b5b92"),
    ("rules", "verifier", "{} rules", "count.rules", "#2f6f4f"),
    ("techniques", "ATT&CK", "{} techniques", "count.techniques", "#2f6f4f"),
    ("gain", "right answers", "{}", "embedded.test_seed.accuracy.percent", "#9a4a12"),
    ("licence", "licence", "BSD-3", "", "#555555"),
)
STYLE = (
    "text{font:13px system-ui,'Segoe UI',sans-serif;fill:#1a1a1a}.faint{fill:#5a5a5a}line{stroke:#c4c4c4}.before{fill:#0072b2;stroke:#0072b2}"
    ".after{fill:#d55e00;stroke:#d55e00}@media(prefers-color-scheme:dark){text{fill:#ececec}.faint{fill:#b4b4b4}line{stroke:#59616b}"
    ".before{fill:#56b4e9;stroke:#56b4e9}.after{fill:#e69f00;stroke:#e69f00}}"
)


def readme_tables(known: Mapping[str, str]) -> dict[str, str]:
    """Render the README's tables by the names of their marks."""
    return {
        "status": _status(known),
        "gain": _gain(known),
        "defenders": _defenders(known),
        "checkpoints": _checkpoints(known),
    }


def readme_pictures(known: Mapping[str, str], images: Path) -> dict[Path, str]:
    """Draw the picture of the gain and the badges, by their paths."""
    badges = {
        images / f"badge_{name}.svg": _badge(left, right.format(known.get(key, "")), colour)
        for name, left, right, key, colour in BADGES
    }
    return badges | {images / "gain.svg": _picture(known)}


# ---------------------------------------------------------------- tables
def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: bool = False) -> str:
    lines = [head, ["---", *["---:" if right else "---"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _status(known: Mapping[str, str]) -> str:
    """Tabulate which artefacts the checkout holds."""
    rows = [
        (what, "shipped" if (ROOT / path).exists() else "missing", said.format(known.get(key, "")), f"[{path}]({path})")
        for what, path, said, key in ARTEFACTS
    ]
    return _table(("artefact", "status", "", "evidence"), rows)


def _gain(known: Mapping[str, str]) -> str:
    """Tabulate right answers and reward before and after, set by set."""
    columns = [(side, metric) for metric in ("accuracy", "mean_reward") for side in (BEFORE, AFTER)]
    rows = [
        (
            f"{words}<br>`{name}`",
            known[f"{AFTER}.{name}.items"],
            *(_cell(known, f"{side}.{name}.{metric}", bold=side == AFTER) for side, metric in columns),
        )
        for name, words in SETS
    ]
    head = ("tested on", "incidents", "right before", "right after", "reward before", "reward after")
    return _table(head, rows, right=True)


def _cell(known: Mapping[str, str], key: str, *, bold: bool = False) -> str:
    """Write a figure above its interval."""
    strong = "**" if bold else ""
    return f"{strong}{known[key]}{strong}<br>{known[f'{key}.interval'].replace(' ', '&nbsp;')}"


def _defenders(known: Mapping[str, str]) -> str:
    """Tabulate every defender of the board on the hold-out, the least accurate first."""
    names = [entry.name for entry in load_board(BOARD).entries if "holdout" in entry.sets]
    names.sort(key=lambda name: float(known[f"{noun(name)}.holdout.macro_f1"]))
    rows = [(f"`{name}`", *(_cell(known, f"{noun(name)}.holdout.{metric}") for metric in COLUMNS)) for name in names]
    head = ("defender", "accuracy", "macro-F1", "dismissed of the malicious", "over-reaction on benign", "mean reward")
    return _table(head, rows, right=True)


def _checkpoints(known: Mapping[str, str]) -> str:
    """Tabulate the checkpoints whose answers the demo shows, in the order of training."""
    names = list(dict.fromkeys(key.split(".")[2] for key in known if key.startswith("examples.checkpoints.")))
    rows = []
    for key in (f"examples.checkpoints.{name}" for name in names):
        about = (known.get(f"{key}.{part}", "") for part in ("title", "method", "incidents"))
        measured = (_cell(known, f"{key}.{metric}") for metric in ("accuracy", "mean_reward"))
        rows.append((*about, *measured, known[f"{key}.right"]))
    head = ("checkpoint", "method", "incidents seen", "right answers", "mean reward", "right of the demo's 50")
    return _table(head, rows, right=True)


# ---------------------------------------------------------------- pictures
LEFT, RIGHT, TOP, STEP = 235, 800, 42, 36  # pixels: where the scale begins and ends, the first row, rows


def _picture(known: Mapping[str, str]) -> str:
    """Draw right answers before and after on one scale from 0 to 1."""
    height = TOP + STEP * len(SETS) + 26
    label = "Right answers before and after training, by test set, with 95 % intervals"
    body = "".join((*_scale(height), *(_row(known, place, *row) for place, row in enumerate(SETS))))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {RIGHT + 40} {height}" role="img" aria-label="{label}">'
        f"<style>{STYLE}</style>{body}</svg>\n"
    )


def _scale(height: int) -> Iterator[str]:
    yield '<circle class="before" cx="243" cy="14" r="5"/><text x="255" y="18">before</text>'
    yield '<rect class="after" x="318" y="9" width="10" height="10"/><text x="335" y="18">after training</text>'
    yield f'<text class="faint" x="{RIGHT}" y="18" text-anchor="end">share of right answers, 95 % intervals</text>'
    for tenths in range(0, 11, 2):
        x = _x(tenths / 10)
        yield f'<line x1="{x}" y1="{TOP - 12}" x2="{x}" y2="{height - 22}"/>'
        yield f'<text class="faint" x="{x}" y="{height - 6}" text-anchor="middle">{tenths * 10} %</text>'


def _row(known: Mapping[str, str], place: int, name: str, words: str) -> str:
    y = TOP + STEP * place
    return (
        f'<text x="{LEFT - 14}" y="{y + 9}" text-anchor="end">{words}</text>'
        + _point(known, f"{BEFORE}.{name}.accuracy", "before", y)
        + _point(known, f"{AFTER}.{name}.accuracy", "after", y + 12)
    )


def _point(known: Mapping[str, str], key: str, side: str, y: int) -> str:
    low, high = (_x(float(bound)) for bound in known[f"{key}.interval"].strip("[]").split(", "))
    x = _x(float(known[key]))
    shape = f'<circle class="{side}" cx="{x}" cy="{y}" r="5"/>'
    if side == "after":
        shape = f'<rect class="{side}" x="{x - 5:.1f}" y="{y - 5}" width="10" height="10"/>'
    return f'<line class="{side}" x1="{low}" y1="{y}" x2="{high}" y2="{y}" stroke-width="3"/>{shape}'


def _x(share: float) -> float:
    return round(LEFT + share * (RIGHT - LEFT), 1)


def _badge(left: str, right: str, colour: str) -> str:
    """Draw a badge of two fields; a letter is about 6.5 pixels wide."""
    widths = [round(6.5 * len(text)) + 14 for text in (left, right)]
    total = sum(widths)
    places = ((left, widths[0] / 2), (right, widths[0] + widths[1] / 2))
    texts = "".join(f'<text x="{x}" y="14" text-anchor="middle">{escape(text)}</text>' for text, x in places)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="20" role="img" aria-label="{escape(f"{left}: {right}")}">'
        f'<clipPath id="c"><rect width="{total}" height="20" rx="3"/></clipPath><g clip-path="url(#c)"><rect width="{widths[0]}" height="20" fill="#333"/>'
        f'<rect x="{widths[0]}" width="{widths[1]}" height="20" fill="{colour}"/></g>'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">{texts}</g></svg>\n'
    )
