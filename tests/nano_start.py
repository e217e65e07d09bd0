"""A checkpoint of a small model that knows the form of an answer a little."""

from functools import partial

import torch

from players.prompt import user_text
from train.data import fresh, training_row
from train.nano import model as nano_model
from train.nano.loop import Loop, Plan
from train.nano.objectives import Supervised

ROWS = partial(training_row, 3, tasks=("stage1_basic",))


def make_start(out, *, vocabulary, steps, batch):
    """Train one for some steps in a directory, and return where it is."""
    torch.set_num_threads(1)
    prompts = (user_text(row["observation"], "compact") for row in fresh(1, number=60))
    tokenizer = nano_model.train_tokenizer(prompts, vocabulary)
    plan = Plan(out, steps=steps, batch=batch, lr=5e-3)
    Loop(plan, lambda: (nano_model.make("nano", tokenizer), tokenizer), about={"method": "sft"}).run(ROWS, Supervised())
    return out / "last"
