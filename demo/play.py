"""The tab "Play": the visitor answers ten incidents against a defender."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr

import demo_data as data
from demo import views
from demo.casefile import CaseFile
from demo.choices import defender_list, task_list
from demo.flip_panel import FlipPanel
from demo.page import Figures, controls, on, piece, require, skipped, styled
from demo.words import ACTION_NAMES, ACTION_SIGNS
from demo_data import DemoCase, Game
from rubric import TableName
from schema import LABELS, TASKS, BadRequestError, OpenSOCError, Task

NONE = "This page has no game in play: it was let go after a long pause, when many visitors came. Press New game; nothing else is lost."
ANSWER, NEXT, AGAIN = "Answer", "Next incident", "Play again"


class Playing(NamedTuple):
    """A game, the incident that is shown of it, and the most right answers of a game that this visitor ended."""

    game: Game
    case: DemoCase
    best: int | None = None


class PlayTab:
    """The tab's components and handlers; answers are scored by the reward table `table`."""

    def __init__(self, table: TableName) -> None:
        self.table = table
        self.state = gr.State(None)  # a Playing
        self.score = piece(
            "demo-first",
            value=styled(
                f"<p>You are the analyst: answer {data.ROUNDS} incidents. The model answers the same ones.</p>"
            ),
        )
        self.case = CaseFile()
        self.case.draw_lines()
        with gr.Column(elem_classes=["demo-ask"]):
            with gr.Row(elem_classes=["demo-asked"]):
                self.action = gr.Radio(
                    [(f"{ACTION_SIGNS[name]} {ACTION_NAMES[name]}", name) for name in LABELS],
                    label="What do you do?",
                    elem_classes=["demo-chips"],
                    scale=4,
                    min_width=330,
                )
                self.cited = gr.Dropdown([], label="Which line shows it?", min_width=200, scale=1)
            with gr.Row(elem_classes=["demo-bar"]):
                self.go = gr.Button(ANSWER, variant="primary", min_width=120)
        self.case.draw_rest()
        with self.case.after_reveal:
            FlipPanel(self.case.revealed, table)
        with gr.Accordion("New game", open=False, elem_classes=["demo-fold"]), controls():
            self.task = task_list()
            self.against = defender_list("Against")
            self.start = gr.Button("New game", min_width=120)
        self.whole = [self.state, self.score, self.action, self.cited, self.go, *self.case.body]
        self._bind()

    def _bind(self) -> None:
        for begun in (
            on(self.start.click, self.on_start, [self.state, self.task, self.against], self.whole),
            on(self.task.input, self.on_other, [self.state, self.task, self.against], self.whole),
            on(self.against.input, self.on_other, [self.state, self.task, self.against], self.whole),
            on(
                self.go.click,
                self.on_send,
                [self.state, self.action, self.cited, self.task, self.against],
                self.whole,
            ),
        ):
            on(begun.success, self.on_figures, [self.state], self.case.figures)

    def bind(self, page: gr.Blocks, tab: gr.Tab, tabs: gr.Tabs) -> None:
        """Begin a game when the tab is opened for the first time, or by the page's address."""
        opened = on(tab.select, self.on_open, [self.state, self.task, self.against], self.whole)
        on(opened.success, self.on_figures, [self.state], self.case.figures)
        on(page.load, self.on_load, None, [tabs, *self.whole])  # type: ignore[arg-type]

    # ------------------------------------------------------------ handlers
    def on_open(self, playing: Playing | None, task: Task, against: str) -> list[Any]:
        """Begin a game where none is in play."""
        return skipped(self.whole) if playing else self.on_start(playing, task, against)

    def on_start(self, playing: Playing | None, task: Task, against: str) -> list[Any]:
        """Begin a game."""
        return self._dealt(Game(against, task, seed=data.new_seed()), playing and playing.best)

    def on_other(self, playing: Playing | None, task: Task, against: str) -> list[Any]:
        """Begin a game of another task or against another defender; the event comes also where one passes by a list with the Tab key."""
        if playing and (playing.game.task, playing.game.against) == (task, against):
            return skipped(self.whole)
        return self.on_start(playing, task, against)

    def on_load(self, request: gr.Request) -> list[Any]:
        """Begin the game that the page's address names, if it names one."""
        query = dict(request.query_params)
        if "game" not in query:
            return [gr.skip(), *skipped(self.whole)]
        return [gr.Tabs(selected="play"), *self._dealt(game_of(query), None)]

    def on_send(
        self, playing: Playing | None, action: str | None, cited: str | None, task: Task, against: str
    ) -> list[Any]:
        """Take the visitor's answer, show the next incident, or begin another game, whichever comes next."""
        current = require(playing, NONE)
        if current.game.waiting:
            return self._sent(current, action, cited)
        if current.game.over:
            return self.on_start(playing, task, against)
        return self._dealt(current.game, current.best)

    def on_figures(self, playing: Playing | None) -> list[Any]:
        """Draw the figures."""
        if playing is None:
            return Figures.figures_of(None)
        answers = [] if playing.game.waiting else list(playing.game.rounds[-1][:2])
        cited = [answer.triage["cited_log_id"] for answer in answers if answer.triage]
        return Figures.figures_of(playing.case, revealed=not playing.game.waiting, cited=cited)

    # ------------------------------------------------------------ values
    def _sent(self, playing: Playing, action: str | None, cited: str | None) -> list[Any]:
        """Return the values of `whole` after an answer: both answers, the truth, and the recap of a game that it ends."""
        if not action:
            raise OpenSOCError("Choose one of the five actions first, then press Answer.")
        game, case, best = playing.game.answered(action, cited or "", self.table), playing.case, playing.best
        if game.over:
            best = max(best or 0, game.totals()["you"][0])
        score = views.recap(game, best or 0) if game.over else views.score(game, best)
        return [
            Playing(game, case, best),
            styled(score),
            gr.Radio(interactive=False),
            gr.Dropdown(interactive=False),
            AGAIN if game.over else NEXT,
            *CaseFile.body_of(case, list(game.rounds[-1][:2]), revealed=True),
        ]

    def _dealt(self, begun: Game, best: int | None) -> list[Any]:
        """Return the values of `whole` for a game whose next incident waits for an answer."""
        game = begun.dealt()
        assert game.case is not None
        # a link would end the game, and lead to its answer; so would a seed
        title = f"Incident {len(game.rounds) + 1} of {data.ROUNDS} · {data.TASK_WORDS[game.task]}"
        case = game.case._replace(link={}, title=title)
        ids = [line["log_id"] for line in case.observation["log_window"]]
        return [
            Playing(game, case, best),
            styled(views.score(game, best)),
            gr.Radio(value=None, interactive=True),
            gr.Dropdown(choices=ids, value=case.observation["alert"]["log_id"], interactive=True),
            ANSWER,
            *CaseFile.body_of(case, []),
        ]


def game_of(query: dict[str, str]) -> Game:
    """Return the game of a link.

    Raises:
        BadRequestError: no such task, or a seed that is none.
    """
    task = query.get("play", "")
    if task not in TASKS or not data.is_seed(query.get("game", "")):
        raise BadRequestError(
            f"Expected a link to a game, play=TASK and game=SEED up to {data.MAX_SEED}, and got another; begin a game of your own."
        )
    return Game(data.defender_names()[0], task, seed=int(query["game"]))
