"""Decide by the ladder from unexplained findings to one of five actions (step 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, floor, isnan
from typing import Any

from schema import CLOUD_WORK, FIELDS_OF, SENSOR_OF, Fields, Incident, epoch_s, iso_time
from verifier.calls import calls_by_operation
from verifier.commands import triggers_of
from verifier.context import CORROBORATION_S, MIN_OUTAGE_S, SEVERAL_HOSTS, explanation
from verifier.rules import RULES
from verifier.truth import BEAR_OUT, LADDER, GroundTruth, Rung
from verifier.window import Finding, Kind, Limits, Line, Rule, Window, lines_of_events, lines_of_rows, members, set_of
from world import EMPTY_WORLD, World


def compute_ground_truth(incident: Incident, world: World = EMPTY_WORLD) -> GroundTruth:
    """Compute the right action for an incident, with its evidence: a pure function of events and world.

    Reads neither `target_label`, `category` nor `narrative`. Three steps: findings by rule, context, decision. Without
    a world nothing is known but the private networks, and nothing is explained.
    """
    window = Window(lines_of_events(incident.events), world)
    return decide(window, find(window))


def judge_rows(rows: Iterable[Mapping[str, Any]], world: World) -> GroundTruth:
    """Compute what `compute_ground_truth` does of an incident's events as rendered rows, without building the incident.

    Args:
        rows: valid rows of `event_type`, `fields` (those that are set), `timestamp` and `log_id`; nothing is checked.
        world: around them.
    """
    window = Window(lines_of_rows(rows), world)
    return decide(window, find(window))


def judge_observation(observation: Mapping[str, Any]) -> GroundTruth:
    """Compute the ground truth from a defender's rendered observation alone; it equals the environment's own.

    Args:
        observation: what `reset` shows the defender, as plain data: `log_window`, `context` and `alert` are read.
    """
    incident = Incident.model_validate(
        {"target_label": "dismiss", "category": "benign_activity", "events": observation["log_window"]}
    )
    return compute_ground_truth(
        incident, World.from_context(observation["context"], alerted=observation["alert"]["log_id"])
    )


def find(window: Window) -> tuple[Finding, ...]:
    """Find all findings, each with what explains it (steps 1 and 2)."""
    return tuple(
        [
            rule.signed(claim, explanation(claim, window, probing=rule.probing))
            for rule in candidate_rules(window)
            for claim in rule.claims(window)
        ]
    )


def declaration_for(finding: Finding) -> str:
    """Say what a person would have to declare for a finding to be explained; nothing where no declaration can.

    Returns:
        a clause such as `a ticket of powershell.exe by ana on WKS-01 from 2026-03-02T09:00:00Z to 2026-03-02T09:05:00Z`, and for an
        installed program or a finding by which a scanner's probing shows `, or ...`.
    """
    ways = []
    if finding.tool and (finding.hosts or finding.tool == CLOUD_WORK) and finding.accounts and not isnan(finding.first):
        place = f" on {', '.join(finding.hosts)}" if finding.hosts else ""
        ways.append(
            f"a ticket of {finding.tool} by {', '.join(finding.accounts)}{place} "
            f"from {iso_time(floor(finding.first))} to {iso_time(ceil(finding.last))}"
        )
    if "." in finding.tool and finding.tool_trusted and finding.accounts:
        ways.append(f"the tool {finding.tool} of the department of {', '.join(finding.accounts)}")
    if finding.rule_id in _PROBING and finding.remote and finding.hosts:
        ways.append(f"the scanner {finding.remote} of {', '.join(finding.hosts)}")
    return ", or ".join(ways)


def candidate_rules(window: Window) -> list[Rule]:
    """List the rules that may find something in a window, in their order: those that its kinds of lines or its commands bring in."""
    rules, counts = 0, [0] * len(_SEVERAL)
    for kind, lines in window.by_kind.items():
        rules |= _BY_KIND.get(kind, 0)
        for place in _BY_KINDS.get(kind, ()):
            counts[place] += len(lines)
    slack = min(0, window.limits.count)  # the rules themselves compare; here nothing must be missed
    for count, (least, rule) in zip(counts, _SEVERAL, strict=True):
        if count and count >= least + slack:
            rules |= rule
    for triggers in (window.view(triggers_of), window.view(calls_by_operation)):
        for trigger in triggers:
            rules |= _BY_TRIGGER.get(trigger, 0)
    return list(members(rules, RULES))


_PROBING = frozenset(rule.rule_id for rule in RULES if rule.probing)
# Rules that need several lines of their kinds: how many, and the set of the rule alone (`verifier.window.set_of`).
_SEVERAL = [(rule.at_least, set_of([index])) for index, rule in enumerate(RULES) if rule.at_least > 1]
# The sets of rules that one line of a kind or a trigger brings in; by kind, the places in `_SEVERAL` of the rules that count it.
_BY_KIND: dict[Kind, int] = {}
_BY_KINDS: dict[Kind, list[int]] = {}
_BY_TRIGGER: dict[str, int] = {}
for _index, _rule in enumerate(RULES):
    for _kind in _rule.kinds:
        if _rule.at_least > 1:
            _BY_KINDS.setdefault(_kind, []).append(_SEVERAL.index((_rule.at_least, set_of([_index]))))
        else:
            _BY_KIND[_kind] = _BY_KIND.get(_kind, 0) | set_of([_index])
    for _trigger in _rule.triggers:
        _BY_TRIGGER[_trigger] = _BY_TRIGGER.get(_trigger, 0) | set_of([_index])


def decide(window: Window, findings: tuple[Finding, ...]) -> GroundTruth:
    """Decide from the gravest rung of the ladder down (step 3)."""
    live = [finding for finding in findings if not finding.explained_by]
    confirmed = [finding for finding in live if finding.strength == "confirmed"]
    together: list[Finding] = []
    outage = ""
    rung: Rung
    basis: list[Finding]
    if confirmed:
        rung, basis = _respond(confirmed, window)
    elif together := _corroborated(live, window.limits):
        rung, basis = _respond(together, window)
    elif live:
        rung, basis = "suspicious", live
    elif outage := _missing_telemetry(window):
        rung, basis = "silent", []
    else:
        rung, basis = "explained" if findings else "nothing", list(findings)
    action, why = LADDER[rung]
    evidence = {log_id for finding in basis for log_id in finding.evidence}
    if not live:
        evidence.add(_alerted_line(window).log_id)
    return GroundTruth(
        action=action,
        findings=findings,
        evidence_log_ids=tuple(line.log_id for line in window.lines if line.log_id in evidence),
        techniques=tuple(dict.fromkeys(finding.technique for finding in basis)),
        rule_ids=tuple(dict.fromkeys(finding.rule_id for finding in basis)),
        why=outage or (BEAR_OUT if together else "") + why,
        rung=rung,
        together=bool(together),
    )


def _corroborated(live: list[Finding], limits: Limits) -> list[Finding]:
    """Return the suspicious findings that bear each other out: of different techniques, on different lines, on one host (by one
    account where no host is known) within an hour."""
    span, together = limits.within(CORROBORATION_S), []
    for finding in live:
        for other in live:
            if (
                finding.technique != other.technique
                and _place(finding) == _place(other) != ""
                and -span <= finding.last - other.first
                and -span <= other.last - finding.first
                and set(finding.evidence).isdisjoint(other.evidence)
            ):
                together.append(finding)
                break
    return together


def _place(finding: Finding) -> str:
    return finding.host or (f"account {finding.account}" if finding.account else "")


def _respond(confirmed: list[Finding], window: Window) -> tuple[Rung, list[Finding]]:
    """Return the rung for confirmed findings, and the findings that it rests on."""
    world = window.world
    if damage := [finding for finding in confirmed if finding.impact]:
        return "harm", damage
    if crown := [
        finding for finding in confirmed if any(_tier(world, host) == "crown_jewel" for host in finding.hosts)
    ]:
        return "crown", crown
    if privileged := [
        finding for finding in confirmed if any(_is_privileged(world, name) for name in finding.accounts)
    ]:
        return "privileged", privileged
    if len({host for finding in confirmed for host in finding.hosts}) >= window.limits.at_least(SEVERAL_HOSTS):
        return "several", confirmed
    if on_host := [finding for finding in confirmed if finding.scope == "host"]:
        return "host", on_host
    if hostile := [finding for finding in confirmed if _comes_from_outside(finding, window)]:
        return "outside", hostile
    return "neither", confirmed


def _comes_from_outside(finding: Finding, window: Window) -> bool:
    """Return whether there is an address to block: of an assault over the network, or of whoever works on a cloud from outside."""
    if finding.tool == CLOUD_WORK:
        return window.is_external(finding.remote)
    return finding.scope == "network" and bool(finding.remote)


def _tier(world: World, host: str) -> str:
    return world.hosts[host]["criticality"] if host in world.hosts else "standard"


def _is_privileged(world: World, account: str) -> bool:
    return account in world.accounts and world.accounts[account]["privileged"]


def _alerted_line(window: Window) -> Line:
    """Return the line that the alert fired on; where nobody said, the window's last line."""
    alerted = window.world.alerted
    return next((line for line in window.lines if line.log_id == alerted), window.lines[-1])


def _missing_telemetry(window: Window) -> str:
    """Say that the sensor behind the alert was silent on the alert's host during the window; nothing if it was not."""
    line = _alerted_line(window)
    telemetry = SENSOR_OF.get(event_type_of(line.fields))
    least = window.limits.size(MIN_OUTAGE_S)
    for sensor in window.world.sensors:
        if sensor["host"] == line.host and sensor["telemetry"] == telemetry:
            silent_from, silent_to = epoch_s(sensor["silent_from"]), epoch_s(sensor["silent_to"])
            if min(silent_to, window.end) - max(silent_from, window.start) >= least:
                return f"nothing is found, but the {telemetry} sensor of {line.host} was silent during the window"
    return ""


_TYPE_OF = {fields: event_type for event_type, fields in FIELDS_OF.items()}


def event_type_of(fields: Fields) -> str:
    """Return the event type that an object of fields belongs to: ProcessAccessFields -> process_access."""
    return _TYPE_OF[type(fields)]
