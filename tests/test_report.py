"""The page: whole in one file, true to the runs, and harmless whatever an attacker or a model wrote."""

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from eval.compare import RESAMPLED, Comparison
from eval.report import COLUMNS, SCRIPT, headline, main
from eval.report_items import cut, records
from eval.steps import score_steps
from players.prompt import answer_text
from stored_runs import answered, frozen_rows, rollout, serve, write_run

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


def poisoned(*, lines=False):
    """Every text that somebody else may write says something hostile; in lines, whose schema lets no hidden letter in, on request: it moves the truth."""
    rows = frozen_rows(40)
    for row in rows:
        alert = row["observation"]["alert"]
        alert["narrative"] = alert["title"] = HOSTILE
        for line in row["observation"]["log_window"] if lines else ():
            line["fields"]["device_hostname"] = HOSTILE.replace("\u202e", "")
    return rows


# ---------------------------------------------------------------- pages, each written once
@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Runs of a defender that is always wrong, and of one that is right but once, who stands first in the ranking."""
    folder = tmp_path_factory.mktemp("runs")
    wrong = [{**answered(row, "dismiss", rationale=HOSTILE), "family": HOSTILE} for row in ROWS]
    right = [{**answered(row, row["ground_truth"]["action"]), "family": HOSTILE} for row in ROWS]
    right[0] = {**answered(ROWS[0], None), "reply": HOSTILE, "family": HOSTILE}
    return [
        str(write_run(folder / "wrong", "sleepy <b>", wrong, command=HOSTILE)),
        str(write_run(folder / "right", "oracle", right)),
    ]


@pytest.fixture(scope="module")
def written(few_resamples, tmp_path_factory):
    """Writes a report of runs over these sets, and gives its file."""

    def write(paths, *flags, **sets):
        out = tmp_path_factory.mktemp("page") / "report.html"
        with pytest.MonkeyPatch.context() as patch:
            serve(patch, **sets)
            assert main([*paths, "--out", str(out), "--resamples", "100", *flags]) == 0
        return out

    return write


@pytest.fixture(scope="module")
def text(paths, written):
    return written(paths, holdout=poisoned()).read_text("utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture(scope="module")
def items(text):
    return unpacked(text)["items"]


@pytest.fixture(scope="module")
def hostile(paths, written):
    """The file of a page whose lines are hostile too, and the defender that is wrong in focus."""
    return written(paths, "--focus", "sleepy <b>", holdout=poisoned(lines=True))


@pytest.fixture(scope="module")
def without_rows(paths, written):
    """The page where the set is not at hand, and the first run is in focus."""
    return written(paths, "--focus", "sleepy <b>").read_text("utf-8")


@pytest.fixture(scope="module")
def alone(tmp_path_factory, written):
    """The page of a single run."""
    right = [answered(row, row["ground_truth"]["action"]) for row in ROWS]
    run = write_run(tmp_path_factory.mktemp("runs") / "best", "always_<b>", right)
    return written([str(run)], holdout=ROWS).read_text("utf-8")


def unpacked(text):
    """The item browser's data, as the page's script reads them."""
    [packed] = re.findall(r'id="packed">([A-Za-z0-9+/=]+)</script>', text)
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_hostile_text_is_shown_and_does_nothing(hostile):
    text = hostile.read_text("utf-8")
    page = Page(text)

    assert {tag for tag, _ in page.tags}.isdisjoint({"iframe", "object", "link"})
    assert [attrs for tag, attrs in page.tags if tag == "script"] == [
        {"type": "application/octet-stream", "id": "packed"},
        {},
    ]
    assert [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)] == []
    assert HOSTILE[:29] in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "\u202e" not in text
    assert "\\u202eesrever" in page.text
    data = json.dumps(unpacked(text), ensure_ascii=False)
    assert data.count("<script>alert('x')</script>") > 400
    assert "\u202e" not in data


def test_no_script_runs_but_the_pages_own(text):
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    [script] = re.findall(r"<script>(.*?)</script>\n</body>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

    assert script == SCRIPT.read_text("utf-8")
    assert "</" not in script
    assert policy.split("; ")[-1] == f"script-src 'sha256-{digest}'"
    assert {"innerHTML", "insertAdjacentHTML", "outerHTML", "document.write", "eval("}.isdisjoint(
        re.findall(r"innerHTML|insertAdjacentHTML|outerHTML|document\.write|eval\(", script)
    )


def test_the_page_loads_nothing(page):
    sources = [attrs[name] for _, attrs in page.tags for name in ("src", "srcset", "action") if name in attrs]
    assert len(sources) >= 10
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    [policy] = [attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


def test_every_picture_says_in_words_what_it_shows_and_has_forms_for_dark_pages_and_phones(page):
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    dark = [attrs["media"] for tag, attrs in page.tags if tag == "source"]
    assert len(dark) == 3 * len(images) >= 15
    assert all(attrs["alt"] for attrs in images)


def test_the_leaderboard_is_ordered_by_macro_f1(text):
    names = re.findall(r"<td>([^<]*)<small>constant", text)
    assert names == ["oracle", "sleepy &lt;b&gt;"]
    assert all(f'<th><a href="#metric-{column.name}">{column.label}</a>' in text for column in COLUMNS)


def test_the_item_browser_has_every_item_with_its_truth_and_everybodys_answer(text):
    data = unpacked(text)

    assert (data["defenders"], data["focus"]) == (["sleepy <b>", "oracle"], "oracle")
    assert [item["id"] for item in data["items"]] == [row["id"] for row in ROWS]
    assert [item["truth"] for item in data["items"]] == [row["ground_truth"]["action"] for row in ROWS]
    assert [item["rules"] for item in data["items"]] == [row["ground_truth"]["rule_ids"] for row in ROWS]
    assert {item["answers"][0]["action"] for item in data["items"]} == {"dismiss"}
    assert data["items"][0]["answers"][1]["action"] is None
    assert data["items"][0]["answers"][1]["said"].startswith("<script>alert('x')")


def test_an_item_has_its_alert_its_lines_and_the_reasons_of_the_verifier(items):
    for item, row in zip(items, ROWS, strict=True):
        window = row["observation"]["log_window"]
        assert item["alerted"] == row["observation"]["alert"]["log_id"]
        assert [name for name, _ in item["lines"]] == [line["log_id"] for line in window]
        assert item["reasons"][-1].startswith(f"So {item['truth']}: ")
        assert len(item["reasons"]) == 1 + len(row["ground_truth"]["findings"])


def test_the_context_of_an_item_holds_all_tickets_and_only_the_hosts_that_a_line_names():
    observation = {
        "alert": {"title": "Odd", "severity": "low", "log_id": "L1-1"},
        "log_window": [
            {
                "log_id": "L1-1",
                "timestamp": "2026-03-02T09:14:07Z",
                "event_type": "file",
                "fields": {"device_hostname": "ABC-WKS-01", "activity": "create", "file_path": "C:\\x.txt"},
            }
        ],
        "context": {
            **ROWS[0]["observation"]["context"],
            "hosts": [
                {"name": name, "ip": ip, "role": "workstation", "criticality": "standard"}
                for name, ip in (("ABC-WKS-01", "10.0.0.1"), ("ABC-WKS-02", "10.0.0.2"))
            ],
            "accounts": [],
            "tickets": [],
            "networks": ["10.0.0.0/8"],
        },
    }
    row = {"observation": observation}
    [record] = records([SimpleNamespace(rollouts=lambda name: [rollout(1)])], "holdout", {"holdout": {"item-1": row}})

    context = dict(record["context"])
    assert context["hosts"] == ["name ABC-WKS-01, ip 10.0.0.1, role workstation, criticality standard"]
    assert context["networks"] == ["10.0.0.0/8"]
    assert "tickets" not in context


def test_where_a_set_is_not_at_hand_items_stand_without_their_lines(without_rows):
    items = unpacked(without_rows)["items"]

    assert "Lines are left out: Expected a frozen set" in without_rows
    assert len(items) == 40
    assert {"lines", "reasons"}.isdisjoint(items[0])


# ---------------------------------------------------------------- the verdict
def test_the_page_opens_with_a_verdict_on_the_defender_in_focus(without_rows, page):
    for words, sentence in (
        (Page(without_rows).text, "sleepy <b> is not shown to be better or worse on macro-F1 than oracle (-"),
        (page.text, "oracle is not shown to be better or worse on macro-F1 than sleepy <b> (+"),
    ):
        assert sentence in words[: words.index("Leaderboard")]


def test_a_single_run_has_its_figure_in_the_place_of_a_verdict(alone):
    words = Page(alone).text

    assert "always_<b>: macro-F1 1.000 (" in words
    assert "against the others" not in words


def compared(first, second, difference, low, high, p):
    return Comparison(first, second, "macro_f1", 40, difference, low, high, p, p, "bootstrap")


@pytest.mark.parametrize(
    ("comparison", "sentence"),
    [
        (compared("b", "a", 0.1, 0.05, 0.15, 0.01), "a is better on macro-F1 than b (by 10.0 points [5.0, 15.0])."),
        (compared("a", "b", -0.1, -0.15, -0.05, 0.01), "a is better on macro-F1 than b (by 10.0 points [5.0, 15.0])."),
        (compared("b", "a", -0.1, -0.15, -0.05, 0.01), "a is worse on macro-F1 than b (by 10.0 points [5.0, 15.0])."),
        (
            compared("a", "b", -0.1, -0.25, 0.05, 0.2),
            "a is not shown to be better or worse on macro-F1 than b (+10.0 points [-5.0, 25.0]).",
        ),
        (
            compared("a", "b", -0.1, None, None, None),
            "a is not shown to be better or worse on macro-F1 than b (+10.0 points).",
        ),
    ],
)
def test_a_verdict_says_who_is_better_and_by_how_much(comparison, sentence):
    assert headline("a", [comparison]) == [sentence]


def test_a_verdict_names_what_speaks_against_it():
    ranked = compared("b", "a", 0.1, 0.05, 0.15, 0.01)
    bad = [replace(ranked, metric=metric, difference=0.2) for metric in ("dismiss_on_malicious", "over_reaction")]
    good = replace(ranked, metric="accuracy")

    assert headline("a", [*bad, good, ranked])[1:] == [
        "It is worse than b in other metrics: dismiss on malicious, over-reaction."
    ]
    assert headline("a", [ranked, good])[1:] == []
    assert headline("b", [*bad, good, ranked])[1:] == [
        "It is better than a in other metrics: dismiss on malicious, over-reaction."
    ]


def test_one_table_says_what_is_shown_in_each_metric(text):
    [table] = re.findall(r'<h2 id="against">.*?<tbody>(.*?)</tbody>', text, re.S)

    assert table.count("<tr>") == 1
    assert table.count("<td>") == 1 + len(RESAMPLED)
    assert "no difference shown" not in text


def test_a_long_name_breaks_after_its_underscore(alone):
    assert "<td>always_<wbr>&lt;b&gt;<small>" in alone


# ---------------------------------------------------------------- finding one's way
def test_every_link_leads_to_a_place_of_the_page(page):
    places = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = {attrs["href"] for tag, attrs in page.tags if tag == "a"}

    assert {link.removeprefix("#") for link in links} <= places
    assert {"#leaderboard", "#against", "#items", "#figures", "#meanings", "#sources"} <= links


def test_every_metric_of_the_page_is_defined_in_a_sentence(text):
    for column in COLUMNS:
        assert f'<dt id="metric-{column.name}">{column.label}</dt><dd>' in text
        assert column.meaning.endswith(".")
    assert "if a missed attack costs as much as 10 false alarms, and a false alarm costs 1." in text


def test_a_focus_that_did_not_run_is_refused(paths, tmp_path, capsys):
    assert main([*paths, "--out", str(tmp_path / "x.html"), "--focus", "nobody", "--resamples", "10"]) == 2
    assert "as --focus, and got 'nobody'" in capsys.readouterr().err


def test_a_long_text_is_cut():
    assert cut("x" * 5000) == "x" * 700 + " ..."


def test_chains_are_shown_step_by_step_with_the_right_one_beside_a_wrong_one(written, tmp_path):
    runs = []
    for row in ROWS:
        truth = row["ground_truth"]["action"]
        rationale = json.loads(answer_text(row["observation"], "compact"))["rationale"]
        line = answered(row, "monitor" if truth == "dismiss" else truth, rationale=rationale)
        runs.append({**line, "steps": score_steps(row["observation"], line["answer"], line["evidence"])})
    wrong = sum(row["ground_truth"]["action"] == "dismiss" for row in ROWS)
    plain = [answered(row, "dismiss") for row in ROWS]
    paths = [str(write_run(tmp_path / name, name, rows)) for name, rows in (("plain", plain), ("chains", runs))]
    text = written(paths, holdout=ROWS).read_text("utf-8")
    page = Page(text)

    assert f"action {wrong}, none {40 - wrong}" in page.text
    assert page.tags.count(("table", {})) == 3
    items = unpacked(text)["items"]
    assert [item["answers"][1]["wrong_step"] for item in items].count("action") == wrong
    spoken = [item for item in items if item["answers"][1]["wrong_step"] == "" and item["reasons"][1:]]
    assert len(spoken) > 20
    assert all(item["answers"][1]["said"].startswith(item["reasons"][0][:20]) for item in spoken)


# ---------------------------------------------------------------- in a browser, from the file
@pytest.mark.browser
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_the_item_browser_filters_and_opens_items_and_hostile_text_stays_text(size, hostile):
    from test_browser import CHROMIUM, FLAGS, SIZES

    if not CHROMIUM:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    from playwright.sync_api import expect, sync_playwright

    wrong = [row for row in ROWS if row["ground_truth"]["action"] == "escalate"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = chromium.new_page(viewport=SIZES[size])
        bad = []
        page.on("console", lambda said: said.type == "error" and bad.append(said.text))
        page.on("pageerror", lambda error: bad.append(str(error)))
        page.on("dialog", lambda dialog: bad.append("a dialog"))
        page.on("request", lambda sent: sent.url.startswith(("file:", "data:", "blob:")) or bad.append(sent.url))
        page.goto(hostile.as_uri())
        items = page.locator("details.item")
        expect(items.first.get_by_text("Lines that matter")).to_be_visible(timeout=60_000)
        expect(items.first).to_contain_text("<script>alert('x')</script>")

        page.get_by_label("truth").select_option("escalate")
        expect(page.locator("#count")).to_have_text(f"{len(wrong)} of 40 incidents, the lowest rewards first")
        page.get_by_label("result").select_option("right")
        expect(page.locator("#count")).to_have_text('None of the 40 incidents is like that; set a choice to "any".')
        page.get_by_label("defender").select_option("oracle")
        expect(items).to_have_count(len(wrong))
        items.last.locator("summary").first.focus()
        page.keyboard.press("Enter")
        expect(items.last.locator("dt").nth(1)).to_be_visible()

        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator("#browser script, #browser img").count() == 0
        assert bad == []
        chromium.close()
