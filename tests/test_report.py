"""The page: whole in one file, true to the runs, and harmless whatever an attacker or a model wrote."""

import json
import re
from html.parser import HTMLParser

import pytest

from eval.report import COLUMNS, cut, main
from eval.steps import score_steps
from players.prompt import answer_text
from stored_runs import answered, frozen_rows, serve, write_run

pytestmark = pytest.mark.usefixtures("few_resamples")

ROWS = frozen_rows(40)
HOSTILE = "<script>alert('x')</script>\"><img src=http://203.0.113.7/x onerror=alert(1)> \u202eesrever {{ 7 * 7 }}"


class Page(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def poisoned():
    """Every text that somebody else may write says something hostile."""
    rows = frozen_rows(40)
    for row in rows:
        alert = row["observation"]["alert"]
        alert["narrative"] = alert["title"] = HOSTILE
        for line in row["observation"]["log_window"]:
            line["fields"]["device_hostname"] = HOSTILE
    return rows


@pytest.fixture
def paths(tmp_path, monkeypatch):
    serve(monkeypatch, holdout=poisoned())
    wrong = [
        {**row, "task": row["task"], "family": HOSTILE}
        for row in (answered(row, "dismiss", rationale=HOSTILE) for row in ROWS)
    ]
    right = [{**answered(row, row["ground_truth"]["action"]), "family": HOSTILE} for row in ROWS]
    right[0] = {**answered(ROWS[0], None), "reply": HOSTILE, "family": HOSTILE}
    return [
        str(write_run(tmp_path / "right", "oracle", right)),
        str(write_run(tmp_path / "wrong", "sleepy <b>", wrong, command=HOSTILE)),
    ]


def written(paths, tmp_path, *flags):
    out = tmp_path / "report.html"
    assert main([*paths, "--out", str(out), "--resamples", "100", *flags]) == 0
    return out.read_text("utf-8")


def test_hostile_text_is_shown_and_does_nothing(paths, tmp_path):
    text = written(paths, tmp_path)
    page = Page(text)

    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "object", "link", "form", "a"})
    assert [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)] == []
    assert page.text.count("<script>alert('x')</script>") > 20
    assert "{{ 7 * 7 }}" in page.text
    assert "\u202e" not in text
    assert "\\u202eesrever" in page.text


def test_the_page_loads_nothing(paths, tmp_path):
    page = Page(written(paths, tmp_path))

    sources = [attrs[name] for _, attrs in page.tags for name in ("src", "srcset", "href", "action") if name in attrs]
    assert len(sources) >= 10
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    [policy] = [attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


def test_every_picture_says_in_words_what_it_shows_and_has_a_dark_twin(paths, tmp_path):
    page = Page(written(paths, tmp_path))

    images = [attrs for tag, attrs in page.tags if tag == "img"]
    dark = [attrs for tag, attrs in page.tags if tag == "source"]
    assert len(images) == len(dark) >= 5
    assert all(attrs["alt"] for attrs in images)


def test_the_leaderboard_is_ordered_by_macro_f1(paths, tmp_path):
    text = written(paths[::-1], tmp_path)

    names = re.findall(r"<td>([^<]*)<small>constant", text)
    assert names == ["oracle", "sleepy &lt;b&gt;"]
    assert all(f"<th>{column.label}</th>" in text for column in COLUMNS)


def test_ten_mistakes_are_shown_with_their_evidence_and_the_worst_first(paths, tmp_path):
    text = written(paths, tmp_path, "--focus", "sleepy <b>")
    articles = text.split("<article>")[1:]

    assert len(articles) == 10
    rewards = [float(re.search(r"reward (-?[0-9.]+)", article)[1]) for article in articles]
    assert rewards == sorted(rewards)
    assert all('class="evidence"' in article for article in articles)


def test_a_malformed_answer_is_shown_as_it_came(paths, tmp_path):
    [article] = written(paths, tmp_path, "--focus", "oracle").split("<article>")[1:]

    assert "nothing that can be read" in article
    assert "&lt;script&gt;" in article


def test_where_a_set_is_not_at_hand_mistakes_stand_without_their_lines(paths, tmp_path, monkeypatch):
    serve(monkeypatch)
    text = written(paths, tmp_path)

    assert "Lines are left out: Expected a frozen set" in text
    assert len(text.split("<article>")) == 11


def test_who_makes_no_mistake_is_told_so(paths, tmp_path, monkeypatch):
    right = [answered(row, row["ground_truth"]["action"]) for row in ROWS]
    page = Page(written([str(write_run(tmp_path / "best", "best", right))], tmp_path)).text

    assert "Mistakes of best\nNone on this set." in page


def test_a_focus_that_did_not_run_is_refused(paths, tmp_path, capsys):
    assert main([*paths, "--out", str(tmp_path / "x.html"), "--focus", "nobody", "--resamples", "10"]) == 2
    assert "as --focus, and got 'nobody'" in capsys.readouterr().err


def test_a_long_text_is_cut():
    assert cut("x" * 5000) == "x" * 700 + " ..."


def test_chains_are_shown_step_by_step_with_the_right_one_beside_a_wrong_one(tmp_path, monkeypatch):
    serve(monkeypatch, holdout=ROWS)
    runs = []
    for row in ROWS:
        truth = row["ground_truth"]["action"]
        rationale = json.loads(answer_text(row["observation"], "compact"))["rationale"]
        line = answered(row, "monitor" if truth == "dismiss" else truth, rationale=rationale)
        runs.append({**line, "steps": score_steps(row["observation"], line["answer"], line["evidence"])})
    wrong = sum(row["ground_truth"]["action"] == "dismiss" for row in ROWS)
    plain = [answered(row, "dismiss") for row in ROWS]
    paths = [str(write_run(tmp_path / name, name, rows)) for name, rows in (("plain", plain), ("chains", runs))]
    page = Page(written(paths, tmp_path))

    assert f"action {wrong}, none {40 - wrong}" in page.text
    assert page.text.count("; first wrong: action") == min(10, wrong)
    assert page.text.count("right chain") == min(10, wrong)
    assert page.tags.count(("table", {})) == 2
