"""README and docs: what stands there runs as printed, its figures are those of the code, its links lead somewhere."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import schema
from app_runtime import Settings
from rubric import TABLES
from scripts.figures import figures
from service import serve
from tasks.families import FAMILIES
from verifier.rules import RULES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PLAIN = re.sub(r"<!--=.*?-->|<!--/-->", "", README)  # without the marks of figures
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CHANGELOG.md"]
KNOWN = figures()
PRINTED_URL = "http://127.0.0.1:7860"


def blocks(path, language):
    """(page, text) of every fenced block of a language."""
    page = (ROOT / path).read_text(encoding="utf-8")
    return [(path, text) for text in re.findall(rf"^```{language}\n(.*?)^```", page, re.M | re.S)]


ALL_BASH = [block for page in ("README.md", "docs/api.md", "docs/real_logs.md") for block in blocks(page, "bash")]
CURL = [block for block in ALL_BASH if "curl" in block[1] and block[0] != "README.md"]
PYTHON_M = [block for block in ALL_BASH if ".venv/bin/python" in block[1]]
PYTHON = blocks("docs/api.md", "python")
PRINTED = re.findall(r"^```(bash|python)\n([^`]*?)^```\n\n```text\n(.*?)^```", README, re.M | re.S)
PROSE = re.sub(r"^```.*?^```", "", PLAIN.split("---\n", 2)[2], flags=re.M | re.S)
LONGEST = 30  # words of a sentence in the README


def run(*command, **options):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, **options)
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


@pytest.mark.parametrize(("language", "block", "output"), PRINTED, ids=[block[:30] for _, block, _ in PRINTED])
def test_an_example_prints_what_the_readme_says_it_prints(url, language, block, output):
    if "jq" in block and not shutil.which("jq"):
        pytest.skip("the example pipes through jq, which is not here")
    block = block.replace(PRINTED_URL, url)
    bash, python = ("bash", "-euo", "pipefail", "-c"), (sys.executable, "-W", "error::ResourceWarning", "-c")

    assert run(*(bash if language == "bash" else python), block) == output


def test_the_readme_plays_four_episodes_and_answers_each_rightly():
    """One of each task; +1 for the action and +0.1 for the line is the most that there is."""
    played = {re.search(r'task="?(\w+)', block)[1]: output.split("Findings:")[0] for _, block, output in PRINTED}

    assert sorted(played) == sorted(schema.TASKS)
    assert [head.split()[-1] for head in played.values()] == ["1.1"] * 4


def test_the_calls_that_others_copy_are_answered():
    """The short smoke test, with the defaults of task and line: no answer of it is an error."""
    asked = {"task": "stage1_basic", "mode": "defender_only"}
    triage = {"action": "monitor", "cited_log_id": "L1-0", "rationale": "smoke"}
    with serve() as client:
        health = client.get("/health")
        reset = client.post("/reset", params=asked)
        step = client.post("/step", params=asked, json={"submit_triage": triage})

    assert [reply.status_code for reply in (health, reset, step)] == [200, 200, 200]
    assert (reset.json()["done"], step.json()["done"]) == (False, True)
    assert step.json()["reward"] != TABLES["standard"].malformed


def test_a_client_without_an_address_and_with_the_episode_named_at_each_call_plays(url):
    played = run(
        sys.executable,
        "-c",
        f"""
