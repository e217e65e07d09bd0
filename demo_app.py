"""The demo that reviewers click: Gradio Blocks over `demo_data`, mounted at /demo of the same process.

What a visitor sees and plays is kept in his own session; all HTML comes from `demo.views`, which escapes it. `Fence` stands before
Gradio's own routes: it lets through what the page needs, and neither uploads nor files.
"""

from __future__ import annotations

import asyncio
import functools
import html
import inspect
import json
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, ParamSpec, TypeVar

import gradio as gr
from fastapi import FastAPI
from gradio.components.plot import PlotData
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import demo_data as data
from app_runtime.guard import BODY, replay
from demo import results, views
from demo.graph import graph
from demo.timeline import timeline
from demo.words import ACTIONS
from demo_data import DemoCase, Draft, Game
from rubric import TableName
from schema import CATEGORIES, EVENT_TYPES, LABELS, MAX_EVENTS, TASKS, OpenSOCError, visible

PATH = "/demo"
MAX_WAITING = 512  # clicks that wait; more are told to try again
AT_ONCE = 1  # clicks that are worked on at the same time: more would only keep the episodes of /step waiting for the interpreter
SESSIONS = 400  # visitors whose state is kept; the longest silent goes first
LONGEST_ID = 64  # characters of a line's id; a line with a longer one can be changed in the JSON alone
LOOKS_S = 0.01  # between two looks at the queue; Gradio's own 1 ms take 8 % of a core from a server that nobody visits
STATUS_S = 10.0  # between two words to a visitor about his place in the queue, which the page does not show; Gradio's "auto" tells all at every click
LINES, TIMELINE, GRAPH, WORLD = "Log lines", "Timeline", "Who talked to whom", "World"
TIMELINE_SAYS = f"<h4>When a line happened, and on which host (or to which account)</h4><p>Where lines crowd, not every id has room; the tab <b>{LINES}</b> tells all as text.</p>"
TASK_NAMES = [(f"{task.split('_')[0]}: {task.split('_')[1]}", task) for task in TASKS]
INTRO = """<div class="demo-html"><h1>OpenSOC: triage an incident</h1>
<p>An alert fires. Is it an attack, and what should be done? Read the lines and the world around them, compare two defenders, then reveal
what a deterministic verifier says. Every incident is made up, and its answer is computed, never written.</p></div>"""

ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="#4f46e5" d="M8 1l6 2v5c0 4-3 6-6 7-3-1-6-3-6-7V3z"/></svg>'
P = ParamSpec("P")
T = TypeVar("T")


# ---------------------------------------------------------------- the page
def build(table: TableName = "standard") -> gr.Blocks:
    """The page.

    Args:
        table: the reward table that answers are scored by.
    """
    with gr.Blocks(title="OpenSOC: triage an incident", analytics_enabled=False) as page:
        gr.HTML(INTRO)
        with gr.Tabs():
            with gr.Tab("Before and after"):
                _watch(page, table)
            with gr.Tab("You triage"):
                _play(table)
            with gr.Tab("You attack"):
                _attack(table)
            with gr.Tab("Results") as results_tab:
                measured = _html()
        _on(results_tab.select, lambda: _page(results.results()), None, [measured])  # type: ignore[arg-type]
    page.state_session_capacity = SESSIONS
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=AT_ONCE, api_open=False, status_update_rate=STATUS_S)
    page._queue.sleep_when_free = LOOKS_S
    _note(page)
    return page


def _note(page: gr.Blocks) -> None:
    """Note what Gradio works out anew, in the event loop: all components' configurations for each new visitor, a signature for each changed component."""
    for kind in {type(block) for block in page.blocks.values()}:
        kind.__init__.__signature__ = inspect.signature(kind.__init__)  # type: ignore[attr-defined]
    for block in page.blocks.values():
        block.get_config = block.get_config().copy  # type: ignore[assignment, method-assign]


def _page(html: str) -> str:
    return f'<div class="demo-html">{html}</div>'


def _html(**options: Any) -> gr.HTML:
    return gr.HTML(elem_classes=["demo-piece"], js_on_load=None, **options)


