"""The tab "You attack": the visitor writes an incident that a defender misjudges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

import gradio as gr

import demo_data as data
from demo import replay, views
from demo.choices import defender_list, task_list
from demo.draft import MAX_DRAFT, IncidentDraft, begun, in_form, world_of
from demo.flip_panel import FlipPanel
from demo.page import WORLD, IncidentView, controls, in_sight, on, piece, require, skipped, styled
from demo.words import ACTION_NAMES, TYPE_NAMES
from demo_data import DemoCase
from rubric import TableName
from schema import CATEGORIES, EVENT_TYPES, LABELS, MAX_EVENTS, TASKS, BadRequestError, OpenSOCError, Task, visible

LONGEST_ID = 64  # characters of a line's id; a line with a longer one can be changed in the JSON alone
NONE = "This page has no incident to edit: none was begun, or it was let go after a long pause, when many visitors came. Copy what you wrote, and press New incident to edit."
INTRO = """<p>Change an incident so that the model misjudges it. The records around it (hosts, tickets, intelligence) are given.</p>"""


class Desk(NamedTuple):
    """A visitor's draft, and hashes of texts that we wrote into the page, so that the change events they cause are not taken for typing.

    `written` are the latest 256, `awaited` those of them whose change event has not come yet, at most 8.
    """

    draft: IncidentDraft
    written: tuple[int, ...] = ()
    awaited: tuple[int, ...] = ()

    def holding(self, draft: IncidentDraft, texts: Sequence[str] = ()) -> Desk:
        """Return the desk with another draft, of which these texts are written into the page."""
        new = tuple(map(hash, texts))
        return Desk(draft, (*self.written, *new)[-256:], (*self.awaited, *new)[-8:])

    def echoes(self, text: str | None, known: str) -> bool:
        """Return whether a text is the known one already, or one that the page was just given."""
        return (text or "") == known or hash(text or "") in self.awaited

    def heard(self, text: str | None) -> Desk:
        """Return the desk after the change event of a text that we wrote: the next one of it is typing (an undo, say)."""
        return self._replace(awaited=tuple(digest for digest in self.awaited if digest != hash(text or "")))

    def typed(self, text: str | None) -> bool:
        """Return whether the visitor wrote a text; an older one of ours only says that the page has not got the newest yet."""
        return (text or "") != self.draft.text and hash(text or "") not in self.written

    def seen(self, text: str | None, narrative: str | None) -> IncidentDraft:
        """Return the draft with what the visitor typed of JSON or narrative just before, whose change event is still on its way."""
        if self.typed(text):
            return self.draft._replace(text=text or "")
        if _narrative_in_page(self.draft) in (None, narrative or "") or hash(narrative or "") in self.written:
            return self.draft
        label, category, _ = self.draft.head()
        return self.draft.with_head(label, category, narrative or "")


class AttackTab:
    """The tab's components and handlers; answers are scored by the reward table `table`."""

    def __init__(self, table: TableName) -> None:
        self.table = table
        self.state = gr.State(None)  # a Desk
        piece(value=styled(INTRO))
        self.rounds = gr.State(None)  # how many rounds ended in which verdict
        self.tally = piece()
        with controls():
            self.task = task_list()
            self.defender = defender_list("Defender")
        with gr.Row(elem_classes=["demo-bar", "attack-bar"]):
            self.begin = gr.Button("New incident to edit", variant="primary", min_width=120)
            self.send = gr.Button("Send", interactive=False, min_width=100)
        self.gate = piece(value=styled(views.empty_round()))
        with gr.Tabs(visible=False) as self.desk:
            with gr.Tab("Form"):
                self._draw_form()
            with gr.Tab("Raw JSON"):
                self.raw = gr.Textbox(
                    label="The incident",
                    lines=20,
                    max_lines=28,
                    max_length=MAX_DRAFT + 1,
                    elem_classes=["demo-json"],
                )
            with gr.Tab(WORLD):
                self.world = piece()
        self._draw_outcome()
        self.head = [self.label, self.category, self.narrative]
        self.opened = [self.desk, self.begin, self.send]
        self.form = [self.state, self.gate, *self.head, self.line, self.fields, self.raw]
        self._bind()

    def _draw_form(self) -> None:
        with gr.Row():
            self.label = gr.Dropdown(
                [(ACTION_NAMES[name], name) for name in LABELS], label="Your claim: the right answer", min_width=210
            )
            self.category = gr.Dropdown(
                [(name.replace("_", " ").capitalize(), name) for name in CATEGORIES],
                label="Category of the attack",
                min_width=250,
            )
        self.narrative = gr.Textbox(label="Narrative: what a reporter tells the defender", lines=2, max_length=1000)
        with controls():
            self.line = gr.Dropdown([], label="Line", min_width=130)
            self.kind = gr.Dropdown(
                [(TYPE_NAMES[name].capitalize(), name) for name in EVENT_TYPES],
                value="process",
                label="Type of a new line",
                min_width=200,
            )
            self.add = gr.Button("Add a line", min_width=110)
            self.drop = gr.Button("Remove this line", min_width=110)
        self.fields = gr.Dataframe(
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
            elem_classes=["demo-fields"],
        )

    def _draw_outcome(self) -> None:
        self.outcome = piece()
        with gr.Column(visible=False) as self.after:
            self.truth = piece()
            self.answer = piece()
            self.window = IncidentView()
            self.revealed = gr.State(None)  # the DemoCase that was sent
            FlipPanel(self.revealed, self.table)

    def _bind(self) -> None:
        state, line = self.state, self.line
        case = self.revealed
        self.sent = [
            case,
            self.rounds,
            self.tally,
            self.after,
            self.outcome,
            self.answer,
            *self.window.words,
            self.truth,
        ]
        self.begun = [*self.opened, *self.form, self.world, self.after, self.outcome]
        latest = {"trigger_mode": "always_last"}
        on(self.begin.click, self.on_begin, [self.task], self.begun)
        # `input` misses pasting and deleting; `change` catches them, but also fires for our own updates
        on(self.raw.change, self.on_raw, [state, self.raw, line], self.form, **latest)
        on(self.narrative.change, self.on_narrative, [state, self.narrative, line], self.form, **latest)
        for part in (self.label, self.category):
            on(part.input, self.on_claim, [state, self.label, self.category, line], self.form, **latest)
        on(self.fields.input, self.on_fields, [state, line, self.fields], self.form, **latest)
        on(line.input, self.on_line, [state, line], [self.fields])
        on(self.add.click, self.on_add, [state, self.kind], self.form)
        on(self.drop.click, self.on_drop, [state, line], self.form)
        seen = [state, self.defender, self.raw, self.narrative, self.rounds]
        begun = on(self.send.click, self.on_send, seen, self.sent)
        in_sight(begun, ".card.outcome")
        on(begun.success, self.on_figures, [case], self.window.figures)

    def bind(self, page: gr.Blocks, tabs: gr.Tabs) -> None:
        """Show the round again that the page's address names, if it names one."""
        shown = on(page.load, self.on_load, None, [tabs, self.task, self.defender, *self.begun[:-2], *self.sent])  # type: ignore[arg-type]
        on(shown.success, self.on_figures, [self.revealed], self.window.figures)

    # ------------------------------------------------------------ handlers of the form
    def on_begin(self, task: Task) -> list[Any]:
        """Lay an admitted incident on the desk."""
        return [*self._opened(IncidentDraft.of(data.generated(task, data.new_seed()))), gr.Column(visible=False), ""]

    def on_load(self, request: gr.Request) -> list[Any]:
        """Lay the edit of a link on the desk, and send it."""
        query = dict(request.query_params)
        if "attack" not in query:
            return [gr.skip()] * (3 + len(self.begun) - 2 + len(self.sent))
        draft, against = attack_of(query)
        desk = self._opened(draft)
        sent = self._sent(draft, against, None)
        return [gr.Tabs(selected="attack"), draft.task, against, *desk, *sent]

    def _opened(self, draft: IncidentDraft) -> list[Any]:
        """Return the values of `begun` but for the outcome's: the desk with a draft, which can be sent."""
        world = styled(views.world_tables(world_of(draft.task, draft.seed)))
        buttons = [gr.Button(variant="secondary"), gr.Button(variant="primary", interactive=True)]
        return [gr.Tabs(visible=True), *buttons, *_form(Desk(draft), draft), world]

    def on_raw(self, desk: Desk | None, text: str, chosen: str | None) -> list[Any]:
        """Take the JSON that the visitor typed."""
        if desk is None or desk.echoes(text, desk.draft.text):
            return self._unchanged(desk, text)
        return _form(desk, desk.draft._replace(text=(text or "")[: MAX_DRAFT + 1]), chosen, without="raw")

    def on_narrative(self, desk: Desk | None, text: str, chosen: str | None) -> list[Any]:
        """Take the narrative that the visitor typed."""
        if desk is None or desk.echoes(text, in_form(desk.draft.head()[2])):
            return self._unchanged(desk, text)
        label, category, _ = desk.draft.head()
        return _form(desk, desk.draft.with_head(label, category, text or ""), chosen, without="head")

    def on_claim(self, desk: Desk | None, label: str, category: str, chosen: str | None) -> list[Any]:
        """Take another claim or category."""
        desk = require(desk, NONE)
        draft = desk.draft.with_head(label or "", category or "", desk.draft.head()[2])
        return _form(desk, draft, chosen, without="head")

    def on_fields(self, desk: Desk | None, chosen: str | None, rows: list[list[str]]) -> list[Any]:
        """Take other values of a line."""
        desk = require(desk, NONE)
        return _form(desk, desk.draft.with_line(chosen or "", rows), chosen, without="fields")

    def on_line(self, desk: Desk | None, chosen: str | None) -> Any:
        """Show another line."""
        return require(desk, NONE).draft.line(chosen) if chosen else []

    def on_add(self, desk: Desk | None, kind: str) -> list[Any]:
        """Add a line."""
        desk = require(desk, NONE)
        return _form(desk, *desk.draft.with_new_line(kind))

    def on_drop(self, desk: Desk | None, chosen: str | None) -> list[Any]:
        """Remove a line."""
        desk = require(desk, NONE)
        return _form(desk, desk.draft.without_line(chosen or ""))

    def _unchanged(self, desk: Desk | None, text: str) -> list[Any]:
        return [desk and desk.heard(text), *skipped(self.form[1:])]

    # ------------------------------------------------------------ handlers of what was sent
    def on_send(
        self, desk: Desk | None, name: str, text: str, narrative: str, rounds: dict[str, int] | None
    ) -> list[Any]:
        """Send the draft at a defender as the page shows it, and show who won."""
        return self._sent(require(desk, NONE).seen(text, narrative), name, rounds)

    def _sent(self, draft: IncidentDraft, name: str, rounds: dict[str, int] | None) -> list[Any]:
        """Return the values of `sent`."""
        sent = draft.sent(name, self.table)
        submission, answer = sent.judged, sent.answer
        verdict = sent.verdict if submission.case else "refused"
        counted = {**(rounds or {}), verdict: (rounds or {}).get(verdict, 0) + 1}
        edit = replay.packed(draft, begun(draft.task, draft.seed)) if submission.case else ""
        query = urlencode({"attack": draft.task, "world": draft.seed, "against": name, "edit": edit}) if edit else ""
        head = [counted, styled(views.tally(counted))]
        outcome = styled(views.outcome(sent, query, edited=submission.case is None or draft.is_edited()))
        if submission.case is None or answer is None:
            return [None, *head, gr.Column(visible=False), outcome, *[gr.skip()] * (2 + len(self.window.words))]
        return [
            submission.case,
            *head,
            gr.Column(visible=True),
            outcome,
            styled(views.answer_card(answer, submission.case)),
            *IncidentView.words_of(submission.case, [answer], revealed=True),
            styled(views.ground_truth(submission.case, claimed=submission.claimed)),
        ]

    def on_figures(self, case: DemoCase | None) -> list[Any]:
        """Draw the figures."""
        return IncidentView.figures_of(case, True)


