"""The spaces that the Gymnasium and the PettingZoo environment share: text to read; a menu, or text, to answer with."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from env import Observation
from players.base import Density
from players.prompt import messages
from players.reply import parse
from runs.extras import missing
from schema import LABELS, MAX_EVENTS, BadRequestError

try:
    import numpy as np
    from gymnasium import spaces
except ModuleNotFoundError as error:
    raise missing(error, "gym", "pettingzoo") from error

Answers = Literal["menu", "text"]
CHARSET = string.ascii_letters + string.digits + string.punctuation + " \n"
MAX_READ = 2**18  # characters; an observation has up to 64,000, and a crafted incident may add what MAX_WRITTEN allows
MAX_WRITTEN = 2**16  # characters of a reply or of an incident as JSON


def reading() -> spaces.Text:
    """Return the space of what a player reads: printable ASCII and line ends, `MAX_READ` characters at most, empty if there is nothing yet."""
    return spaces.Text(MAX_READ, min_length=0, charset=CHARSET)


def writing() -> spaces.Text:
    """Return the space of replies as text, of which samples are drawn; any other text is taken too."""
    return spaces.Text(MAX_WRITTEN, min_length=0, charset=CHARSET)


def triage_menu() -> spaces.Dict:
    """Return the space of answers by numbers: `action` indexes `schema.LABELS`, `cite` the lines of the window from the first."""
    return spaces.Dict({"action": spaces.Discrete(len(LABELS)), "cite": spaces.Discrete(MAX_EVENTS)})


def checked_answers(answers: str) -> None:
    """Raise BadRequestError unless `answers` is one of the two forms."""
    if answers not in get_args(Answers):
        raise BadRequestError(f"answers must be one of {', '.join(get_args(Answers))}; got {answers!r}")


def checked(action: object, space: spaces.Space[Any]) -> Any:
    """Return an action of a menu as numbers.

    Raises:
        BadRequestError: it is not in its space; what can be sampled is played and scored, right or wrong.
    """
    if not space.contains(action):
        raise BadRequestError(f"expected an action in {space}; got {action!r:.200}")
    return action


def triage(action: Any, answers: Answers, log_ids: Sequence[str]) -> dict[str, Any] | None:
    """Return the content of `submit_triage`; None or a content that is malformed is scored as such.

    Args:
        action: a choice of `triage_menu()`, or the reply's text; anything but text counts as no reply.
        answers: which of the two.
        log_ids: the window's lines, in order; a `cite` beyond them cites nothing, which is malformed.
    """
    if answers == "text":
        return parse(action).answer
    cite = int(action["cite"])
    cited = log_ids[cite] if cite < len(log_ids) else ""
    return {"action": LABELS[int(action["action"])], "cited_log_id": cited, "rationale": "chosen from the menu"}


def shown(text: str) -> str:
    """Return a text in `reading()`: what is not printable ASCII is written as an escape, such as `\\u00e9`."""
    return "".join(letter if letter in _SHOWN else letter.encode("unicode_escape").decode() for letter in text)


_SHOWN = frozenset(CHARSET)


def defender_text(observation: Observation, density: Density) -> tuple[str, dict[str, Any]]:
    """Return what a defender reads, and the info beside it: the chat messages, the window's log ids and a mask for `triage_menu()`."""
    chat = messages(observation.model_dump(), density=density)
    log_ids = [line["log_id"] for line in observation.log_window]
    lines: np.ndarray = np.zeros(MAX_EVENTS, dtype=np.int8)
    lines[: len(log_ids)] = 1
    info: dict[str, Any] = {"messages": chat, "log_ids": log_ids}
    info["action_mask"] = {"action": np.ones(len(LABELS), dtype=np.int8), "cite": lines}
    return shown("\n\n".join(message["content"] for message in chat)), info


def closing_text(observation: Observation) -> str:
    """Return what a player reads when the episode is done: how the answer was taken, and why it was right or wrong."""
    truth: Mapping[str, Any] | None = observation.grade["ground_truth"] if observation.grade else None
    return shown(f"{observation.feedback} {truth['action']}: {truth['explanation']}" if truth else observation.feedback)


def attacker_text(observation: Observation) -> str:
    """Return what an attacker reads: the instructions, then the world as JSON."""
    return shown(f"{observation.instructions}\n\nThe world:\n{json.dumps(observation.context)}")
