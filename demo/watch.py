"""The tab "Before and after": two defenders answer the same incident."""

from __future__ import annotations

import html
from typing import Any, NamedTuple

import gradio as gr

import demo_data as data
from demo import views
from demo.page import (
    IncidentView,
    controls,
    defender_choices,
    defender_list,
    on,
    piece,
    require,
    side_by_side,
    skipped,
    styled,
    task_list,
)
from demo_data import DemoCase
from rubric import TableName
from schema import OpenSOCError, Task, visible

NONE = "This page has no incident any more: it was let go after a long pause, when many visitors came. To go on, press Next incident."


class Watched(NamedTuple):
    """What a visitor looks at, and which defenders answered it."""

    case: DemoCase
    revealed: bool
    names: tuple[str, str]


class WatchTab:
    """The tab's components and handlers.

    Args:
        page: loads the incident that the page's address names.
        table: the reward table that answers are scored by.
    """

    def __init__(self, page: gr.Blocks, table: TableName) -> None:
        self.table = table
        self.state = gr.State(None)  # a Watched
        self._draw_controls()
        self.window = IncidentView()
        self.answers = side_by_side()
        self.reveal = gr.Button("Reveal", variant="primary")
        self.truth = piece()
        self.body = [self.state, *self.window.words, *self.answers, self.truth]
        self.whole = [self.task, self.seed, self.number, self.left, self.right, *self.body]
        self._bind(page)

    def _draw_controls(self) -> None:
        count = len(data.baked_file()["pairs"])
        with controls():
            self.task = task_list()
            self.left = defender_list("Defender A")
            self.right = defender_list("Defender B", 1)
            self.following = gr.Button("Next incident", variant="primary", min_width=150)
        with gr.Accordion("Choose a seed, or a baked incident", open=False), controls():
            self.seed = gr.Textbox(label=f"Seed, 0 to {data.MAX_SEED}", placeholder="any", max_length=12, min_width=150)
            self.this_seed = gr.Button("Show this seed", min_width=150)
            self.number = gr.Dropdown(
                [(f"{number}", number) for number in range(1, count + 1)],
                label=f"One of {count} baked, with stored answers",
                value=None,
                min_width=220,
            )

    def _bind(self, page: gr.Blocks) -> None:
        pair = [self.left, self.right]
        for begun in (
            on(self.following.click, self.on_next, [self.state, self.task, *pair], self.whole),
            on(self.this_seed.click, self.on_seed, [self.state, self.task, self.seed, *pair], self.whole),
            on(self.seed.submit, self.on_seed, [self.state, self.task, self.seed, *pair], self.whole),
            on(self.number.input, self.on_baked, [self.state, self.number, *pair], self.whole),
            on(page.load, self.on_open, None, self.whole),  # type: ignore[arg-type]
            on(self.reveal.click, self.on_reveal, [self.state, *pair], self.body),
        ):
            on(begun.success, self.on_figures, [self.state], self.window.figures)
        for side in pair:
            on(side.input, self.on_defender, [self.state, *pair], self.body)

    # ------------------------------------------------------------ handlers
    def on_next(self, watched: Watched | None, task: Task, a: str, b: str) -> list[Any]:
        """Show a new incident."""
        return self._present(watched, data.generated(task, data.new_seed()), a, b)

    def on_seed(self, watched: Watched | None, task: str, seed: str, a: str, b: str) -> list[Any]:
        """Show the incident of a seed."""
        return self._present(watched, data.from_link({"task": task, "seed": (seed or "").strip()}), a, b)

    def on_baked(self, watched: Watched | None, number: int | None, a: str, b: str) -> list[Any]:
        """Show a baked incident; the event comes also where one passes by the list with the Tab key."""
        if number is None or (watched and watched.case.link.get("baked") == str(number)):
            return skipped(self.whole)
        return self._present(watched, data.baked(number), a, b)

    def on_open(self, request: gr.Request) -> list[Any]:
        """Show the incident that the page's address names, or any."""
        try:
            case = data.from_link(dict(request.query_params))
        except OpenSOCError as error:
            gr.Warning(html.escape(visible(str(error))))
            case = data.from_link({})
        return self._present(None, case, *data.defender_names()[:2])

    def on_defender(self, watched: Watched | None, a: str, b: str) -> list[Any]:
        """Ask other defenders."""
        current = require(watched, NONE)
        return skipped(self.body) if current.names == (a, b) else self._answered(current.case, a, b, current.revealed)

    def on_reveal(self, watched: Watched | None, a: str, b: str) -> list[Any]:
        """Show what the verifier says."""
        return self._answered(require(watched, NONE).case, a, b, True)

    def on_figures(self, watched: Watched | None) -> list[Any]:
        """Draw the figures."""
        return IncidentView.figures_of(watched.case, watched.revealed) if watched else IncidentView.figures_of(None)

    # ------------------------------------------------------------ values
    def _present(self, watched: Watched | None, case: DemoCase, a: str, b: str) -> list[Any]:
        """Return the values of `whole`: the incident with both answers, and controls that agree with it."""
        first, second = pair = data.baked_names() if case.stored else (_known(a, 0), _known(b, 1))
        lists: list[Any] = list(pair)
        # for another list Gradio makes the control anew, in the event loop
        if watched is None or watched.case.stored or case.stored:
            choices = defender_choices() + [(name, name) for name in case.stored]
            lists = [gr.Dropdown(choices=choices, value=name) for name in pair]
        number = int(case.link["baked"]) if "baked" in case.link else None
        return [case.task, case.link.get("seed", ""), number, *lists, *self._answered(case, first, second)]

    def _answered(self, case: DemoCase, a: str, b: str, revealed: bool = False) -> list[Any]:
        """Return the values of `body`."""
        answers = [data.ask(name, case, self.table) for name in (a, b)]
        cards = [styled(views.answer_card(answer, case if revealed else None)) for answer in answers]
        truth = views.ground_truth(case) if revealed else views.hidden()
        words = IncidentView.words_of(case, answers, revealed)
        return [Watched(case, revealed, (a, b)), *words, *cards, styled(truth)]


def _known(name: str, index: int) -> str:
    """Return a defender that can answer here: the named one, else the one at an index of the list."""
    names = data.defender_names()
    return name if name in names else names[index]
