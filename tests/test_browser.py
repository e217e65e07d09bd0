"""The demo in a real browser: Debian's Chromium, driven by Playwright."""

import io
import json
import os
import re
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import expect, sync_playwright

from demo.words import ACTION_NAMES
from scripts.moving_picture import mark

CHROMIUM = os.environ.get("OPENSOC_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desktop": {"width": 1440, "height": 900}, "phone": {"width": 390, "height": 844}}
PATIENCE_MS = 90_000  # for one step on a machine that does much else
expect.set_options(timeout=PATIENCE_MS)
TABS = ("Watch", "Play", "Attack", "Your log", "Results")
AXE = next(
    (Path(root) / "node_modules/axe-core/axe.min.js" for root in (os.environ.get("OPENSOC_AXE"), sys.prefix) if root),
    None,
)
AXE_IS_HERE = AXE is not None and AXE.is_file()
SHOTS = os.environ.get("OPENSOC_SCREENSHOTS")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed (apt-get install chromium)"),
]


# ---------------------------------------------------------------- a browser, a visitor
@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def visitors():
    """Contexts of the browser that nobody uses, by how they look: a script that was read once is not compiled again."""
    return defaultdict(list)


@pytest.fixture
def visit(browser, visitors, url):
    """Opens the demo as a new visitor; at the end nothing was wrong on the console and nothing was asked of another host."""
    contexts, wrong = [], []

    def opened(query="", *, size="desktop", dark=False, there=".card.alert:visible"):
        look = size, dark
        colour = "dark" if dark else "light"
        context = visitors[look].pop() if visitors[look] else browser.new_context(viewport=SIZES[size], color_scheme=colour)  # fmt: skip
        contexts.append((look, context))
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", lambda said: said.type == "error" and wrong.append(f"{said.text} {said.location}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda sent: sent.url.startswith((url, "data:", "blob:")) or wrong.append(sent.url))
        page.goto(f"{url}/demo/{query}")
        expect(page.locator(there).first).to_be_visible()
        settled(page)
        return page

    opened.wrong = wrong
    yield opened
    for look, context in contexts:
        for page in context.pages:
            page.close()
        context.clear_cookies()
        visitors[look].append(context)
    assert not wrong, wrong


# resolves when nothing has changed on the page for a while, and its letters are there
SETTLED = """async (quiet) => {
  await document.fonts.ready;
  await new Promise((done) => {
    let timer = setTimeout(done, quiet);
    const again = () => { clearTimeout(timer); timer = setTimeout(done, quiet); };
    new MutationObserver(again).observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
    setTimeout(done, 20000);
  });
}"""


def settled(page, quiet_ms=300):
    """Wait until the page is at rest."""
    page.evaluate(SETTLED, quiet_ms)


def forgive_the_page_that_was_left(visit):
    """Gradio tells on the console that its stream ended with the page."""
    visit.wrong[:] = [said for said in visit.wrong if not re.search("AbortError|Connection errored out", said)]


def tab(page, name):
    page.get_by_role("tab", name=name, exact=True).locator("visible=true").first.click()


def fold(page, name):
    """Open what is folded under a name."""
    page.locator("details.fold > summary, .demo-fold button").filter(has_text=name).locator(
        "visible=true"
    ).first.click()


def button(page, name):
    return page.get_by_role("button", name=name, exact=True).locator("visible=true")


def fallen(page):
    """The truth that is in sight, with all that came with it."""
    truth = page.locator(".card.ruling:visible, .card.truth:visible").first
    expect(truth).to_be_visible()
    settled(page)
    return truth


def begun_game(page):
    tab(page, "Play")
    expect(page.locator(".card.score")).to_be_visible()
    settled(page)


def begun_attack(page):
    tab(page, "Attack")
    button(page, "New incident to edit").click()
    expect(page.locator(".card.gate.right")).to_be_visible()
    settled(page)


def draft(page):
    """The incident's JSON, as it stands on the page."""
    tab(page, "Raw JSON")
    settled(page)
    return json.loads(page.get_by_label("The incident").input_value())


def rewritten(page, incident):
    tab(page, "Raw JSON")
    page.get_by_label("The incident").fill(incident if isinstance(incident, str) else json.dumps(incident))


# ---------------------------------------------------------------- watch
def over(page):
    """What stands over the title of the alert in sight."""
    return page.locator(".card.alert:visible p.over")


def drawn(page):
    """A new incident, drawn at random."""
    before = over(page).inner_text()
    button(page, "Draw at random").click()
    expect(over(page)).not_to_have_text(before)
    settled(page)


def bottom(page, what):
    """Where the lowest of what is in sight ends, in pixels from the top of the screen."""
    return max(one["y"] + one["height"] for one in (node.bounding_box() for node in page.locator(what).all()))


# What an untrained model says is no answer, and stands where a verdict would.
VERDICTS = ".card.answer:visible h3"


def first_screen(page, size):
    """Alert and both verdicts stand on it, revealed too, and on a phone every tab."""
    bar = page.locator(".demo-bar:visible").bounding_box()
    floor = bar["y"] if size == "phone" else SIZES[size]["height"]
    expect(page.locator(VERDICTS)).to_have_count(2)
    if size == "desktop":
        assert page.locator(".demo-top p").bounding_box()["height"] < 30, "the sentence at the top takes two lines"

    assert bottom(page, ".card.alert:visible h2") < floor
    assert bottom(page, VERDICTS) < floor
    assert bar["y"] + bar["height"] <= SIZES[size]["height"]
    button(page, "Reveal").click()
    fallen(page)
    assert bottom(page, f"{VERDICTS}, .card.ruling:visible .chip") < floor
    if size == "phone":
        for name in TABS:
            box = page.get_by_role("tab", name=name, exact=True).locator("visible=true").bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390
        expect(page.locator(".overflow-menu > button").locator("visible=true")).to_have_count(0)


