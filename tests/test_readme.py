"""README and docs: what stands there runs as printed, its figures are those of the code, its links lead somewhere."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import schema
from app_runtime import Settings
from rubric import TABLES
from tasks.families import FAMILIES
from verifier.rules import RULES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PLAIN = re.sub(r"<!--=.*?-->|<!--/-->", "", README)  # without the marks of figures
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CHANGELOG.md"]
PRINTED_URL = "http://127.0.0.1:7860"


def blocks(path, language):
    """(page, text) of every fenced block of a language."""
    page = (ROOT / path).read_text(encoding="utf-8")
    return [(path, text) for text in re.findall(rf"^```{language}\n(.*?)^```", page, re.M | re.S)]


ALL_BASH = [block for page in ("README.md", "docs/api.md", "docs/real_logs.md") for block in blocks(page, "bash")]
CURL = [block for block in ALL_BASH if "curl" in block[1]]
PYTHON_M = [block for block in ALL_BASH if ".venv/bin/python" in block[1]]
PYTHON = [block for page in ("README.md", "docs/api.md") for block in blocks(page, "python")]


def run(*command, **options):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def documents(text):
    """The JSON documents that stand one after another in a text."""
    found, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


# ---------------------------------------------------------------- what runs
@pytest.mark.parametrize(("page", "block"), CURL)
def test_curl_runs_as_printed(url, page, block):
    answers = documents(run("bash", "-euo", "pipefail", "-c", block.replace(PRINTED_URL, url)))

    assert PRINTED_URL in block
    assert len(answers) == block.count("curl")
    assert [answer for answer in answers if "detail" in answer or "error" in answer] == []


def test_the_smoke_test_plays_one_episode_to_its_grade(url):
    reset, step, grade = documents(run("bash", "-euc", CURL[0][1].replace(PRINTED_URL, url)))

    assert (reset["done"], reset["reward"], step["done"]) == (False, None, True)
    assert reset["episode_id"] == step["episode_id"] == grade["episode_id"]
    assert grade["rewards"]["defender"] == step["reward"]
    assert grade["seed"] == 42
    assert grade["ground_truth"]["explanation"]


@pytest.mark.parametrize(("page", "block"), PYTHON)
def test_python_runs_as_printed(url, page, block):
    assert run(sys.executable, "-W", "error::ResourceWarning", "-c", block.replace(PRINTED_URL, url)).strip()


@pytest.mark.parametrize(("page", "block"), PYTHON_M)
def test_commands_run_as_printed(page, block):
    for line in block.strip().splitlines():
        program, *arguments = line.split()
        assert program == ".venv/bin/python"
        assert run(sys.executable, *arguments).strip()


def test_it_opens_with_a_sentence_the_two_commands_and_curl():
    body = README.split("---\n", 2)[2].split("# OpenSOC\n", 1)[1]
    sentence, first, between, second = re.split(r"^```bash\n|^```\n", body, flags=re.M)[:4]

    assert sentence.strip().count(". ") == 0
    assert [line.split("#")[0].strip() for line in first.strip().splitlines()] == ["make serve", "make test"]
    assert len(between) < 200
    assert second.splitlines()[1].startswith("curl ")


def test_every_make_target_that_is_named_exists():
    makefile = (ROOT / "Makefile").read_text()
    named = {name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.M)}

    assert named >= {"serve", "test", "play"}
    assert [name for name in named if not re.search(rf"^{name}:", makefile, re.M)] == []


# ---------------------------------------------------------------- what is said
def test_the_front_matter_is_that_of_a_docker_space():
    front = yaml.safe_load(README.split("---\n")[1])

    assert README.startswith("---\n")
    assert {name: front[name] for name in ("title", "sdk", "app_port", "license")} == {
        "title": "OpenSOC",
        "sdk": "docker",
        "app_port": 7860,
        "license": "bsd-3-clause",
    }
    assert "openenv" in front["tags"]
    assert len(front["short_description"]) <= 60


@pytest.mark.parametrize(
    ("what", "count"),
    [("rules", len(RULES)), ("event types", len(schema.EVENT_TYPES)), ("scenario families", len(FAMILIES))],
)
def test_counts_are_those_of_the_code(what, count):
    assert set(re.findall(rf"(\d+) {what}", PLAIN)) == {str(count)}


def test_the_reward_table_in_short_is_the_rubrics():
    table, rows = TABLES["standard"], dict(re.findall(r"^\| (.+?) \| (.+?) \|$", README, re.M))
    confirmed, malicious = schema.LABELS[2:], schema.LABELS[1:]
    strong = ("quarantine_host", "block_ip")

    assert rows["correct action"] == "+1"
    assert {table.defender[label][label] for label in schema.LABELS} == {1.0}
    assert rows["`dismiss` on something malicious or suspicious"] == "-1"
    assert {table.defender[label]["dismiss"] for label in malicious} == {-1.0}
    assert rows["`monitor` on something confirmed: acting late"] == "-0.6"
    assert {table.defender[label]["monitor"] for label in confirmed} == {-0.6}
    wrong = rows["the wrong strong action; `quarantine_host` or `block_ip` on something benign"]
    assert wrong == "-0.3 (-0.2 on what is only suspicious)"
    assert {table.defender[t][a] for t in ("dismiss", *confirmed) for a in strong if a != t} == {-0.3}
    assert {table.defender["monitor"][answer] for answer in strong} == {-0.2}
    assert rows["needless `escalate`, needless `monitor`"] == "-0.05"
    assert {table.defender[t]["escalate"] for t in schema.LABELS[:-1]} | {table.defender["dismiss"]["monitor"]} == {
        -0.05
    }
    assert rows["the cited line is evidence"] == f"{table.citation:+g}"
    assert rows["malformed answer, in place of all the above"] == f"{table.malformed:g}"
    paid = rows["attacker: defender wrong and incident plausible / novel play / schema failure / implausible"]
    figures = table.attacker
    assert paid == f"{figures.fooled:+g} / {figures.novelty:+g} / {figures.schema_failure:g} / {figures.implausible:g}"


def test_the_settings_are_those_of_the_service():
    rows = re.findall(r"^\| (`(?:PORT|OPENSOC)[^|]*) \| ([^|]*) \|", README, re.M)
    said = {}
    for names, values in rows:
        said |= dict(zip(re.findall(r"`(\w+)`", names), values.replace("`", "").split(", "), strict=True))
    defaults = Settings().model_dump()

    assert said == {
        "PORT" if name == "port" else f"OPENSOC_{name.upper()}": as_said(value) for name, value in defaults.items()
    }


def as_said(value):
    """A setting's default as the README writes it."""
    return "empty" if value == "" else str(int(value)) if isinstance(value, float) else str(value)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))

    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
