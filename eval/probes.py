"""Shortcut probes: how well do simple learners label incidents of families that they never saw? Learners are scikit-learn's, one is torch's.

All are tried by folds over scenario families, or trained on the families of one split and tried on another's, on as many incidents of
each decision: a learner that knows nothing is right in one of five. `single` and `pairs` are small trees on one or two observable fields, `bag_of_words` is a logistic regression over
masked words, `boosted_trees` sees all fields (or all relations) at once, `transformer` sees one half of the observation. The last three are
tried on a random split too, for information: there the families are known. scikit-learn is needed here and nowhere else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import GroupKFold, KFold
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from eval.halves import fit_and_label
from schema import LABELS, Label
from telemetry.scoring import CONFIDENCE, wilson

FOLDS = 4
DRAWS = 4  # of folds, for the probes that are quick
BEST_FIELDS = 36  # pairs are made of these
LEAST_SHARE = 0.03  # of the incidents in which a feature must differ from its usual value
BOOTSTRAPS = 500
ROUNDS = 30  # of boosting
BINS = 32  # of a feature, in boosted trees


@dataclass(frozen=True, slots=True)
class Figure:
    """A probe's figure with a 95 % interval; `field` names what it looked at."""

    field: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Group:
    """Whose incidents a sample is made of: the family and the decision of each, and whether it is to be labelled (or only learned from)."""

    families: Sequence[str]
    labels: Sequence[Label]
    tried: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Sample:
    """Incidents to probe: fields and words of each, its family and its decision (a number), as many of each decision."""

    features: Any  # float32, incidents x features; int16, incidents x positions x words, where the transformer looks
    names: list[str]
    texts: Sequence[str]
    families: np.ndarray
    labels: np.ndarray
    tried: np.ndarray  # bool; all, where incidents are tried by folds


def sample(fields: Sequence[dict[str, float]], group: Group, texts: Sequence[str] = ()) -> Sample:
    """Prepare incidents for probes, cut to as many of each decision."""
    chosen = _balanced(group)
    vectors = DictVectorizer(dtype=np.float32)
    matrix = vectors.fit_transform([fields[index] for index in chosen]).tocsc()
    filled = np.diff(matrix.indptr)
    usual = np.array([_is_constant(matrix, column) for column in range(matrix.shape[1])])
    columns = np.flatnonzero((filled >= LEAST_SHARE * len(chosen)) & ~usual)
    names = vectors.get_feature_names_out()
    features = matrix[:, columns].toarray()
    return _sample(features, [str(names[column]) for column in columns], texts, group, chosen)


def half_sample(hashed: Sequence[np.ndarray], group: Group) -> Sample:
    """Prepare halves of incidents (`eval.halves.tokens`) for the transformer, cut to as many of each decision."""
    chosen = _balanced(group)
    return _sample(np.stack([hashed[index] for index in chosen]), [], [], group, chosen)


def _sample(features: Any, names: list[str], texts: Sequence[str], group: Group, chosen: np.ndarray) -> Sample:
    return Sample(
        features,
        names,
        [texts[index] for index in chosen] if texts else [],
        np.array(group.families)[chosen],
        _classes(group)[chosen],
        np.array(group.tried)[chosen],
    )


def _classes(group: Group) -> np.ndarray:
    return np.array([LABELS.index(label) for label in group.labels])


def _balanced(group: Group) -> np.ndarray:
    """Return the incidents to take so that each decision comes as often, among those to label and among those to learn from."""
    classes, tried = _classes(group), np.array(group.tried)
    chosen: list[np.ndarray] = []
    for side in sorted(set(tried)):
        rows = [np.flatnonzero((classes == index) & (tried == side)) for index in range(len(LABELS))]
        chosen += [some[: min(map(len, rows))] for some in rows]
    return np.sort(np.concatenate(chosen))


def _is_constant(matrix: Any, column: int) -> bool:
    data = matrix.data[matrix.indptr[column] : matrix.indptr[column + 1]]
    return len(data) == matrix.shape[0] and bool((data == data[0]).all())


