"""The tab "Your log": a visitor's own export, judged by the verifier and triaged by a model."""

from __future__ import annotations

from typing import Any

import gradio as gr

import demo_data as data
from demo import recorded, views
from demo.choices import defender_list
from demo.page import WORLD, controls, in_sight, on, piece, side_by_side, styled
from rubric import TableName
from schema import OpenSOCError
from telemetry.declaring import EXAMPLE

INTRO = """<p>What do the verifier and a model make of <b>your</b> log? Paste an export or take a sample: Windows events, Sysmon, Defender, Entra, Microsoft 365, CloudTrail, Okta,
Kubernetes, Zeek, Suricata, auditd, syslog. The verifier reads at most 40 events of it, chosen by a rule that knows no answer.</p>"""
MOST_WORLD = 40_000  # characters


class LogTab:
    """The tab's components and handlers; answers are scored by the reward table `table`."""

    def __init__(self, table: TableName) -> None:
        self.table = table
        piece(value=styled(INTRO))
        with controls():
            self.samples = [gr.Button(label, min_width=150, size="sm") for label in recorded.SAMPLE_NAMES]
        self.text = gr.Textbox(
            label="The log",
            lines=8,
            max_lines=14,
            max_length=recorded.MAX_LOG + 1,
            elem_classes=["demo-json", "demo-log"],
            placeholder="Paste lines, JSON, XML or CSV",
        )
        piece(value=styled(views.log_file(recorded.MAX_LOG)))
        with gr.Accordion("Declare your organisation", open=False, elem_classes=["demo-fold"]):
            self.world = gr.Textbox(
                label="Your organisation, as YAML",
                lines=8,
                max_lines=20,
                max_length=MOST_WORLD,
                elem_classes=["demo-json"],
            )
            self.example = gr.Button("Insert an example", min_width=150)
        with controls():
            self.defender = defender_list("Model beside the verifier")
            self.judge = gr.Button("Judge this log", variant="primary", min_width=150)
        self._draw_outcome()
        self._bind()

    def _draw_outcome(self) -> None:
        self.read = piece()
        self.verdict, self.answer = side_by_side()
        with gr.Tabs(visible=False) as self.window:
            with gr.Tab("Lines judged"):
                self.lines = piece()
            with gr.Tab(WORLD):
                self.around = piece()
        self.outcome = [self.read, self.verdict, self.answer, self.window, self.lines, self.around]

    def _bind(self) -> None:
        asked = [self.text, self.world, self.defender]
        for label, button in zip(recorded.SAMPLE_NAMES, self.samples, strict=True):
            taken = on(button.click, lambda label=label: recorded.sample(label), None, [self.text])  # type: ignore[arg-type]
            self._in_sight(on(taken.success, self.on_judge, asked, self.outcome))
        self._in_sight(on(self.judge.click, self.on_judge, asked, self.outcome))
        on(self.example.click, lambda: EXAMPLE, None, [self.world])  # type: ignore[arg-type]

    def _in_sight(self, judged: Any) -> None:
        for selector in (".card.read, .card.refused", ".card.truth"):  # there is no truth where nothing could be read
            in_sight(judged, selector)

    def on_judge(self, text: str, declaration: str, name: str) -> list[Any]:
        """Judge the log, and ask the model about the same window; what cannot be judged takes the place of an earlier outcome."""
        try:
            log = recorded.judged_log(text or "", declaration or "")
        except OpenSOCError as error:
            return self._without_decision(views.note(str(error)))
        read = views.judged(log)
        if log.case is None:
            return self._without_decision(read)
        answer = data.ask(name, log.case, self.table)
        parts = (
            views.ground_truth(log.case, recorded=True),
            views.triage_card(answer),
            views.log_table(log.case, [answer], revealed=True),
            views.world_tables(log.case.observation["context"]),
        )
        verdict, card, lines, around = map(styled, parts)
        return [styled(read), verdict, card, gr.Tabs(visible=True), lines, around]

    @staticmethod
    def _without_decision(why: str) -> list[Any]:
        """Return the values of `outcome` where there is nothing but the reason why."""
        return [styled(why), "", "", gr.Tabs(visible=False), "", ""]
