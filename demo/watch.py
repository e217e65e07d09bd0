"""The tab "Watch": one incident, answered by the model at every stage of its training, or a new one drawn at random."""

from __future__ import annotations

import html
from typing import Any, NamedTuple

import gradio as gr

import demo_data as data
from demo import views
from demo.casefile import CaseFile
from demo.choices import defender_list, task_list
from demo.flip_panel import FlipPanel
from demo.page import Figures, controls, on, piece, require, skipped, styled
from demo_data import DemoCase, ScoredAnswer
from rubric import TableName
from schema import OpenSOCError, Task, visible

NONE = "This page has no incident any more: it was let go after a long pause, when many visitors came. Reload the page."
REVEAL, NEXT = "Reveal", "Next incident"


class Watched(NamedTuple):
    """What a visitor looks at: an incident, whether its truth is told, which defenders answer a drawn one (baseline, then model), and the answers.

    The answer of the left comes first, then those of the right: the checkpoints' one after the other, or the model's.
    """

    case: DemoCase
    revealed: bool
    names: tuple[str, str]
    answers: list[ScoredAnswer]


class WatchTab:
    """The tab's components and handlers.

    Args:
        page: loads the incident that the page's address names.
        table: the reward table that answers are scored by.
    """

    def __init__(self, page: gr.Blocks, table: TableName) -> None:
        self.table = table
        self.state = gr.State(None)  # a Watched
        piece(value=styled(training()))
        self.case = CaseFile()
        with gr.Row(elem_classes=["demo-bar"]):
            self.go = gr.Button(REVEAL, variant="primary", min_width=120)
            self.draw = gr.Button("Draw at random", min_width=120)
        self.case.draw_lines()
        self.case.draw_rest()
        with self.case.after_reveal:
            FlipPanel(self.case.revealed, table)
        self._draw_choices()
        self.body = [self.state, self.go, *self.case.body]
        self.whole = [self.task, self.seed, self.number, *self.body]
        self._bind(page)

    def _draw_choices(self) -> None:
        count = len(data.baked_file()["pairs"])
        with gr.Accordion("Pick an incident", open=False, elem_classes=["demo-fold"]):
            with controls():
                self.number = gr.Dropdown(
                    [(f"{number}", number) for number in range(1, count + 1)],
                    label=f"One of the {count} stored",
                    value=None,
                    min_width=160,
                )
                self.task = task_list()
                self.seed = gr.Textbox(
                    label=f"Seed, 0 to {data.MAX_SEED}", placeholder="any", max_length=12, min_width=150
                )
                self.this_seed = gr.Button("Show this seed", min_width=150)
            with controls():
                self.baseline = defender_list("Baseline", 1)
                self.model = defender_list("Model")

    def _bind(self, page: gr.Blocks) -> None:
        pair = [self.baseline, self.model]
        for begun in (
            on(self.go.click, self.on_go, [self.state, self.task, *pair], self.whole),
            on(self.draw.click, self.on_draw, [self.state, self.task, *pair], self.whole),
            on(self.task.input, self.on_task, [self.state, self.task, *pair], self.whole),
            on(self.this_seed.click, self.on_seed, [self.state, self.task, self.seed, *pair], self.whole),
            on(self.seed.submit, self.on_seed, [self.state, self.task, self.seed, *pair], self.whole),
            on(self.number.input, self.on_baked, [self.state, self.number, *pair], self.whole),
            on(page.load, self.on_open, None, self.whole),  # type: ignore[arg-type]
        ):
            on(begun.success, self.on_figures, [self.state], self.case.figures)
        for side in pair:
            on(side.input, self.on_defender, [self.state, self.task, *pair], self.whole)

    # ------------------------------------------------------------ handlers
    def on_go(self, watched: Watched | None, task: Task, a: str, b: str) -> list[Any]:
        """Reveal what the verifier says, or go on to the next incident if that is done."""
        current = require(watched, NONE)
        if not current.revealed:
            return [*skipped(self.whole[:3]), *self._answered(current._replace(revealed=True))]
        if "baked" in current.case.link:
            number = int(current.case.link["baked"]) % len(data.baked_file()["pairs"]) + 1
            return self._present(data.baked(number), a, b)
        return self.on_draw(watched, task, a, b)

    def on_draw(self, watched: Watched | None, task: Task, a: str, b: str) -> list[Any]:
        """Show a new incident."""
        return self._present(data.generated(task, data.new_seed()), a, b)

    def on_task(self, watched: Watched | None, task: Task, a: str, b: str) -> list[Any]:
        """Show a new incident of another task; the event comes also where one passes by the list with the Tab key."""
        if watched and watched.case.task == task:
            return skipped(self.whole)
        return self.on_draw(watched, task, a, b)

    def on_seed(self, watched: Watched | None, task: str, seed: str, a: str, b: str) -> list[Any]:
        """Show the incident of a seed."""
        return self._present(data.from_link({"task": task, "seed": (seed or "").strip()}), a, b)

    def on_baked(self, watched: Watched | None, number: int | None, a: str, b: str) -> list[Any]:
        """Show a stored incident; the event comes also where one passes by the list with the Tab key."""
        if number is None or (watched and watched.case.link.get("baked") == str(number)):
            return skipped(self.whole)
        return self._present(data.baked(number), a, b)

    def on_open(self, request: gr.Request) -> list[Any]:
        """Show the incident that the page's address names, else one on which training changed the answer."""
        query = {name: value for name, value in dict(request.query_params).items() if name in ("baked", "task", "seed")}
        try:
            case = data.from_link(query) if query or not data.checkpoints() else data.baked(data.opener())
        except OpenSOCError as error:
            gr.Warning(html.escape(visible(str(error))))
            case = data.from_link({})
        names = data.defender_names()
        return self._present(case, names[1], names[0])

    def on_defender(self, watched: Watched | None, task: Task, a: str, b: str) -> list[Any]:
        """Ask other defenders about the incident that was drawn, or about a new one."""
        current = require(watched, NONE)
        if current.names == (a, b):
            return skipped(self.whole)
        if current.case.stored:
            return self.on_draw(watched, task, a, b)
        return [*skipped(self.whole[:3]), *self._answered(self._watched(current.case, current.revealed, (a, b)))]

    def on_figures(self, watched: Watched | None) -> list[Any]:
        """Draw the figures."""
        if watched is None:
            return Figures.figures_of(None)
        cited = [answer.triage["cited_log_id"] for answer in watched.answers if answer.triage]
        return Figures.figures_of(watched.case, watched.revealed, cited)

    # ------------------------------------------------------------ values
    def _present(self, case: DemoCase, a: str, b: str) -> list[Any]:
        """Return the values of `whole`: the incident with its answers, and choices that agree with it."""
        number = int(case.link["baked"]) if "baked" in case.link else None
        return [case.task, case.link.get("seed", ""), number, *self._answered(self._watched(case, False, (a, b)))]

    def _answered(self, watched: Watched) -> list[Any]:
        """Return the values of `body`."""
        case, revealed = watched.case, watched.revealed
        live = "" if case.stored else odds()
        body = CaseFile.body_of(case, watched.answers, revealed=revealed, live=live)
        return [watched, NEXT if revealed else REVEAL, *body]

    def _watched(self, case: DemoCase, revealed: bool, names: tuple[str, str]) -> Watched:
        """Return an incident with its answers: asked once, as a model takes longer than all else that a click does."""
        if not case.stored:
            return Watched(case, revealed, names, [data.ask(name, case, self.table) for name in names])
        first, *later = data.stored_answers(int(case.link["baked"]), self.table)
        by_step = [answer._replace(steps=str(place)) for place, answer in enumerate(later, 1)]
        return Watched(case, revealed, names, [first, *by_step, first._replace(steps="0")])


def training() -> str:
    """Return the strip of the checkpoints as HTML; empty where none are stored."""
    checkpoints, stored = data.checkpoints(), data.baked_file()
    if not checkpoints:
        return ""
    cells = [data.right_at(number) for number in range(1, len(stored["pairs"]) + 1)]
    where = {"set": data.SET_WORDS.get(stored["set"], stored["set"]), "items": checkpoints[0]["mean_reward"]["n"]}
    return views.learn(checkpoints, cells, where)


def odds() -> str:
    """Say how often the model is right on incidents like one that was just drawn."""
    shares = [f"{100 * share['value']:.0f} % on {words}" for words, share in data.odds()]
    return (
        f"Drawn at random, chosen by nobody. Right answers of the model: {', '.join(shares)}."
        if shares
        else "Drawn at random, chosen by nobody."
    )