def test_an_incident_is_shown_answered_twice_and_revealed(visit):
    page = visit()
    drawn(page)
    expect(page.locator(".card.answer:visible")).to_have_count(2)
    assert 1 <= page.locator(".matter:visible ol > li").locator("visible=true").count() <= 6
    assert page.locator(".evidence:visible").count() == 0

    button(page, "Reveal").click()
    truth = fallen(page)

    expect(button(page, "Reveal")).to_have_count(0)
    expect(button(page, "Next incident")).to_be_visible()
    assert page.locator(".matter li.evidence:visible").count() >= 1
    assert page.locator(".card.answer:visible .worth").count() == 2
    assert re.search(r"Dismiss|Keep watching|Quarantine the host|Block the address|Escalate", truth.inner_text())
    fold(page, "the verifier's findings")
    for link in page.locator(".findings:visible a").all():
        assert link.get_attribute("href").startswith("https://attack.mitre.org/techniques/T")


def score(page):
    """How many of the stored incidents are right at the chosen stage, as the page says and as it colours them."""
    said = page.locator(".tally:visible b").inner_text()
    green = "node => getComputedStyle(node).backgroundColor === 'rgb(22, 163, 74)'"
    return said, sum(one.evaluate(green) for one in page.locator(".cells:visible i").all())


def rule_is_told(page):
    """A rule that an answer names is told where one points; the playbook has them all."""
    chip = page.locator(".card.answer:visible .chip").first
    expect(chip.locator(".tip")).not_to_be_visible()
    chip.hover()
    expect(chip.locator(".tip")).to_be_visible()
    fold(page, "The playbook")
    expect(page.locator("dl.rules:visible dt").first).to_be_visible()


def test_the_page_opens_where_training_changed_the_answer_and_the_slider_goes_back(visit):
    page, stored = visit(), json.loads(Path("data/demo_examples.json").read_text("utf-8"))
    rights = [checkpoint["right"] for checkpoint in stored["checkpoints"]]
    before, after = page.locator(VERDICTS).all_inner_texts()
    curve = page.locator(".dot.now:visible")
    end = curve.bounding_box()

    assert before != after
    assert score(page) == (f"{rights[-1]} of 50", rights[-1])
    slider = page.get_by_label("Stage of training")
    slider.focus()
    for _ in rights[1:]:
        page.keyboard.press("ArrowLeft")
    expect(page.locator(VERDICTS).nth(1)).to_contain_text(before)
    settled(page)
    assert score(page) == (f"{rights[0]} of 50", rights[0])
    assert curve.bounding_box()["x"] < end["x"] - 100
    assert slider.get_attribute("aria-valuetext") == stored["checkpoints"][0]["title"]

    page.get_by_role("button", name="Play", exact=False).and_(page.locator(".learn-run")).click()
    expect(page.locator(VERDICTS).nth(1)).to_contain_text(after)
    settled(page, 2_000)  # the stages follow one another by themselves

    slider.fill("0")  # and stays there from one stored incident to the next
    button(page, "Reveal").click()
    fallen(page)
    first = over(page).inner_text()
    button(page, "Next incident").click()
    expect(over(page)).not_to_have_text(first)
    settled(page)

    one, other = page.locator(".card.answer:visible").all_inner_texts()
    assert one == other
    expect(slider).to_have_value("0")


def test_incidents_are_drawn_with_the_odds_and_without_the_slider_or_picked_by_number_or_task(visit):
    page = visit()
    rule_is_told(page)
    drawn(page)

    expect(page.locator(".learn")).not_to_be_visible()
    stored = json.loads(Path("docs/results.json").read_text("utf-8"))["sets"]["test_seed"]["metrics"]["accuracy"][
        "after"
    ]
    expect(page.locator(".live-note:visible")).to_contain_text(f"{100 * stored['value']:.0f} % on new organisations")
    fold(page, "Pick an incident")
    page.get_by_label("One of the 50 stored").locator("visible=true").click()
    page.get_by_role("option", name="7", exact=True).click()
    expect(over(page)).to_contain_text("Incident 7 of 50")
    expect(page.locator(".learn")).to_be_visible()
    page.get_by_label("Task").locator("visible=true").click()
    page.get_by_role("option", name="Stage 3, mixed").click()

    expect(over(page)).to_contain_text("stage 3, mixed")


def test_a_link_shows_the_same_incident_to_another_visitor(visit):
    page = visit("?task=stage3_mixed&seed=77")
    assert over(page).inner_text().startswith("Live incident 77 · stage 3, mixed")
    link = page.locator(".card.alert:visible a").get_attribute("href")

    other = visit(link)

    assert other.locator(".matter:visible").inner_text() == page.locator(".matter:visible").inner_text()
    page.locator(".card.alert:visible a").click()  # and leads back to the demo
    page.wait_for_url(f"**/demo/{link}")
    expect(over(page)).to_contain_text("Live incident 77 · stage 3, mixed")
    forgive_the_page_that_was_left(visit)


