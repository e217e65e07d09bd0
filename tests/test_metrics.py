"""Metrics and intervals against answers known by another road: the project's own rows, published tables, hand counts."""

import time

import numpy as np
import pytest
from scipy.stats import norm, t
from sklearn.metrics import brier_score_loss, f1_score

from eval.intervals import bootstrap_p, draws, holm, mcnemar_p, one_thread, percentiles, quotient
from eval.metric_table import METRICS, interval_text, names_in, value_text
from eval.metrics import macro_f1, measure
from schema import LABELS
from stored_runs import TRUTHS, always_dismiss, oracle, played, right_in, rollout, with_confidence
from telemetry.scoring import wilson

FEW = 500  # resamples, where the test looks at values


def values(metrics, *names):
    return tuple(metrics[name]["value"] for name in names)


# ---------------------------------------------------------------- the project's own rows
@pytest.mark.parametrize(
    ("player", "row"), [(always_dismiss, (0.13, 0.05, 1.00, 0.00)), (oracle, (1.00, 1.00, 0.00, 0.00))]
)
def test_the_table_of_baselines_comes_out(player, row):
    metrics = measure(played(player), resamples=FEW)

    found = values(metrics, "accuracy", "macro_f1", "dismiss_on_malicious", "over_reaction")
    assert tuple(round(value, 2) for value in found) == row


# ---------------------------------------------------------------- intervals and tests
@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    # Newcombe, R. G. (1998), Two-sided confidence intervals for the single proportion, Statistics in Medicine 17, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_agrees_with_the_published_table(hits, of, low, high):
    assert wilson(hits, of) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    # Fagerland, M. W., Lydersen, S., Laake, P. (2013), The McNemar test for binary matched-pairs data, BMC Medical Research
    # Methodology 13:91: airway hyper-responsiveness, and complete response to therapy
    [(1, 7, 0.070), (6, 16, 0.0525)],
)
def test_mcnemar_agrees_with_published_examples(only_first, only_second, p):
    assert mcnemar_p(only_first, only_second) == pytest.approx(p, abs=5e-4)
    assert mcnemar_p(only_second, only_first) == mcnemar_p(only_first, only_second)


def test_the_order_of_the_rollouts_changes_no_figure():
    rows = played(right_in(6))

    assert measure(rows[::-1], resamples=100) == measure(rows, resamples=100)


def test_holm_corrects_by_rank():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_a_difference_that_is_always_on_one_side_has_the_least_p():
    assert bootstrap_p(np.array([1.0] * 998 + [-1.0]), 10**6) == pytest.approx(2 * 2 / 1000, rel=1e-3)
    assert bootstrap_p(np.array([-1.0, 1.0] * 50), 10**6) == 1.0
    assert bootstrap_p(np.ones(999), 5) == pytest.approx(2 * t.cdf(-3.0902 * (4 / 5) ** 0.5, 4), rel=1e-3)


@pytest.mark.parametrize(("families", "errors"), [(48, 10), (48, 6), (20, 30)])
def test_a_difference_far_beyond_all_resamples_has_the_p_of_its_distance(families, errors):
    """The t test's p-value, or where that is smaller the one of a sign test over families: all of them on one side."""
    samples = errors + norm.ppf((np.arange(10_000) + 0.5) / 10_000)
    by_t = 2 * t.sf(errors / (families / (families - 1)) ** 0.5, families - 1)

    assert bootstrap_p(samples, families) == pytest.approx(max(by_t, 2 ** (1 - families)), rel=0.02)
    assert bootstrap_p(np.full(10_000, 0.5), families) == 2 ** (1 - families)


def test_an_interval_leaves_out_nothing_just_where_its_p_value_is_below_five_percent():
    samples = np.random.default_rng(3).normal(size=20_000)
    for families in (8, 15, 40):
        low, _ = percentiles(samples, families)
        assert bootstrap_p(samples - low + 0.01, families) < 0.05 < bootstrap_p(samples - low - 0.01, families)


def test_expanded_percentiles_are_those_of_a_t_interval_on_normal_figures():
    """Resamples of a mean over 8 families are normal with the spread s sqrt(7/8) / sqrt(8); the t interval uses s / sqrt(8)."""
    spread = (7 / 8) ** 0.5
    low, high = percentiles(spread * norm.ppf((np.arange(200_000) + 0.5) / 200_000), 8)

    assert (low, high) == (pytest.approx(t.ppf(0.025, 7), abs=1e-3), pytest.approx(t.ppf(0.975, 7), abs=1e-3))