def attack_of(query: Mapping[str, str]) -> tuple[IncidentDraft, str]:
    """Return the draft and the defender that a link names.

    Raises:
        BadRequestError: it names no draft, or a defender that does not answer here.
    """
    task, seed, against = query.get("attack", ""), query.get("world", ""), query.get("against", "")
    if task not in TASKS or not data.is_seed(seed) or against not in data.defender_names():
        raise BadRequestError(
            "Expected a link that Send gave (attack=TASK, world=SEED, against=DEFENDER, edit=...), and got another; begin a round of your own."
        )
    return replay.unpacked(query.get("edit", ""), begun(task, int(seed)), MAX_DRAFT), against


# ---------------------------------------------------------------- the form's values
def _form(desk: Desk, draft: IncidentDraft, chosen: str | None = None, *, without: str = "") -> list[Any]:
    """Return the values of `AttackTab.form` for a draft; `without` names the part that the visitor is typing in, which stays as it is."""
    gate = styled(views.gate(draft.judged()))
    try:
        label, category, narrative = draft.head()
        ids = [log_id for log_id in draft.line_ids() if len(log_id) <= LONGEST_ID][:MAX_EVENTS]
    except OpenSOCError:  # the gate says what is wrong with the JSON
        return [desk.holding(draft), gate, *[gr.skip()] * 6]
    line = chosen if chosen in ids else (ids[0] if ids else None)
    parts: dict[str, list[Any]] = {
        "head": [
            label if label in LABELS else None,
            category if category in CATEGORIES else None,
            in_form(narrative),
        ],
        "line": [gr.Dropdown(choices=[(visible(log_id)[:40], log_id) for log_id in ids], value=line)],
        "fields": [draft.line(line) if line else []],
        "raw": [draft.text],
    }
    if without:
        parts[without] = [gr.skip()] * len(parts[without])
    values = [value for part in parts.values() for value in part]
    return [desk.holding(draft, _written(desk, draft, in_form(narrative), without)), gate, *values]


def _written(desk: Desk, draft: IncidentDraft, narrative: str, without: str) -> list[str]:
    """Return the texts that the page is given anew, each of which causes a change event."""
    texts = []
    # a text that the page has already causes no event; waited for, it would swallow the visitor's next clearing
    new = narrative != "" if desk.draft is draft else narrative != _narrative_in_page(desk.draft)
    if new and without != "head":
        texts.append(narrative)
    if without != "raw":
        texts.append(draft.text)
    return texts


def _narrative_in_page(draft: IncidentDraft) -> str | None:
    """Return the narrative that the form shows of a draft; None if the draft cannot be read."""
    try:
        return in_form(draft.head()[2])
    except OpenSOCError:
        return None
