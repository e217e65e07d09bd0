"""Keep the old name of `players.prompt` for a release."""

from players.prompt import answer_text, messages
from players.reply import parse

__all__ = ["answer_text", "messages", "parse"]
