"""Estimates of few scores: against hand calculations, plain loops, and simulations.

Simulations count how often an interval holds the truth. The count is binomial with a probability
that theory gives, and it may be off by 4.5 of its standard deviations: once in 150,000 correct
programs, and the seeds are fixed.
"""

from __future__ import annotations

import itertools
import math
import statistics as plain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trpotui import statistics
from trpotui.statistics import (
    bootstrap_interval,
    improvement_interval,
    interquartile_mean,
    probability_of_improvement,
)

DEVIATIONS = 4.5
NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)
FEW_LEVELS = st.lists(st.integers(-3, 3), min_size=1, max_size=12)


def mean(samples):
    return samples.mean(axis=-1)


def generator(seed=0):
    return np.random.default_rng(seed)


# the interquartile mean


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7], 7),
        ([1, 2, 6], 3),  # of three, nothing is left out
        ([100, 2, 4, -50], 3),
        ([1, 2, 3, 4, 1000], 3),
        ([8, 7, 6, 5, 4, 3, 2, 1], 4.5),
        ([0] * 3 + [1, 2, 3, 4, 5] + [10**6] * 3, (0 + 1 + 2 + 3 + 4 + 5 + 10**6) / 7),
    ],
)
def test_interquartile_mean_by_hand(values, expected):
    assert interquartile_mean(values) == pytest.approx(expected)


@given(NUMBERS)
def test_interquartile_mean_is_the_mean_of_the_sorted_middle(values):
    cut = math.floor(len(values) / 4)
    middle = sorted(values)[cut : len(values) - cut]
    assert interquartile_mean(values) == pytest.approx(plain.fmean(middle), abs=1e-6)


def test_interquartile_mean_of_each_row():
    rows = generator().standard_normal((3, 5, 11))
    each = interquartile_mean(rows)
    assert each.shape == (3, 5)
    for place in np.ndindex(3, 5):
        assert each[place] == pytest.approx(interquartile_mean(rows[place]))


def test_interquartile_mean_does_not_reorder_what_it_is_given():
    values = np.array([5.0, 1.0, 4.0, 2.0, 3.0])
    interquartile_mean(values)
    assert values.tolist() == [5, 1, 4, 2, 3]


@pytest.mark.parametrize("values", [[], 3.0, np.zeros((2, 0))])
def test_interquartile_mean_of_nothing_is_refused(values):
    with pytest.raises(ValueError, match="no values"):
        interquartile_mean(values)


# probability of improvement


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([2], [1], 1),
        ([1], [2], 0),
        ([1], [1], 0.5),
        ([1, 3], [2, 2], 0.5),
        ([1, 2, 3], [2, 0], (0 + 1 + 0.5 + 1 + 1 + 1) / 6),
    ],
)
def test_probability_of_improvement_by_hand(x, y, expected):
    assert probability_of_improvement(x, y) == pytest.approx(expected)


@given(FEW_LEVELS, FEW_LEVELS)
def test_probability_of_improvement_is_the_mean_over_all_pairs(x, y):
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in x for b in y]
    assert probability_of_improvement(x, y) == pytest.approx(plain.fmean(pairs))


@given(FEW_LEVELS, FEW_LEVELS)
def test_one_of_two_improves_on_the_other(x, y):
    both = probability_of_improvement(x, y) + probability_of_improvement(y, x)
    assert both == pytest.approx(1)


# the bootstrap


def enumerated(values, statistic, confidence):
    """Quantiles of a statistic over all n^n resamples, each of them equally likely."""
    all_of_them = np.array(list(itertools.product(values, repeat=len(values))))
    tail = (1 - confidence) / 2
    return np.quantile(statistic(all_of_them), [tail, 1 - tail], method="inverted_cdf")


