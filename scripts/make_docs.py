"""Write the documents that are made from code, and the reward tables of openenv.yaml: python scripts/make_docs.py [--check]

The command helps whoever changed a rule, a format of records, a reward or a set. The rules give docs/playbook.md and docs/attack_layer.json, and rubric.TABLES
gives docs/rubric.md and the `rewards:` block of openenv.yaml. The families give docs/gallery.md, one incident docs/prompt.md, and docs/results.json (`python -m eval.results`) gives docs/results.md. The tests of the quality bar give docs/quality.md. In docs/real_logs.md the tables of formats, log sources and tactics are made from the importers and
the rules; in data/README.md, data/manifest.json gives the table of sets and data/audit.json the audit's. On every page, `scripts/figures.py` gives the figures in marks.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from eval.checks import NOT_RUN  # noqa: E402
from eval.results import RESULTS  # noqa: E402
from rubric import ATTACKER_RANGE, REWARD_RANGE, TABLES, tables_as_data  # noqa: E402
from schema import LABELS  # noqa: E402
from scripts.coverage_tables import (  # noqa: E402
    attack_layer,
    formats_table,
    log_sources_table,
    tactics_table,
    unreadable_table,
)
from scripts.figures import figures as figures_of_files  # noqa: E402
from scripts.figures import fill  # noqa: E402
from scripts.gallery import gallery_page  # noqa: E402
from scripts.prompt_page import prompt_page  # noqa: E402
from scripts.quality_page import quality_page  # noqa: E402
from scripts.readme_page import readme_pictures, readme_tables  # noqa: E402
from scripts.results_page import results_page  # noqa: E402
from verifier.playbook import playbook_page  # noqa: E402

MADE_BY = {
    "manifest.json": "python -m eval.build_sets --out data",
    "audit.json": "python -m eval.audit --out data/audit.json",
}
FILLED = ("*.md", "docs/*.md", "data/*.md", "models/*/*.md")  # pages in which figures may be marked
BEGIN, END = "# rewards: begin (made by scripts/make_docs.py)\n", "# rewards: end\n"


def rubric_page() -> str:
    """Render docs/rubric.md: both tables and the components."""
    parts = [
        "# Rewards\n\n<!-- Made by `python scripts/make_docs.py`; do not edit. -->\n",
        "This page is for whoever trains: what each answer earns, in both reward tables.\n\n"
        f"A step's reward lies in [{REWARD_RANGE[0]}, {REWARD_RANGE[1]}] and belongs to the player who acts. An attacker's total lies in "
        f"[{ATTACKER_RANGE[0]}, {ATTACKER_RANGE[1]}].\n\n"
        "`standard` is the default and has the figures of the project's description:\n\n"
        "| an answer that | earns |\n|---|---|\n| names the right action | +1 |\n| dismisses an attack | -1 |\n"
        "| quarantines or blocks for something harmless | -0.3 |\n| escalates for nothing | -0.05 |\n"
        "| cites a line of the evidence | +0.1 more |\n| cannot be read | -0.1 |\n\n"
        "The other cells make acting late (`monitor` on what is confirmed, -0.6) cost more than acting with the wrong tool (-0.3).\n\n"
        "`standard` has three weak spots: an unreadable answer costs less than an honest mistake, escalating is nearly free, and attackers profit from "
        "incidents that nobody can learn from. `hardened` closes all three. In every row of it the right action earns most, then an escalation too many, then a wrong "
        "action, then an unreadable answer.\n",
    ]
    for name, table in TABLES.items():
        head = "| truth \\ answer | " + " | ".join(LABELS) + " |\n|---|" + "---|" * len(LABELS)
        rows = "\n".join(
            f"| {truth} | " + " | ".join(f"{row[label]:g}" for label in LABELS) + " |"
            for truth, row in table.defender.items()
        )
        attacker = table.attacker
        fooled = (
            "4p(1-p), p the defender's share of successes on this play"
            if attacker.learnable
            else f"{attacker.fooled:g}"
        )
        parts.append(
            f"\n## `{name}`\n\nDefender, by the true and the given action:\n\n{head}\n{rows}\n\n"
            f"Citation {table.citation:+g}, malformed {table.malformed:+g} (in place of the table).\n\nAttacker:\n\n"
            "| schema failure | implausible | admitted and new | defender right | defender wrong |\n|---|---|---|---|---|\n"
            f"| {attacker.schema_failure:g} | {attacker.implausible:g} | {attacker.novelty:+g} | "
            f"{fooled if attacker.learnable else format(attacker.defended, 'g')} | {fooled} |\n"
        )
    parts.append(
        "\n## Components\n\n`grade` lists their scores, and so does `OpenSOCEnv.components`; in the served environment `env.rubric.named_rubrics()` walks them.\n\n"
        "| component | score |\n|---|---|\n"
        "| `defender.decision` | the table's cell |\n| `defender.citation` | the bonus for a cited line that is evidence |\n"
        "| `defender.format` | the penalty for an answer of another form |\n| `attacker.admission` | the penalty for a refused incident |\n"
        "| `attacker.novelty` | the bonus for a play that the generator does not have and nobody played before |\n"
        "| `attacker.deception` | what the defender's answer earns the attacker |\n"
    )
    return "".join(parts)


def manifest(text: str) -> str:
    """Render openenv.yaml with its rewards block made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    block = yaml.safe_dump({"rewards": tables_as_data()}, sort_keys=False, default_flow_style=None, width=120)
    return before + BEGIN + block + END + after