from client import OpenSOCClient
c = OpenSOCClient({url!r})
obs = c.reset(task="stage1_basic", mode="defender_only", seed=1)
triage = {{"action": "monitor", "cited_log_id": "L1-0", "rationale": "ok"}}
print(c.step({{"submit_triage": triage}}, task="stage1_basic", mode="defender_only", seed=1).done)
c.close()
""",
    )

    assert played == "True\n"


@pytest.mark.parametrize(("page", "block"), PYTHON)
def test_python_runs_as_printed(url, page, block):
    assert run(sys.executable, "-W", "error::ResourceWarning", "-c", block.replace(PRINTED_URL, url)).strip()


@pytest.mark.parametrize(("page", "block"), PYTHON_M)
def test_commands_run_as_printed(page, block):
    for line in block.strip().splitlines():
        program, *arguments = line.split()
        assert program == ".venv/bin/python"
        assert run(sys.executable, *arguments).strip()


def test_it_opens_with_one_sentence_that_holds_the_gain():
    first = PROSE.split("# OpenSOC\n", 1)[1].strip().split("\n\n")[0]

    assert re.findall(r"\d+ %", first) == [
        figure for side in ("embedded_first", "embedded") for figure in [KNOWN[f"{side}.test_seed.accuracy.percent"]]
    ]
    assert first.rstrip("*").count(".") == 1


def test_its_sections_are_those_of_its_contents():
    titles = re.findall(r"^## (.+)$", PROSE, re.M)
    listed = re.findall(r"^- \[(.+?)\]\(#(.+?)\)$", PROSE, re.M)

    assert [title for title, _ in listed] == [title for title in titles if title not in ("Try it", "Contents")]
    assert [anchor for title, anchor in listed if anchor != title.lower().replace(" ", "-")] == []


def test_no_sentence_is_long():
    lines = [re.sub(r"^(\||[-#>]|\d+\.) ?|!?\[([^]]*)\]\([^)]*\)", r"\2", line) for line in PROSE.splitlines()]
    parts = [cell for line in lines for cell in line.split("|")]
    sentences = [sentence for part in parts for sentence in re.split(r"(?<=[.:;?!])\s", part)]

    assert [sentence for sentence in sentences if len(sentence.split()) > LONGEST] == []


def test_no_figure_of_a_file_is_typed():
    """Decimals and shares stand in marks or in tables that are made; the reward table is compared below."""
    made = re.sub(
        r"<!-- (\w+): begin -->.*?<!-- \1: end -->|<!--=.*?<!--/-->|^```.*?^```", "", README, flags=re.M | re.S
    )
    rewards = {"0.6", "0.3", "0.2", "0.05", "0.1", "0.5"}

    assert set(re.findall(r"\d+\.\d+(?!\.?\d)", made)) - rewards == {"3.11"}
    assert set(re.findall(r"\d+ %", made)) == {"95 %", "20 %", "40 %", "30 %", "10 %"}


def test_tests_that_it_names_stand_where_it_says():
    named = re.findall(r"\[`(test_\w+)`\]\((tests/\w+\.py)\)", README)

    assert len(named) >= 6
    assert [name for name, path in named if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")] == []


def test_nothing_in_the_build_status_is_missing():
    rows = re.search(r"<!-- status: begin -->(.*)<!-- status: end -->", README, re.S)[1].strip().splitlines()[2:]

    assert len(rows) >= 12
    assert [row for row in rows if row.split(" | ")[1] != "shipped"] == []


def test_every_make_target_that_is_named_exists():
    makefile = (ROOT / "Makefile").read_text()
    named = {name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.M)}

    assert named >= {"serve", "test", "play"}
    assert [name for name in named if not re.search(rf"^{name}:", makefile, re.M)] == []


# ---------------------------------------------------------------- what is said
def test_the_front_matter_is_that_of_a_docker_space():
    front = yaml.safe_load(README.split("---\n")[1])

    assert README.startswith("---\n")
    assert {name: front[name] for name in ("title", "sdk", "app_port", "base_path", "license")} == {
        "title": "OpenSOC",
        "sdk": "docker",
        "app_port": 7860,
        "base_path": "/web",
        "license": "bsd-3-clause",
    }
    assert "openenv" in front["tags"]
    assert len(front["short_description"]) <= 60


def gain(split, metric="accuracy"):
    """What training added to a metric on a set."""
    return float(KNOWN[f"embedded.{split}.{metric}"]) - float(KNOWN[f"embedded_first.{split}.{metric}"])


def reward(key):
    return float(KNOWN[f"{key}.mean_reward"])


def test_its_words_on_results_follow_from_the_figures():
    low, high = map(float, KNOWN["results.test_tactic.accuracy.difference.interval"].strip("[]").split(", "))
    earned = json.loads(KNOWN["embedded.benchmark.mean_reward.full"].split(" ", 1)[1])
    stages = [reward(f"examples.checkpoints.{name}") for name in ("more", "grpo2", "grpo4")]
    said = {
        "The gain is large on known scenarios and smaller on new ones.": gain("test_seed")
        > 2 * gain("test_family")
        > 0.2,
        "On a tactic that training left out none is shown, and the reward falls.": low < 0 < high
        and gain("test_tactic", "mean_reward") < -0.1,
        "because `standard` makes escalation cheap; the interval holds both.": earned[0]
        < reward("always_escalate.benchmark")
        < earned[1],
        "two stages raise the mean reward": stages[0] < stages[1],
        "The next two take part of it back": stages[0] < stages[2] < stages[1],
    }

    assert [sentence for sentence in said if sentence not in PROSE] == []
    assert [sentence for sentence, follows in said.items() if not follows] == []


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
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`(?:PORT|OPENSOC)[^|]*) \| ([^|]*) \|", page, re.M)
    said = {}
    for names, values in rows:
        said |= dict(zip(re.findall(r"`(\w+)`", names), values.replace("`", "").split(", "), strict=True))
    defaults = Settings().model_dump()

    assert said == {
        "PORT" if name == "port" else f"OPENSOC_{name.upper()}": as_said(value) for name, value in defaults.items()
    }


def as_said(value):
    """A setting's default as the page writes it."""
    return "empty" if value == "" else str(int(value)) if isinstance(value, float) else str(value)


def test_the_index_names_every_page():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md"]

    assert [name for name in (*pages, "../DEPLOY.md", "../TRAIN.md") if f"]({name})" not in index] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))

    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