def _side_by_side() -> tuple[gr.HTML, gr.HTML]:
    """Two pieces beside each other, one above the other on a phone."""
    with gr.Row():
        with gr.Column(min_width=260):
            one = _html()
        with gr.Column(min_width=260):
            other = _html()
    return one, other


class Window:
    """An incident on the page: its alert, and tabs with lines, timeline, graph and world."""

    def __init__(self) -> None:
        self.alert = _html()
        with gr.Tabs():
            with gr.Tab(LINES):
                self.lines = _html()
            with gr.Tab(TIMELINE):
                _html(value=_page(TIMELINE_SAYS))
                self.timeline = gr.Plot(label=TIMELINE, show_label=False, elem_classes=["demo-plot"])
            with gr.Tab(GRAPH):
                self.graph = gr.Plot(label=GRAPH, show_label=False, elem_classes=["demo-plot"])
                self.talks = _html()
            with gr.Tab(WORLD):
                self.world = _html()

    @property
    def words(self) -> list[Any]:
        """What changes at once."""
        return [self.alert, self.lines, self.world]

    @property
    def figures(self) -> list[Any]:
        """What follows when the words are there."""
        return [self.timeline, self.graph, self.talks]

    @staticmethod
    def told(case: DemoCase, answers: list[data.ScoredAnswer], revealed: bool = False) -> list[str]:
        """Values of `words`."""
        pieces = (
            views.alert_card(case),
            views.log_table(case, answers, revealed=revealed),
            views.world_tables(case.observation["context"]),
        )
        return [_page(piece) for piece in pieces]

    @staticmethod
    def drawn(case: DemoCase | None, revealed: bool = False) -> list[Any]:
        """Values of `figures`."""
        if case is None:
            return [None, None, ""]
        figures = [draw(case, revealed=revealed) for draw in (timeline, graph)]
        plots = [PlotData(type="plotly", plot=json.dumps(figure)).model_dump() for figure in figures]
        return [*plots, _page(views.talks(case, revealed=revealed))]


def _safe(told: Callable[P, Any]) -> Callable[P, Any]:
    """A wrong input becomes a message on the page; anything else is logged and told without its text."""

    @functools.wraps(told)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return told(*args, **kwargs)
        except OpenSOCError as error:
            raise gr.Error(html.escape(visible(str(error))), duration=8, print_exception=False) from None

    return guarded


def _there(held: T | None, otherwise: str) -> T:
    """What a visit holds.

    Raises:
        OpenSOCError: nothing; `otherwise` says so.
    """
    if held is None:
        raise OpenSOCError(otherwise)
    return held


def _on(event: Callable[..., Any], act: Callable[..., Any], inputs: list[Any], outputs: list[Any], **more: Any) -> Any:
    """Bind an event, out of the public API and without Gradio's own progress veil."""
    how = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_id": "demo",
        "concurrency_limit": AT_ONCE,
        # Of all our components the table alone needs it; the others' values Gradio hands to a thread each, which gives them back as they were.
        "postprocess": any(isinstance(one, gr.Dataframe) for one in outputs),
    }
    return event(_safe(act), inputs, outputs, **how, **more)


# ---------------------------------------------------------------- before and after
class Shown(NamedTuple):
    """What a visitor looks at."""

    case: DemoCase
    revealed: bool
    names: tuple[str, str]


