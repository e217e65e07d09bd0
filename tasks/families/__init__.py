"""Scenario families: how events are made, never which decision they deserve.

A family plays one story on a scene in up to three strengths. `confirmed` shows the whole chain, `suspicious` a part of it,
`below` something harmless that looks alike: the same lines, in which the relation is missing that a rule looks for (another host,
another account, the other order, too slow) or a fact of the world. Whether the story is explained (a ticket, an approved tool, an
authorised scanner), and whom it concerns, is up to the plan. Numbers keep clear of the verifier's thresholds on both
sides, since the admission gate refuses what hangs on an edge.

Technique numbers are MITRE ATT&CK (version 17).
"""

from tasks.families import credentials, damage, evasion, execution, movement, network, persistence
from tasks.families.story import Family

__all__ = ["FAMILIES", "Family"]

FAMILIES: tuple[Family, ...] = (
    *execution.FAMILIES,
    *persistence.FAMILIES,
    *evasion.FAMILIES,
    *credentials.FAMILIES,
    *movement.FAMILIES,
    *network.FAMILIES,
    *damage.FAMILIES,
)