@pytest.mark.parametrize("statistic", [mean, interquartile_mean, lambda s: s.max(axis=-1)])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_interval_is_that_of_all_possible_resamples(statistic, confidence):
    # 4^4 = 256 resamples: with 200,000 draws no end is between two possible values, unless the
    # cumulated probability of one is within 0.5 % of the tail, which these values avoid
    values = [0.0, 1.0, 3.0, 7.3]
    interval = bootstrap_interval(
        [values], statistic, rng=generator(), resamples=200_000, confidence=confidence
    )
    assert interval == pytest.approx(enumerated(values, statistic, confidence))


def student_t_within(bound, degrees):
    """P(|t| < bound) of Student's t, by Simpson's rule on its density."""
    log_scale = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    t = np.linspace(0, bound, 2001)
    density = math.exp(log_scale) / math.sqrt(degrees * math.pi)
    heights = density * (1 + t**2 / degrees) ** (-(degrees + 1) / 2)
    weights = np.ones(len(t))
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    return 2 * float(weights @ heights) * (t[1] - t[0]) / 3


def coverage_of_a_mean(count):
    """How often the 95 % bootstrap interval of the mean of normal values holds the truth.

    The bootstrap distribution is about normal with the population variance s^2 (n - 1) / n over n,
    so it does when |t| with n - 1 degrees of freedom is below 1.96 sqrt((n - 1) / n).
    """
    return student_t_within(1.959964 * math.sqrt((count - 1) / count), count - 1)


def check_coverage(hits, simulations, least, most):
    """Check that the truth was inside as often as with a probability of `least` to `most`."""
    for bound, side in ((least, -1), (most, 1)):
        doubt = DEVIATIONS * math.sqrt(bound * (1 - bound) / simulations)
        assert side * (hits / simulations - bound) < doubt, (hits, simulations)


@pytest.mark.parametrize("count", [20, 60])
def test_interval_of_a_mean_covers_as_often_as_theory_says(count):
    rng, simulations = generator(count), 1500
    hits = 0
    for _ in range(simulations):
        low, high = bootstrap_interval([rng.standard_normal(count)], mean, rng=rng, resamples=500)
        hits += low <= 0 <= high
    # the ends are interpolated between 500 values: a matter of 1 / 500
    expected = coverage_of_a_mean(count)
    check_coverage(hits, simulations, expected - 1 / 500, expected + 1 / 500)


def test_interval_of_the_interquartile_mean_covers_the_truth():
    # of a symmetric distribution with heavy tails, whose mean has no variance to speak of
    rng, simulations = generator(7), 1500
    hits = 0
    for _ in range(simulations):
        values = rng.standard_t(2, 100)
        low, high = bootstrap_interval([values], interquartile_mean, rng=rng, resamples=500)
        hits += low <= 0 <= high
    check_coverage(hits, simulations, coverage_of_a_mean(50), 0.95)  # half of 100 are averaged


@pytest.mark.parametrize("shift", [pytest.param(0.0, marks=pytest.mark.slow), 1.0])
def test_interval_of_the_probability_of_improvement_covers_the_truth(shift):
    rng, simulations = generator(int(shift)), 1500
    truth = 0.5 * (1 + math.erf(shift / 2))  # P(N(shift, 1) > N(0, 1)) = Phi(shift / sqrt 2)
    hits = 0
    for _ in range(simulations):
        x, y = rng.standard_normal(60) + shift, rng.standard_normal(80)
        low, high = improvement_interval([x], [y], rng=rng, resamples=500)
        hits += low <= truth <= high
    check_coverage(hits, simulations, coverage_of_a_mean(30), 0.95)  # half of the smaller sample


def test_strata_are_resampled_by_themselves():
    # Two tasks far apart: the pooled mean varies with the runs within each (deviation 1 of 100
    # values, 0.1), not with how many of either task were drawn, which would be a deviation of 50.
    rng = generator()
    strata = [rng.standard_normal(50), 1000 + rng.standard_normal(50)]
    expected = math.sqrt(sum(np.var(values) * 50 for values in strata)) / 100
    low, high = bootstrap_interval(strata, mean, rng=rng, resamples=20_000)
    assert high - low == pytest.approx(2 * 1.96 * expected, rel=0.05)
    pooled = bootstrap_interval([np.concatenate(strata)], mean, rng=rng)
    assert pooled.high - pooled.low > 100 * (high - low)


