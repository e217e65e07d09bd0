"""Lay an incident out as a case file: alert, verdicts and what is right on top, then the lines that matter, then what is folded.

A tab draws its controls between these three parts. What else stands under a revealed incident goes into `after_reveal`:

    with tab.case.after_reveal:
        ...  # components, in sight after the reveal alone
    on(tab.case.revealed.change, act, [tab.case.revealed], [...])  # `revealed` holds the DemoCase, None before the reveal
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from demo import views
from demo.page import Figures, piece, styled
from demo_data import DemoCase, ScoredAnswer


class CaseFile:
    """The components of a case file; `body` are those that change at once, `figures` follow."""

    def __init__(self) -> None:
        self.revealed = gr.State(None)  # the DemoCase after the reveal
        self.head = piece("demo-first")

    def draw_lines(self) -> None:
        """Draw the lines that matter."""
        self.lines = piece()

    def draw_rest(self) -> None:
        """Draw the place for more after the reveal, and the folds."""
        self.after_reveal = gr.Column(elem_classes=["demo-after"])
        self.folds = piece()
        self.drawn = Figures()

    @property
    def body(self) -> list[Any]:
        """Return the components that change at once."""
        return [self.revealed, self.head, self.lines, self.folds]

    @property
    def figures(self) -> list[Any]:
        """Return the components that follow when the words are there."""
        return self.drawn.figures

    @staticmethod
    def body_of(
        case: DemoCase, answers: Sequence[ScoredAnswer], *, revealed: bool = False, live: str = ""
    ) -> list[Any]:
        """Return the values of `body`; `answers` are as `views.case_head` takes them."""
        pieces = (
            views.case_head(case, answers, revealed=revealed, live=live),
            views.matter(case, answers, revealed=revealed),
            views.folds(case, answers, revealed=revealed),
        )
        return [case if revealed else None, *map(styled, pieces)]
