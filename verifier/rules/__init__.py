"""All rules, in the order in which findings are reported: a rule that is not listed here does not exist."""

from verifier.rules import cloud, credentials, evasion, execution, identity, movement, network, persistence, tampering
from verifier.window import Rule

RULES: tuple[Rule, ...] = (
    *execution.RULES,
    *identity.RULES,
    *network.RULES,
    *tampering.RULES,
    *credentials.RULES,
    *evasion.RULES,
    *persistence.RULES,
    *movement.RULES,
    *cloud.RULES,
)
