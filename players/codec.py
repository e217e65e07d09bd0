"""Checkpoints of our own small models: how prompts and answers become tokens, and how weights and tokenizer are read back.

`train.nano` makes them; whoever plays one needs no trainer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from players.base import MARK, Row
from players.prompt import answer_text, messages
from players.weights import check_text_version, load_model, text_version
from schema import LABELS, BadRequestError

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# The pieces of an answer that are always the same. The first three cannot occur in a prompt: `players.values` escapes a text that holds '": "'.
PIECES = ('{"rationale": "', '", "cited_log_id": "', '", "action": "', '"}')
CONTEXT = 4096  # tokens
LONGEST = 192  # tokens of an answer; a right one has 20 to 120


class PromptCodec:
    """Encodes prompts and answers with the tokenizer's own chat template; `longest` is the most tokens of an answer."""

    longest: ClassVar[int] = LONGEST

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.end: int = tokenizer.eos_token_id
        self.actions: list[int] = tokenizer.convert_tokens_to_ids(list(LABELS))
        self._before: list[int] = tokenizer.convert_tokens_to_ids(list(PIECES[1:3]))  # the line, and the action

    def chat(self, row: Row) -> list[dict[str, str]]:
        """Return the messages that ask for an answer."""
        return messages(row["observation"], "compact")

    def read(self, row: Row) -> list[int]:
        """Encode a row's prompt up to where the answer begins, however long."""
        text = self.tokenizer.apply_chat_template(self.chat(row), tokenize=False, add_generation_prompt=True)
        tokens: list[int] = self.tokenizer(text).input_ids
        return tokens

    def prompt(self, row: Row) -> list[int]:
        """Encode a row's prompt.

        Raises:
            BadRequestError: it leaves no room for an answer.
        """
        tokens = self.read(row)
        if len(tokens) + self.longest > CONTEXT:
            raise BadRequestError(
                f"expected prompts of at most {CONTEXT - self.longest} tokens; got {len(tokens)} in {row['id']!r}; leave it out"
            )
        return tokens

    def answer(self, row: Row) -> list[int]:
        """Encode the right answer, with its end."""
        return [*self.tokenizer(answer_text(row["observation"], "compact")).input_ids, self.end]

    def lesson(self, row: Row) -> tuple[list[int], list[int]]:
        """Encode a row's prompt and its right answer, to learn from.

        Raises:
            BadRequestError: the prompt leaves no room for an answer.
        """
        return self.prompt(row), self.answer(row)

    def places(self, tokens: Sequence[int]) -> tuple[int, int]:
        """Return where the cited line and the action begin in an answer; its length for a part that is not there."""
        line, action = (tokens.index(piece) + 1 if piece in tokens else len(tokens) for piece in self._before)
        return min(line, action), action

    def text(self, tokens: Sequence[int]) -> str:
        """Decode an answer without its end."""
        return str(self.tokenizer.decode([token for token in tokens if token != self.end]))


def load(path: Path | str) -> tuple[Any, Any]:
    """Load a model and its tokenizer from a checkpoint of `train.nano`.

    Raises:
        BadRequestError: there is none, it cannot be read, or it learned another version of the compact text.
        OpenSOCError: torch or transformers is not installed.
    """
    path = Path(path)
    old = path.with_name(f".{path.name}.old")
    if old.exists() and not path.exists():  # it was cut off between two renames
        old.rename(path)
    if not (path / MARK).is_file():
        raise BadRequestError(
            f"expected a checkpoint of train.nano.methods ({MARK} in it) at {str(path)!r}; found none"
        )
    check_text_version(text_version(path), path)
    return load_model(path, dtype="float32")


def load_for_play(path: Path, device: str) -> tuple[Any, Any]:
    """Load a checkpoint as `load` does, on a device (`auto` leaves it on the CPU) and for one thread: those of several processes would wait for each other."""
    model, tokenizer = load(path)
    import torch

    torch.set_num_threads(1)
    return (model if device == "auto" else model.to(device)), tokenizer
