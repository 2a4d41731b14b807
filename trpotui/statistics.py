"""What a handful of scores says, and how sure one can be of it.

Legend: M tasks, N runs of a task, R resamples.

Scores of reinforcement learning are few, skewed and have outliers: a mean and a standard deviation
hide more than they show. These are the estimates that Agarwal et al. 2021 ("Deep Reinforcement
Learning at the Edge of the Statistical Precipice", arXiv 2108.13264) recommend instead.

What counts as one value decides what an interval is about. Episodes of one policy tell how well
that policy plays. How well an *algorithm* learns is told by runs with different seeds, each of
which gives one value (such as the mean over its episodes): the episodes of one run share its luck,
and taking each of them for a value of its own makes an interval far too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]

RESAMPLES = 2000
"""The ends of a 95 % interval then vary from one drawing to the next by some 2 % of its width."""
CONFIDENCE = 0.95
_CHUNK = 2**22
"""Numbers that are held at a time: however many values there are, memory stays small."""


class Interval(NamedTuple):
    """A confidence interval: in 95 of 100 repetitions of everything, the truth is inside."""

    low: float
    high: float


def interquartile_mean(values: ArrayLike) -> Float64:
    """The mean of the middle half: a quarter of the values is left out at either end.

        IQM = mean of x_(k+1), ..., x_(n-k) in ascending order, with k = floor(n / 4)

    As robust against outliers as the median is against a few, but it uses half of the values
    instead of one or two of them, so its intervals are narrower (Agarwal et al. 2021, section 4.3).
    Of fewer than four values it is their mean.

    Args:
        values: [..., n]; any further dimensions are kept.

    Returns:
        [...], in the unit of the values.

    Raises:
        ValueError: there is no value.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim == 0 or numbers.shape[-1] == 0:
        raise ValueError("the mean of no values is not defined")
    count = numbers.shape[-1]
    cut = count // 4
    if cut:
        # only where the middle half begins and ends matters: no need to sort all of it
        numbers = np.partition(numbers, (cut, count - cut - 1), axis=-1)
    middle: Float64 = numbers[..., cut : count - cut].mean(axis=-1)
    return middle


