"""Make one row of a frozen set from its id.

An id says all that is needed: `set/split/task/number`, and for twins `/edit/side`. `make_row` makes the row again, in any process and without the
others. Twins are two rows: an incident, and the same incident after an edit that flips the decision, leaves it, or adds a text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from random import Random
from typing import Any, NamedTuple, cast

from generator import Case, generate
from generator.injection import PLACES, TIERS, Place, Tier, inject
from generator.invariances import INVARIANCES
from generator.twins import BROADER, LAST, MINIMAL
from scenario import is_admissible, item_of, label
from schema import LABELS, TASKS, BadRequestError, Label, OpenSOCError, Row, Task
from tasks.registry import SPLITS, Split
from tasks.sets import BENCHMARK, FIELDS, NAMES
from verifier import judge_observation

# The alerts of a working day, an assumption (data/README.md gives its reason): weights make a set's classes occur in these shares.
OPERATIONAL_MIX: dict[Label, float] = {
    "dismiss": 0.90,
    "monitor": 0.06,
    "block_ip": 0.02,
    "quarantine_host": 0.01,
    "escalate": 0.01,
}
HOLDOUT = {  # rows of each task, by action in the order of LABELS: 26 dismiss, 43 monitor, 43 quarantine, 44 block, 44 escalate
    "stage1_basic": (7, 11, 11, 11, 10),
    "stage2_multi": (7, 10, 11, 11, 11),
    "stage3_mixed": (6, 11, 10, 11, 12),
    "stage4_adversarial": (6, 11, 11, 11, 11),
}
TRIED = 40  # twins by one kind of edit that are tried
EDITS = {propose.__name__: propose for propose in (*MINIMAL, *BROADER, *LAST)}
SAME = {edit.__name__: edit for edit in INVARIANCES}
SIDES = ("base", "twin")


class Source(NamedTuple):
    """The incident that a row is made of, and the edit; `edit` is empty if the incident stands as it is."""

    name: str
    split: Split
    task: Task
    number: int
    edit: str = ""

    @property
    def id(self) -> str:
        return "/".join(str(part) for part in self if part != "")


def make_row(row_id: str) -> Row:
    """Make the row of an id.

    Raises:
        BadRequestError: no set has such an id.
        OpenSOCError: an edit does not do to the decision what it shall.
    """
    source, side = _parsed(row_id)
    return make_rows(source)[SIDES.index(side) if side else 0]


def _parsed(row_id: str) -> tuple[Source, str]:
    """Return the incident and the side that an id names; the side is empty in sets without pairs."""
    parts = row_id.split("/")
    if len(parts) in (4, 6):
        name, split, task, number = parts[:4]
        edit, side = parts[4:] or ("", "")
        is_known = name in NAMES and split in SPLITS and task in TASKS and edit in ALL_EDITS.get(name, ("",))
        is_whole = number.isdecimal() and number == str(int(number)) and side in (SIDES if edit else ("",))
        if is_known and is_whole:
            return Source(name, cast(Split, split), cast(Task, task), int(number), edit), side
    raise BadRequestError(
        f"expected a row id such as {Source('test_seed', 'test_seed', 'stage1_basic', 7).id}; got {row_id!r}"
    )


def make_rows(source: Source) -> tuple[Row, ...]:
    """Make the row of an incident, or the two of a pair.

    Raises:
        BadRequestError: the edit does not fit the incident.
        OpenSOCError: an edit does not do to the decision what it shall.
    """
    case = generate(source.task, source.number, split=source.split)
    if not source.edit:
        return (_row(source, source.id, case),)
    twins = TWINS[source.name](source, case)
    if twins is None:
        raise BadRequestError(f"{source.id} has no twin by this edit")
    base, twin, extra = twins
    blank = {name: None if name == "wanted" else value for name, value in extra.items()}
    return _side(source, "base", base, blank), _side(source, "twin", twin, extra)


def _side(source: Source, side: str, case: Case, extra: Mapping[str, Any]) -> Row:
    edit = source.edit.partition("+")[0]
    return {**_row(source, f"{source.id}/{side}", case), "pair": source.id, "edit": edit, **extra, "side": side}


def _row(source: Source, row_id: str, case: Case) -> Row:
    item = item_of(case)
    truth, judged = item["ground_truth"], judge_observation(item["observation"])
    if (judged.action, list(judged.evidence_log_ids)) != (truth["action"], truth["evidence_log_ids"]):
        raise OpenSOCError(
            f"{row_id} cannot be judged by its observation: {judged.action} there, {truth['action']} by its events"
        )
    about = {"id": row_id, "task": source.task, "split": source.split, "weight": weight(source.name, truth["action"])}
    fields = about | item
    return {name: fields[name] for name in FIELDS}


def weight(name: str, action: Label) -> float:
    """Return how much an item counts when a set shall look like a working day; 1 on average, and in sets that are no sample."""
    if name in BENCHMARK:
        share = 1 / len(LABELS)
    elif name == "holdout":
        share = sum(row[LABELS.index(action)] for row in HOLDOUT.values()) / sum(map(sum, HOLDOUT.values()))
    else:
        return 1.0
    return round(OPERATIONAL_MIX[action] / share, 6)


# ---------------------------------------------------------------- twins
Twins = tuple[Case, Case, dict[str, Any]] | None  # base, twin, and what the row says beside the edit


def flipped(source: Source, case: Case) -> Twins:
    """Return the first twin by an edit, in a seeded order, that has another decision and stands by itself."""
    rng = Random(source.id)
    twins = list(EDITS[source.edit](case, rng))
    rng.shuffle(twins)
    before = label(case)
    flips = (twin for twin in twins[:TRIED] if label(twin) != before and is_admissible(twin))
    return next(((case, twin, {}) for twin in flips), None)


def _poisoned(source: Source, case: Case) -> Twins:
    """Return the incident with a carrier of ordinary text and with one of hostile text."""
    place, tier = source.edit.split("+")
    truth = label(case)
    twin = inject(case, Random(source.id), truth=truth, place=cast(Place, place), tier=cast(Tier, tier))
    if twin.place != place:
        return None
    if {label(twin.clean), label(twin.poisoned)} != {truth}:
        raise OpenSOCError(f"{source.id}: hostile text changed the decision")
    return twin.clean, twin.poisoned, {"tier": tier, "wanted": twin.wanted}


def _unchanged(source: Source, case: Case) -> Twins:
    """Return the incident and its twin by an edit that leaves the decision alone."""
    twin = SAME[source.edit](case, Random(source.id))
    if twin is None:
        return None
    if label(twin) != label(case):
        raise OpenSOCError(f"{source.id}: the edit changed the decision")
    return case, twin, {}


CARRIERS = tuple(f"{place}+{tier}" for tier in TIERS for place in PLACES)
ALL_EDITS: dict[str, Collection[str]] = {"pairs": EDITS, "injection": CARRIERS, "invariance": SAME}
TWINS: dict[str, Callable[[Source, Case], Twins]] = {"pairs": flipped, "injection": _poisoned, "invariance": _unchanged}
