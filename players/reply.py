"""Read the answer in a reply: the first well-formed JSON object that stands outside of reasoning."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from pydantic import ValidationError

from players.base import MAX_REPLY
from players.reasoning import Blocks, marks
from schema import Triage, faults

MAX_TRIES = 200  # opening braces of a reply that are tried


class Parsed(NamedTuple):
    """The answer in a reply. `answer` has action, cited_log_id, rationale and confidence (or None); where it is None, `fault` says why."""

    answer: dict[str, Any] | None
    fault: str


def parse(reply: str | None) -> Parsed:
    """Return the first well-formed answer in a reply: a JSON object as `schema.Triage` describes it. Never raises.

    Prose around it, code fences and an object around it are tolerated. Reasoning (`players.reasoning`) is left out, also where only its end
    is marked. Whether the cited line is in the window is not asked here.
    """
    if not isinstance(reply, str) or not reply.strip():
        return Parsed(None, "expected a reply with one JSON object; got none")
    objects, unreadable = _spoken_objects(reply[:MAX_REPLY])
    malformed = ""
    for value in objects:
        answer, fault = _validated(value)
        if answer is not None:
            return Parsed(answer, "")
        malformed = malformed or fault
    if len(reply) > MAX_REPLY:
        return Parsed(None, f"no answer within the first {MAX_REPLY} characters of the reply")
    return Parsed(
        None, malformed or unreadable or "expected one JSON object with action, cited_log_id and rationale; got none"
    )


def _spoken_objects(text: str) -> tuple[list[dict[str, Any]], str]:
    """Return the objects outside of reasoning that have a key of an answer, and why there may be fewer than meant."""
    objects: list[dict[str, Any]] = []
    fault, blocks, tries, end = "", Blocks(), 0, 0
    for mark in marks(text):
        if mark.start() < end:  # within an object that was read
            continue
        if not mark["brace"]:
            if blocks.pass_mark(mark):
                objects, fault = [], ""
        elif not blocks.outermost and tries < MAX_TRIES:
            tries += 1
            value, after, why = _decoded(text, mark.start())
            fault = fault or why
            if isinstance(value, dict) and not value.keys().isdisjoint(_KEYS):
                objects.append(value)
                end = after
    return objects, f"the reply ends within <{blocks.outermost}>" if blocks.outermost else fault


_KEYS = frozenset(Triage.model_fields)
_DECODER = json.JSONDecoder(strict=False)  # models write real line breaks into their rationales


def _decoded(text: str, at: int) -> tuple[Any, int, str]:
    """Return the JSON value that begins at an index, the index after it, and why there is none."""
    try:
        value, after = _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
            return None, at + 1, "the reply ends within its JSON object"
        return None, at + 1, f"the JSON object of the reply is not valid: {error.msg} at character {error.pos}"
    except RecursionError:
        return None, at + 1, "the JSON object of the reply is nested too deeply"
    except ValueError:  # a whole number of thousands of digits
        return None, at + 1, "the JSON object of the reply holds a number that is too large"
    return value, after, ""


def _validated(value: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Return an object as a triage, or its first faults without the values in it."""
    try:
        return Triage.model_validate(value).model_dump(), ""
    except ValidationError as error:
        return None, f"the answer is malformed: {faults(error, 'answer')}"