def _watch(page: gr.Blocks, table: TableName) -> None:
    names = data.defender_names()
    stored = data.baked_names()
    count = len(data.baked_file()["pairs"])
    choices = [(data.described(name), name) for name in names]
    state = gr.State(None)
    with gr.Row(elem_classes=["demo-row"]):
        task = gr.Dropdown(TASK_NAMES, value=TASKS[0], label="Task", min_width=220)
        left = gr.Dropdown(choices, value=names[0], label="Defender A", min_width=290)
        right = gr.Dropdown(choices, value=names[1], label="Defender B", min_width=290)
        following = gr.Button("Next incident", variant="primary", min_width=150)
    with gr.Accordion("Choose a seed, or a baked incident", open=False), gr.Row(elem_classes=["demo-row"]):
        seed = gr.Textbox(label=f"Seed, 0 to {data.MAX_SEED}", placeholder="any", max_length=12, min_width=150)
        this_seed = gr.Button("Show this seed", min_width=150)
        number = gr.Dropdown(
            [(f"{place}", place) for place in range(1, count + 1)],
            label=f"One of {count} baked, with stored answers",
            value=None,
            min_width=220,
        )
    window = Window()
    answer_a, answer_b = _side_by_side()
    reveal = gr.Button("Reveal", variant="primary")
    truth = _html()

    def shown(case: DemoCase, a: str, b: str, revealed: bool = False) -> list[Any]:
        answers = [data.ask(name, case, table) for name in (a, b)]
        told = [_page(views.answer_card(answer, case if revealed else None)) for answer in answers]
        said = views.ground_truth(case) if revealed else views.hidden()
        return [Shown(case, revealed, (a, b)), *Window.told(case, answers, revealed), *told, _page(said)]

    def known(name: str, place: int) -> str:
        return name if name in names else names[place]

    def present(held: Shown | None, case: DemoCase, a: str, b: str) -> list[Any]:
        """The incident with both answers, and controls that agree with it."""
        first, second = pair = stored if case.stored else (known(a, 0), known(b, 1))
        lists: Sequence[Any] = pair
        # for another list Gradio makes the control anew, in the event loop
        if held is None or held.case.stored or case.stored:
            offered = choices + [(name, name) for name in case.stored]
            lists = [gr.Dropdown(choices=offered, value=name) for name in pair]
        link = case.link
        place = int(link["baked"]) if "baked" in link else None
        return [case.task, link.get("seed", ""), place, *lists, *shown(case, first, second)]

    def on_next(held: Shown | None, task: str, a: str, b: str) -> list[Any]:
        return present(held, data.generated(task, data.new_seed()), a, b)

    def on_seed(held: Shown | None, task: str, seed: str, a: str, b: str) -> list[Any]:
        return present(held, data.from_link({"task": task, "seed": (seed or "").strip()}), a, b)

    # a list's `input` comes also where one passes by with the Tab key
    def on_baked(held: Shown | None, number: int | None, a: str, b: str) -> list[Any]:
        if number is None or (held and held.case.link.get("baked") == str(number)):
            return [gr.skip()] * len(whole)
        return present(held, data.baked(number), a, b)

    def on_open(request: gr.Request) -> list[Any]:
        try:
            case = data.from_link(dict(request.query_params))
        except OpenSOCError as error:
            gr.Warning(html.escape(visible(str(error))))
            case = data.from_link({})
        return present(None, case, names[0], names[1])

    none = "Expected an incident, and this visit has none any more; press Next incident."

    def on_defender(held: Shown | None, a: str, b: str) -> list[Any]:
        seen = _there(held, none)
        return [gr.skip()] * len(body) if seen.names == (a, b) else shown(seen.case, a, b, seen.revealed)

    def on_reveal(held: Shown | None, a: str, b: str) -> list[Any]:
        return shown(_there(held, none).case, a, b, True)

    def on_figures(held: Shown | None) -> list[Any]:
        return Window.drawn(held.case, held.revealed) if held else Window.drawn(None)

    body = [state, *window.words, answer_a, answer_b, truth]
    whole = [task, seed, number, left, right, *body]
    for begun in (
        _on(following.click, on_next, [state, task, left, right], whole),
        _on(this_seed.click, on_seed, [state, task, seed, left, right], whole),
        _on(seed.submit, on_seed, [state, task, seed, left, right], whole),
        _on(number.input, on_baked, [state, number, left, right], whole),
        _on(page.load, on_open, None, whole),  # type: ignore[arg-type]
        _on(reveal.click, on_reveal, [state, left, right], body),
    ):
        _on(begun.success, on_figures, [state], window.figures)
    for side in (left, right):
        _on(side.input, on_defender, [state, left, right], body)