def test_a_stratum_weighs_by_the_number_of_its_values():
    strata = [[0.0, 0.0], [9.0, 9.0, 9.0, 9.0]]
    assert bootstrap_interval(strata, mean, rng=generator()) == (6, 6)


def test_improvement_is_averaged_over_tasks():
    # always better in the one task, never in the other, so there is no doubt
    interval = improvement_interval([[5, 6], [1, 2]], [[1, 2], [5, 6, 7]], rng=generator())
    assert interval == (0.5, 0.5)
    assert improvement_interval([[5, 6]], [[1, 2]], rng=generator()) == (1, 1)


def test_improvement_of_resamples_is_the_one_of_the_definition():
    x, y = generator(1).integers(0, 4, 7), generator(2).integers(0, 4, 5)
    fast = statistics._resampled_improvements(x * 1.0, y * 1.0, 50, generator(3))
    rng = generator(3)
    x_drawn, y_drawn = x[rng.integers(7, size=(50, 7))], y[rng.integers(5, size=(50, 5))]
    slow = [probability_of_improvement(a, b) for a, b in zip(x_drawn, y_drawn, strict=True)]
    assert fast == pytest.approx(slow)


def test_two_policies_that_cannot_be_told_apart_have_a_half_inside():
    values = generator(5).standard_normal(200)
    low, high = improvement_interval([values], [values], rng=generator())
    assert low < 0.5 < high


@pytest.mark.parametrize("chunk", [1, 64, 2**22])
def test_any_size_of_the_pieces_gives_every_resample(monkeypatch, chunk):
    monkeypatch.setattr(statistics, "_CHUNK", chunk)
    seen = []

    def noted(samples):
        seen.append(samples.shape)
        return samples.mean(axis=-1)

    values = generator().standard_normal(10)
    low, high = bootstrap_interval([values], noted, rng=generator(), resamples=100)
    assert sum(rows for rows, _ in seen) == 100
    assert {columns for _, columns in seen} == {10}
    assert low < values.mean() < high
    low, high = improvement_interval([values], [values + 0.1], rng=generator(), resamples=100)
    assert low < probability_of_improvement(values, values + 0.1) < high


def test_same_generator_same_interval_and_another_for_another():
    values = generator().standard_normal(30)
    ends = [bootstrap_interval([values], mean, rng=generator(seed)) for seed in (1, 1, 2)]
    assert ends[0] == ends[1] != ends[2]


@pytest.mark.parametrize(
    "strata", [[], [[]], [[1.0]], [[1.0, 2.0], [3.0]], [[1.0, float("nan")]], [[[1.0], [2.0]]]]
)
def test_values_that_say_nothing_about_doubt_are_refused(strata):
    with pytest.raises(ValueError, match="value"):
        bootstrap_interval(strata, mean, rng=generator())
    with pytest.raises(ValueError, match="value"):
        improvement_interval(strata, strata, rng=generator())


@pytest.mark.parametrize("wrong", [{"resamples": 0}, {"confidence": 0.0}, {"confidence": 1.0}])
def test_no_resamples_and_no_confidence_are_refused(wrong):
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_interval([[1.0, 2.0]], mean, rng=generator(), **wrong)
    with pytest.raises(ValueError, match="between 0 and 1"):
        improvement_interval([[1.0, 2.0]], [[1.0, 2.0]], rng=generator(), **wrong)


def test_different_tasks_are_refused():
    with pytest.raises(ValueError, match="same tasks"):
        improvement_interval([[1.0, 2.0]], [], rng=generator())