def dataset_card(text: str, manifest: dict[str, Any], audit: dict[str, Any]) -> str:
    """Render data/README.md with its two tables made anew."""
    return with_tables(text, {"sets": sets_table(manifest), "audit": audit_table(audit)})


def real_logs_page(text: str) -> str:
    """Render docs/real_logs.md with its tables made anew."""
    tables = {
        "formats": formats_table(),
        "unreadable": unreadable_table(),
        "log sources": log_sources_table(),
        "tactics": tactics_table(),
    }
    return with_tables(text, tables)


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """Put tables between the marks that bear their names."""
    for name, block in tables.items():
        text = re.sub(
            rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)",
            lambda found, block=block: f"{found[1]}\n{block}\n{found[2]}",  # type: ignore[misc]
            text,
            flags=re.DOTALL,
        )
    return text


def filled_pages(made: Mapping[Path, str], known: Mapping[str, str]) -> dict[Path, str]:
    """Fill the figures of every page that has a mark; a page that was just made is taken as it was made."""
    pages = {path: made.get(path) or path.read_text("utf-8") for form in FILLED for path in sorted(ROOT.glob(form))}
    return {path: fill(text, known) for path, text in pages.items() if "<!--=" in text}


BY = ("families", "rules", "tactics", "platforms")  # tables of the manifest that are counted


def sets_table(manifest: dict[str, Any]) -> str:
    """Tabulate what is in each frozen set, by the manifest."""
    rows = []
    for name, entry in manifest["sets"].items():
        actions = [sum(task.get(label, 0) for task in entry["tasks"].values()) for label in LABELS]
        cells = (
            f"`{name}`",
            f"{entry['rows']:,}",
            f"{entry['bytes'] / 1e6:.1f}",
            *actions,
            *(len(entry[by]) for by in BY),
        )
        rows.append(f"| {' | '.join(map(str, cells))} |\n")
    head = (
        f"| set | rows | MB, unpacked | {' | '.join((*LABELS, *BY))} |\n|---|{'---:|' * (2 + len(LABELS) + len(BY))}\n"
    )
    return f"Version {manifest['version']}, generator {manifest['generator']}.\n\n{head}{''.join(rows)}"


def audit_table(audit: dict[str, Any]) -> str:
    """Tabulate what the audit found: a row for each check and task, a column for each split."""
    splits = list(audit["incidents"])
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for check in audit["checks"]:
        row = cells.setdefault((check["name"], check["task"]), {})
        for split in splits if check["split"] == "all" else [check["split"]]:
            row[split] = f"{check['figure'].replace('|', '&#124;')}{OUTCOMES[_outcome(check)]}"
    rows = "".join(
        f"| `{name}` | {task} | {' | '.join(row.get(split, '') for split in splits)} |\n"
        for (name, task), row in cells.items()
    )
    of = ", ".join(f"{number:,} of `{split}`" for split, number in audit["incidents"].items())
    return (
        f"Generator {audit['generator']}, incidents of each task: {of}. {_summary(audit)}.\n\n"
        f"| check | task | {' | '.join(f'`{split}`' for split in splits)} |\n|---|---|{'---|' * len(splits)}\n{rows}"
    )


def _summary(audit: Mapping[str, Any]) -> str:
    not_run = audit.get("not_run", [])
    said = "All hold" if audit["ok"] else "Not all hold"
    return f"{said} that were run; not run: {', '.join(not_run)}" if not_run else said


OUTCOMES = {"holds": "", NOT_RUN: "", "fails": " **fails**"}


def _outcome(check: Mapping[str, str]) -> str:
    if check["figure"].startswith(NOT_RUN):
        return NOT_RUN
    return "fails" if check["offending"] else "holds"


def _figures(path: Path, command: str) -> dict[str, Any]:
    if not path.is_file():
        sys.exit(f"{path.relative_to(ROOT)} is missing; run `{command}`")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def main() -> None:
    """Write the documents, or with --check say which are stale and exit with 1."""
    parser = argparse.ArgumentParser(description="Write the documents that are made from code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is stale")
    args = parser.parse_args()
    yaml_path, data, docs = ROOT / "openenv.yaml", ROOT / "data", ROOT / "docs"
    figures = [_figures(data / name, command) for name, command in MADE_BY.items()]
    results = json.loads((docs / RESULTS).read_text("utf-8")) if (docs / RESULTS).is_file() else {}
    wanted = {
        docs / "playbook.md": playbook_page(),
        docs / "rubric.md": rubric_page(),
        docs / "gallery.md": gallery_page(),
        docs / "prompt.md": prompt_page(),
        docs / "real_logs.md": real_logs_page((docs / "real_logs.md").read_text(encoding="utf-8")),
        docs / "quality.md": quality_page(),
        docs / "results.md": results_page(results, docs / "images"),
        docs / "attack_layer.json": json.dumps(attack_layer(), indent=1) + "\n",
        yaml_path: manifest(yaml_path.read_text(encoding="utf-8")),
        data / "README.md": dataset_card((data / "README.md").read_text(encoding="utf-8"), *figures),
    }
    known = figures_of_files()
    readme = with_tables((ROOT / "README.md").read_text(encoding="utf-8"), readme_tables(known))
    wanted |= {ROOT / "README.md": readme} | readme_pictures(known, docs / "images")
    wanted |= filled_pages(wanted, known)
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{'stale' if args.check else 'wrote'}: {path.relative_to(ROOT)}")
        if not args.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
    if stale and args.check:
        sys.exit("run `python scripts/make_docs.py`")


if __name__ == "__main__":
    main()