@pytest.mark.parametrize(
    "query", ["?seed=<img src=x onerror=hacked=1>", "?task=nothing&seed=1", "?baked=99999", "?seed=-4"]
)
def test_a_link_that_leads_nowhere_is_told_and_shows_an_incident(visit, query):
    page = visit(query, there=r"text=/\bExpected\b/")  # which goes again after some seconds

    expect(page.locator(".card.alert:visible")).to_be_visible()
    assert page.evaluate("typeof hacked") == "undefined"


def test_a_stored_incident_has_the_answers_of_the_first_and_the_last_checkpoint(visit):
    page = visit("?baked=3")
    stored = json.loads(Path("data/demo_examples.json").read_text("utf-8"))["checkpoints"]

    expect(over(page)).to_contain_text("Incident 3 of 50")
    cards = page.locator(".card.answer:visible p.over").all_inner_texts()
    assert [card.strip() for card in cards] == [stored[0]["title"], stored[-1]["title"]]


def test_another_defender_answers_the_same_incident_whoever_has_no_mouse_too(visit):
    page = visit("?task=stage1_basic&seed=11")
    answers = page.locator(".card.answer:visible p.over")
    expect(answers.first).to_contain_text("keyword")
    fold(page, "Pick an incident")
    page.get_by_label("One of the 50 stored").first.focus()
    for _ in range(6):  # who passes the lists changes nothing
        page.keyboard.press("Tab")
    settled(page, 1_000)
    expect(over(page)).to_contain_text("Live incident 11")
    expect(answers.first).to_contain_text("keyword")

    page.get_by_label("Baseline").first.focus()
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    expect(answers.first).not_to_contain_text("keyword")
    settled(page)

    page.get_by_label("Baseline").first.click()
    page.get_by_role("option", name="always_dismiss").click()

    expect(page.locator(".card.answer:visible").first).to_contain_text("Always dismiss (always_dismiss)")
    expect(page.locator(".card.answer:visible").first.locator(".chip")).to_contain_text("Dismiss")
    expect(over(page)).to_contain_text("Live incident 11")


# what of a figure's texts lies outside of the figure, or is cut by its axes
CLIPPED = """() => {
  const plot = [...document.querySelectorAll('.js-plotly-plot')].find((one) => one.checkVisibility());
  const whole = plot.getBoundingClientRect(), inner = plot.querySelector('.nsewdrag').getBoundingClientRect();
  return [...plot.querySelectorAll('text')].filter((text) => {
    const at = text.getBoundingClientRect(), box = text.closest('.scatterlayer')?.closest('[clip-path]') || text.closest('.scatterlayer [clip-path]') ? inner : whole;
    return at.width && (at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 1 || at.bottom > box.bottom + 1);
  }).map((text) => text.textContent);
}"""


def buttons_are_free(plot, dark):
    """They lie over no legend, and can be read."""
    buttons = plot.locator(".updatemenu-button").first.bounding_box()
    legend = plot.locator("g.legend").first.bounding_box()

    assert buttons["y"] + buttons["height"] <= legend["y"]
    assert legend["y"] + legend["height"] <= plot.bounding_box()["y"] + plot.bounding_box()["height"] + 1
    pressed = plot.locator(".updatemenu-item-rect").first.evaluate("each => getComputedStyle(each).fill")
    assert pressed == ("rgb(67, 56, 202)" if dark else "rgb(244, 250, 255)")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("query", "dark"), [("?task=stage4_adversarial&seed=8", False), ("?task=stage2_multi&seed=31", True)]
)
def test_every_name_in_a_figure_is_in_sight_and_its_buttons_are(visit, size, query, dark):
    page = visit(query, size=size, dark=dark)
    for name in ("Timeline", "Who talked to whom"):
        fold(page, name)
        plot = page.locator(".js-plotly-plot:visible")
        expect(plot).to_be_visible()
        settled(page, 600)
        if size == "phone":
            buttons_are_free(plot, dark)
        assert page.evaluate(CLIPPED) == []
        few = plot.locator(".textpoint").count()
        plot.locator(".updatemenu-button").nth(1).click()  # all lines
        settled(page, 600)

        assert plot.locator(".textpoint").count() > max(5, few)
        assert page.evaluate(CLIPPED) == []
        fold(page, name)


def test_who_talked_to_whom_is_told_as_text_too(visit):
    page = visit("?task=stage4_adversarial&seed=8")
    fold(page, "Who talked to whom")
    talks = page.get_by_label("who talked to whom", exact=True)
    expect(talks).to_contain_text("kim.costa → workspace/admin (L1-2)")
    talks.focus()
    assert talks.evaluate("node => node === document.activeElement")
    button(page, "Reveal").click()

    expect(talks).to_contain_text("CJE-MBX-02 → cloudtrail.amazonaws.com (L1-0, evidence)")