def bootstrap_interval(
    strata: Sequence[ArrayLike],
    statistic: Callable[[Float64], Float64],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """The stratified percentile bootstrap interval of a statistic.

    Values are drawn with replacement, as many as there are, as if the experiment were repeated;
    the quantiles (1 - c) / 2 and (1 + c) / 2 of the statistic over R such repetitions are the
    interval. Each stratum is drawn from by itself and all are pooled: a repeated experiment would
    have the same tasks again, so the differences between tasks are no uncertainty (Agarwal et al.
    2021, section 4.1). With few values the interval is somewhat too narrow: of the mean of ten
    normal ones it holds the truth in about 90 of 100 cases instead of 95.

    Args:
        strata: M arrays of values, one for each task; `[values]` when there is just one.
        statistic: of the pooled values, [R, n] to [R], such as `interquartile_mean`.
        rng: source of the resamples.
        resamples: R.
        confidence: c, between 0 and 1.

    Raises:
        ValueError: a stratum has fewer than two values, from which nothing can be said about what
            else it could have had, or one that is not finite.
    """
    arrays = _checked(strata)
    _check_resampling(resamples, confidence)
    size = sum(map(len, arrays))
    results = [
        statistic(np.concatenate([_resample(values, rows, rng) for values in arrays], axis=1))
        for rows in _chunks(resamples, size)
    ]
    return _percentiles(np.concatenate(results), confidence)


def probability_of_improvement(x: ArrayLike, y: ArrayLike) -> float:
    """How likely a value of X is above one of Y: P(X > Y) + P(X = Y) / 2.

        P = 1 / (n m) * sum_i sum_j ([x_i > y_j] + [x_i = y_j] / 2)

    the statistic of Mann and Whitney (1947). It says how often X is better and not by how much: 0.5
    is no difference, 1 is better every time (Agarwal et al. 2021, section 4.3).

    Args:
        x: [n] values.
        y: [m] values, of the same task.

    Raises:
        ValueError: one of them is empty, or holds a value that is not finite.
    """
    better, worse = (_checked_values(values, least=1) for values in (x, y))
    below = np.searchsorted(np.sort(worse), better, side="left")
    up_to = np.searchsorted(np.sort(worse), better, side="right")
    return float((below + up_to).sum() / (2 * better.size * worse.size))


def improvement_interval(
    x: Sequence[ArrayLike],
    y: Sequence[ArrayLike],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """The stratified percentile bootstrap interval of the average probability of improvement.

        P = 1 / M * sum_m P(X_m > Y_m) + P(X_m = Y_m) / 2

    Args:
        x: values of the one, an array [n_m] for each of M tasks; `[values]` when there is just one.
        y: values of the other in the same tasks, [m_m] each; drawn independently of `x`.
        rng: source of the resamples.
        resamples: R.
        confidence: between 0 and 1.

    Raises:
        ValueError: the numbers of tasks differ, or the values are not as in `bootstrap_interval`.
    """
    if len(x) != len(y):
        raise ValueError(f"expected the same tasks twice, got {len(x)} and {len(y)}")
    _check_resampling(resamples, confidence)
    total = np.zeros(resamples)
    for better, worse in zip(_checked(x), _checked(y), strict=True):
        total += _resampled_improvements(better, worse, resamples, rng)
    return _percentiles(total / len(x), confidence)


def _resampled_improvements(
    x: Float64, y: Float64, resamples: int, rng: np.random.Generator
) -> Float64:
    """Probabilities of improvement [R] of resampled x and y.

    By counting how often each distinct value was drawn: every pair would cost n m per resample.
    """
    levels, index = np.unique(np.concatenate([x, y]), return_inverse=True)
    x_levels, y_levels = index[: len(x)], index[len(x) :]
    results = []
    for rows in _chunks(resamples, len(index) + len(levels)):
        x_counts = _resampled_counts(x_levels, len(levels), rows, rng)
        y_counts = _resampled_counts(y_levels, len(levels), rows, rng)
        below = np.cumsum(y_counts, axis=1) - y_counts  # of y, below each level
        results.append((x_counts * (below + 0.5 * y_counts)).sum(axis=1))
    return np.concatenate(results) / (len(x) * len(y))


def _resampled_counts(
    levels: NDArray[np.intp], count: int, rows: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """How often each of `count` levels is drawn in resamples of `levels` [rows, count]."""
    drawn = levels[rng.integers(len(levels), size=(rows, len(levels)))]
    flat = (drawn + count * np.arange(rows)[:, None]).reshape(-1)
    return np.bincount(flat, minlength=rows * count).reshape(rows, count)


def _resample(values: Float64, rows: int, rng: np.random.Generator) -> Float64:
    """`rows` draws of as many values as there are, with replacement [rows, n]."""
    drawn: Float64 = values[rng.integers(len(values), size=(rows, len(values)))]
    return drawn


def _chunks(resamples: int, size: int) -> Iterator[int]:
    """Numbers of resamples of `size` numbers each that are drawn at a time."""
    most = max(1, _CHUNK // size)
    for start in range(0, resamples, most):
        yield min(most, resamples - start)


def _percentiles(results: Float64, confidence: float) -> Interval:
    low, high = np.quantile(results, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def _check_resampling(resamples: int, confidence: float) -> None:
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError("there must be resamples, and a confidence between 0 and 1")


def _checked(strata: Sequence[ArrayLike]) -> list[Float64]:
    if len(strata) == 0:
        raise ValueError("there are no values")
    return [_checked_values(values, least=2) for values in strata]


def _checked_values(values: ArrayLike, *, least: int) -> Float64:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or len(numbers) < least:
        raise ValueError(f"expected an array of {least} values or more, got {numbers.shape}")
    if not np.isfinite(numbers).all():
        raise ValueError("a value is not finite")
    return numbers
