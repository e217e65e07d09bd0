"""Make docs/gallery.md: one incident of each scenario family, told in at most ten lines, with its answer. `scripts/make_docs.py` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, groupby

from generator.incidents import Case, generate, story_of
from schema import Task
from tasks.families import HELD_OUT_TACTIC, TRAIN_FAMILIES, families_of
from tasks.registry import Split
from tasks.scene import Family
from telemetry.judging import line_text
from verifier.decision import compute_ground_truth
from verifier.rules import RULES

LINES, WIDTH = 10, 260  # of an incident, characters of a line
TASK: Task = "stage2_multi"
SPLITS: tuple[Split, ...] = ("train", "val_family", "test_family", "test_tactic")
WORDS = {
    "train": "Training families",
    "val_family": "Families that choose the model",
    "test_family": "Families of the test",
    "test_tactic": f"The tactic that training never tells: {HELD_OUT_TACTIC.replace('_', ' ')}",
}


def gallery_page() -> str:
    """Render the page; the incidents are those that `generate` makes of the seeds that it names."""
    families = {split: families_of(split) for split in SPLITS}
    total = sum(map(len, families.values()))
    parts = [
        "# Gallery\n\n<!-- Made by `python scripts/make_docs.py`; do not edit. -->\n",
        f"This page helps whoever wants to see what is played. It has one incident of each of the {total} scenario families, {len(TRAIN_FAMILIES)} of which "
        f'training plays; together they play {len(RULES)} rules. `generate("{TASK}", SEED, split="SPLIT")` makes each incident again. The lines on which the '
        f"decision rests are shown, at most {LINES}; in the incident itself, look-alikes and ordinary lines stand between them. Here each family decides. It can also "
        "be harmless and, where an excuse is possible, explained.\n",
    ]
    for split in SPLITS:
        parts.append(f"## {WORDS[split]}\n")
        for tactic, members in groupby(sorted(families[split], key=_place), key=lambda family: family.category):
            parts.append(f"### {tactic.replace('_', ' ').capitalize()}\n")
            parts += [_entry(family, split) for family in members]
    return "\n".join(parts)


def _place(family: Family) -> tuple[str, str]:
    return family.category, family.name


def _entry(family: Family, split: Split) -> str:
    seed, case = _first(family, split)
    truth = compute_ground_truth(case.incident, case.world)
    evidence = set(truth.evidence_log_ids)
    lines = [line_text(line).replace("](", "] (") for line in case.lines if line["log_id"] in evidence]
    shown = [line if len(line) <= WIDTH else f"{line[:WIDTH]} ..." for line in lines[:LINES]]
    if len(lines) > LINES:
        shown[-1] = f"... and {len(lines) - LINES + 1} more lines"
    return (
        f"**{family.name}** ({family.technique}, {family.platform}; rules: {', '.join(family.rules)}), seed {seed}, {len(case.lines)} lines: "
        f"**{truth.action}**, {truth.why}.\n\n```text\n" + "\n".join(shown) + "\n```\n"
    )


def _first(family: Family, split: Split) -> tuple[int, Case]:
    """Return the first seed whose incident the family decides by a finding that nothing explains, and the incident."""
    for seed in _seeds(family, split):
        case = generate(TASK, seed, split=split)
        truth = compute_ground_truth(case.incident, case.world)
        if truth.action != "dismiss" and truth.rule_ids:
            return seed, case
    raise AssertionError("seeds have no end")


_STORIES: dict[Split, list[tuple[str, bool]]] = {}  # of each seed so far: the family, and whether it is told to decide


def _seeds(family: Family, split: Split) -> Iterator[int]:
    stories = _STORIES.setdefault(split, [])
    for seed in count():
        if seed == len(stories):
            told, plan = story_of(TASK, seed, split=split)
            stories.append((told.name, plan.strength != "below" and not plan.explanation))
        if stories[seed] == (family.name, True):
            yield seed
