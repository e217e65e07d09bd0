"""Make the lists from which a visitor chooses: a task, and a defender that can answer here."""

from __future__ import annotations

import gradio as gr

import demo_data as data
from schema import TASKS

TASK_NAMES = [(words.capitalize(), task) for task, words in data.TASK_WORDS.items()]


def task_list() -> gr.Dropdown:
    """Return the list of tasks."""
    return gr.Dropdown(TASK_NAMES, value=TASKS[0], label="Task", min_width=220)


def defender_list(label: str, index: int = 0) -> gr.Dropdown:
    """Return the list of defenders that can answer here, the one at `index` chosen."""
    return gr.Dropdown(defender_choices(), value=data.defender_names()[index], label=label, min_width=290)


def defender_choices() -> list[tuple[str, str]]:
    """Return the defenders' labels and names, as a list takes them."""
    return [(data.described(name), name) for name in data.defender_names()]
