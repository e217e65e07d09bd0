"""The tab "You triage": the visitor answers ten incidents against a defender."""

from __future__ import annotations

from typing import Any

import gradio as gr

import demo_data as data
from demo import views
from demo.page import (
    IncidentView,
    controls,
    defender_list,
    on,
    piece,
    require,
    side_by_side,
    styled,
    task_list,
)
from demo.words import ACTIONS
from demo_data import DemoCase, Game
from rubric import TableName
from schema import LABELS, OpenSOCError, Task

NONE = "This page has no game in play: none was begun, or it was let go after a long pause, when many visitors came. Press New game; nothing else is lost."
Playing = tuple[Game, DemoCase]  # a game, and the incident that is shown of it


class PlayTab:
    """The tab's components and handlers; answers are scored by the reward table `table`."""

    def __init__(self, table: TableName) -> None:
        self.table = table
        self.state = gr.State(None)  # a Playing
        gr.HTML(
            styled(
                f"<p>You are the analyst. Answer {data.ROUNDS} incidents; the model answers the same ones, graded the same way.</p>"
            )
        )
        with controls():
            self.task = task_list()
            self.against = defender_list("Against")
            self.start = gr.Button("New game", variant="primary", min_width=120)
        with gr.Column(visible=False) as self.board:
            self._draw_board()
        self._bind()

    def _draw_board(self) -> None:
        self.score = piece()
        self.window = IncidentView()
        with gr.Row():
            self.action = gr.Radio(
                [(f"{name}: {ACTIONS[name]}", name) for name in LABELS],
                label="What is to be done",
                scale=3,
                min_width=330,
            )
            self.cited = gr.Dropdown([], label="The line that supports it", min_width=220, scale=1)
        with gr.Row():
            self.send = gr.Button("Answer", variant="primary")
            self.following = gr.Button("Next incident", interactive=False)
        self.answers = side_by_side()
        self.truth = piece()

    def _bind(self) -> None:
        controls = [self.action, self.cited, self.send, self.following]
        whole = [self.board, self.state, self.score, *self.window.words, *controls, *self.answers, self.truth]
        for begun in (
            on(self.start.click, self.on_start, [self.task, self.against], whole),
            on(self.following.click, self.on_next, [self.state], whole),
            on(self.send.click, self.on_send, [self.state, self.action, self.cited], whole),
        ):
            on(begun.success, self.on_figures, [self.state], self.window.figures)

    # ------------------------------------------------------------ handlers
    def on_start(self, task: Task, against: str) -> list[Any]:
        """Begin a game."""
        return self._dealt(Game(against, task).dealt())

    def on_next(self, playing: Playing | None) -> list[Any]:
        """Show the next incident."""
        return self._dealt(require(playing, NONE)[0].dealt())

    def on_send(self, playing: Playing | None, action: str | None, cited: str | None) -> list[Any]:
        """Take the visitor's answer, and show both answers and the truth."""
        begun, case = require(playing, NONE)
        if not action:
            raise OpenSOCError("Expected one of the five actions, and none is chosen; choose one.")
        game = begun.answered(action, cited or "", self.table)
        answers = list(game.rounds[-1])
        return [
            gr.skip(),
            (game, case),
            styled(views.score(game)),
            *IncidentView.words_of(case, answers, revealed=True),
            gr.Radio(interactive=False),
            gr.Dropdown(interactive=False),
            gr.Button(interactive=False),
            gr.Button(interactive=not game.over),
            *(styled(views.answer_card(answer, case)) for answer in answers),
            styled(views.ground_truth(case)),
        ]

    def on_figures(self, playing: Playing | None) -> list[Any]:
        """Draw the figures."""
        if playing is None:
            return IncidentView.figures_of(None)
        game, case = playing
        return IncidentView.figures_of(case, revealed=not game.waiting)

    def _dealt(self, game: Game) -> list[Any]:
        """Return the page's values for a game whose next incident waits for an answer."""
        assert game.case is not None
        # a link would end the game, and lead to its answer; so would a seed
        case = game.case._replace(link={}, title=f"{game.case.task}, incident {len(game.rounds) + 1} of {data.ROUNDS}")
        ids = [line["log_id"] for line in case.observation["log_window"]]
        return [
            gr.Column(visible=True),
            (game, case),
            styled(views.score(game)),
            *IncidentView.words_of(case, []),
            gr.Radio(value=None, interactive=True),
            gr.Dropdown(choices=ids, value=case.observation["alert"]["log_id"], interactive=True),
            gr.Button(interactive=True),
            gr.Button(interactive=False),
            "",
            "",
            "",
        ]
