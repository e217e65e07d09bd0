"""Scenario families: how events are made, never which decision they deserve.

A family plays one story on a scene in up to three strengths. `confirmed` shows the whole chain, `suspicious` shows a part of it
(half of the story), and `below` shows something harmless that looks alike: the same lines without the relation that a rule looks for
(another host, another account, the other order, too slow), or without a fact of the world. The plan decides whether the story is
explained (by a ticket, an approved tool, an authorised scanner) and whom it concerns. Numbers keep clear of the verifier's
thresholds on both sides, since the admission gate refuses an incident that hangs on an edge.

Technique numbers are MITRE ATT&CK (version 17).
"""

from schema import Category
from tasks.families import (
    accounts,
    campaigns,
    cloud_chains,
    cloud_compute,
    cloud_data,
    cloud_defences,
    cloud_identity,
    controls,
    credentials,
    damage,
    evasion,
    execution,
    footholds,
    intrusions,
    kubernetes,
    kubernetes_rights,
    linux,
    mail,
    movement,
    network,
    outside,
    persistence,
    programs,
    reach,
    secrets,
    stealth,
    tenants,
    tickets,
    tools,
    traffic,
)
from tasks.families.outside import sequels_of
from tasks.families.pairs import pairs_of
from tasks.registry import Split
from tasks.scene import Family, FamilySplit

HELD_OUT_TACTIC: Category = "credential_access"

_ALONE: tuple[Family, ...] = (
    *execution.FAMILIES,
    *persistence.FAMILIES,
    *footholds.FAMILIES,
    *accounts.FAMILIES,
    *campaigns.FAMILIES,
    *evasion.FAMILIES,
    *credentials.FAMILIES,
    *secrets.FAMILIES,
    *movement.FAMILIES,
    *network.FAMILIES,
    *damage.FAMILIES,
    *cloud_defences.FAMILIES,
    *cloud_identity.FAMILIES,
    *cloud_data.FAMILIES,
    *cloud_compute.FAMILIES,
    *cloud_chains.FAMILIES,
    *kubernetes.FAMILIES,
    *kubernetes_rights.FAMILIES,
    *controls.FAMILIES,
    *linux.FAMILIES,
    *programs.FAMILIES,
    *reach.FAMILIES,
    *tenants.FAMILIES,
    *mail.FAMILIES,
    *outside.FAMILIES,
    *tickets.FAMILIES,
    *traffic.FAMILIES,
    *stealth.FAMILIES,
    *tools.FAMILIES,
    *intrusions.FAMILIES,
)
FAMILIES: tuple[Family, ...] = (*_ALONE, *pairs_of(_ALONE), *sequels_of(_ALONE))


def _families(split: FamilySplit) -> tuple[Family, ...]:
    return tuple(family for family in FAMILIES if family.split == split and family.category != HELD_OUT_TACTIC)


TRAIN_FAMILIES = _families("train")
_FAMILIES_OF: dict[Split, tuple[Family, ...]] = {
    "train": TRAIN_FAMILIES,
    "val": TRAIN_FAMILIES,
    "test_seed": TRAIN_FAMILIES,
    "val_family": _families("val_family"),
    "test_family": _families("test_family"),
    "test_tactic": tuple(family for family in FAMILIES if family.category == HELD_OUT_TACTIC),
}


def families_of(split: Split) -> tuple[Family, ...]:
    """List the families that may decide an incident of a split; their look-alikes come from the training families."""
    return _FAMILIES_OF[split]
