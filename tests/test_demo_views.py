"""How the demo looks: what an attacker writes stays text, the truth shows after the reveal alone, figures come from files."""

import csv
import html
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urlsplit

import plotly.graph_objects as go
import pytest

import demo_data
from demo import results, views
from demo.draft import IncidentDraft, Sent, world_of
from demo.figures import EVIDENCE
from demo.games import Bout
from demo.graph import Link, graph, links_of, talk_rows
from demo.recorded import judged_log
from demo.timeline import timeline
from demo.words import ACTION_NAMES, ACTION_SIGNS, ACTIONS, LONGEST, readable, reason_in_words
from demo_data import (
    DemoCase,
    Game,
    GateResult,
    Round,
    ScoredAnswer,
    ask,
    baked,
    from_link,
    generated,
)
from incidents import ACCOUNTS, HOSTS, OUTSIDE, call, event, launch, logon
from schema import LABELS, TASKS
from verifier import RULES


def talks(case, *, revealed=False):
    return views.talks(talk_rows(case, revealed=revealed))


MARKUP = "<script>alert(1)</script>"
HOSTILE = {
    "script": MARKUP,
    "attribute": '"><img src=x onerror="alert(1)">',
    "quotes": "' onmouseover='x' \" `",
    "ampersands": "&lt;b&gt; &amp; &#60;i&#62; &",
    "link": '<a href="javascript:alert(1)">x</a>',
    "plotly": "<b>bold</b><br><i>x</i><sub>y</sub><extra></extra>%{x}",
    "markdown": "[click](http://evil.example) ![image](http://evil.example/i.png) **bold** # head",
    "template": "{{ 7 * 7 }}{% include '/etc/passwd' %}{#",
    "ansi": "\x1b[31mred\x1b]8;;http://evil.example\x07",
    "bidi": "\u202egnp.exe\u2066\u2069\u200f",
    "zero_width": "a\u200bb\ufeffc\u2060d\u00ad",
    "nul": "a\x00b\x08c\rd\ne",
    "surrogate": "a\ud800b",
    "long": "A<b>" * 25_000,
    "comment": "<!-- --><![CDATA[ ]]></td></table></section>",
}
BASE = generated("stage2_multi", 7)
LATE = "2026-03-02T10:00:00Z"
FEW = BASE._replace(observation={**BASE.observation, "log_window": BASE.observation["log_window"][:3]})
CASES = [generated(task, seed) for task in TASKS for seed in range(4)]


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.words = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, tuple(attrs)))

    def handle_endtag(self, tag):
        self.elements.append((f"/{tag}", ()))

    def handle_comment(self, data):
        self.elements.append(("!--", (data,)))

    def handle_decl(self, decl):
        self.elements.append(("!", (decl,)))

    def unknown_decl(self, data):
        self.elements.append(("![", (data,)))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def values(self, name):
        return [value for _, attrs in self.elements for key, value in attrs if key == name]


def rewritten(text, case=FEW):
    """The case with this text wherever somebody else writes."""

    def told(value):
        if isinstance(value, str):
            return text
        return [told(one) for one in value] if isinstance(value, list) else value

    window = [
        {**line, "fields": {**{name: told(value) for name, value in line["fields"].items()}, "process_cmd_line": text}}
        for line in case.observation["log_window"]
    ]
    context = {
        name: [{key: told(value) for key, value in row.items()} if isinstance(row, dict) else text for row in rows]
        for name, rows in case.observation["context"].items()
        if name != "now"
    }
    alert = {**case.observation["alert"], "title": text, "narrative": text}
    observation = {"alert": alert, "log_window": window, "context": {**context, "now": text}}
    return case._replace(title=text, observation=observation)


NO_SHARE = {"value": None, "low": None, "high": None, "n": 0}


def answer_of(text, **changes):
    triage = {"action": "monitor", "cited_log_id": "L1-1", "rationale": text, "confidence": 0.25}
    return ScoredAnswer(
        text, triage, "", True, 1.1, {"defender.decision": 1.0, "defender.citation": 0.1}, 1.5
    )._replace(**changes)


def pieces(text):
    """Every piece of the page, with this text wherever somebody else writes."""
    case, answer = rewritten(text), answer_of(text)
    faulty = answer_of(text, triage=None, fault=text, right=False)
    game = Game(text, "stage1_basic", (Round(answer, faulty, text, "monitor"),) * 10)
    refused = GateResult(None, (text,) * 15, text)
    return {
        "alert": views.alert_card(case),
        "head": views.case_head(case, [answer, faulty], revealed=True),
        "matter": views.matter(case, [answer, faulty], revealed=True),
        "folds": views.folds(case, [answer], revealed=True),
        "recap": views.recap(game, 3),
        "lines": views.log_table(case, [answer, faulty]),
        "lines revealed": views.log_table(case, [answer, faulty], revealed=True),
        "world": views.world_tables(case.observation["context"]),
        "answer": views.answer_card(answer),
        "answer revealed": views.answer_card(answer, case),
        "fault": views.answer_card(faulty, case),
        "ground truth": views.ground_truth(case, claimed=text),
        "score": views.score(game),
        "gate": views.gate(refused),
        "outcome": views.outcome(Sent(refused, None, None, {})),
        "bout": views.bout(Bout(text, text, text, text, (), case, faulty, case, answer)),
        "refused bout": views.bout(Bout(text, text, text, text, (text,) * 15, None, None, None, None)),
        "game": views.games(text, text, ["won", "held"], 0),
        "note": views.note(text),
        "talks": talks(case),
    }


PLAIN = {name: Page(piece) for name, piece in pieces("plain").items()}


