"""Small models in a smaller size than any preset: a checkpoint that knows the form of an answer a little, and commands that make, teach and ask such ones."""

from functools import partial

from players.prompt import user_text
from train.data import fresh, labelled, training_row
from train.nano.presets import PRESETS, Preset

ROWS = partial(training_row, 3, tasks=("stage1_basic",))
SIZE = Preset(64, 2, 2, 160, 1500)
LONGEST = 16  # tokens of an answer


def shrink(patch):
    """Let commands make models of the least size and their tokenizers of few prompts, take small steps, and learn and ask short answers."""
    from players import codec, nano
    from train.nano import methods

    patch.setitem(PRESETS, "nano", SIZE)
    for name, value in (("TOKENIZER_ROWS", 40), ("BATCH", 2), ("GROUPS", 2)):
        patch.setattr(methods, name, value)
    patch.setattr(methods, "labelled", partial(labelled, limit=12))  # of a set; a file of as many stays whole
    for module in (codec, methods, nano):
        patch.setattr(module, "LONGEST", LONGEST)
    patch.setattr(codec.PromptCodec, "longest", LONGEST)


def make_start(out, *, size=SIZE, steps=6, batch=2):
    """Train one for some steps in a directory, and return where it is."""
    import pytest
    import torch

    from train.nano import model
    from train.nano.loop import Loop, Plan
    from train.nano.objectives import Supervised

    torch.set_num_threads(1)
    prompts = (user_text(row["observation"], "compact") for row in fresh(1, number=60))
    tokenizer = model.train_tokenizer(prompts, size.vocabulary)
    plan = Plan(out, steps=steps, batch=batch, lr=5e-3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "nano", size)
        made = model.make("nano", tokenizer)
    Loop(plan, lambda: (made, tokenizer), about={"method": "sft"}).run(ROWS, Supervised())
    return out / "last"


def judge_by_number(row, replies):
    """Give back what is judged: a worker that judges by this needs no torch."""
    return row["id"], list(replies)
