"""List all rules in the order in which findings are reported, and say which of them look at a line.

A rule that is not listed here does not exist. Which rules look at a line follows from the line alone, from what rules declare
(`verifier.window.Selection`). Whether a rule finds anything is another matter: that needs the lines around it, the accounts, the times, the counts and what
the rule leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from schema import FIELDS_OF
from verifier.calls import CALLS, names_of
from verifier.commands import COMMAND_KINDS, LAUNCHES, triggers_of
from verifier.rules import (
    accounts,
    callbacks,
    cloud_compute,
    cloud_data,
    cloud_defences,
    cloud_identity,
    controls,
    credentials,
    discovery,
    escalation,
    evasion,
    execution,
    identity,
    kubernetes,
    mail,
    movement,
    network,
    persistence,
    programs,
    saas,
    stealth,
    tampering,
    tools,
    unix,
)
from verifier.window import Rule, Window, kinds, lines_of_rows, members, set_of
from world import World

RULES: tuple[Rule, ...] = (
    *execution.RULES,
    *programs.RULES,
    *unix.RULES,
    *identity.RULES,
    *network.RULES,
    *callbacks.RULES,
    *tampering.RULES,
    *controls.RULES,
    *credentials.RULES,
    *evasion.RULES,
    *persistence.RULES,
    *accounts.RULES,
    *escalation.RULES,
    *movement.RULES,
    *discovery.RULES,
    *stealth.RULES,
    *tools.RULES,
    *cloud_defences.RULES,
    *cloud_identity.RULES,
    *cloud_data.RULES,
    *cloud_compute.RULES,
    *kubernetes.RULES,
    *mail.RULES,
    *saas.RULES,
)

# The rules, by their places in `RULES`, that look at a kind of lines: an event's type and its activity.
LOOKED_AT = {
    (event_type, activity): frozenset(index for index, rule in enumerate(RULES) if (fields, activity) in rule.looks_at)
    for event_type, fields in FIELDS_OF.items()
    for _, activity in kinds(fields)
}
FEW_RULES = 4  # what brings in more rules than these names none
_RULE_IDS = tuple(rule.rule_id for rule in RULES)
_WITH_COMMANDS = {
    name for name, fields in FIELDS_OF.items() if any(kind[0] is fields for kind in COMMAND_KINDS | LAUNCHES)
}
_NOWHERE = World.from_context({"now": "2026-01-01T00:00:00Z"})


def _by_trigger(*, calls: bool) -> dict[str, frozenset[int]]:
    """Map what rules name to these: operations of clouds, or else meanings of commands, programs and their parents."""
    indices: dict[str, set[int]] = {}
    for index, rule in enumerate(RULES):
        for selection in rule.on:
            for trigger in selection.triggers if (selection.triggered == CALLS) is calls else ():
                indices.setdefault(trigger, set()).add(index)
    return {trigger: frozenset(rules) for trigger, rules in indices.items()}


BY_OPERATION, _BY_COMMAND = _by_trigger(calls=True), _by_trigger(calls=False)


def rules_at(line: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the rules that look at a line for what it is, in the playbook's order.

    A line is its kind (type and activity), the operation of a call to a cloud, what its command means, the program that starts and the program that starts it.
    Each of these names its rules where it has at most `FEW_RULES`: what half of the rules look at says nothing.

    Args:
        line: a rendered event, a valid one (`event_type` and `fields` are read).
    """
    looks = LOOKED_AT[line["event_type"], line["fields"]["activity"]]
    named = [rules & looks for rules in (looks, *_named_at(line)) if len(rules) <= FEW_RULES]
    return tuple(members(set_of(frozenset[int]().union(*named)), _RULE_IDS))


def _named_at(line: Mapping[str, Any]) -> Iterator[frozenset[int]]:
    """Yield the rules that name what a line tells: the operation, or each meaning, program and parent of its command."""
    fields = line["fields"]
    if line["event_type"] == "cloud_api":
        for name in names_of(fields.get("api_operation"), fields.get("api_service")):
            yield BY_OPERATION.get(name, frozenset())
    elif line["event_type"] in _WITH_COMMANDS:
        for trigger in triggers_of(Window(lines_of_rows([line]), _NOWHERE)):
            yield _BY_COMMAND.get(trigger, frozenset())
