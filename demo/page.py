"""Hold what the tabs of the demo's page share: an incident's pieces, and how events are bound to handlers."""

from __future__ import annotations

import functools
import html
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import gradio as gr
from gradio.components.plot import PlotData

from demo import views
from demo.graph import graph, talk_rows
from demo.timeline import timeline
from schema import OpenSOCError, visible

if TYPE_CHECKING:
    from demo_data import DemoCase, ScoredAnswer

AT_ONCE = 1  # clicks that are worked on at the same time: more would only keep the episodes of /step waiting for the interpreter
TIMELINE, GRAPH, WORLD = "Timeline", "Who talked to whom", "The organisation's records"
P = ParamSpec("P")
T = TypeVar("T")


# ---------------------------------------------------------------- components
def styled(text: str) -> str:
    """Return HTML in the page's own style."""
    return f'<div class="demo-html">{text}</div>'


def piece(*classes: str, **options: Any) -> gr.HTML:
    """Return a component for HTML, empty unless `value` is given."""
    return gr.HTML(elem_classes=["demo-piece", *classes], js_on_load=None, **options)


def side_by_side() -> tuple[gr.HTML, gr.HTML]:
    """Return two pieces beside each other, one above the other on a phone."""
    with gr.Row():
        with gr.Column(min_width=260):
            left = piece()
        with gr.Column(min_width=260):
            right = piece()
    return left, right


def controls() -> gr.Row:
    """Return a row for what the visitor chooses."""
    return gr.Row(elem_classes=["demo-row"])


class Figures:
    """The figures of an incident, folded: a timeline, and who talked to whom with the same as text."""

    def __init__(self) -> None:
        with gr.Accordion(TIMELINE, open=False, elem_classes=["demo-fold"]):
            self.timeline = gr.Plot(label=TIMELINE, show_label=False, elem_classes=["demo-plot"])
        with gr.Accordion(GRAPH, open=False, elem_classes=["demo-fold"]):
            self.graph = gr.Plot(label=GRAPH, show_label=False, elem_classes=["demo-plot"])
            self.talks = piece()

    @property
    def figures(self) -> list[Any]:
        """Return the components that follow when the words are there."""
        return [self.timeline, self.graph, self.talks]

    @staticmethod
    def figures_of(case: DemoCase | None, revealed: bool = False, cited: Sequence[str] = ()) -> list[Any]:
        """Return the values of `figures`, empty without an incident; of its lines the alert's, the cited ones and after the reveal the evidence are shown first."""
        if case is None:
            return [None, None, ""]
        figures = [draw(case, revealed=revealed, cited=cited) for draw in (timeline, graph)]
        plots = [PlotData(type="plotly", plot=json.dumps(figure)).model_dump() for figure in figures]
        return [*plots, styled(views.talks(talk_rows(case, revealed=revealed)))]


class IncidentView(Figures):
    """An incident on the page: its alert, the lines that matter, and the rest folded."""

    def __init__(self) -> None:
        self.alert = piece()
        self.lines = piece()
        super().__init__()

    @property
    def words(self) -> list[Any]:
        """Return the components that change at once."""
        return [self.alert, self.lines]

    @staticmethod
    def words_of(case: DemoCase, answers: list[ScoredAnswer], revealed: bool = False) -> list[str]:
        """Return the values of `words`."""
        lines = views.matter(case, answers, revealed=revealed) + views.folds(case, answers, revealed=revealed)
        return [styled(views.alert_card(case)), styled(lines)]


# ---------------------------------------------------------------- events
def on(event: Callable[..., Any], act: Callable[..., Any], inputs: list[Any], outputs: list[Any], **more: Any) -> Any:
    """Bind a handler to an event, out of the public API and without Gradio's own progress veil."""
    how = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_id": "demo",
        "concurrency_limit": AT_ONCE,
        # Of all our components the table alone needs it; the others' values Gradio hands to a thread each, which gives them back as they were.
        "postprocess": any(isinstance(output, gr.Dataframe) for output in outputs),
    }
    return event(_guarded(act), inputs, outputs, **how, **more)


def in_sight(event: Any, selector: str) -> None:
    """Scroll what an event brought into the page, the first that `selector` finds in the open tab, into sight."""
    find = f"[...document.querySelectorAll('{selector}')].find((one) => one.checkVisibility())"
    event.success(
        None,
        js=f"() => setTimeout(() => {{ const found = {find}; if (found) found.scrollIntoView({{ block: 'nearest' }}); }}, 80)",
        api_visibility="private",
    )


def require(value: T | None, otherwise: str) -> T:
    """Return what a visit holds.

    Raises:
        OpenSOCError: it holds nothing; `otherwise` says so.
    """
    if value is None:
        raise OpenSOCError(otherwise)
    return value


def skipped(outputs: Sequence[Any]) -> list[Any]:
    """Return values that leave all outputs as they are."""
    return [gr.skip()] * len(outputs)


def _guarded(act: Callable[P, Any]) -> Callable[P, Any]:
    """Turn a wrong input into a message on the page; Gradio logs anything else, and tells it without its text."""

    @functools.wraps(act)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return act(*args, **kwargs)
        except OpenSOCError as error:
            raise gr.Error(html.escape(visible(str(error))), duration=8, print_exception=False) from None

    return guarded