# ---------------------------------------------------------------- you triage
def _play(table: TableName) -> None:
    names = data.defender_names()
    state = gr.State(None)
    gr.HTML(
        _page(
            f"<p>You are the analyst. Answer {data.ROUNDS} incidents; the model answers the same ones, graded the same way.</p>"
        )
    )
    with gr.Row(elem_classes=["demo-row"]):
        task = gr.Dropdown(TASK_NAMES, value=TASKS[0], label="Task", min_width=220)
        against = gr.Dropdown(
            [(data.described(name), name) for name in names], value=names[0], label="Against", min_width=290
        )
        start = gr.Button("New game", variant="primary", min_width=120)
    with gr.Column(visible=False) as board:
        score = _html()
        window = Window()
        with gr.Row():
            action = gr.Radio(
                [(f"{name}: {ACTIONS[name]}", name) for name in LABELS],
                label="What is to be done",
                scale=3,
                min_width=330,
            )
            cited = gr.Dropdown([], label="The line that supports it", min_width=220, scale=1)
        with gr.Row():
            send = gr.Button("Answer", variant="primary")
            following = gr.Button("Next incident", interactive=False)
        yours, models = _side_by_side()
        truth = _html()

    def asked(game: Game) -> list[Any]:
        """A new incident on the page."""
        assert game.case is not None
        # a link would end the game, and lead to its answer; so would a seed
        case = game.case._replace(link={}, title=f"{game.case.task}, incident {len(game.rounds) + 1} of {data.ROUNDS}")
        ids = [line["log_id"] for line in case.observation["log_window"]]
        return [
            gr.Column(visible=True),
            (game, case),
            _page(views.score(game)),
            *Window.told(case, []),
            gr.Radio(value=None, interactive=True),
            gr.Dropdown(choices=ids, value=case.observation["alert"]["log_id"], interactive=True),
            gr.Button(interactive=True),
            gr.Button(interactive=False),
            "",
            "",
            "",
        ]

    def on_start(task: str, against: str) -> list[Any]:
        return asked(Game(against, task).dealt())  # type: ignore[arg-type]

    none = "Expected a game, and none was begun; press New game."

    def on_next(held: tuple[Game, DemoCase] | None) -> list[Any]:
        return asked(_there(held, none)[0].dealt())

    def on_send(held: tuple[Game, DemoCase] | None, action: str | None, cited: str | None) -> list[Any]:
        begun, case = _there(held, none)
        if not action:
            raise OpenSOCError("Expected one of the five actions, and none is chosen; choose one.")
        game = begun.answered(action, cited or "", table)
        last = game.rounds[-1]
        return [
            gr.skip(),
            (game, case),
            _page(views.score(game)),
            *Window.told(case, [last.you, last.model], revealed=True),
            gr.Radio(interactive=False),
            gr.Dropdown(interactive=False),
            gr.Button(interactive=False),
            gr.Button(interactive=not game.over),
            *(_page(views.answer_card(answer, case)) for answer in (last.you, last.model)),
            _page(views.ground_truth(case)),
        ]

    def on_figures(held: tuple[Game, DemoCase] | None) -> list[Any]:
        return Window.drawn(held[1], revealed=not held[0].waiting) if held else Window.drawn(None)

    whole = [board, state, score, *window.words, action, cited, send, following, yours, models, truth]
    for begun in (
        _on(start.click, on_start, [task, against], whole),
        _on(following.click, on_next, [state], whole),
        _on(send.click, on_send, [state, action, cited], whole),
    ):
        _on(begun.success, on_figures, [state], window.figures)


# ---------------------------------------------------------------- you attack
class Desk(NamedTuple):
    """A visitor's draft, and the hashes of texts that the page was given: a change to one of them is no typing.

    `given` are the latest 256, `told` those of them whose echo has not come yet, at most 8.
    """

    draft: Draft
    given: tuple[int, ...] = ()
    told: tuple[int, ...] = ()

    def holding(self, draft: Draft, told: Sequence[str] = ()) -> Desk:
        """The desk with another draft."""
        new = tuple(map(hash, told))
        return Desk(draft, (*self.given, *new)[-256:], (*self.told, *new)[-8:])

    def echoes(self, text: str | None, held: str) -> bool:
        """Whether a text is what is held already, or what the page was just given."""
        return (text or "") == held or hash(text or "") in self.told

    def heard(self, text: str | None) -> Desk:
        """The desk after the page's echo of a text: the next time it is typing (an undo, say)."""
        return self._replace(told=tuple(one for one in self.told if one != hash(text or "")))

    def typed(self, text: str | None) -> bool:
        """Whether the visitor wrote a text: an older one of ours only says that the page has not got the newest yet."""
        return (text or "") != self.draft.text and hash(text or "") not in self.given


