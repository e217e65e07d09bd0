"""Look a line up in the playbook: which rules look at it, and what the glossary calls its programs and paths.

Both follow from the line alone, from what rules declare (`verifier.window.Selection`). Whether a rule finds anything is another matter: that needs the
lines around it, the accounts, the times, the counts and what the rule leaves out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from schema import FIELDS_OF
from verifier.calls import names_of
from verifier.commands import COMMAND_KINDS, LAUNCHES, triggers_of
from verifier.rules import RULES
from verifier.rules.kit import ELEVATED, MANAGERS, SERVER_PROGRAMS, is_loose
from verifier.window import SHELLS, Window, basename, is_user_writable, kinds, lines_of_rows, members, set_of
from world import World

FEW_RULES = 4  # what brings in more rules than these names none
LOOKED_AT = {
    (event_type, activity): frozenset(index for index, rule in enumerate(RULES) if (fields, activity) in rule.looks_at)
    for event_type, fields in FIELDS_OF.items()
    for _, activity in kinds(fields)
}
_RULE_IDS = tuple(rule.rule_id for rule in RULES)
_WITH_COMMANDS = {
    name for name, fields in FIELDS_OF.items() if any(kind[0] is fields for kind in COMMAND_KINDS | LAUNCHES)
}
_NOWHERE = World.from_context({"now": "2026-01-01T00:00:00Z"})


def _by_trigger() -> dict[str, frozenset[int]]:
    """Map operations of clouds, meanings of commands, programs and their parents to the rules that name them."""
    indices: dict[str, set[int]] = {}
    for index, rule in enumerate(RULES):
        for trigger in rule.triggers:
            indices.setdefault(trigger, set()).add(index)
    return {trigger: frozenset(rules) for trigger, rules in indices.items()}


_BY_TRIGGER = _by_trigger()


def rules_at(line: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the rules that look at a line for what it is, in the playbook's order.

    A line is its kind (type and activity), the operation of a call to a cloud, what its command means, the program that starts and the program that starts it.
    Each of these names its rules where it has at most `FEW_RULES`: what half of the rules look at says nothing.

    Args:
        line: a rendered event, a valid one (`event_type` and `fields` are read).
    """
    fields = line["fields"]
    looks = LOOKED_AT[line["event_type"], fields["activity"]]
    rules = looks if len(looks) <= FEW_RULES else frozenset[int]()
    for trigger in _triggers(line):
        named = _BY_TRIGGER.get(trigger, frozenset())
        if len(named) <= FEW_RULES:
            rules |= named & looks
    return tuple(members(set_of(rules), _RULE_IDS))


def _triggers(line: Mapping[str, Any]) -> Iterable[str]:
    fields = line["fields"]
    if line["event_type"] == "cloud_api":
        return names_of(fields.get("api_operation"), fields.get("api_service"))
    return triggers_of(Window(lines_of_rows([line]), _NOWHERE)) if line["event_type"] in _WITH_COMMANDS else ()


@lru_cache(maxsize=16_384)
def terms_for(field: str, value: str) -> tuple[str, ...]:
    """Name what the playbook's glossary calls a value: `writable` by users, and a program `loose`, `shell`, `server`, `manager` or `elevated`.

    Args:
        field: its name; that of a program ends in `path`, and so does that of another file.
        value: a path, a command or another text.
    """
    writable = ("writable",) if is_user_writable(value) else ()
    if not field.endswith("path") or field == "reg_key_path":
        return writable
    program = basename(value)
    called = [term for term, programs in _PROGRAMS.items() if program in programs]
    return (*writable, *(("loose",) if is_loose(value) else ()), *called)


_PROGRAMS = {"shell": SHELLS, "server": SERVER_PROGRAMS, "manager": MANAGERS, "elevated": ELEVATED}