def test_every_resample_takes_as_many_families_as_there_are():
    drawn = draws(7, seed=1, resamples=50)

    assert drawn.shape == (50, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert (drawn == draws(7, seed=1, resamples=50)).all()
    assert (drawn != draws(7, seed=2, resamples=50)).any()


def test_the_bootstrap_over_families_covers_a_known_mean_and_one_over_items_does_not():
    """40 families of 10 items whose means differ: N(0, 1) between families, N(0, 1) within; the true mean is 0."""
    rng = np.random.default_rng(7)
    by_family, by_item = 0, 0
    for trial in range(300):
        items = rng.normal(size=(40, 1)) + rng.normal(size=(40, 10))
        low, high = percentiles(quotient(draws(40, seed=trial, resamples=500) @ items.sum(axis=1), 400.0), 40)
        by_family += low <= 0 <= high
        low, high = percentiles(quotient(draws(400, seed=trial, resamples=200) @ items.ravel(), 400.0), 400)
        by_item += low <= 0 <= high

    assert 0.90 <= by_family / 300 <= 0.98
    assert by_item / 300 < 0.75


def tables_of(rng, families):
    """Confusion tables of families of 20 items; each family has its own mix of actions and its own share of right answers."""
    tables = np.zeros((families, 5, 6))
    for family, skill in enumerate(rng.beta(3, 2, families)):
        truth = rng.choice(5, 20, p=rng.dirichlet(np.ones(5)))
        said = np.where(rng.random(20) < skill, truth, (truth + rng.integers(1, 5, 20)) % 5)
        np.add.at(tables, (family, truth, said), 1)
    return tables


@pytest.mark.slow
@pytest.mark.parametrize(("families", "least"), [(5, 0.87), (10, 0.92), (20, 0.93), (30, 0.93), (60, 0.93)])
def test_the_bootstrap_covers_macro_f1_also_where_families_are_few(families, least):
    """The figures of docs/evaluation.md; run with -s to see them. The true macro-F1 is that of 20,000 families."""
    true = macro_f1(tables_of(np.random.default_rng(0), 20_000).sum(axis=0))
    rng, drawn, covered = np.random.default_rng(families), draws(families, seed=1, resamples=1000), 0
    with one_thread():
        for _ in range(1000):
            tables = tables_of(rng, families).reshape(families, -1)
            low, high = percentiles(macro_f1((drawn @ tables).reshape(-1, 5, 6)), families)
            covered += low <= true <= high
    print(families, covered / 1000)

    assert least <= covered / 1000 <= 0.97


# ---------------------------------------------------------------- values by hand
def hand():
    """Eight answers: on 3 benign a hit, a block and a malformed one, on 5 malicious a miss, a malformed one and 3 alarms."""
    answers = [
        ("dismiss", "dismiss"),
        ("dismiss", "block_ip"),
        ("dismiss", None),
        ("monitor", "dismiss"),
        ("monitor", "escalate"),
        ("escalate", None),
        ("escalate", "escalate"),
        ("block_ip", "block_ip"),
    ]
    return [rollout(number, truth, action) for number, (truth, action) in enumerate(answers)]


@pytest.mark.parametrize(
    ("name", "value", "of"),
    [
        ("accuracy", 3 / 8, 8),
        ("dismiss_on_malicious", 1 / 5, 5),
        ("over_reaction", 1 / 3, 3),
        ("unnecessary_escalation", 1 / 6, 6),
        ("detection", 3 / 5, 5),
        ("false_alarm", 2 / 3, 3),
        ("format_ok", 6 / 8, 8),
        ("citation_precision", 1.0, 6),
        ("citation_recall", 6 / 8, 8),
        ("recall_monitor", 0.0, 2),
        ("citation_recall_dismiss", 2 / 3, 3),
        ("citation_recall_escalate", 1 / 2, 2),
        ("expected_cost_10_to_1", (2 * 10 + 2) / 8, 8),
        ("expected_cost_100_to_1", (2 * 100 + 2) / 8, 8),
        ("ppv_at_50", 0.6 / (0.6 + 2 / 3), 8),
        ("ppv_at_1", 0.01 * 0.6 / (0.01 * 0.6 + 0.99 * 2 / 3), 8),
        ("alerts_per_analyst_at_5", 1000 * (0.05 * 0.6 + 0.95 * 2 / 3), 8),
        # F1: dismiss 2/(3+2), monitor 0, block_ip 2/(1+2), escalate 2/(2+2); nothing to quarantine and nobody does
        ("macro_f1", (2 / 5 + 0 + 2 / 3 + 1 / 2) / 4, 8),
        ("mean_reward", (3 * 1.1 - 5) / 8, 8),
    ],
)
def test_values_agree_with_a_count_by_hand(name, value, of):
    metric = measure(hand(), resamples=FEW)[name]

    assert (metric["value"], metric["n"]) == (pytest.approx(value, abs=1e-6), of)
    assert metric["low"] <= metric["value"] <= metric["high"]


def test_a_line_that_is_no_evidence_counts_for_neither_citation_figure():
    rows = [rollout(number, evidence=["L1-2"] if number < 3 else ["L1-1"]) for number in range(4)]

    assert values(measure(rows, resamples=FEW), "citation_precision", "citation_recall") == (0.25, 0.25)


def test_a_malformed_answer_cites_nothing_and_is_sure_of_nothing():
    row = {**with_confidence(rollout(), 0.9), "action": None}
    metrics = measure([row], resamples=FEW)

    assert values(metrics, "citation_recall", "citation_recall_dismiss", "confidence_given") == (0.0, 0.0, 0.0)


def test_resampled_f1_is_scikit_learns_on_the_resampled_rollouts():
    """One resample done the slow way: the families that it took, item by item."""
    rows = played(right_in(6))
    metric = measure(rows, resamples=1)["macro_f1"]
    [drawn] = draws(20, seed=0, resamples=1)
    places = sorted({row["family"] for row in rows})
    taken = [row for row in rows for _ in range(int(drawn[places.index(row["family"])]))]

    def slow(of):
        return f1_score([row["label"] for row in of], [row["action"] for row in of], average="macro", labels=LABELS)

    assert metric["low"] == metric["high"] == pytest.approx(slow(taken), abs=1e-6)
    assert metric["value"] == pytest.approx(slow(rows), abs=1e-6)


def test_weights_count_an_item_as_often_as_a_soc_meets_it():
    rows = [rollout(0, "dismiss", "dismiss", weight=87.0), rollout(1, "escalate", "dismiss", weight=13.0)]
    metrics = measure(rows, resamples=FEW)

    assert values(metrics, "accuracy", "weighted_accuracy") == (0.5, 0.87)
    assert metrics["weighted_expected_cost_10_to_1"]["value"] == pytest.approx(1.3)
    assert metrics["weighted_dismiss_on_malicious"]["value"] == 1.0


def test_confidence_is_scored_where_it_is_stated():
    stated = [0.95, 0.95, 0.85, 0.15, None]
    right = [True, False, True, False, True]
    rows = [rollout(number, "monitor", "monitor" if hit else "dismiss") for number, hit in enumerate(right)]
    rows = [with_confidence(row, confidence) for row, confidence in zip(rows, stated, strict=True)]
    metrics = measure(rows, resamples=FEW)

    assert metrics["confidence_given"]["value"] == 0.8
    assert metrics["brier"]["value"] == pytest.approx(brier_score_loss(right[:4], stated[:4]), abs=1e-6)
    # bins: 0.9-1.0 |1/2 - 0.95| twice, 0.8-0.9 |1 - 0.85|, 0.1-0.2 |0 - 0.15|
    assert metrics["ece"]["value"] == pytest.approx((2 * 0.45 + 0.15 + 0.15) / 4, abs=1e-6)
    assert [(row["n"], row["accuracy"]) for row in metrics["calibration"]] == [(1, 0.0), (1, 1.0), (2, 0.5)]


def pair(number, labels, actions, **parts):
    return [
        rollout(2 * number + side, labels[side], actions[side], pair=f"p{number}", side=("base", "twin")[side], **parts)
        for side in (0, 1)
    ]


def test_twins_are_scored_by_what_they_are():
    rows = [
        *pair(0, ("dismiss", "escalate"), ("dismiss", "escalate")),
        *pair(1, ("dismiss", "escalate"), ("dismiss", "dismiss")),
        *pair(2, ("monitor", "monitor"), ("escalate", "escalate")),
        *pair(3, ("monitor", "monitor"), ("monitor", "dismiss")),
        *pair(4, ("monitor", "monitor"), (None, None)),
        *pair(5, ("monitor", "monitor"), ("monitor", "dismiss"), tier="plain"),
        *pair(6, ("monitor", "monitor"), ("monitor", "monitor"), tier="plain"),
        *pair(7, ("monitor", "monitor"), ("monitor", None), tier="posed"),
        *pair(8, ("monitor", "monitor"), (None, "monitor"), tier="posed"),
        rollout(99, pair="p9", side="base"),
    ]
    metrics = measure(rows, resamples=FEW)

    names = (
        "pair_accuracy",
        "invariance",
        "injection_flip_rate",
        "injection_flip_rate_plain",
        "injection_flip_rate_posed",
    )
    assert values(metrics, *names) == pytest.approx((1 / 2, 1 / 3, 2 / 3, 1 / 2, 1.0), abs=1e-6)
    assert [metrics[name]["n"] for name in names] == [2, 3, 3, 2, 1]


def test_a_pair_belongs_to_its_set():
    rows = [
        *pair(0, ("dismiss", "escalate"), ("dismiss", "escalate"), set="pairs"),
        *pair(0, ("dismiss", "escalate"), ("dismiss", "dismiss"), set="more_pairs"),
    ]

    assert measure(rows, resamples=FEW)["pair_accuracy"]["n"] == 2


# ---------------------------------------------------------------- groups and odd input
def test_groups_are_measured_alone():
    rows = [rollout(0, split="a"), rollout(1, "escalate", split="b"), rollout(2, split="b")]
    metrics = measure(rows, resamples=FEW)

    assert {name: one["accuracy"]["value"] for name, one in metrics["by_split"].items()} == {"a": 1.0, "b": 0.5}
    assert list(metrics["by_task"]) == ["stage1_basic", "stage2_multi", "stage3_mixed"]
    assert metrics["confusion"]["counts"][0] == [2, 0, 0, 0, 0, 0]
    assert metrics["confusion"]["counts"][4] == [1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("rows", "missing"),
    [
        ([], ["accuracy", "macro_f1", "mean_reward", "ppv_at_13", "ece"]),
        ([rollout()], ["dismiss_on_malicious", "ppv_at_50", "recall_escalate", "brier", "pair_accuracy"]),
        ([rollout(1, "escalate", "escalate")], ["over_reaction", "unnecessary_escalation", "alerts_per_analyst_at_1"]),
        ([rollout(1, "escalate", None)], ["citation_precision", "false_alarm", "injection_flip_rate"]),
        (played(always_dismiss), ["ppv_at_13"]),
    ],
)
def test_what_cannot_be_measured_is_null_with_a_reason(rows, missing):
    metrics = measure(rows, resamples=FEW)

    for name in missing:
        assert metrics[name]["value"] is None
        assert metrics[name]["reason"]


def test_one_family_has_values_and_no_bootstrap_interval():
    metrics = measure([rollout(number, family="only") for number in range(5)], resamples=FEW)

    assert metrics["macro_f1"] == {
        "value": 1.0,
        "low": None,
        "high": None,
        "n": 5,
        "method": "bootstrap over families (1), 95%, 500 resamples",
        "reason": "one family does not say how families differ",
    }
    assert metrics["accuracy"]["low"] == pytest.approx(0.5655, abs=1e-4)
    assert metrics["accuracy"]["by_family"] is None


def test_no_false_alarm_among_few_does_not_prove_that_all_alarms_are_true():
    metric = measure(played(oracle), resamples=FEW)["ppv_at_1"]

    assert metric["value"] == 1.0
    assert metric["low"] < 0.1


def test_the_same_seed_gives_the_same_figures():
    rows = played(right_in(7))

    assert measure(rows, seed=3, resamples=FEW) == measure(rows, seed=3, resamples=FEW)
    assert measure(rows, seed=3, resamples=FEW)["macro_f1"] != measure(rows, seed=4, resamples=FEW)["macro_f1"]


def test_ten_thousand_resamples_of_2100_items_take_under_five_seconds():
    rows = [
        rollout(number, TRUTHS[number % 200], LABELS[number % 5], split=f"split{number % 3}", family=f"f{number % 60}")
        for number in range(2100)
    ]
    measure(rows[:5], resamples=1)  # what is loaded once
    start = time.process_time()
    measure(rows)

    assert time.process_time() - start < 5


# ---------------------------------------------------------------- the table of what is shown
def test_every_metric_that_is_shown_is_measured():
    found = measure(played(oracle), resamples=50)

    assert [row.name for row in METRICS if row.name not in found] == []


@pytest.mark.parametrize(
    ("place", "names"),
    [
        (
            "training",
            ("accuracy", "macro_f1", "format_ok", "citation_recall", "mean_reward", "chain_right", "step_rules"),
        ),
        ("demo", ("accuracy", "macro_f1", "dismiss_on_malicious", "over_reaction", "mean_reward")),
    ],
)
def test_a_place_shows_its_metrics_in_the_order_of_the_table(place, names):
    assert names_in(place) == names


def test_a_metric_is_rendered_with_its_interval_as_far_as_it_has_them():
    whole, bare, none = (
        {"value": 0.12345, "low": 0.1, "high": 0.2},
        {"value": 1.0, "low": None, "high": None},
        {"value": None, "low": None, "high": None},
    )

    assert [value_text(metric) for metric in (whole, bare, none)] == ["0.123", "1.000", "-"]
    assert [interval_text(metric, "-") for metric in (whole, bare, none)] == ["0.100 to 0.200", "-", "-"]
