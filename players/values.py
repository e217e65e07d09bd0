"""Write the values of a prompt so that no text that somebody wrote can pass for a part, a line or a special token."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from json.encoder import encode_basestring_ascii

from schema import UNNAMED_PROGRAM_WORK

REMEMBERED = 20_000  # rendered values that are kept at a time
_PLAIN = re.compile(r"(?!-$|[@`])[!#-+\--;>-~]+")  # printable ASCII without space " , < =, not "-" alone, no short name
_WORD = re.compile(r'(?!-$|[@`"])[!-;=-~]+')  # printable ASCII without space and <
_RAW = re.compile(r"[ -;=-_a-~]+")  # printable ASCII without ` and <
QUOTED = r'"(?:[^"\\]|\\.)*"'  # the pattern of a JSON string
_ITEM = re.compile(rf'{QUOTED}|[^,"]+')
SHORT_NAME = re.compile(r"@[a-z]+\d+")
TICKET = "ticket "  # stands before a ticket's id among the names, which a host or an account may have too
_WORK_NAMES = {work: work.replace(" ", "-") for work in UNNAMED_PROGRAM_WORK}
_WORK_BY_NAME = {name: work for work, name in _WORK_NAMES.items()}
_PIECE = '": "'  # stands between the parts of an answer


def quoted(text: str) -> str:
    """Return a text as a JSON string of printable ASCII without `<`."""
    return encode_basestring_ascii(text).replace("<", "\\u003c")


@lru_cache(maxsize=REMEMBERED)
def plain(value: str | int) -> str:
    """Return a value as it is if it is a plain word, else as a JSON string. Most come again, and a look-up takes a tenth of the time."""
    return str(value) if not isinstance(value, str) or _PLAIN.fullmatch(value) else quoted(value)


def listed(values: Iterable[str]) -> str:
    """Return values as a list between commas, `-` for none."""
    return ",".join(map(plain, values)) or "-"


def raw(text: str) -> str:
    """Return a text between backticks as it is, or as a JSON string if it holds what could be taken for something else."""
    return f"`{text}`" if _RAW.fullmatch(text) and _PIECE not in text else quoted(text)


@lru_cache(maxsize=REMEMBERED)
def short(value: str | int) -> str:
    """Return a value as it is if it holds no space, else between backticks: commands and paths keep their quotes and backslashes."""
    return str(value) if not isinstance(value, str) or _WORD.fullmatch(value) else raw(value)


def read(text: str) -> str:
    """Return the value that `plain`, `raw` or `short` wrote; what is no whole JSON string is taken as it stands."""
    if text[:1] == text[-1:] == "`" != text:
        return text[1:-1]
    if text[:1] != '"':
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text


def read_list(text: str) -> tuple[str, ...]:
    """Return the values of a list that `plain` wrote between commas."""
    return tuple(map(read, _ITEM.findall(text)))


def work_name(tool: str) -> str:
    """Write a program, or work that is no program, as one word where it can be."""
    return _WORK_NAMES.get(tool) or (raw(tool) if tool in _WORK_BY_NAME else short(tool))


def read_work(text: str) -> str:
    """Return the program or work that `work_name` wrote."""
    return _WORK_BY_NAME.get(text) or read(text)