def _attack(table: TableName) -> None:
    names = data.defender_names()
    state = gr.State(None)  # a Desk
    gr.HTML(
        _page(
            "<p>Write an incident that the defender misjudges. You may change every line, the claim and the narrative; the world around them "
            "(hosts, tickets, intelligence) is given. A gate refuses what could not have happened; the verifier judges the rest by its events.</p>"
        )
    )
    with gr.Row(elem_classes=["demo-row"]):
        task = gr.Dropdown(TASK_NAMES, value=TASKS[0], label="Task", min_width=220)
        begin = gr.Button("New incident to edit", variant="primary", min_width=150)
        defender = gr.Dropdown(
            [(data.described(name), name) for name in names], value=names[0], label="Defender", min_width=290
        )
        send = gr.Button("Send", variant="primary", min_width=100)
    gate = _html(value=_page("<p>Press <b>New incident to edit</b> to get one that is admitted, and change it.</p>"))
    with gr.Tabs(visible=False) as desk:
        with gr.Tab("Form"):
            with gr.Row():
                label = gr.Dropdown(list(LABELS), label="Your claim (target_label)", min_width=210)
                category = gr.Dropdown(list(CATEGORIES), label="Category", min_width=250)
            narrative = gr.Textbox(label="Narrative: what a reporter tells the defender", lines=2, max_length=1000)
            with gr.Row(elem_classes=["demo-row"]):
                line = gr.Dropdown([], label="Line", min_width=130)
                kind = gr.Dropdown(list(EVENT_TYPES), value="process", label="Type of a new line", min_width=200)
                add = gr.Button("Add a line", min_width=110)
                drop = gr.Button("Remove this line", min_width=110)
            fields = gr.Dataframe(
                headers=["field", "value"],
                datatype="str",
                type="array",
                column_count=2,
                static_columns=[0],
                interactive=True,
                wrap=True,
                max_height=420,
                label="The line's time and fields; an empty value leaves the field out",
                buttons=[],
            )
        with gr.Tab("Raw JSON"):
            raw = gr.Textbox(
                label="The incident", lines=20, max_lines=28, max_length=data.MAX_DRAFT + 1, elem_classes=["demo-json"]
            )
        with gr.Tab(WORLD):
            world = _html()
    outcome = _html()
    with gr.Column(visible=False) as after:
        answer = _html()
        window = Window()
        truth = _html()

    def written(desk: Desk, draft: Draft, chosen: str | None = None, *, without: str = "") -> list[Any]:
        """The form, the JSON and the gate's word for a draft; `without` names what the visitor is typing in, which stays as it is."""
        judged = _page(views.gate(draft.judged()))
        try:
            head, ids = draft.head(), draft.line_ids()
        except OpenSOCError:  # the gate says what is wrong with the JSON
            return [desk.holding(draft), judged, *[gr.skip()] * 6]
        ids = [one for one in ids if len(one) <= LONGEST_ID][:MAX_EVENTS]
        at = chosen if chosen in ids else (ids[0] if ids else None)
        narrative = data.in_form(head[2])
        heads = [head[0] if head[0] in LABELS else None, head[1] if head[1] in CATEGORIES else None, narrative]
        values: dict[str, list[Any]] = {
            "head": heads,
            "line": [gr.Dropdown(choices=[(visible(one)[:40], one) for one in ids], value=at)],
            "fields": [draft.line(at) if at else []],
            "raw": [draft.text],
        }
        if without:
            values[without] = [gr.skip()] * len(values[without])
        # what stands in the page already has no echo; waited for, it would swallow the visitor's next clearing
        new = narrative != "" if desk.draft is draft else narrative != in_page(desk.draft)
        told = [narrative] if new and without != "head" else []
        told += [] if without == "raw" else [draft.text]
        return [desk.holding(draft, told), judged, *(one for some in values.values() for one in some)]

    def in_page(draft: Draft) -> str | None:
        """The narrative that the form shows of a draft; None where the draft cannot be read."""
        try:
            return data.in_form(draft.head()[2])
        except OpenSOCError:
            return None

    def held(desk: Desk | None) -> Desk:
        return _there(desk, "Expected an incident to edit, and there is none; press New incident to edit.")

    def on_begin(task: str) -> list[Any]:
        draft = Draft.of(data.generated(task, data.new_seed()))
        known = _page(views.world_tables(data.world_of(draft.task, draft.seed)))
        return [gr.Tabs(visible=True), *written(Desk(draft), draft), known, gr.Column(visible=False), ""]

    def on_raw(desk: Desk | None, text: str, chosen: str | None) -> list[Any]:
        if desk is None or desk.echoes(text, desk.draft.text):
            return [desk and desk.heard(text), *[gr.skip()] * (len(form) - 1)]
        return written(desk, desk.draft._replace(text=(text or "")[: data.MAX_DRAFT + 1]), chosen, without="raw")

    def on_narrative(desk: Desk | None, text: str, chosen: str | None) -> list[Any]:
        if desk is None or desk.echoes(text, data.in_form(desk.draft.head()[2])):
            return [desk and desk.heard(text), *[gr.skip()] * (len(form) - 1)]
        label, category, _ = desk.draft.head()
        return written(desk, desk.draft.with_head(label, category, text or ""), chosen, without="head")

    def on_claim(desk: Desk | None, label: str, category: str, chosen: str | None) -> list[Any]:
        draft = held(desk).draft
        return written(
            held(desk), draft.with_head(label or "", category or "", draft.head()[2]), chosen, without="head"
        )

    def on_fields(desk: Desk | None, chosen: str | None, rows: list[list[str]]) -> list[Any]:
        return written(held(desk), held(desk).draft.with_line(chosen or "", rows), chosen, without="fields")

    def on_line(desk: Desk | None, chosen: str | None) -> Any:
        return held(desk).draft.line(chosen) if chosen else []

    def on_add(desk: Desk | None, kind: str) -> list[Any]:
        return written(held(desk), *held(desk).draft.with_new_line(kind))

    def on_drop(desk: Desk | None, chosen: str | None) -> list[Any]:
        return written(held(desk), held(desk).draft.without_line(chosen or ""))

    def on_send(desk: Desk | None, name: str, text: str) -> list[Any]:
        draft = held(desk).draft
        judged, said, grade = (draft._replace(text=text) if held(desk).typed(text) else draft).sent(name, table)
        if judged.case is None or said is None:
            return [None, gr.Column(visible=False), _page(views.outcome(judged, said, grade)), *[gr.skip()] * 5]
        return [
            judged.case,
            gr.Column(visible=True),
            _page(views.outcome(judged, said, grade)),
            _page(views.answer_card(said, judged.case)),
            *Window.told(judged.case, [said], revealed=True),
            _page(views.ground_truth(judged.case, claimed=judged.claimed)),
        ]

    def on_figures(case: DemoCase | None) -> list[Any]:
        return Window.drawn(case, True)

    form = [state, gate, label, category, narrative, line, fields, raw]
    case = gr.State(None)  # what was sent
    sent = [case, after, outcome, answer, *window.words, truth]
    _on(begin.click, on_begin, [task], [desk, *form, world, after, outcome])
    # Gradio's `input` of a text box knows neither pasting nor deleting; `change` knows all, our own writing too
    _on(raw.change, on_raw, [state, raw, line], form, trigger_mode="always_last")
    _on(narrative.change, on_narrative, [state, narrative, line], form, trigger_mode="always_last")
    for part in (label, category):
        _on(part.input, on_claim, [state, label, category, line], form, trigger_mode="always_last")
    _on(fields.input, on_fields, [state, line, fields], form, trigger_mode="always_last")
    _on(line.input, on_line, [state, line], [fields])
    _on(add.click, on_add, [state, kind], form)
    _on(drop.click, on_drop, [state, line], form)
    begun = _on(send.click, on_send, [state, defender, raw], sent)
    _on(begun.success, on_figures, [case], window.figures)