def strings(value):
    """All texts of a figure."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in strings(one)]
    if isinstance(value, (list, tuple)):
        return [text for one in value for text in strings(one)]
    return [value] if isinstance(value, str) else []


def figures(case, *, revealed=False, cited=None):
    """Both figures with all lines, or with those that matter first where some are cited."""
    cited = [line["log_id"] for line in case.observation["log_window"]] if cited is None else cited
    return [json.loads(go.Figure(draw(case, revealed=revealed, cited=cited)).to_json()) for draw in (timeline, graph)]


# ---------------------------------------------------------------- what an attacker writes
@pytest.mark.parametrize("name", HOSTILE)
def test_what_an_attacker_writes_adds_nothing_to_a_page_but_text(name):
    for piece, made in pieces(HOSTILE[name]).items():
        page = Page(made)

        assert page.elements == PLAIN[piece].elements, piece
        if piece not in ("outcome", "score"):
            assert " ".join(readable(HOSTILE[name])[:LONGEST].split()) in page.text, piece


@pytest.mark.parametrize("name", HOSTILE)
def test_no_hidden_character_reaches_a_page(name):
    for piece, made in pieces(HOSTILE[name]).items():
        assert readable(made.replace("\n", "")) == made.replace("\n", ""), piece
        assert made.encode(), piece
        assert MARKUP not in made, piece


def test_hidden_characters_are_shown_as_escapes():
    page = Page(views.note("\u202e\u200b\x00\x1b\ufeff\ud800"))

    assert page.text == r"\u202e\u200b\x00\x1b\ufeff\ud800"


def test_a_long_text_is_cut_and_its_length_told():
    assert Page(views.note("x" * LONGEST)).text == "x" * LONGEST
    assert Page(views.note("x" * 100_000)).text == "x" * LONGEST + "… (100,000 characters)"
    assert Page(views.note("\u202e" * 100_000)).text == r"\u202e" * 333 + "\\u… (100,000 characters)"
    for piece, made in pieces("y" * 100_000).items():
        texts = len(PLAIN[piece].words)
        assert len(made) < 10_000 + texts * (LONGEST + 500), piece
        assert "y" * (LONGEST + 1) not in made, piece


def test_a_hostile_incident_that_the_gate_admits_stays_text():
    cases = ((seed, generated("stage2_multi", seed)) for seed in range(200))
    seed, case = next(
        (seed, case)
        for seed, case in cases
        if case.truth.action == "dismiss"
        and any(
            "user_agent" in line["fields"] and line["event_type"] == "http" for line in case.observation["log_window"]
        )
    )
    given = json.loads(IncidentDraft.of(case).text)
    text = '<script>alert(1)</script><img src=x onerror=alert(1)>[x](http://evil.example) & "q" {{7*7}}'
    changed = [
        number
        for number, line in enumerate(given["events"])
        if "user_agent" in line["fields"] and line["event_type"] == "http"
    ]
    for number in changed:
        given["events"][number]["fields"]["user_agent"] = text
    judged = IncidentDraft(case.task, seed, json.dumps({**given, "narrative": text})).judged()
    seen = Page(views.alert_card(judged.case) + views.log_table(judged.case))

    assert judged.reasons == ()
    assert changed
    assert seen.text.count(text) >= 1 + len(changed)
    assert not {"script", "img"} & {tag for tag, _ in seen.elements}
    assert not seen.values("onerror")


@pytest.mark.parametrize("name", HOSTILE)
def test_figures_carry_no_markup_of_an_attacker(name):
    for figure in figures(rewritten(HOSTILE[name]), revealed=True):
        for told in strings(figure["data"]) + strings(figure["layout"]):
            bare = told.replace("<br>", "")
            assert not re.search("[<>]", bare)
            assert not re.search("&(?!(amp|lt|gt);)", bare)
            assert readable(told) == told
            assert len(told) < 4000


@pytest.mark.parametrize("name", ["script", "ampersands", "plotly", "bidi"])
def test_figures_show_what_an_attacker_wrote(name):
    line = event(0, "dns_query", "query", query_hostname=HOSTILE[name])
    case = hand(line)
    shown = readable(HOSTILE[name])
    short = shown if len(shown) <= 18 else shown[:17] + "…"
    drawn = {html.unescape(text) for text in strings(figures(case)[1]["data"])}

    assert short in drawn
    assert any(shown[:60] in text for text in drawn)


def test_only_what_we_write_breaks_a_line_of_a_figure():
    line = event(0, "dns_query", "query", query_hostname="a<br>b")

    assert "<br>" not in json.dumps(figures(hand(line)))


# ---------------------------------------------------------------- links
def test_every_link_leads_to_the_incident_or_to_mitre():
    for case in (*CASES, *map(baked, range(1, 11))):
        [back] = Page(views.alert_card(case)).values("href")
        assert back.startswith("?")
        assert from_link(dict(parse_qsl(back[1:]))) == case
        hrefs = Page(views.ground_truth(case)).values("href")
        assert len(hrefs) == len(case.truth.findings)
        for href, finding in zip(hrefs, case.truth.findings, strict=True):
            assert href == "https://attack.mitre.org/techniques/" + finding.technique.replace(".", "/") + "/"


def test_a_technique_link_goes_nowhere_else():
    truth = BASE.truth
    finding = truth.findings[0]
    for technique in (
        "T1110",
        "T1059.001",
        "javascript:alert(1)",
        "../../x",
        "//evil.example",
        "@EVIL.EXAMPLE/",
        '"><B>',
        "T1\x00.\u202e",
    ):
        found = finding._replace(technique=technique)
        changed = DemoCase(*BASE)._replace(
            truth=type(truth)("monitor", (found,), ("L1-1",), (technique,), ("x",), "why")
        )
        [href] = Page(views.ground_truth(changed)).values("href")
        parts = urlsplit(href)

        assert (parts.scheme, parts.netloc) == ("https", "attack.mitre.org")
        assert parts.path.startswith("/techniques/")
        assert re.fullmatch(r"[A-Z0-9./]*", parts.path.removeprefix("/techniques/"))


def test_links_leave_the_page_open_and_tell_nobody_where_from():
    elements = [dict(attrs) for tag, attrs in Page(views.ground_truth(BASE)).elements if tag == "a"]

    assert elements
    assert all((one["target"], one["rel"]) == ("_blank", "noopener noreferrer") for one in elements)


def test_your_own_incident_has_no_link():
    judged = IncidentDraft.of(BASE).judged()

    assert Page(views.alert_card(judged.case)).values("href") == []


# ---------------------------------------------------------------- before and after the reveal
def other_truths(case):
    """What else the verifier might say: every action, and evidence on other lines."""
    ids = [line["log_id"] for line in case.observation["log_window"]]
    kind = type(case.truth)
    return [
        kind(label, (), tuple(ids[place::3]), ("T1486",), ("x",), "why not") for place, label in enumerate(LABELS * 2)
    ]


@pytest.mark.parametrize("place", range(0, len(CASES), 3))
def test_nothing_before_the_reveal_depends_on_the_truth(place):
    case = CASES[place]
    answers = [ask(name, case) for name in ("keyword", "always_escalate")]

    def seen(truth, answers):
        told = case._replace(truth=truth)
        cards = [views.answer_card(answer) for answer in answers]
        parts = [draw(told, answers) for draw in (views.case_head, views.matter, views.folds, views.log_table)]
        return [*parts, *figures(told), *figures(told, cited=()), *cards]

    before = seen(case.truth, answers)
    for truth in other_truths(case):
        graded = [
            one._replace(right=not one.right, reward=0.5, components={"defender.decision": 0.5}) for one in answers
        ]
        assert seen(truth, graded) == before


def test_before_the_reveal_no_word_and_no_colour_marks_evidence():
    for case in CASES:
        answer = ask("keyword", case)
        told = views.case_head(case, [answer]) + views.matter(case, [answer]) + views.log_table(case, [answer])
        told = told.replace("the rule that fired can be wrong", "")
        drawn = json.dumps(figures(case) + figures(case, cited=()))

        assert not re.search(r"evidence|right|wrong|faded|proof|reward", re.sub(r"<dd>.*?</dd>", "", told))
        assert EVIDENCE not in drawn
        assert '"evidence"' not in drawn


@pytest.mark.parametrize("case", CASES[::3], ids=lambda case: case.id)
def test_after_the_reveal_evidence_is_marked_and_coloured(case):
    evidence = list(case.truth.evidence_log_ids)
    rows = re.findall(
        r'<tr class="(.*?)">\s*<th scope="row">(L\d+-\d+)(.*?)</th>', views.log_table(case, revealed=True)
    )
    time_line, entities = figures(case, revealed=True)
    proof = [trace for trace in time_line["data"] if trace["name"] == "evidence"]

    assert [log_id for _, log_id, _ in rows] == [line["log_id"] for line in case.observation["log_window"]]
    assert [log_id for style, log_id, _ in rows if "evidence" in style] == evidence
    assert [log_id for _, log_id, marks in rows if "proof" in marks] == evidence
    assert all(("faded" in style) == (log_id not in evidence) for style, log_id, _ in rows)
    labels = [log_id for trace in proof for log_id in trace["text"]]  # empty where two would lie on each other
    assert all(label in ("", log_id) for label, log_id in zip(labels, evidence, strict=True))
    assert [text.partition(" ")[0] for trace in proof for text in trace["hovertext"]] == evidence
    assert all(trace["marker"]["color"] == EVIDENCE and trace["marker"]["symbol"] == "diamond" for trace in proof)
    context = case.observation["context"]
    linked = any(links_of(line, context) for line in case.observation["log_window"] if line["log_id"] in evidence)
    assert any(trace.get("name") == "evidence" for trace in entities["data"]) == linked


def test_marks_say_which_line_alerted_and_who_cited_which():
    case = BASE
    ids = [line["log_id"] for line in case.observation["log_window"]]
    first = answer_of("x", who="old (small)", triage={**answer_of("x").triage, "cited_log_id": ids[2]})
    second = answer_of("x", who="keyword", triage={**answer_of("x").triage, "cited_log_id": ids[2]})
    silent = answer_of("x", who="nobody", triage=None)
    table = views.log_table(case, [first, second, silent])
    marks = dict(re.findall(r'<th scope="row">(L\d+-\d+)((?:<span class="mark">[^<]*</span>)+)</th>', table))

    assert re.findall(r">([^<]+)<", marks[ids[2]]) == ["cited by old", "cited by keyword"]
    assert re.findall(r">([^<]+)<", marks[case.observation["alert"]["log_id"]]) == ["alert"]
    assert len(marks) == 2
    assert "nobody" not in table


# ---------------------------------------------------------------- the lines that matter
def test_the_lines_that_matter_are_the_alert_s_the_cited_and_after_the_reveal_the_evidence():
    for case in CASES:
        ids = [line["log_id"] for line in case.observation["log_window"]]
        cited = answer_of("x", who="one", triage={**answer_of("x").triage, "cited_log_id": ids[0]})
        before, after = (
            re.findall(r'<p class="over"><b>(L\d+-\d+)', views.matter(case, [cited], revealed=revealed))
            for revealed in (False, True)
        )

        assert {case.observation["alert"]["log_id"], ids[0]} <= set(before) & set(after)
        assert before == sorted(before, key=ids.index)
        assert 1 <= len(before) <= 4
        assert len(after) <= 5
        shown = set(case.truth.evidence_log_ids) & set(after)
        assert shown
        assert len(shown) == len(set(case.truth.evidence_log_ids)) or len(after) == 5


def test_a_line_is_a_sentence_with_what_the_records_say_on_it():
    case = hand(
        launch(0, "a.exe"),
        call(60, "a.exe"),
        **dict.fromkeys(("tickets", "tools", "scanners", "sensors"), ()),
        indicators=[{"value": OUTSIDE, "confidence": "high"}],
        hosts=[{**HOSTS[0], "criticality": "crown_jewel"}, *HOSTS[1:]],
    )
    text = Page(views.matter(case)).text

    assert "On WKS-01 , by ana : program started," in text
    assert "WKS-01 is a crown jewel" in text
    assert f"threat intelligence lists {OUTSIDE}, high confidence" in text


def test_what_belongs_to_a_stage_of_training_is_marked_with_it():
    stays, first, last = (
        answer_of("x", who=name, steps=steps, triage={**answer_of("x").triage, "cited_log_id": log_id})
        for name, steps, log_id in (("start", "", "L1-0"), ("start", "0", "L1-0"), ("end", "1", "L1-2"))
    )
    head, lines = Page(views.case_head(BASE, [stays, first, last])), views.matter(BASE, [stays, first, last])

    assert head.values("data-steps") == ["0", "1"]
    assert '<span class="mark" data-steps="1">cited by end</span>' in lines


def test_a_chain_of_reasons_is_told_rule_by_rule_and_the_action_in_words():
    rule = RULES[0].rule_id
    told = f"{rule} in L1-3: suspicious, on A by b; nothing explains it. So quarantine_host: hostile code runs on one host."

    assert views.reasons_of(told) == [
        views.Reason(rule, "", " in L1-3: suspicious, on A by b; nothing explains it."),
        views.Reason("", "quarantine_host", "hostile code runs on one host."),
    ]
    assert views.reasons_of("Free words. So it is.") == [views.Reason("", "", "Free words. So it is.")]
    assert RULES[0].summary in Page(views.answer_card(answer_of(told))).text


def test_the_strip_of_training_has_a_score_and_a_dot_for_each_checkpoint():
    def checkpoint(title, right, reward):
        figures = {"value": reward, "low": reward - 0.1, "high": reward + 0.1, "n": 9}
        return {"title": title, "right": right, "about": "", "incidents": 12_000, "mean_reward": figures}

    strip = views.learn(
        [checkpoint("start", 1, -0.2), checkpoint("end", 2, 0.8)], [[0, 1], [1], []], {"set": "places", "items": 9}
    )
    page = Page(strip)

    assert re.findall(r'<p class="tally" data-steps="(\d)"><b>(.*?)</b>', strip) == [("0", "1 of 3"), ("1", "2 of 3")]
    assert page.values("data-right") == ["0 1", "1", ""]
    assert re.findall(r'dot now" data-steps="(\d)" style="left:([\d.]+)%', strip) == [("0", "0.0"), ("1", "100.0")]
    assert (page.values("min"), page.values("max"), page.values("value")) == (["0"], ["1"], ["1"])
    assert "Mean reward on 9 incidents of places" in page.text
    assert "start -0.20, end +0.80" in page.values("aria-label")[2]


def test_figures_show_first_what_matters_and_all_lines_on_demand():
    case = hand(*(launch(place, "a.exe", host=f"WKS-0{1 + place % 2}") for place in range(8)))
    for figure in figures(case, cited=("L1-5",)):
        few, whole = figure["layout"]["updatemenus"][0]["buttons"]
        seen = [trace for trace in figure["data"] if trace.get("visible", True)]

        assert (few["label"], whole["label"]) == ("2 that matter", "all 8 lines")
        assert 0 < len(seen) < len(figure["data"])
        assert [not one for one in few["args"][0]["visible"]] == whole["args"][0]["visible"]
    assert all("updatemenus" not in figure["layout"] for figure in figures(case))


# ---------------------------------------------------------------- cards
def test_an_alert_without_a_note_has_no_note():
    quiet = next(case for case in CASES if "narrative" not in case.observation["alert"])
    telling = next(case for case in CASES if "narrative" in case.observation["alert"])

    assert "unverified" not in views.alert_card(quiet)
    assert f"unverified: {telling.observation['alert']['narrative']}" in Page(views.alert_card(telling)).text


def test_every_value_of_a_line_stands_in_the_table():
    for case in CASES:
        text = Page(views.log_table(case)).text
        for line in case.observation["log_window"]:
            assert line["timestamp"][11:19] in text
            assert all(" ".join(readable(value).split()) in text for value in line["fields"].values())


def test_the_world_shows_every_row_and_no_empty_table():
    context = world_of("stage1_basic", 0)
    page = Page(views.world_tables({**context, "tickets": [], "sensors": []}))
    rows = sum(len(context[name]) for name in ("hosts", "accounts", "indicators", "tools", "scanners"))

    assert sum(tag == "tr" for tag, _ in page.elements) == rows + 5
    assert "Change tickets" not in page.text
    stored = {name: [dict(sorted(row.items())) for row in context[name]] for name in ("hosts", "tickets", "sensors")}
    text = Page(views.world_tables({**context, **stored})).text
    assert all(f"{head} " in text for head in ("Assets name", "Change tickets ticket id", "Silent sensors host"))
    assert all(host["ip"] in page.text for host in context["hosts"])


def test_a_card_shows_an_answer_and_after_the_reveal_its_reward():
    answer = answer_of("because", who="me")
    before, after = Page(views.answer_card(answer)).text, Page(views.answer_card(answer, BASE)).text

    chip = f"◐ Keep watching Playbook: {ACTIONS['monitor']}"
    assert before == f"me {chip} cites L1-1 because"
    assert after == f"me right {chip} cites L1-1 · +1.10 (right action +1, right line +0.1) because"
    wrong = answer_of(
        "", who="me", right=False, took_ms=None, triage={**answer.triage, "rationale": "", "confidence": None}
    )
    assert Page(views.answer_card(wrong, BASE)).text.endswith("no reason given")
    assert "No readable answer it broke" in Page(views.answer_card(answer_of("", triage=None, fault="it broke"))).text
    babble = Page(views.answer_card(answer_of("", triage=None, fault="it broke", reply="<b>173.173"))).text
    assert babble == "No readable answer It writes <b>173.173…"
    assert views.answer_card(None) == ""


def test_a_reason_that_breaks_off_is_said_to_be_in_the_models_notation():
    for reason in (
        "borrowed-logon L1-11 suspicious on= so=suspicious",
        "cloud-trail-stopped L1-1 suspicious on=so=nothing",
    ):
        text = Page(views.answer_card(answer_of(reason))).text
        assert (
            f"Its reason is no whole chain, so it stands in the model's own notation: {reason.split()[0]} L1-" in text
        )
    assert "no whole chain" not in Page(views.answer_card(answer_of("because"))).text


def test_a_host_that_a_model_made_up_has_no_name():
    said = (
        "borrowed-logon in L1-0: suspicious, on @host1 by @user2 from @out3; nothing explains it. So monitor: it rests."
    )
    text = Page(views.answer_card(answer_of(said))).text
    assert "on a host that is not there by an account that is not there from an address that is not there;" in text
    assert "@host1" in Page(views.answer_card(answer_of("mail of root@host1"))).text


def test_records_are_told_in_words_and_in_the_order_of_reading():
    ticket = {
        "tool": "x",
        "accounts": ["ben"],
        "ends_at": LATE,
        "hosts": [],
        "starts_at": LATE,
        "status": "approved",
        "ticket_id": "CHG-1",
    }
    page = views.world_tables(BASE.observation["context"] | {"accounts": ACCOUNTS, "tickets": [ticket]})
    heads = re.findall('<th scope="col">(.*?)</th>', page)
    order = ["ticket id", "status", "starts at", "ends at", "hosts", "accounts", "tool"]
    assert [head for head in heads if head in order] == order
    assert "IT operations" in Page(page).text
    assert "it_ops" not in page


@pytest.mark.parametrize(("ms", "told"), [(0.4, "0 ms"), (170.26, "170 ms"), (999.9, "1.0 s"), (2049.9, "2.0 s")])
def test_how_long_a_model_took_is_told_in_a_unit_that_reads(ms, told):
    assert f"· {told}" in Page(views.triage_card(answer_of("because")._replace(took_ms=ms))).text


def test_what_was_read_of_a_log_is_said_once():
    log = judged_log("lorem ipsum\nfoo")
    text = Page(views.judged(log)).text
    assert text.count("neither auditd's nor syslog's") == 1
    one = judged_log(
        "2026-03-02T10:00:01+0100 web01 sshd[3]: Accepted publickey for anna from 10.1.1.4 port 40022 ssh2: ED25519 SHA256:abc"
    )
    assert "1 of 1 record is judged" in Page(views.judged(one)).text


def test_the_ground_truth_tells_action_evidence_rules_and_steps():
    for case in CASES:
        text, truth = Page(views.ground_truth(case)).text, case.truth

        assert f"{ACTION_NAMES[truth.action]} Playbook: {ACTIONS[truth.action]}" in text
        assert f"Because {reason_in_words(truth.why)}. Evidence: {' '.join(truth.evidence_log_ids[:4])} " in text
        assert all(" ".join(reason_in_words(line).split()) in text for line in truth.explanation.splitlines())
        for finding in truth.findings:
            says = next(rule.summary for rule in RULES if rule.rule_id == finding.rule_id)
            assert f"{finding.rule_id} {says} {finding.technique} {finding.strength}" in text
            assert f"{', '.join(finding.evidence)} {finding.explained_by or 'nothing'}" in text
        assert ("No rule finds anything" in text) == (not truth.findings)
        assert "claimed" not in text


def test_a_claim_is_repeated_and_decides_nothing():
    first, second = (Page(views.ground_truth(BASE, claimed=label)).text for label in ("dismiss", "escalate"))

    assert "The author claimed Dismiss . A claim decides nothing." in first
    assert first.replace("claimed Dismiss", "") == second.replace("claimed Escalate", "")


def ended(you, model):
    return Round(you, model, "A title", "dismiss")


def test_the_score_counts_rounds_and_tells_the_best_so_far():
    good, bad = answer_of("x", right=True, reward=1.1), answer_of("x", right=False, reward=-0.3)
    begun = Page(views.score(Game("keyword", "stage1_basic", (), BASE))).text
    half = Page(views.score(Game("keyword", "stage1_basic", (ended(good, bad), ended(bad, bad)), BASE), 7)).text

    assert begun == "Incident 1 of 10 You 0 right, +0.00" + " ·" * 10 + " The model 0 right, +0.00" + " ·" * 10
    assert "Incident 3 of 10" in half
    assert "your best so far: 7 of 10" in half
    assert "You 1 right, +0.80 ✓ ✗ ·" in half
    assert "The model 0 right, -0.60 ✗ ✗ ·" in half


def test_the_recap_says_who_won_who_beat_whom_and_links_to_the_same_game():
    good, bad = answer_of("x", right=True, reward=1.1), answer_of("x", right=False, reward=-0.3)
    rounds = (ended(good, bad),) * 6 + (ended(bad, good),) * 2 + (ended(good, good), ended(bad, bad))
    page = Page(views.recap(Game("keyword", "stage1_basic", rounds, seed=7), 8))

    assert "You won: 7 to 3 of 10" in page.text
    assert "The model beat you on 2 of 10; you beat it on 6. Your best so far: 8 of 10." in page.text
    assert page.values("href") == ["?play=stage1_basic&game=7"]
    assert "1. A title Dismiss ✓ Keep watching ✗ Keep watching" in page.text
    for you, model, told in ((bad, good, "The model won: 0 to 10"), (bad, bad, "A draw: 0 to 0")):
        assert told in Page(views.recap(Game("keyword", "stage1_basic", (ended(you, model),) * 10), 0)).text


def test_the_gate_lists_a_dozen_reasons_and_counts_the_rest():
    refused = Page(views.gate(GateResult(None, tuple(f"reason {number}" for number in range(15)), ""))).text
    dozen = Page(views.gate(GateResult(None, ("one",) * 12, ""))).text

    assert "reason 11" in refused
    assert "reason 12" not in refused
    assert refused.endswith("and 3 more.")
    assert "more" not in dozen
    admitted = Page(views.gate(IncidentDraft.of(BASE).judged())).text
    assert admitted == "The gate admits this incident: it could have happened here. Send it to the model."


def test_the_outcome_says_who_won_and_why_and_both_rewards():
    judged = IncidentDraft.of(BASE).judged()
    grade = {"rewards": {"attacker": 1.2, "defender": -0.3}}
    right, wrong = answer_of("x", right=True), answer_of("x", right=False)
    won = Page(views.outcome(Sent(judged, right, wrong, grade))).text
    same = Page(views.outcome(Sent(judged, wrong, wrong, grade))).text
    held = Page(views.outcome(Sent(judged, wrong, right, {"rewards": {"attacker": None, "defender": 1.1}}))).text

    assert won.startswith(
        "You won: the model was right before your edit, and is wrong now. Before your edit the model says"
    )
    assert f"and is wrong, as the right answer is {ACTION_SIGNS[judged.case.truth.action]}" in won
    assert "Rewards of training: the attacker +1.20, as the model's action is wrong; the defender" in won
    assert "Each has a table of its own, so both can be above zero" in won
    assert same.startswith("No win: the model is wrong, but it was wrong before your edit too.")
    assert held.startswith("The model held. Before your edit")
    untouched = Page(views.outcome(Sent(judged, wrong, right, grade), edited=False)).text
    assert untouched.startswith(
        "You changed nothing yet. Change a line, a time or an account, and send it again. To the"
    )
    assert "the attacker -, as the model's action is right" in held
    assert "Before your edit" not in untouched


@pytest.mark.parametrize(("ids", "told"), [(4, "L1-0 L1-1 L1-2 L1-3"), (27, "L1-0 L1-1 L1-2 L1-3 and 23 more")])
def test_of_much_evidence_the_first_lines_are_named_and_the_rest_is_counted(ids, told):
    truth = replace(BASE.truth, evidence_log_ids=tuple(f"L1-{n}" for n in range(ids)))
    case = BASE._replace(truth=truth)

    assert f"Evidence: {told} " in Page(views.ground_truth(case)).text + " "
    assert f"Evidence: {told} " in Page(views.ruling(case)).text + " "


def test_the_outcome_links_to_the_round_where_there_is_a_link():
    judged, answer = IncidentDraft.of(BASE).judged(), answer_of("x", right=True)
    sent = Sent(judged, answer, answer, {"rewards": {"attacker": 0.0, "defender": 1.0}})
    assert Page(views.outcome(sent, "attack=a&edit=b")).values("href") == ["?attack=a&edit=b"]
    assert Page(views.outcome(sent)).values("href") == []
    assert "Refused at the gate" in views.outcome(Sent(GateResult(None, ("x",), ""), None, None, {}))


def test_a_bout_says_who_won_what_was_right_and_what_was_answered_before():
    right, wrong = answer_of("x", right=True), answer_of("x", right=False)
    won = Page(views.bout(Bout("edits", "keyword", "round 1 of 10", "dismiss", (), BASE, right, BASE, wrong))).text
    assert won.startswith(
        "Random edits against List of bad words · round 1 of 10 · the attacker was asked for an incident whose right answer is dismiss The attacker won:"
    )
    assert (
        f"The right answer to the attacker's incident is {ACTION_NAMES[BASE.truth.action].lower()} , because {BASE.truth.why}"
        in won
    )
    assert Page(views.bout(Bout("a", "b", "live", "", (), None, None, BASE, right, query="arena=a&round=2"))).values(
        "href"
    ) == ["?arena=a&round=2"]
    refused = Page(views.bout(Bout("a", "b", "live", "", ("no such host",), None, None, None, None))).text
    assert "Refused at the gate" in refused
    assert "no such host" in refused
    assert "so nothing can be won" in refused


# ---------------------------------------------------------------- who talked to whom
def hand(*lines, **context):
    """A case of lines made by hand in the small organisation."""
    window = [{"log_id": f"L1-{number}", **line} for number, line in enumerate(lines, 1)]
    around = {"hosts": HOSTS, "accounts": [], "indicators": [], **context}
    observation = {
        "alert": {"log_id": "L1-1", "title": "t", "severity": "low"},
        "log_window": window,
        "context": around,
    }
    return BASE._replace(observation=observation)


ANA, WKS, WKS2, OUT = ("account", "ana"), ("host", "WKS-01"), ("host", "WKS-02"), ("outside", OUTSIDE)


@pytest.mark.parametrize(
    ("line", "links"),
    [
        (launch(0, "a.exe"), [Link(ANA, WKS)]),
        (launch(0, "a.exe", user=None), []),
        (launch(0, "a.exe", host=None), []),
        (launch(0, "a.exe", user="ACME\\ana"), [Link(ANA, WKS)]),
        (launch(0, "a.exe", user="ana@acme.example"), [Link(ANA, WKS)]),
        (call(0, "a.exe"), [Link(ANA, WKS), Link(WKS, OUT)]),
        (call(0, None, user=None), [Link(WKS, OUT)]),
        (call(0, None, "10.20.1.12", user=None), [Link(WKS, WKS2)]),
        (call(0, None, "10.20.1.11", src_ip=OUTSIDE, user=None), [Link(OUT, WKS)]),
        (call(0, None, "10.20.1.11", user=None), []),
        (call(0, None, dst_hostname="evil.example", user=None), [Link(WKS, ("outside", "evil.example"))]),
        (logon(0, "success"), [Link(OUT, ANA), Link(ANA, WKS)]),
        (logon(0, "failure", src="10.20.1.12"), [Link(WKS2, ANA), Link(ANA, WKS)]),
        (logon(0, "success", src=None), [Link(ANA, WKS)]),
        (logon(0, "success", src=None, src_hostname="WKS-02"), [Link(WKS2, ANA), Link(ANA, WKS)]),
        (logon(0, "explicit_credentials", src=None, target_hostname="WKS-02"), [Link(ANA, WKS), Link(WKS, WKS2)]),
        (
            event(0, "dns_query", "query", query_hostname="evil.example"),
            [Link(ANA, WKS), Link(WKS, ("outside", "evil.example"))],
        ),
        (
            event(0, "http", "request", url="http://evil.example:8080/x?y", user=None),
            [Link(WKS, ("outside", "evil.example"))],
        ),
        (
            event(0, "http", "request", url="http://good.example@evil.example/", user=None),
            [Link(WKS, ("outside", "evil.example"))],
        ),
        (
            event(0, "http", "request", url="http://good.example:pw@evil.example/", user=None),
            [Link(WKS, ("outside", "evil.example"))],
        ),
        (event(0, "http", "request", url="http://[::1", user=None), []),
        (event(0, "http", "request", url="/only/a/path", user=None), []),
        (event(0, "http", "request", src_ip=OUTSIDE, dst_ip="10.20.1.11", user=None), [Link(OUT, WKS)]),
        (event(0, "share", "access", src_ip="10.20.1.12"), [Link(WKS2, ANA), Link(ANA, WKS)]),
        (
            event(
                0,
                "cloud_api",
                "call",
                host=None,
                user=None,
                user_uid="arn:aws:iam::1:user/ana",
                src_ip=OUTSIDE,
                api_service="s3",
            ),
            [Link(OUT, ANA), Link(ANA, ("outside", "s3"))],
        ),
    ],
)
def test_links_go_from_who_acts_to_what_it_reaches(line, links):
    assert links_of(line, {"hosts": HOSTS}) == links


def test_the_graph_places_accounts_hosts_and_outside_in_columns():
    case = hand(logon(0, "success"), call(60, "a.exe"), call(70, "a.exe", "10.20.1.12"))
    _, figure = figures(case)
    columns = {
        trace["name"]: dict(zip(trace["text"], trace["x"], strict=True)) for trace in figure["data"] if "text" in trace
    }

    assert columns == {
        "accounts": {"ana": 0},
        "hosts": {"WKS-01": 1, "WKS-02": 1},
        "outside or elsewhere": {OUTSIDE: 2},
    }
    hovers = [text for trace in figure["data"] for text in trace.get("hovertext", ())]
    assert any("L1-1" in text for text in hovers)
    assert any("role workstation" in text for text in hovers)
    assert len(figure["layout"]["annotations"]) == 4  # outside > ana > WKS-01 > outside, and WKS-01 > WKS-02
    assert all(arrow["x"] - arrow["ax"] or arrow["y"] - arrow["ay"] for arrow in figure["layout"]["annotations"])


def test_an_arrow_points_the_way_that_something_went():
    _, figure = figures(hand(call(0, None, user=None)))
    [out] = figure["layout"]["annotations"]
    _, figure = figures(hand(call(0, None, "10.20.1.11", src_ip=OUTSIDE, user=None)))
    [into] = figure["layout"]["annotations"]

    assert out["x"] > out["ax"]  # hosts stand left of what is outside
    assert into["x"] < into["ax"]


def test_the_graph_says_what_intelligence_lists():
    case = hand(call(0, "a.exe"), indicators=[{"value": OUTSIDE, "confidence": "high"}])

    assert f"{OUTSIDE}<br>threat intelligence: high confidence" in strings(figures(case)[1])


def test_many_lines_between_two_are_counted():
    case = hand(*(call(second, "a.exe") for second in range(11)))
    [told] = {text for text in strings(figures(case)[1]["data"]) if "and 3 more" in text and OUTSIDE in text}

    assert told.count("<br>") == 8


def test_a_graph_has_its_links_as_text():
    case = hand(logon(0, "success"), call(60, "a.exe"), call(70, "a.exe"))
    text = Page(talks(case)).text

    assert text == (
        f"Who talked to whom, as text {OUTSIDE} → ana (L1-1) ana → WKS-01 (L1-1, L1-2, L1-3) WKS-01 → {OUTSIDE} (L1-2, L1-3)"
    )
    assert "No line says who" in talks(hand(launch(0, "a.exe", user=None)))


def test_the_links_as_text_tell_evidence_after_the_reveal_alone():
    for case in CASES:
        linked = [
            line["log_id"] for line in case.observation["log_window"] if links_of(line, case.observation["context"])
        ]
        told = re.findall(r"(L\d+-\d+), evidence", talks(case, revealed=True))

        assert set(told) == set(case.truth.evidence_log_ids) & set(linked)
        assert "evidence" not in talks(case)


def test_a_name_that_is_cut_in_a_figure_is_whole_where_one_points():
    name = "a-name-of-some-length.with-a-tail.example"
    texts = strings(figures(hand(event(0, "dns_query", "query", query_hostname=name)))[1])

    assert f"{name[:17]}…" in texts
    assert f"{name} (outside or elsewhere)" in texts


def test_hosts_with_one_beginning_have_a_row_each():
    names = ["a-host-with-a-long-name-1", "a-host-with-a-long-name-2"]
    time_line, _ = figures(hand(*(launch(place, "a.exe", host=name) for place, name in enumerate(names))))

    assert time_line["data"][0]["y"] == time_line["layout"]["yaxis"]["tickvals"] == [0, 1]
    assert time_line["layout"]["yaxis"]["ticktext"] == ["a-host-with-a-lon…"] * 2


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_what_a_figure_says_where_one_points_reads_well():
    for figure in figures(BASE):
        label = figure["layout"]["hoverlabel"]
        assert (luminance(label["font"]["color"]) + 0.05) / (luminance(label["bgcolor"]) + 0.05) >= 4.5


def test_the_timeline_shows_every_line_when_and_where():
    for case in CASES:
        time_line, _ = figures(case)
        dots = {
            told.split(" ")[0]: x
            for trace in time_line["data"]
            for told, x in zip(trace.get("hovertext", ()), trace["x"], strict=False)
        }
        low, high = time_line["layout"]["xaxis"]["range"]

        assert dots == {line["log_id"]: line["timestamp"] for line in case.observation["log_window"]}
        assert all(low <= at[:19] <= high for at in dots.values())
        [alerted] = [trace for trace in time_line["data"] if trace["name"] == "alert fired here"]
        assert alerted["x"] == [dots[case.observation["alert"]["log_id"]]]


def test_no_id_in_a_timeline_stands_on_another_and_evidence_has_room_first():
    burst = hand(*(launch(place / 10, "a.exe") for place in range(30)), launch(60, "b.exe"))
    case = burst._replace(truth=replace(burst.truth, evidence_log_ids=("L1-30",)))

    [lines, proof] = figures(case, revealed=True)[0]["data"][:2]

    assert proof["text"] == ["L1-30"]
    assert len(lines["text"]) == 30
    assert [text for text in lines["text"] if text] == ["L1-1", "L1-31"]


def test_one_line_makes_a_timeline_and_a_graph():
    for line in (launch(0, "a.exe"), launch(0, "a.exe", user=None, host=None)):
        time_line, entities = figures(hand(line), revealed=True)

        assert time_line["layout"]["height"] > 100
        assert entities["layout"]["height"] > 100


# ---------------------------------------------------------------- results
@pytest.fixture
def files(tmp_path, monkeypatch):
    """A copy of what the results are read from."""
    results.results()  # the templates are read where they are
    (tmp_path / "docs").mkdir()
    shutil.copytree(results.ROOT / "docs" / "images", tmp_path / "docs" / "images")
    board = tmp_path / "leaderboard.json"
    shutil.copy(results.LEADERBOARD, board)
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "LEADERBOARD", board)
    measured = tmp_path / "results.json"
    shutil.copy(results.RESULTS, measured)
    monkeypatch.setattr(results, "RESULTS", measured)
    return tmp_path


def changed_board(files, change):
    path = files / "leaderboard.json"
    board = json.loads(path.read_text("utf-8"))
    change(board["entries"])
    path.write_text(json.dumps(board), "utf-8")
    return Page(results.results())


NAMES = {
    "verifier_oracle": "Verifier itself (ceiling)",
    "always_dismiss": "Always dismiss (floor)",
    "always_escalate": "Always escalate",
    "majority": "Always the commonest action",
    "random": "Random answer",
    "keyword": "List of bad words",
    "bag_of_words": "Word counts",
    "embedded": "Shipped model, after training",
    "embedded (first)": "First model that was trained",
}


def test_every_figure_of_the_leaderboard_is_the_files(files):
    page = results.results()
    entries = json.loads((files / "leaderboard.json").read_text("utf-8"))["entries"]
    tables = re.findall(r"<summary>On ([^<]*): (\d+) incidents</summary>.*?<tbody>(.*?)</tbody>", page, re.DOTALL)
    shown = ("accuracy", "macro_f1", "dismiss_on_malicious", "over_reaction", "mean_reward")

    sets = list(dict.fromkeys(name for entry in entries for name in entry["sets"]))
    assert [name for name, _, _ in tables] == [results.BOARD_WORDS[name] for name in sets]
    for (_, items, body), measured in zip(tables, sets, strict=True):
        inside = {NAMES[entry["name"]]: entry["sets"][measured] for entry in entries if measured in entry["sets"]}
        rows = [
            [Page(cell).text for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
            for row in body.split("<tr>")[1:]
        ]
        assert {row[0] for row in rows} == set(inside)
        f1s = [inside[row[0]]["metrics"]["macro_f1"]["value"] for row in rows]
        assert f1s == sorted(f1s, reverse=True)
        for row in rows:
            assert inside[row[0]]["items"] == int(items)
            metrics = inside[row[0]]["metrics"]
            expected = [(metrics.get(one) or {"value": None}) for one in shown]
            assert row[1:] == [
                "-"
                if one["value"] is None
                else f"{one['value']:z.3f} {one['low']:z.3f} to {one['high']:z.3f}"
                if one.get("low") is not None
                else f"{one['value']:z.3f}"
                for one in expected
            ]


def test_results_follow_the_leaderboard_file(files):
    def change(entries):
        entries[0]["name"] = MARKUP
        entries[0]["sets"]["benchmark"]["metrics"]["accuracy"] = {"value": 0.12345, "low": 0.101, "high": 0.199, "n": 2}
        entries[0]["sets"]["benchmark"]["metrics"]["macro_f1"] = {"value": None}
        del entries[0]["sets"]["benchmark"]["metrics"]["over_reaction"]
        entries[1]["sets"] = {"<b>new</b>": {**entries[1]["sets"]["benchmark"], "items": 41}}

    page = changed_board(files, change)

    assert f"{MARKUP} 0.123 0.101 to 0.199 - 0." in page.text
    assert "On <b>new</b>: 41 incidents" in page.text
    assert "script" not in {tag for tag, _ in page.elements}


def test_results_follow_the_pictures_and_their_figures(files):
    name, second, third = results.PICTURES
    with (files / "docs" / "images" / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["who", MARKUP], ["=1+1", '"\u202e"']])
    (files / "docs" / "images" / f"{name}.png").write_bytes(b"another picture")
    (files / "docs" / "images" / f"{second}.csv").unlink()
    (files / "docs" / "images" / f"{third}.csv").write_text("", "utf-8")
    page = Page(results.results())

    assert f'who {MARKUP} =1+1 "\\u202e"' in page.text
    assert page.values("src")[0] == "data:image/png;base64,YW5vdGhlciBwaWN0dXJl"
    assert len(page.values("src")) == 2  # one has no figures beside it, and one has none in them
    assert "script" not in {tag for tag, _ in page.elements}


def test_the_pictures_are_shown_with_every_figure_of_their_files():
    page = Page(results.results())
    for name in results.PICTURES:
        with (results.ROOT / "docs" / "images" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            told = " ".join(" ".join(cell.split()) for row in csv.reader(file) for cell in row if cell.strip())
        assert told in page.text
    assert len(page.values("src")) == 3
    assert all(alt for alt in page.values("alt"))


def test_without_files_no_figure_is_shown(files, monkeypatch):
    (files / "leaderboard.json").unlink()
    (files / "results.json").unlink()
    monkeypatch.setattr(results, "checkpoints", list)
    monkeypatch.setattr(results, "ARENA", files / "demo_arena.json")
    shutil.rmtree(files / "docs")
    page = Page(results.results())

    assert page.text.startswith("Nothing was measured yet")
    assert not re.search(r"\d", page.text)


def test_no_figure_is_typed_into_the_templates():
    text = (results.ROOT / "demo" / "pieces.html").read_text("utf-8")
    bare = Page(re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", text, flags=re.DOTALL)).text

    assert re.findall(r"\d[\d.]*", bare) == ["95"]  # percent, of the intervals


def test_the_lesson_is_read_from_the_measured_sets_and_says_where_no_gain_is_shown(files):
    def share(value):
        return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 10}

    def measured(before, after, low):
        difference = {"difference": after - before, "low": low, "high": 1.0}
        return {
            "items": 10,
            "metrics": {"accuracy": {"before": share(before), "after": share(after), "difference": difference}},
        }

    sets = {"test_seed": measured(0.2, 0.8, 0.5), "test_tactic": measured(0.2, 0.25, -0.1)}
    (files / "results.json").write_text(json.dumps({"sets": sets}), "utf-8")

    told = Page(results.results()).text

    assert "The shipped model answers 80 % right on new organisations; the first one that was trained, 20 %" in told
    assert "On tactics never shown: 20 % by the first, 25 % by the shipped one. No gain is shown there" in told


def test_the_lesson_counts_what_the_shipped_model_saw_not_what_later_checkpoints_saw():
    stored = {stage["name"]: stage["incidents"] for stage in demo_data.checkpoints()}

    text = Page(results.results()).text

    assert f"The shipped one learned from {stored['shipped']:,} made-up incidents" in text
    assert list(stored.values()).count(stored["shipped"]) == 1


def test_the_heat_map_has_a_cell_for_each_pair(tmp_path, monkeypatch):
    pair = {
        "attacker": "generator",
        "defender": "keyword",
        "success": {"value": 0.255, "low": 0.194, "high": 0.32, "n": 9},
    }
    unmeasured = {"attacker": MARKUP, "defender": "always_dismiss", "success": NO_SHARE}
    monkeypatch.setattr(results, "ARENA", tmp_path / "demo_arena.json")
    results.ARENA.write_text(json.dumps({"pairs": [pair, unmeasured]}), "utf-8")
    page = Page(results.heat())
    assert "Generator 26 % 19 to 32 -" in page.text
    assert f"{MARKUP} - -" in page.text
    assert "script" not in {tag for tag, _ in page.elements}
