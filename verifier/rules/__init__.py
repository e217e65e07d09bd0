"""List all rules in the order in which findings are reported: a rule that is not listed here does not exist."""

from verifier.rules import (
    accounts,
    callbacks,
    cloud,
    controls,
    credentials,
    discovery,
    escalation,
    evasion,
    execution,
    identity,
    movement,
    network,
    persistence,
    programs,
    tampering,
    unix,
)
from verifier.window import Rule

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
    *cloud.RULES,
)