# ---------------------------------------------------------------- the process
class Fence:
    """ASGI middleware before Gradio: the routes that the page needs, and no others; the browser is told to load nothing from elsewhere.

    Uploads, files of the disk, proxying and Gradio's public API are refused with a 404. A click may send texts, numbers, lists and tables alone:
    Gradio reads the file, or fetches the address, that any other object in it names. Clicks go through one after the other, so that a crowd's,
    each some milliseconds of work, let the event loop serve a step between two of them.
    """

    CLICK = "/gradio_api/queue/join"
    OPEN = (
        "/",
        "/config",
        "/theme.css",
        "/favicon.ico",
        "/gradio_api/info",
        "/gradio_api/startup-events",
        CLICK,
        "/gradio_api/queue/data",
        "/gradio_api/cancel",
        "/gradio_api/reset",
        "/gradio_api/app_id",
    )
    SENT = ("data", "fn_index", "session_hash", "event_data", "trigger_id")  # what is passed on of a click
    TABLE = frozenset({"headers", "data", "metadata", "display_value", "styling"})  # names in a table's value
    BELOW = ("/assets/", "/static/", "/svelte/", "/gradio_api/heartbeat/")
    POLICY = (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'none'"
    )

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turn = asyncio.Semaphore(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PATH):
            await self._app(scope, receive, send)
            return
        path = scope["path"][len(PATH) :]
        if path == "":
            query = scope.get("query_string", b"").decode("latin-1")
            target = f"{scope.get('root_path', '')}{PATH}/" + (f"?{query}" if query else "")
            await RedirectResponse(target)(scope, receive, send)
            return
        if not path.startswith("/") or (path not in self.OPEN and not path.startswith(self.BELOW)) or ".." in path:
            sentence = f"There is no {scope['path'][:200]} here; the demo is at {PATH}/."
            await JSONResponse({"detail": sentence}, 404)(scope, receive, send)
            return

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], (b"content-security-policy", self.POLICY.encode())]
                headers += [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
                message = {**message, "headers": headers}
            await send(message)

        await (self._click if path == self.CLICK else self._app)(scope, receive, with_policy)

    async def _click(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = scope.get(BODY)
        if not isinstance(body, dict) or not self._plain(body.get("data")):
            sentence = (
                "Expected a click with texts, numbers, lists and tables as its data; reload the page and click again."
            )
            await JSONResponse({"detail": sentence}, 422)(scope, receive, send)
            return
        raw = json.dumps({name: body[name] for name in self.SENT if name in body}).encode()
        async with self._turn:
            await self._app(scope, replay(raw, receive), send)

    def _plain(self, value: Any) -> bool:
        if isinstance(value, dict):
            return value.keys() <= self.TABLE and all(map(self._plain, value.values()))
        return not isinstance(value, list) or all(map(self._plain, value))


def mount(app: FastAPI, table: TableName = "standard") -> FastAPI:
    """Put the demo under /demo of an application, and lead `GET /` there."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    fonts = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Consolas", "monospace"]

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse(f"{PATH}/")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return Response(ICON, media_type="image/svg+xml")

    async def put() -> None:
        gr.mount_gradio_app(
            app,
            build(table),
            PATH,
            footer_links=[],
            run_history=False,
            show_error=False,
            max_file_size=0,
            ssr_mode=False,
            enable_monitoring=False,
            pwa=False,
            mcp_server=False,
            theme=gr.themes.Soft(primary_hue="indigo", font=fonts, font_mono=mono),
            css=(data.ROOT / "demo" / "style.css").read_text("utf-8"),
            head=f"<script>{(data.ROOT / 'demo' / 'keys.js').read_text('utf-8')}</script>",
        )

    with ThreadPoolExecutor(1) as thread:  # where no event loop runs, Gradio makes some and leaves them open
        thread.submit(asyncio.run, put()).result()
    app.user_middleware.append(Middleware(Fence))  # inside the Guard, which bounds and reads bodies
    threading.Thread(target=data.warm_up, name="demo", daemon=True).start()
    return app
