"""The tab "Arena": an attacker plays against a defender, in stored games and live, round by round."""

from __future__ import annotations

from typing import Any

import gradio as gr

import demo_data as data
from demo import games, views
from demo.choices import task_list
from demo.games import Bout
from demo.page import IncidentView, controls, in_sight, on, piece, require, side_by_side, skipped, styled
from demo.results import heat
from players.labels import attacker_in_words
from rubric import TableName
from schema import OpenSOCError, Task

NONE = "Expected a game that is watched, and there is none; press Stored game."
INTRO = """<p>Watch an attacker write incidents that a defender misjudges. In each round the defender first gets the generator's incident, then the
attacker's in the same organisation. The attacker wins where the defender was right before, and is wrong now. A gate refuses what could not have happened.</p>"""


class ArenaTab:
    """The tab's components and handlers; answers are scored by the reward table `table`."""

    def __init__(self, table: TableName) -> None:
        self.table = table
        self.state = gr.State(None)  # a Bout
        piece(value=styled(INTRO))
        self._draw_controls()
        self.score, self.outcome = piece(), piece()
        self.answers = side_by_side()
        with gr.Column(visible=False) as self.incident:
            self.truth = piece()
            self.window = IncidentView()
        self.matrix = piece()
        self.body = [self.state, self.score, self.outcome, *self.answers, self.incident, *self.window.words, self.truth]
        self._bind()

    def _draw_controls(self) -> None:
        attackers = list(dict.fromkeys([*games.stored_attackers(), *games.LIVE]))
        defenders = list(dict.fromkeys([*games.stored_defenders(), *data.defender_names()]))
        with controls():
            self.attacker = gr.Dropdown(
                [(attacker_in_words(name), name) for name in attackers],
                value=attackers[0],
                label="Attacker",
                min_width=290,
            )
            self.defender = gr.Dropdown(
                [(data.described(name), name) for name in defenders],
                value=defenders[0],
                label="Against the defender",
                min_width=290,
            )
            self.task = task_list()
        with controls():
            self.watch = gr.Button("Stored game", variant="primary", min_width=100)
            self.following = gr.Button("Next round", min_width=100)
            self.live = gr.Button("Live round", min_width=100)

    def _bind(self) -> None:
        pair = [self.attacker, self.defender]
        for begun in (
            on(self.watch.click, self.on_watch, pair, self.body),
            on(self.following.click, self.on_next, [self.state], self.body),
            on(self.live.click, self.on_live, [*pair, self.task], self.body),
        ):
            in_sight(begun, ".card.bout")
            on(begun.success, self.on_figures, [self.state], self.window.figures)

    def bind(self, page: gr.Blocks, tabs: gr.Tabs, inner: gr.Tabs) -> None:
        """Show the round that the page's address names, if it names one."""
        shown = on(page.load, self.on_load, None, [tabs, inner, self.attacker, self.defender, *self.body])  # type: ignore[arg-type]
        on(shown.success, self.on_figures, [self.state], self.window.figures)

    # ------------------------------------------------------------ handlers
    def on_load(self, request: gr.Request) -> list[Any]:
        """Show the round of a link."""
        query = dict(request.query_params)
        if "arena" not in query:
            return skipped([None] * (4 + len(self.body)))
        bout = games.linked_round(query, self.table)
        return [
            gr.Tabs(selected="attack"),
            gr.Tabs(selected="models"),
            bout.attacker,
            bout.defender,
            *self._shown(bout),
        ]

    def on_open(self) -> str:
        """Show how all attackers did against all defenders."""
        return styled(heat())

    def on_watch(self, attacker: str, defender: str) -> list[Any]:
        """Show the first round of a stored game."""
        return self._shown(games.stored_round(attacker, defender, 0, self.table))

    def on_next(self, shown: Bout | None) -> list[Any]:
        """Show the next round of the stored game."""
        bout = require(shown, NONE)
        if bout.place is None:
            raise OpenSOCError("Expected a stored game, and this round was live; press Live round for another one.")
        return self._shown(games.stored_round(bout.attacker, bout.defender, bout.place + 1, self.table))

    def on_live(self, attacker: str, defender: str, task: Task) -> list[Any]:
        """Play a round in a new world."""
        return self._shown(games.live_round(attacker, defender, task, data.new_seed(), self.table))

    def on_figures(self, shown: Bout | None) -> list[Any]:
        """Draw the figures."""
        return IncidentView.figures_of(shown.case if shown else None, revealed=True)

    # ------------------------------------------------------------ values
    def _shown(self, bout: Bout) -> list[Any]:
        """Return the values of `body`; a stored game's round stands below the score of its game."""
        names = (bout.attacker, bout.defender)
        score = "" if bout.place is None else views.games(*names, games.verdicts(*names), bout.place)
        cards = [
            _titled(words, views.answer_card(answer, case))
            for words, answer, case in (
                ("Before: the generator's incident", bout.before, bout.before_case),
                ("After: the attacker's incident", bout.after, bout.case),
            )
        ]
        head = [bout, styled(score), styled(views.bout(bout)), *cards, gr.Column(visible=bout.case is not None)]
        if bout.case is None or bout.after is None:
            return [*head, *skipped([*self.window.words, self.truth])]
        words = IncidentView.words_of(bout.case, [bout.after], revealed=True)
        return [*head, *words, styled(views.ground_truth(bout.case))]


def _titled(words: str, card: str) -> str:
    return styled(f"<h3>{words}</h3>{card or '<p>There is none.</p>'}")
