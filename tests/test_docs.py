"""Documents made from code are fresh, and the manifest says what the code does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from env import OpenSOCEnv
from schema import LABELS, MODES, TASKS, VERSION
from tasks.registry import SPLITS, TASK_SPECS, num_tasks
from verifier import RULES, playbook_for, playbook_text

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = yaml.safe_load((ROOT / "openenv.yaml").read_text(encoding="utf-8"))


def test_generated_documents_are_fresh():
    done = subprocess.run(
        [sys.executable, "scripts/make_docs.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_each_page_opens_with_a_sentence_that_says_whom_it_is_for(page):
    text = re.sub(r"<!--.*?-->", "", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.S)
    title, opening = text.split("\n", 1)

    assert title.startswith("# ")
    assert re.match(r"\s*This page (?:helps|is for) \w", opening)


def sentences(text):
    """Running text by sentences: without code, tables, headings and what stands in brackets of links."""
    text = re.sub(r"```.*?```|^    .*?$|<!--.*?-->|\]\([^)]*\)", "", text, flags=re.S | re.M)
    text = "\n".join("" if line.startswith(("|", "#")) else line for line in text.split("\n"))
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*- |\d+\. )", text):
        yield from re.split(r"(?<=[.:!?])\s+(?=[A-Z`\"\[*])", " ".join(paragraph.split()))


LISTS = ("results",)  # a page of answers, rather than of sentences
PAGES = [
    *("README.md", "DEPLOY.md", "TRAIN.md", "CONTRIBUTING.md", "SECURITY.md", "data/README.md"),
    *(f"docs/{path.name}" for path in sorted(ROOT.glob("docs/*.md")) if path.stem not in LISTS),
]


@pytest.mark.parametrize("page", PAGES)
def test_no_sentence_is_longer_than_forty_words(page):
    assert [line for line in sentences((ROOT / page).read_text("utf-8")) if len(line.split()) > 40] == []


def test_the_training_page_speaks_to_its_reader_alone():
    text = (ROOT / "TRAIN.md").read_text("utf-8") + (ROOT / "train_grpo.ipynb").read_text("utf-8")

    assert re.findall(r"was lent|at hand|was not run|can be downloaded there", text) == []
    for adapter in ("-sft", "-stage1_basic", "-stage2_multi", "-stage3_mixed", "-stage4_adversarial", ""):
        assert f"`opensoc-defender-grpo{adapter}`" in text


def test_the_playbook_page_is_the_text_that_the_defender_reads():
    page = (ROOT / "docs" / "playbook.md").read_text(encoding="utf-8")
    observation = OpenSOCEnv().reset(seed=1)
    ladder, rules = playbook_text().split("\n\nRules\n")

    assert observation.playbook == playbook_for(observation.log_window)
    assert ladder in page
    assert all(f"- {rule.rule_id}: {rule.summary}" in rules and f"`{rule.rule_id}`" in page for rule in RULES)


def test_the_dataset_card_quotes_the_manifest_and_the_audit():
    """The tables between the marks, and nothing else of the card, are made anew."""
    from scripts.make_docs import dataset_card

    card = "# A\n<!-- sets: begin -->\nstale\n<!-- sets: end -->\nkept\n<!-- audit: begin -->\nstale\n<!-- audit: end -->\nlast\n"
    entry = {
        "rows": 1700,
        "bytes": 15_930_000,
        "families": {"a": {}, "b": {}},
        "rules": {},
        "tactics": {},
        "platforms": {},
    }
    tasks = {"stage1_basic": {"dismiss": 900, "monitor": 100}, "stage2_multi": {"dismiss": 700}}
    check = {
        "name": "pairs",
        "task": "stage1_basic",
        "figure": "0.2 [0.1, 0.3] a|b",
        "offending": "a|b",
        "split": "val",
    }
    made = dataset_card(
        card,
        {"version": 2, "generator": "9", "sets": {"holdout": {**entry, "tasks": tasks}}},
        {"generator": "9", "incidents": {"val": 3000}, "ok": False, "checks": [check]},
    )

    assert "stale" not in made
    assert "| `holdout` | 1,700 | 15.9 | 1600 | 100 | 0 | 0 | 0 | 2 | 0 | 0 | 0 |\n" in made
    assert "Generator 9, incidents of each task: 3,000 of `val`. Not all hold.\n" in made
    assert "| `pairs` | stage1_basic | 0.2 [0.1, 0.3] a&#124;b **fails** |\n" in made
    assert (made.startswith("# A\n"), "-->\nkept\n<!--" in made, made.endswith("-->\nlast\n")) == (True, True, True)


def test_the_manifest_lists_what_can_be_played():
    assert [(task["name"], task["description"]) for task in MANIFEST["tasks"]] == [
        (name, TASK_SPECS[name].description) for name in TASKS
    ]
    assert MANIFEST["modes"] == list(MODES)
    assert MANIFEST["splits"] == list(SPLITS)
    assert MANIFEST["action_space"]["submit_triage"]["action"] == list(LABELS)
    assert MANIFEST["action_space"]["craft_incident"]["target_label"] == list(LABELS)


def test_the_manifest_counts_tasks_as_the_environment_does():
    assert MANIFEST["validation"]["capabilities"]["declared_task_count"] == {
        split: num_tasks(split) for split in SPLITS
    }


def test_the_manifest_and_the_environment_agree_on_the_version():
    assert MANIFEST["version"] == VERSION


def test_the_threat_model_names_tests_and_checks_that_exist():
    page = (ROOT / "docs" / "threat_model.md").read_text(encoding="utf-8")
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    code = "".join((ROOT / "eval" / f"{name}.py").read_text(encoding="utf-8") for name in ("checks", "shortcuts"))
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", page)) - set(SPLITS)
    checks = set(re.findall(r"audit `([\w ]+)`", page))

    assert len(named) >= 30
    assert [name for name in named if f"def {name}(" not in tests] == []
    assert [name for name in checks if f'"{name}"' not in code and f'"{name} ' not in code] == []
