"""Noisy curves, averaged over a window that moves along them.

Legend: n values, w of them in a full window.

The window of a value is centred on it and reaches equally far to both sides, so the curve is not
shifted. Near an end it shrinks to what there is on the shorter side: with w = 9, windows of 1, 3,
5, 7, 9, 9, ..., 9, 7, 5, 3 and 1 values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]


def moving_average(values: ArrayLike, window: int) -> Float64:
    """The mean of each value's window.

        m_i = mean(x_(i-k), ..., x_(i+k)),  k = min((w - 1) / 2, i, n - 1 - i)

    Args:
        values: [n]; finite.
        window: w, odd.

    Returns:
        [n], in the unit of the values.

    Raises:
        ValueError: the window is even or less than 1, or the values are not [n] and finite.
    """
    scaled, scale = _scaled(values)
    return _window_means(scaled, _half_widths(len(scaled), window)) * scale


def moving_deviation(values: ArrayLike, window: int) -> Float64:
    """The standard deviation within each value's window.

        s_i = sqrt(mean over its window of (x_j - m_i)^2)

    with the window and mean m_i of `moving_average`, whose arguments and errors it shares. It is 0
    at both ends, where the window is one value. From sums that run along all values, so the time
    does not grow with w; rounding is below 1e-5 of the largest value's distance from the mean.

    Returns:
        [n], in the unit of the values.
    """
    scaled, scale = _scaled(values)
    half_widths = _half_widths(len(scaled), window)
    if len(scaled):
        scaled = scaled - scaled.mean()  # what all have in common would only cost digits
    means = _window_means(scaled, half_widths)
    variances = _window_means(np.square(scaled), half_widths) - np.square(means)
    variances[half_widths == 0] = 0.0
    deviations: Float64 = np.sqrt(np.maximum(variances, 0.0)) * scale
    return deviations


def _scaled(values: ArrayLike) -> tuple[Float64, float]:
    """Values [n] of at most 1, whose squares cannot overflow, and what they were divided by.

    Raises:
        ValueError: they are not [n], or not finite.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1:
        raise ValueError(f"values must be [n], got {list(numbers.shape)}")
    if not np.isfinite(numbers).all():
        raise ValueError("a value is not finite")
    scale = float(np.abs(numbers).max(initial=0.0)) or 1.0
    return numbers / scale, scale


def _half_widths(count: int, window: int) -> NDArray[np.intp]:
    """k [n]: how far the window of each value reaches to either side."""
    if window < 1 or window % 2 == 0:
        raise ValueError(f"the window must be odd and at least 1, got {window}")
    index = np.arange(count)
    return np.minimum(np.minimum(index, index[::-1]), window // 2)


def _window_means(values: Float64, half_widths: NDArray[np.intp]) -> Float64:
    """Means [n] over windows, each from the difference of two running sums."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    totals = sums[index + half_widths + 1] - sums[index - half_widths]
    means: Float64 = totals / (2 * half_widths + 1)
    return means
