"""The audit's probes: what simple learners reach on families that they never saw, held to bounds (`eval.probes` are the learners).

Stage 1 is printed and held to no bound: one line decides there, and what is left is easy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from eval.bounds import FIELD_MARGIN, MAJORITY, MAX_F1, PAIR_MARGIN
from eval.checks import NOT_RUN, Check, Item
from eval.features import fields
from eval.halves import Half, tokens
from eval.relations import relations
from players.bag_of_words import words
from schema import TASKS

if TYPE_CHECKING:
    from eval.probes import Figure, Group

PROBED_TASKS = TASKS[1:]
HALVED = 2000  # at most so many of a task are shown by halves
HALVES: dict[str, Half] = {"lines alone": "lines", "context alone": "context"}
PROBES = ("fields", "pairs", "words", "trees", "relations", *HALVES)


def shortcuts(
    items: Sequence[Item], *, strict: bool, probes: Sequence[str] = PROBES, trained_on: Sequence[Item] = ()
) -> Iterator[Check]:
    """Check what simple learners reach on families that they never saw.

    Args:
        items: incidents of one task and split.
        strict: hold the figure itself to the bound; otherwise the lower end of its interval, and with fewer tries.
        probes: which learners.
        trained_on: incidents of other families, to train on; without them, `items` are tried by folds over their families.
    """
    held = _Bounds(items[0], strict)
    if {"fields", "pairs", "words", "trees"} & set(probes):
        yield from _by_fields(held, items, trained_on, probes)
    if "relations" in probes:
        yield _by_relations(held, items, trained_on)
    for name, half in HALVES.items():
        if name in probes:
            yield _by_half(held, name, half, [*trained_on[:HALVED], *items[:HALVED]])


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Holds figures to bounds: those of one of these incidents' task and split."""

    item: Item
    strict: bool

    def check(self, name: str, figure: Figure, bound: float, note: str = "") -> Check:
        task, split = self.item.task, self.item.split
        reached = figure.value if self.strict else figure.low
        offending = f"{figure.field} reaches {figure.value:.3f}, the bound is {bound:.2f}" if reached > bound else ""
        words_ = f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}] {figure.field}{note}"
        return Check(name, task, words_, offending if task in PROBED_TASKS else "", split)

    def group(self, items: Sequence[Item]) -> Group:
        """Say of incidents which families and decisions they are, and which of them are to be labelled: those of this split."""
        from eval.probes import Group

        return Group(
            [item.case.family for item in items],
            [item.truth.action for item in items],
            [item.split == self.item.split for item in items],
        )


def _by_fields(
    held: _Bounds, items: Sequence[Item], trained_on: Sequence[Item], probes: Sequence[str]
) -> Iterator[Check]:
    """Try small trees on each field and each pair, a bag of words, and boosted trees on all fields."""
    from eval.probes import BEST_FIELDS, DRAWS, bag_of_words, boosted_trees, pairs, sample, single

    observations = [item.observation for item in (*trained_on, *items)]
    data = sample(
        [fields(observation) for observation in observations],
        held.group([*trained_on, *items]),
        [words(observation) for observation in observations],
    )
    if "fields" in probes:
        singles = single(data, DRAWS if held.strict else 1)
        yield held.check("fields", singles[0], MAJORITY + FIELD_MARGIN)
        if "pairs" in probes:
            best = pairs(data, singles, BEST_FIELDS if held.strict else BEST_FIELDS // 3)
            yield held.check("pairs", best[0], MAJORITY + PAIR_MARGIN)
    for name, probe in (("words", bag_of_words), ("trees", partial(boosted_trees, rounds=_rounds(held)))):
        if name in probes:
            note = f"; seen families {probe(data, seen=True).value:.3f}" if held.strict else ""
            yield held.check(name, probe(data), MAX_F1, note)


def _rounds(held: _Bounds) -> int:
    from eval.probes import ROUNDS

    return ROUNDS if held.strict else ROUNDS // 2


def _by_relations(held: _Bounds, items: Sequence[Item], trained_on: Sequence[Item]) -> Check:
    """Try boosted trees on all relations, and name the relation that a small tree makes most of."""
    from eval.probes import boosted_trees, sample, single

    incidents = [*trained_on, *items]
    data = sample([relations(item.observation) for item in incidents], held.group(incidents))
    telling = single(data, 1)[0].field
    figure = replace(boosted_trees(data, rounds=_rounds(held)), field=f"relations, most telling {telling!r}")
    return held.check("relations", figure, MAX_F1)


def _by_half(held: _Bounds, name: str, half: Half, incidents: Sequence[Item]) -> Check:
    """Try the transformer on one half of the observation, where torch is installed."""
    from eval.probes import half_sample, transformer

    if find_spec("torch") is None:
        return Check(name, held.item.task, f"{NOT_RUN}: torch is not installed", split=held.item.split)
    data = half_sample([tokens(item.observation, half) for item in incidents], held.group(incidents))
    note = f"; seen families {transformer(data, seen=True).value:.3f}" if held.strict else ""
    figure = replace(transformer(data, folds=None if held.strict else 2), field=f"transformer over {name}")
    return held.check(name, figure, MAX_F1, note)
