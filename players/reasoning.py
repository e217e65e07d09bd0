"""Tell a reply's reasoning from what it says: blocks in <think>, [THINK], <|channel|>analysis and their like.

Models mark their reasoning in many ways: tags in several brackets (<think>, <seed:think>, <|begin_of_thought|>, [THINK], ◁think▷), with
attributes, in any case, one in another; and channels (<|channel|>analysis ... <|channel|>final), also with their brackets stripped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_NAME = r"(?:think(?:ing)?|thoughts?|reasoning|reflect(?:ion)?|analysis|scratch_?pad|monologue|deliberation|cot)"
_PREFIX = r"(?:[a-z]{1,12}[:_-]){0,3}"  # seed:think, inner_thoughts, chain_of_thought, begin_of_thought
_END = r"(?:/\s*|end_(?:of_)?)"
_ATTRIBUTES = r"(?:\s+[\w:-]{1,40}\s*=[^<>{}]{0,400})?"
_OPENS = (
    rf"<\|?\s*(?!end_){_PREFIX}{_NAME}{_ATTRIBUTES}\s*\|?>",
    rf"[\[◁]\s*(?!end_){_PREFIX}{_NAME}\s*[\]▷]",
    r"<\|channel\|?>(?!\s*final\b)\s*\w*",
    r"<\|inner_prefix\|>",
    r"<unused94>",
)
_CLOSES = (
    rf"<\|?\s*{_END}{_PREFIX}{_NAME}\s*\|?>",
    rf"[\[◁]\s*{_END}{_PREFIX}{_NAME}\s*[\]▷]",
    r"<\|channel\|?>\s*final\b",
    r"<channel\|>",
    r"assistantfinal",
    r"<\|inner_suffix\|>",
    r"<unused95>",
)
_MARK = re.compile(
    rf"(?P<brace>\{{)|(?P<end><\|end\|>)|(?P<open>{'|'.join(_OPENS)})|(?P<close>{'|'.join(_CLOSES)})", re.IGNORECASE
)
_FAMILY = re.compile(rf"{_NAME}|inner|unused", re.IGNORECASE)


class Blocks:
    """The blocks of reasoning that are open at one place of a reply."""

    def __init__(self) -> None:
        self._open: list[str] = []  # families, the outermost first

    @property
    def outermost(self) -> str:
        """Return the family of the outermost open block; empty outside of reasoning."""
        return self._open[0] if self._open else ""

    def pass_mark(self, mark: re.Match[str]) -> bool:
        """Open or close a block; return True for a mark that closes what was never opened: all before it was reasoning."""
        family = _family(mark)
        if mark["open"]:
            self._open += [family] if family not in self._open else []
            return False
        if family in self._open:
            del self._open[self._open.index(family) :]
            return False
        if mark["end"]:  # of any message, the answer's too
            return False
        self._open.clear()
        return True


def marks(text: str) -> Iterator[re.Match[str]]:
    """Yield the opening braces of a text (group `brace`) and the marks of its reasoning, in their order."""
    return _MARK.finditer(text)


def spoken(text: str) -> str:
    """Return a text without its reasoning; also where only its end is marked."""
    parts, blocks, start = list[str](), Blocks(), 0
    for mark in marks(text):
        if mark["brace"]:
            continue
        if not blocks.outermost:
            parts.append(text[start : mark.start()])
        if blocks.pass_mark(mark):
            parts.clear()
        start = mark.end()
    return "".join(parts) + ("" if blocks.outermost else text[start:])


def _family(mark: re.Match[str]) -> str:
    if "channel" in mark[0].lower() or mark["end"]:
        return "channel"
    name = _FAMILY.search(mark[0])
    return name[0].lower() if name else "channel"
