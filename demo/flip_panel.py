"""The panel "Flip it" under a revealed incident: one button changes a fact, another writes hostile text, and verifier and models answer again."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import gradio as gr

import demo_data as data
from demo import flip, views
from demo.page import in_sight, on, piece, require, styled
from demo_data import DemoCase
from rubric import TableName

NONE = "Expected a revealed incident to change, and there is none; reveal one first."
WHO = ("embedded", "keyword")  # the shipped model, and a list of bad words beside it
INTRO = """<section class="flip-intro"><h3>Flip it</h3><p>Facts decide, words do not. Change one fact, and the right answer changes. Write hostile text, and it stays. Does the model follow? The shipped one answers live; earlier stages answered the stored incidents only.</p></section>"""


class Flipping(NamedTuple):
    """A revealed incident, and how many edits of facts and of texts were shown of it."""

    case: DemoCase
    facts: int = 0
    texts: int = 0


class FlipPanel:
    """The panel's components and handlers.

    Args:
        revealed: holds the incident that is revealed; None before.
        table: the reward table that answers are scored by.
    """

    def __init__(self, revealed: gr.State, table: TableName) -> None:
        self.table = table
        self.state = gr.State(None)  # a Flipping
        piece(value=styled(INTRO))
        with gr.Row(elem_classes=["demo-row", "demo-flip"]):
            self.fact = gr.Button("Change one fact", min_width=170)
            self.text = gr.Button("Write hostile text", min_width=170)
        self.result = piece()
        body = [self.state, self.result]
        on(revealed.change, self.on_revealed, [revealed], body)
        for button, act in ((self.fact, self.on_fact), (self.text, self.on_text)):
            in_sight(on(button.click, act, [self.state], body), ".card.flip")

    def on_revealed(self, case: DemoCase | None) -> list[Any]:
        """Begin anew with another incident."""
        return [case and Flipping(case), ""]

    def on_fact(self, flipping: Flipping | None) -> list[Any]:
        """Show the next edit that changes the right answer."""
        current = require(flipping, NONE)
        edits = flip.flips(current.case)
        if not edits:
            return [current, styled(views.unflipped())]
        number = current.facts % len(edits)
        return [current._replace(facts=number + 1), self._shown(edits[number], number + 1, len(edits))]

    def on_text(self, flipping: Flipping | None) -> list[Any]:
        """Show the next hostile text, which changes no right answer."""
        current = require(flipping, NONE)
        edit = flip.hostile(current.case, current.texts)
        return [current._replace(texts=current.texts + 1), self._shown(edit)]

    def _shown(self, edit: flip.Edit, number: int = 1, total: int = 1) -> str:
        names = [name for name in WHO if name in data.defender_names()] or data.defender_names()[:1]
        answers = [partial(data.ask, name, table=self.table) for name in names]
        return styled(views.edited(edit, flip.reactions(edit, answers), number, total))