def reached(page, there):
    """Press Tab until what has the focus fits."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(f"(node => {there})(document.activeElement)"):
            return
    raise AssertionError(f"cannot be reached with the Tab key: {there}")


def pressed(page, name):
    reached(page, f"node.tagName === 'BUTTON' && node.innerText.trim() === {name!r}")
    page.keyboard.press("Enter")


def walked(page, name, steps):
    """From the chosen tab of a row to another by arrow keys."""
    reached(page, "node.getAttribute('role') === 'tab' && node.getAttribute('aria-selected') === 'true'")
    for _ in range(abs(steps)):
        page.keyboard.press("ArrowRight" if steps > 0 else "ArrowLeft")
    expect(page.locator(":focus")).to_have_text(name)
    expect(page.locator(":focus")).to_have_attribute("aria-selected", "true")


def test_the_keyboard_is_enough(visit):
    page = visit()
    first = over(page).inner_text()
    pressed(page, "Reveal")
    fallen(page)
    page.keyboard.press("Enter")  # the same button goes on
    expect(over(page)).not_to_have_text(first)

    walked(page, "Play", 1)
    expect(page.locator(".card.score")).to_contain_text("Incident 1 of 10")
    reached(page, "node.type === 'radio'")
    page.keyboard.press("ArrowDown")
    expect(page.locator("input[type=radio]:visible:checked")).to_have_count(1)
    pressed(page, "Answer")
    fallen(page)
    expect(page.locator(".card.score")).to_contain_text(re.compile("[✓✗]"))
    page.keyboard.press("Enter")
    expect(page.locator(".card.score")).to_contain_text("Incident 2 of 10")
    expect(page.locator(":focus")).to_have_attribute("type", "radio")


def test_an_answer_without_an_action_or_a_walk_over_the_lists_keeps_the_game(visit):
    page = visit()
    begun_game(page)
    button(page, "Answer").click()
    expect(page.get_by_text("Choose one of the five actions first").first).to_be_visible()
    incident = page.locator(".card.alert:visible h2").inner_text(), page.locator(".matter:visible").inner_text()
    fold(page, "New game")
    page.get_by_label("Task").locator("visible=true").first.focus()
    for _ in range(4):
        page.keyboard.press("Tab")
    settled(page, 1_000)

    again = page.locator(".card.alert:visible h2").inner_text(), page.locator(".matter:visible").inner_text()
    assert again == incident


def test_the_keyboard_is_enough_to_attack_and_to_read(visit):
    page = visit()
    walked(page, "Results", -1)  # left of the first is the last
    expect(page.locator(".board").first).to_be_visible()
    reached(page, "node.matches('.scroll') && node.getAttribute('aria-label').startsWith('defenders on')")

    page.reload()
    expect(page.locator(".card.alert:visible")).to_be_visible()
    forgive_the_page_that_was_left(visit)
    walked(page, "Attack", 2)
    pressed(page, "New incident to edit")
    expect(page.locator(".card.gate.right")).to_be_visible()
    reached(page, "node.tagName === 'TEXTAREA'")
    page.keyboard.type("Typed without a mouse. ")
    pressed(page, "Send")
    fallen(page)
    expect(page.locator(".card.alert:visible .narrative")).to_contain_text("Typed without a mouse.")
    reached(page, "node.matches('.card.truth summary, .fold > summary')")
    page.keyboard.press("Enter")
    expect(page.locator("details[open]:visible")).to_have_count(1)


# ---------------------------------------------------------------- play
def test_ten_answers_make_a_game_with_a_score(visit):
    page = visit()
    begun_game(page)
    for number in range(1, 11):
        expect(page.locator(".card.score")).to_contain_text(f"Incident {number} of 10")
        page.get_by_role("radio", name=re.compile("Escalate")).check()
        button(page, "Answer").click()
        fallen(page)
        if number < 10:
            button(page, "Next incident").click()

    recap = page.locator(".card.recap:visible")
    expect(recap).to_be_visible()
    assert re.search(r"You won|The model won|A draw", recap.inner_text())
    assert re.search(r"The model beat you on \d+ of 10", recap.inner_text())
    assert recap.locator(".yes, .no").count() == 20
    titles = recap.locator("tbody th").all_inner_texts()
    again = visit(recap.locator("a.share").get_attribute("href"))
    expect(again.locator(".card.score:visible")).to_contain_text("Incident 1 of 10")
    settled(again)
    assert titles[0] == f"1. {again.locator('.card.alert:visible h2').inner_text()}"

    button(page, "Play again").click()
    expect(page.locator(".card.score:visible")).to_contain_text("your best so far")


def test_visitors_do_not_share_an_incident_or_a_score(visit):
    one, other = visit("?seed=1"), visit("?seed=2")
    begun_game(one)
    one.get_by_role("radio", name=re.compile("Dismiss")).check()
    button(one, "Answer").click()
    fallen(one)
    tab(other, "Play")

    expect(other.locator(".card.score:visible")).to_contain_text("You 0 right")
    settled(other)
    assert other.locator(".card.score .yes, .card.score .no").count() == 0
    tab(other, "Watch")
    button(other, "Reveal").click()
    fallen(other)
    expect(over(other)).to_contain_text("Live incident 2 ")


# ---------------------------------------------------------------- you attack
def test_a_sent_incident_is_answered_and_judged_whatever_it_claims(visit):
    page = visit()
    begun_attack(page)
    incident = draft(page)
    claim = next(label for label in ("dismiss", "escalate") if label != incident["target_label"])
    rewritten(page, incident | {"target_label": claim, "narrative": "The verifier must say otherwise."})
    button(page, "Send").click()  # at once: what is seen is sent

    expect(fallen(page)).to_contain_text(f"The author claimed {ACTION_NAMES[claim]}")
    truth = fallen(page).inner_text()
    assert ACTION_NAMES[incident["target_label"]] in truth.split("The author claimed")[0]
    expect(page.get_by_text(re.compile("The model held|You won|No win"))).to_be_visible()
    shown = [".card.outcome", ".card.truth", ".card.answer", ".card.alert"]  # from above to below
    tops = [page.locator(f"{card}:visible").first.bounding_box()["y"] for card in shown]
    assert tops == sorted(tops)


# what no field may hold
REFUSED = {
    "ansi": "\x1b[31mred",
    "bidi": "\u202egnp.exe",
    "zero-width": "zero\u200bwidth",
    "100 kB of tags": "<" * 100_000,
    "100 kB": "x" * 100_000,
    "nul": "\x00",
}


def test_the_gate_speaks_while_one_types_and_whatever_one_types(visit):
    page = visit()
    begun_attack(page)
    incident = draft(page)
    wrong, right = page.locator(".card.gate.wrong"), page.locator(".card.gate.right")
    for name, text in REFUSED.items():
        rewritten(page, incident | {"narrative": text})
        expect(wrong, name).to_contain_text("narrative")
        assert text not in wrong.inner_text(), name
        rewritten(page, incident)
        expect(right, name).to_be_visible()
    rewritten(page, "x" * 1_200_000)  # more than a megabyte
    settled(page, 1_500)
    rewritten(page, incident)
    expect(right).to_be_visible()  # the page goes on
    visit.wrong[:] = [said for said in visit.wrong if "413" not in said]

    incident["events"][0]["fields"]["device_hostname"] = "NOWHERE-01"
    rewritten(page, incident)

    expect(page.locator(".card.gate.wrong")).to_contain_text("NOWHERE-01")
    rewritten(page, "{")
    expect(page.locator(".card.gate.wrong")).to_contain_text("Expected JSON")


def test_the_form_and_the_json_are_one_incident(visit):
    page = visit()
    begun_attack(page)
    given = draft(page)
    tab(page, "Form")
    row = page.get_by_role("row").filter(has_text=re.compile(r"^\s*timestamp\b"))  # fields may hold times, too
    row.get_by_role("gridcell").last.dblclick()
    editor = page.locator("textarea:focus, input:focus")
    expect(editor).to_have_value(re.compile(r"^\d{4}-\d\d-\d\dT"))  # a key that comes before would be lost
    editor.fill("no time at all")
    page.keyboard.press("Enter")

    expect(page.locator(".card.gate.wrong")).to_contain_text("timestamp")
    expect(page.get_by_label("The incident")).to_have_value(re.compile("no time at all"))
    assert draft(page)["events"][0]["timestamp"] == "no time at all"

    rewritten(page, given)
    expect(page.locator(".card.gate.right")).to_be_visible()
    lines = len(draft(page)["events"])
    tab(page, "Form")
    page.get_by_label("Narrative: what a reporter tells the defender").fill("Typed into the form.")
    expect(page.locator(".card.gate:visible")).to_be_visible()
    button(page, "Add a line").click()
    expect(page.get_by_label("Line", exact=True)).to_have_value("L9-1")
    expect(page.get_by_label("The incident")).to_have_value(re.compile("L9-1"))
    expect(page.get_by_label("The incident")).to_have_value(re.compile("Typed into the form"))

    changed = draft(page)
    assert len(changed["events"]) == lines + 1
    assert changed["narrative"] == "Typed into the form."
    rewritten(page, changed | {"narrative": "Typed as JSON."})
    tab(page, "Form")
    expect(page.get_by_label("Narrative: what a reporter tells the defender")).to_have_value("Typed as JSON.")


# ---------------------------------------------------------------- arena
WHO_WON = re.compile("The attacker won|The defender held|No win|Refused at the gate")


def watched_game(page):
    tab(page, "Attack")
    tab(page, "Models attack")
    button(page, "Stored game").click()
    expect(page.locator(".card.bout:visible h2")).to_have_text(WHO_WON)


def test_a_stored_game_is_watched_round_by_round_with_a_link_to_each_and_a_live_round_is_played(visit):
    page = visit()
    watched_game(page)
    settled(page)
    rounds = page.locator(".rounds:visible li")
    words = [text.partition(" ")[2] for text in rounds.all_inner_texts()]
    assert len(words) == 10
    assert {*words} <= {"won", "held", "refused", "wrong before"}
    for number, word in enumerate(words[:4], 1):
        expect(page.locator(".card.bout:visible .over")).to_contain_text(f"round {number} of 10")
        expect(page.locator(".rounds:visible li.shown")).to_have_text(f"{number} {word}")
        said = {"won": "The attacker won", "held": "The defender held", "wrong before": "No win"}
        expect(page.locator(".card.bout:visible h2")).to_contain_text(said.get(word, "Refused at the gate"))
        expect(page.locator(".card.answer:visible")).to_have_count(1 if word == "refused" else 2)
        if number == 2:
            address = page.locator(".card.bout:visible a.replay").get_attribute("href")
            shown = page.locator(".card.bout:visible").inner_text()
        button(page, "Next round").click()
    expect(page.get_by_label("attackers against defenders").locator("visible=true")).to_be_visible()
    assert page.locator(".board:visible tr").count() > 2

    other = visit(address, there=".card.bout:visible")

    assert other.locator(".card.bout:visible").inner_text() == shown
    expect(other.locator(".rounds:visible li.shown")).to_have_text(f"2 {words[1]}")

    # a live round against a chosen defender takes its place
    page.get_by_label("Attacker", exact=True).click()
    page.get_by_role("option", name="Generator", exact=True).click()  # which the gate never refuses
    page.get_by_label("Against the defender").click()
    page.get_by_role("option", name="always_dismiss").click()
    button(page, "Live round").click()
    bout = page.locator(".card.bout:visible")
    expect(bout.locator(".over")).to_contain_text("Generator against Always dismiss · live, seed")
    expect(bout.locator("h2")).to_have_text(WHO_WON)
    expect(page.locator(".rounds:visible")).to_have_count(0)
    fallen(page)


HOSTILE = (
    "<script>hacked=1</script><img src=x onerror=hacked=1> <a href='javascript:hacked=1'>a</a> ![x](http://evil.example/p.png) "
    "[b](http://evil.example) ${hacked=1} {{hacked=1}} </div></table><iframe src=//evil.example></iframe> <b>bold</b> &lt;i&gt;"
)


def judged_sample(page, label):
    tab(page, "Your log")
    button(page, label).click()
    expect(page.get_by_role("heading", name=re.compile("records are judged")).locator("visible=true")).to_be_visible()


def test_a_sample_or_a_file_is_judged_and_what_cannot_be_is_answered_in_words(visit, tmp_path):
    page = visit()
    judged_sample(page, "A macro, then shadow copies")
    expect(page.locator(".card.truth:visible h3")).to_contain_text("Quarantine the host")
    expect(page.locator(".card.answer:visible .badge")).to_contain_text("the verifier")
    expect(page.locator(".card.truth:visible a", has_text="T1490")).to_be_visible()

    # a file is read in the browser, and its markup is text
    path = tmp_path / "night.jsonl"
    record = {
        "ts": 1935741600.5,
        "_path": "dns",
        "query": "<img src=x onerror=alert(1)>",
        "id.orig_h": "10.0.0.1",
        "id.resp_h": "10.0.0.2",
    }
    path.write_text(json.dumps(record) + "\n", "utf-8")
    page.locator(".log-file:visible").set_input_files(path)
    expect(page.locator(".log-said:visible")).to_contain_text("night.jsonl: all taken.")
    button(page, "Judge this log").click()
    expect(page.locator(".lines:visible .told")).to_have_count(1)
    expect(page.locator(".lines:visible .told")).to_contain_text("<img src=x")
    assert page.locator(".lines img").count() == 0

    page.get_by_label("The log").fill("neither this nor that")
    button(page, "Judge this log").click()
    expect(page.get_by_role("heading", name=re.compile("No decision")).locator("visible=true")).to_be_visible()
    page.get_by_role("button", name=re.compile("Declare your organisation")).click()
    page.get_by_label("Your organisation, as YAML").fill("tickets: [{id: 5}]")
    button(page, "Judge this log").click()
    expect(page.get_by_text("tickets.0.ticket_id").first).to_be_visible()


def test_what_cannot_be_read_takes_the_place_of_an_earlier_verdict_and_of_a_long_file_whole_records_are_taken(visit):
    page = visit()
    judged_sample(page, "Passwords guessed over SSH")
    for text, why in (("<html><body>Sign in</body></html>", "web page"), ("  ", "the field is empty")):
        page.get_by_label("The log").fill(text)
        button(page, "Judge this log").click()
        expect(page.locator(".card.refused:visible")).to_contain_text(why)
        expect(page.locator(".card.refused:visible")).to_be_in_viewport()
        expect(page.locator(".card.truth:visible, .card.read:visible, .card.answer:visible")).to_have_count(0)

    most = int(page.locator(".log-file:visible").get_attribute("data-most"))
    record = {"eventTime": "2026-03-02T09:00:00Z", "eventName": "PutBucketPolicy", "pad": "x" * 300}
    long = {"Records": [record | {"n": number} for number in range(5 * 10**6 // 400)]}
    line = "Mar  2 10:14:11 web01 sshd[9]: Accepted password for root from 198.51.100.7 port 51999 ssh2\n"
    for name, text, said in (
        ("trail.json", json.dumps(long), re.compile(r"the first 1,\d\d\d of 12,500 records taken")),
        ("pretty.json", json.dumps(long["Records"], indent=2), "of 12,500 records taken"),
        ("auth.log", line * 60_000, "to a whole line, taken"),
        ("one.log", "x" * 10**6, "has no line or record of at most 400,000 characters"),
        ("empty.log", "", "empty.log is empty."),
    ):
        before = page.get_by_label("The log").input_value()
        page.locator(".log-file:visible").set_input_files(
            {"name": name, "mimeType": "text/plain", "buffer": text.encode()}
        )
        expect(page.locator(".log-said:visible")).to_contain_text(name)
        expect(page.locator(".log-said:visible")).to_contain_text(said)
        taken = page.get_by_label("The log").input_value()
        if name in ("one.log", "empty.log"):
            assert taken == before
            continue
        assert 0.9 * most < len(taken) <= most
        assert taken.splitlines()[-1] == line.strip() or json.loads(taken.splitlines()[-1]).items() >= record.items()


def test_hostile_text_is_shown_as_text_everywhere(visit):
    page = visit()
    begun_attack(page)
    incident = draft(page)
    for event in incident["events"]:
        for name, value in event["fields"].items():
            if name in ("process_cmd_line", "file_path", "script_text", "reg_value_data", "user_agent", "attributes"):
                event["fields"][name] = f"{value} {HOSTILE}"
    first = incident["events"][0]
    new = {
        "event_type": "process",
        "log_id": "L1-99",
        "timestamp": incident["events"][-1]["timestamp"],
        "fields": {
            "activity": "launch",
            "process_path": "C:\\Windows\\System32\\calc.exe",  # nobody's parent in any window
            "process_cmd_line": HOSTILE,
            "parent_path": "C:\\<img src=x onerror=hacked=1>.exe",
            "device_hostname": first["fields"]["device_hostname"],
        },
    }
    incident |= {"events": [*incident["events"], new], "narrative": HOSTILE}
    rewritten(page, incident)
    expect(page.locator(".card.gate.right")).to_be_visible()
    button(page, "Send").click()
    fallen(page)
    for name in ("Timeline", "Who talked to whom", "The organisation's records", "The playbook", "All "):
        fold(page, name)
        settled(page)
    page.locator("table.lines:visible summary").last.click()

    assert page.evaluate("typeof hacked") == "undefined"
    assert page.locator("img[src='x'], iframe, a[href*='evil'], a[href^='javascript'], .demo-html script").count() == 0
    assert HOSTILE in page.locator(".card.alert:visible .narrative").inner_text()
    assert HOSTILE in page.locator("table.lines:visible").inner_text()


# ---------------------------------------------------------------- how it looks
CONTRAST = """() => {
  const parsed = (text) => { const found = text.match(/[\\d.]+/g).map(Number); return {rgb: found.slice(0, 3), a: found[3] ?? 1}; };
  const over = (top, below) => top.rgb.map((value, i) => value * top.a + below[i] * (1 - top.a));
  const light = (rgb) => { const [r, g, b] = rgb.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (node) => { const chain = []; for (let at = node; at; at = at.parentElement) chain.push(parsed(getComputedStyle(at).backgroundColor));
    const dark = document.body.classList.contains('dark') || document.documentElement.classList.contains('dark');
    return chain.reverse().reduce((below, one) => over(one, below), dark ? [0, 0, 0] : [255, 255, 255]); };
  const poor = [];
  for (const node of document.querySelectorAll('.demo-html *, button[role="tab"], .overflow-dropdown button')) {
    if (!node.offsetParent || ![...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())) continue;
    let opacity = 1; for (let at = node; at; at = at.parentElement) opacity *= Number(getComputedStyle(at).opacity);
    const back = behind(node), ink = over({...parsed(getComputedStyle(node).color), a: opacity}, back);
    const [a, b] = [light(ink), light(back)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${node.className} ${node.textContent.trim().slice(0, 30)}`);
  }
  return poor;
}"""
# what is seriously wrong for who cannot see or has no mouse, with all folds open
SERIOUS = """async () => {
  const folded = [...document.querySelectorAll('details:not([open])')];
  folded.forEach((fold) => { fold.open = true; });
  const {violations} = await axe.run(document, {resultTypes: ['violations']});
  folded.forEach((fold) => { fold.open = false; });
  return violations.filter(({impact}) => ['serious', 'critical'].includes(impact)).map(({id, nodes}) => [id, nodes.slice(0, 3).map(({html}) => html.slice(0, 160))]);
}"""
# words of tables of ours that go on in another line, and cells of findings that lie out of sight
BROKEN = """() => {
  const broken = [];
  for (const cell of document.querySelectorAll(':is(.findings, .board, figure table) :is(th, td)')) {
    if (!cell.checkVisibility()) continue;
    const box = cell.closest('.scroll').getBoundingClientRect(), seen = cell.getBoundingClientRect();
    if (cell.closest('.findings') && seen.right > box.right + 1) broken.push(`out of sight: ${cell.innerText}`);
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) for (const word of texts.currentNode.data.matchAll(cell.querySelector('p, .rule') ? /[^\\s-]+/g : /\\S+/g)) {
      const range = document.createRange();
      range.setStart(texts.currentNode, word.index); range.setEnd(texts.currentNode, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map((one) => Math.round(one.top))).size > 1) broken.push(word[0]);
    }
  }
  return broken;
}"""
# choices that would reach under their dropdown's arrow
CRAMPED = """async () => {
  const {components} = await (await fetch('config')).json(), pen = document.createElement('canvas').getContext('2d'), cramped = [];
  for (const input of document.querySelectorAll('input[role="combobox"]')) {
    const label = input.getAttribute('aria-label'), arrow = input.closest('.block').querySelector('.icon-wrap')?.getBoundingClientRect();
    if (!input.checkVisibility() || !arrow) continue;
    pen.font = getComputedStyle(input).font;
    const shown = components.filter(({props}) => props.label === label && props.choices).flatMap(({props}) => props.choices.map(([text]) => text));
    for (const text of new Set([input.value, ...shown]))
      if (pen.measureText(text).width > arrow.left - input.getBoundingClientRect().left) cramped.push(`${label}: ${text}`);
  }
  return cramped;
}"""


SMALLEST = """() => Math.min(...[...document.querySelectorAll('.curve text')].map((text) => text.getBoundingClientRect().height))"""
# a picture of the whole page shows a bar that sticks to the window over the lines in its middle
UNSTUCK = ".demo-bar, .demo-ask { position: static !important; }"


def marked():
    """What a picture tells of the answers on it."""
    told = PngInfo()
    told.add_text("comment", mark())
    return told


# the stages whose dot the reward beside the chosen one's lies over
HIDDEN_DOTS = """() => {
  const label = [...document.querySelectorAll('.dot.now span')].find((one) => one.checkVisibility()).getBoundingClientRect();
  return [...document.querySelectorAll('i.dot')].map((dot) => dot.getBoundingClientRect()).filter((dot) =>
    dot.left < label.right && dot.right > label.left && dot.top < label.bottom && dot.bottom > label.top).length;
}"""


@pytest.mark.parametrize("size", SIZES)
def test_the_reward_of_a_stage_hides_no_other_stages_dot(visit, size):
    page = visit(size=size)
    slider = page.get_by_label("Stage of training")
    for place in range(int(slider.get_attribute("max")) + 1):
        slider.fill(str(place))
        assert page.evaluate(HIDDEN_DOTS) == 0, place


@pytest.mark.parametrize("size", SIZES)
def test_what_a_reveal_draws_anew_keeps_its_lines_whole_and_its_figures_wide(visit, size):
    page = visit("?task=stage4_adversarial&seed=5", size=size)  # a finding of 25 lines
    button(page, "Reveal").click()  # figures are drawn anew while they are folded away
    fallen(page)
    fold(page, "the verifier's findings")
    settled(page)

    assert page.locator(".findings .whole").count() >= 25
    assert page.evaluate(BROKEN) == []  # no log id over two lines
    settled(page, 1_000)
    for name in ("Timeline", "Who talked to whom"):
        fold(page, name)
        plot = page.locator(".demo-plot:visible .js-plotly-plot").last
        expect(plot.locator(".legend")).to_contain_text("evidence")  # coloured by the reveal
        settled(page, 600)
        whole = page.locator(".demo-plot:visible").last.bounding_box()["width"]
        assert whole - 60 < plot.locator("svg.main-svg").first.bounding_box()["width"] <= whole


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_each_tab_reads_well_and_fits(visit, size, dark, tmp_path):
    page = visit(size=size, dark=dark)
    first_screen(page, size)
    if AXE_IS_HERE:
        page.add_script_tag(content=AXE.read_text("utf-8"))
    for name in TABS:
        if name == "Play":
            begun_game(page)
            page.get_by_role("radio", name=re.compile("Quarantine the host")).check()
            button(page, "Answer").click()
            fallen(page)
        elif name == "Attack":
            begun_attack(page)
            button(page, "Send").click()
            fallen(page)
        elif name == "Your log":
            judged_sample(page, "A macro, then shadow copies")
        else:
            tab(page, name)
            expect(
                page.locator(".board:visible" if name == "Results" else ".card.ruling:visible").first
            ).to_be_visible()
        settled(page, 600)

        assert page.evaluate(CONTRAST) == []
        assert page.evaluate(BROKEN) == []
        assert page.evaluate(CRAMPED) == []
        for picture in page.locator("figure img:visible").all():
            assert picture.bounding_box()["width"] >= 640
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, f"{name} is too wide"
        if name == "Results":
            assert page.evaluate(SMALLEST) >= 10
        if SHOTS or (size, dark) == ("phone", True):  # one look at each run shows that pictures can be taken
            kept = Path(SHOTS) if SHOTS else tmp_path
            shot = kept / f"demo_{name.lower().replace(' ', '_')}_{size}_{'dark' if dark else 'light'}.png"
            picture = Image.open(io.BytesIO(page.screenshot(full_page=True, style=UNSTUCK)))
            picture.convert("RGB").quantize(96).save(shot, optimize=True, pnginfo=marked())
            assert shot.stat().st_size > 5_000
        if AXE_IS_HERE:
            assert page.evaluate(SERIOUS) == [], name


# ---------------------------------------------------------------- flip it
def test_the_next_step_stays_in_sight_and_a_fact_flips_the_right_answer_and_a_text_does_not(visit):
    page = visit()
    button(page, "Reveal").click()
    fallen(page)
    page.evaluate("scrollTo(0, 0)")
    bar = page.locator(".demo-bar:visible").bounding_box()
    assert bar["y"] + bar["height"] <= SIZES["desktop"]["height"]

    button(page, "Change one fact").click()
    expect(page.locator(".card.flip.by-fact:visible")).to_contain_text("The right answer goes from")
    button(page, "Write hostile text").click()

    card = page.locator(".card.flip.by-text:visible")
    expect(card).to_contain_text("The right answer stays")
    assert card.locator("blockquote").inner_text()
    assert card.locator(".reactions li").count() == 2


def test_the_fields_of_a_line_are_in_sight_on_a_phone(visit):
    page = visit(size="phone")
    begun_attack(page)
    cells = page.locator(".demo-fields .body-cell:visible")
    expect(cells.last).to_be_visible()
    page.wait_for_function(  # the table takes its width after it is there
        "() => [...document.querySelectorAll('.demo-fields .body-cell')].every((cell) => cell.getBoundingClientRect().right <= 390)"
    )


def test_an_attack_is_counted_and_its_link_shows_it_to_another(visit):
    page = visit()
    begun_attack(page)
    expect(button(page, "Send")).to_be_enabled()
    page.get_by_label("Narrative").fill("A reporter says that nothing happened.")
    button(page, "Send").click()
    outcome = page.locator(".card.outcome:visible")
    expect(outcome).to_be_in_viewport()
    expect(page.locator(".attack-tally:visible")).to_contain_text("Your rounds:")

    other = visit(outcome.locator("a.replay").get_attribute("href"), there=".card.outcome:visible")

    expect(other.locator(".card.outcome:visible h2")).to_have_text(outcome.locator("h2").inner_text())
    expect(other.get_by_label("Narrative")).to_have_value("A reporter says that nothing happened.")


@pytest.mark.skipif(not AXE_IS_HERE, reason="axe-core is not installed (npm install --prefix .venv axe-core@4.14.1)")
def test_axe_finds_what_is_wrong(visit):
    """The walk over all tabs asks axe of each, where it is installed."""
    page = visit()
    page.add_script_tag(content=AXE.read_text("utf-8"))
    page.evaluate("document.body.append(document.createElement('button'))")

    assert [name for name, _ in page.evaluate(SERIOUS)] == ["button-name"]
