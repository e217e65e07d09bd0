"""Read the parameters of a call to a cloud: JSON, with texts in it that are JSON themselves, and names that are written as values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

MAX_DEPTH = 12  # of a request, texts in texts counted; what lies deeper is not read


@lru_cache(maxsize=4096)
def opened(text: str) -> Any:
    """Parse a request, and the texts in it that are JSON themselves; None where it is no JSON or was cut."""
    return _opened(text, 0)


def _opened(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        return None
    if isinstance(value, str):
        text = unquote(value) if value[:3].upper() in ("%7B", "%5B") else value
        if text.lstrip()[:1] not in ("{", "["):
            return value if depth else None
        try:
            return _opened(json.loads(text), depth + 1)
        except (ValueError, RecursionError):
            return value if depth else None
    if isinstance(value, dict):
        return {key: _opened(part, depth + 1) for key, part in value.items()}
    if isinstance(value, list):
        return [_opened(part, depth + 1) for part in value]
    return value


def objects_in(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every object of an opened request, outer ones first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from objects_in(part)


_PAIRS = (("name", "value"), ("displayname", "newvalue"), ("key", "value"), ("attributename", "attributevalue"))


@lru_cache(maxsize=4096)
def facts_of(text: str) -> Mapping[str, tuple[str, ...]]:
    """Return what a request sets: each name, in lower case, with its values as text. Exchange, Entra and Google write names as values."""
    return facts_in(opened(text))


def facts_in(request: Any) -> dict[str, tuple[str, ...]]:
    """Return what a part of an opened request sets, as `facts_of` does."""
    facts: dict[str, list[str]] = {}
    for part in objects_in(request):
        lowered = {str(key).lower(): value for key, value in part.items()}
        for name, value in lowered.items():
            facts.setdefault(name, []).extend(_texts(value))
        for name, value in _PAIRS:
            if isinstance(lowered.get(name), str) and value in lowered:
                facts.setdefault(lowered[name].lower(), []).extend(_texts(lowered[value]))
    return {name: tuple(values) for name, values in facts.items()}


def _texts(value: Any) -> list[str]:
    """Return the plain values that stand directly under a name."""
    if isinstance(value, dict) and {str(key).lower() for key in value} == {"value"}:
        (value,) = value.values()  # as EC2 wraps what it lets change
    values = value if isinstance(value, list) else [value]
    return [
        ("true" if plain else "false") if isinstance(plain, bool) else str(plain).strip('"')
        for plain in values
        if isinstance(plain, str | int | float)
    ]
