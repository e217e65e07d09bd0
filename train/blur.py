"""Blur an incident's prompt for training: words of the lines at which rules look are replaced by words that mean nothing.

Who has seen a thousand lines of one kind knows its rule by heart and never reads `rules=`, which names it; on a line of another kind that same reader finds nothing.
Where the words say nothing, what the playbook says of the line is all there is (word dropout: Iyyer et al. 2015, Deep Unordered Composition). Names,
numbers, notes of the prompt (`names=`, `is=`, `rules=`, `during=`, `near=`) and every word that the right answer needs stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

MIN_SHARE = 0.3  # of the words of a blurred prompt, to all
_WORD = re.compile(r"(?<![@\w])[A-Za-z]{3,}(?![\w]*=)")
_NOTE = re.compile(r" (?:names|is)=\S+")
_CONSONANTS, _VOWELS = "bdfghklmnprstvz", "aeiou"


def blurred(prompt: str, answer: str, rng: Random) -> str:
    """Return a compact prompt (`players.compact`) with words of its lines replaced, the same word by the same wherever it stands in them.

    Args:
        prompt: the user message.
        answer: the right one, whose words stay.
        rng: draws which share of the words goes, which words, and what stands in their place.
    """
    kept = {word.lower() for word in re.findall(r"[A-Za-z]+", answer)}
    share = rng.uniform(MIN_SHARE, 1)
    other: dict[str, str] = {}

    def replaced(match: re.Match[str]) -> str:
        word = match[0]
        if word not in other:
            other[word] = word if word.lower() in kept or rng.random() > share else _nonsense(len(word), rng)
        return other[word]

    return "\n".join(_line(line, replaced) if " rules=" in line else line for line in prompt.split("\n"))


def _line(line: str, replaced: Callable[[re.Match[str]], str]) -> str:
    words, _, rest = line.rpartition(" rules=")
    gap, kind, *fields = words.split(" ", 2)
    event_type, _, activity = kind.partition(".")
    kind = f"{event_type}.{_WORD.sub(replaced, activity)}"
    text, at, parts = fields[0] if fields else "", 0, []
    for note in _NOTE.finditer(text):
        parts += [_WORD.sub(replaced, text[at : note.start()]), note[0]]
        at = note.end()
    parts.append(_WORD.sub(replaced, text[at:]))
    return f"{' '.join((gap, kind, *([''.join(parts)] if fields else [])))} rules={rest}"


def _nonsense(length: int, rng: Random) -> str:
    """Return a word of so many letters, or one more, that means nothing."""
    return "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(-(-min(length, 12) // 2)))