# ---------------------------------------------------------------- folds
def _unseen(data: Sample, times: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw folds in which no family is on both sides, several times, since families are few and unlike each other.

    Where some incidents are only to learn from, those are one side and the others the other.
    """
    if not data.tried.all():
        return [(np.flatnonzero(~data.tried), np.flatnonzero(data.tried))]
    parts = min(FOLDS, len(set(data.families)))
    return [
        fold
        for seed in range(times)
        for fold in GroupKFold(parts, shuffle=True, random_state=seed).split(data.labels, groups=data.families)
    ]


def _seen(data: Sample) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw one random split."""
    return list(KFold(FOLDS, shuffle=True, random_state=0).split(data.labels))[:1]


Fit = Callable[[np.ndarray, np.ndarray], np.ndarray]  # training rows, rows to label -> labels


def _tried(folds: list[tuple[np.ndarray, np.ndarray]], fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that were held out, and the labels they got."""
    with config_context(assume_finite=True, skip_parameter_validation=True):  # a third of a small tree's time
        answers = [fit(train, test) for train, test in folds]
    return np.concatenate([test for _, test in folds]), np.concatenate(answers)


# ---------------------------------------------------------------- single fields and pairs
def single(data: Sample, draws: int = DRAWS) -> list[Figure]:
    """Measure the accuracy of a small tree on each observable field alone, the best first."""
    return _trees(data, [(field,) for field in sorted(_columns(data))], draws)


def pairs(data: Sample, singles: Sequence[Figure], number: int = BEST_FIELDS) -> list[Figure]:
    """Measure the accuracy of a small tree on each pair of the `number` best single fields, the best first."""
    return _trees(data, list(itertools.combinations([figure.field for figure in singles[:number]], 2)), 1)


def _columns(data: Sample) -> dict[str, list[int]]:
    columns: dict[str, list[int]] = {}
    for column, name in enumerate(data.names):
        columns.setdefault(name.partition("#")[0], []).append(column)
    return columns


def _trees(data: Sample, groups: Sequence[tuple[str, ...]], draws: int) -> list[Figure]:
    columns, folds = _columns(data), _unseen(data, draws)
    figures = []
    for group in groups:
        inputs = data.features[:, [column for field in group for column in columns[field]]]

        def fit(train: np.ndarray, test: np.ndarray, inputs: np.ndarray = inputs) -> np.ndarray:
            tree = DecisionTreeClassifier(max_depth=5, min_samples_leaf=20, class_weight="balanced", random_state=0)
            return tree.fit(inputs[train], data.labels[train]).predict(inputs[test])

        rows, answers = _tried(folds, fit)
        figures.append(
            _rate(" and ".join(group), float(np.mean(answers == data.labels[rows])), int(data.tried.sum()), len(groups))
        )
    return sorted(figures, key=lambda figure: -figure.value)


def _rate(field: str, rate: float, incidents: int, tried: int) -> Figure:
    """Return a rate with its Wilson interval, wider by Bonferroni's rule, as the best of `tried` fields is looked at."""
    return Figure(field, rate, *wilson(round(rate * incidents), incidents, confidence=1 - (1 - CONFIDENCE) / tried))


# ---------------------------------------------------------------- all at once
def bag_of_words(data: Sample, *, seen: bool = False) -> Figure:
    """Measure the macro-F1 of a logistic regression over the words of the observation; `seen` tries it on known families."""

    def fit(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        bag = CountVectorizer(
            token_pattern=r"[A-Za-z_][A-Za-z_]+", min_df=3, max_features=4000, binary=True, dtype=np.float32
        )
        model = SGDClassifier("log_loss", alpha=1e-3, max_iter=20, tol=None, class_weight="balanced", random_state=0)
        model.fit(bag.fit_transform([data.texts[row] for row in train]), data.labels[train])
        return model.predict(bag.transform([data.texts[row] for row in test]))

    return _macro_f1("bag of words", data, _seen(data) if seen else _unseen(data), fit)


def boosted_trees(data: Sample, *, seen: bool = False, rounds: int = ROUNDS) -> Figure:
    """Measure the macro-F1 of gradient-boosted trees over all fields; `seen` tries them on known families."""

    def fit(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        model = HistGradientBoostingClassifier(
            max_iter=rounds,
            learning_rate=0.2,
            max_leaf_nodes=15,
            max_bins=BINS,
            class_weight="balanced",
            random_state=0,
        )
        return model.fit(data.features[train], data.labels[train]).predict(data.features[test])

    with threadpool_limits(1):  # tasks are probed side by side
        return _macro_f1("boosted trees", data, _seen(data) if seen else _unseen(data), fit)


def transformer(data: Sample, *, seen: bool = False, folds: int | None = None) -> Figure:
    """Measure the macro-F1 of a small transformer over one half of the observation (`half_sample`).

    Args:
        data: halves of incidents.
        seen: try it on known families.
        folds: try so many of the folds, as each takes seconds; all by default.
    """

    def fit(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        return fit_and_label(data.features[train], data.labels[train], data.features[test])

    return _macro_f1("transformer", data, _seen(data) if seen else _unseen(data)[:folds], fit)


def _macro_f1(field: str, data: Sample, folds: list[tuple[np.ndarray, np.ndarray]], fit: Fit) -> Figure:
    """Measure the macro-F1 over all folds, its interval by a bootstrap over families."""
    rows, answers = _tried(folds, fit)
    families = sorted(set(data.families[rows]))
    tables = np.array(
        [
            confusion_matrix(
                data.labels[rows][data.families[rows] == family],
                answers[data.families[rows] == family],
                labels=range(len(LABELS)),
            )
            for family in families
        ]
    )
    draws = np.random.default_rng(0).integers(len(families), size=(BOOTSTRAPS, len(families)))
    spread = np.array([_f1(tables[draw].sum(axis=0)) for draw in draws])
    low, high = np.quantile(spread, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Figure(field, _f1(tables.sum(axis=0)), float(low), float(high))


def _f1(table: np.ndarray) -> float:
    """Compute the macro-F1 of a confusion table (rows: truth)."""
    actual, answered, right = table.sum(axis=1), table.sum(axis=0), table.diagonal()
    return float(np.mean(2 * right / np.maximum(actual + answered, 1)))
