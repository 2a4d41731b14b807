"""Moving averages and deviations, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trpotui.smoothing import moving_average, moving_deviation

# rounded: squares of the tiniest numbers are 0 in the definition, but not in ours
VALUES = arrays.arrays(
    np.float64, st.integers(0, 40), elements=st.floats(-1e6, 1e6).map(lambda value: round(value, 6))
)
WINDOWS = st.integers(0, 12).map(lambda half: 2 * half + 1)


def windows(values, window):
    """The definition: the window of each value, as far as it reaches to both sides."""
    last = len(values) - 1
    for i in range(len(values)):
        half = min((window - 1) // 2, i, last - i)
        yield values[i - half : i + half + 1]


@given(VALUES, WINDOWS)
def test_average_is_the_mean_of_each_window(values, window):
    expected = [part.mean() for part in windows(values, window)]
    assert moving_average(values, window) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(VALUES, WINDOWS)
def test_deviation_is_that_of_each_window(values, window):
    expected = [part.std() for part in windows(values, window)]
    largest = np.abs(values).max(initial=0.0)
    assert moving_deviation(values, window) == pytest.approx(expected, abs=1e-5 * largest)


def test_window_shrinks_alike_at_both_ends():
    values = np.square(np.arange(12.0))
    reach = [0, 1, 2, 3, 4, 4, 4, 4, 3, 2, 1, 0]
    expected = [values[i - k : i + k + 1].mean() for i, k in enumerate(reach)]
    assert moving_average(values, 9) == pytest.approx(expected)
    assert moving_average(values[::-1], 9) == pytest.approx(expected[::-1])


def test_straight_line_stays_as_it_is():
    line = 3.0 - 0.5 * np.arange(50)
    assert moving_average(line, 9) == pytest.approx(line)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_curves_too_short_to_smooth_stay_as_they_are(count):
    values = np.arange(count, dtype=float)
    assert moving_average(values, 9).tolist() == values.tolist()
    assert moving_deviation(values, 9).tolist() == [0.0] * count


def test_long_curve_of_one_value_has_no_deviation():
    values = np.full(100_000, 200.0)
    np.testing.assert_allclose(moving_average(values, 9), values, rtol=1e-12)
    assert moving_deviation(values, 9).max() == 0.0


def test_huge_values_do_not_overflow():
    values = np.array([1e308, -1e308, 1e308])
    assert moving_average(values, 3) == pytest.approx([1e308, 1e308 / 3, 1e308])
    assert moving_deviation(values, 3)[1] == pytest.approx(1e308 / 3 * np.sqrt(8))


@pytest.mark.parametrize("smooth", [moving_average, moving_deviation])
@pytest.mark.parametrize(
    ("values", "window", "said"),
    [
        ([1.0], 2, "odd"),
        ([1.0], 0, "odd"),
        ([1.0], -1, "odd"),
        ([[1.0]], 3, r"\[n\]"),
        ([float("nan")], 3, "finite"),
        ([float("inf")], 3, "finite"),
    ],
)
def test_wrong_arguments_are_refused(smooth, values, window, said):
    with pytest.raises(ValueError, match=said):
        smooth(values, window)
