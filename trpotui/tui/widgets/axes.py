"""Axes of charts: limits that stay where they are while a curve grows, ticks, and short labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
LENGTHS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
LEAST_SPAN = 0.02
"""Of the greatest value: what differs by less looks flat, instead of like a mountain range."""
LEAST_RATIO = 2.0
"""Of the ends of a logarithmic axis."""
MOST_DECADES = 6


class Tick(NamedTuple):
    """A place between 0 and 1, and what is written there."""

    at: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Axis:
    """From `low` to `high`, both included."""

    low: float
    high: float
    ticks: tuple[Tick, ...]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value is between 0 and 1; what lies outside is at the nearer end."""
        return min(max(self._fraction(value), 0.0), 1.0)

    def holds(self, value: float) -> bool:
        """Whether a value lies on the axis."""
        return not (self.below(value) or self.above(value))

    def below(self, value: float) -> bool:
        """Whether a value lies under the lower end, by more than rounding."""
        return self._fraction(value) < -1e-9

    def above(self, value: float) -> bool:
        """Whether a value lies over the upper end, by more than rounding."""
        return self._fraction(value) > 1.0 + 1e-9

    def padded(self, width: int) -> Axis:
        """The same axis, its labels flush right in at least so many cells."""
        width = max(width, max((len(tick.label) for tick in self.ticks), default=0))
        return replace(
            self, ticks=tuple(Tick(tick.at, tick.label.rjust(width)) for tick in self.ticks)
        )

    def _fraction(self, value: float) -> float:
        if self.logarithmic:
            if value <= 0.0:
                return -math.inf
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def linear_axis(low: float, high: float, *, most_ticks: int) -> Axis:
    """An axis that holds both values, with round limits: they move only when a value passes them.

    Args:
        low: the least value, and so on; finite, and their difference too.
        high: the greatest value.
        most_ticks: no more than that; at least 2.
    """
    least = LEAST_SPAN * max(abs(low), abs(high)) or 2.0
    if high - low < least:
        middle = low + (high - low) / 2
        low, high = middle - least / 2, middle + least / 2
    grid = nice_step((high - low) / 8)
    low, high = math.floor(low / grid) * grid, math.ceil(high / grid) * grid
    return _with_ticks(low, high, most_ticks)


def step_axis(
    first: float, last: float, total: float | None, *, ended: bool, most_ticks: int
) -> Axis:
    """The axis of environment steps. It grows in leaps, up to all the steps of the run.

    Args:
        first: where the run, or this part of it, began.
        last: the greatest step so far.
        total: steps to be done; None if that is not known.
        ended: no step will be added, so the axis ends with the last one.
        most_ticks: no more than that; at least 2.
    """
    done = max(last - first, 1.0)
    length = done if ended else nice_length(done)
    if not ended and total is not None and done <= total - first < length:
        length = total - first
    return _with_ticks(first, first + length, most_ticks)


def _with_ticks(low: float, high: float, most_ticks: int) -> Axis:
    """Ticks at round values."""
    step = nice_step((high - low) / most_ticks)
    inside = _multiples(step, low, high)
    while len(inside) > most_ticks:
        step = nice_step(1.01 * step)
        inside = _multiples(step, low, high)
    values = [index * step for index in inside]
    axis = Axis(low=low, high=high, ticks=())
    places = map(axis.place, values)
    return replace(axis, ticks=tuple(map(Tick, places, labels_of(values, step))))


def _multiples(step: float, low: float, high: float) -> range:
    return range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)


def log_axis(low: float, high: float, *, most_ticks: int) -> Axis:
    """A logarithmic axis that holds both values, or the upper `MOST_DECADES` below `high`.

    Args:
        low: the least value, above 0.
        high: the greatest value.
        most_ticks: no more than that; at least 2.
    """
    low = max(low, high * 10.0**-MOST_DECADES, 1e-300)
    if high / low < LEAST_RATIO:
        more = math.sqrt(LEAST_RATIO / (high / low))
        low, high = low / more, high * more
    low, high = _round_down(low), _round_up(high)
    axis = Axis(low=low, high=high, ticks=(), logarithmic=True)
    values = [low, high]
    for candidates in _log_ticks(low, high):
        inside = [value for value in candidates if axis.holds(value)]
        if 2 <= len(inside) <= most_ticks:
            values = inside
            break
    return replace(axis, ticks=tuple(Tick(axis.place(value), number(value)) for value in values))


def _log_ticks(low: float, high: float) -> Iterator[list[float]]:
    """Values to write at a logarithmic axis, the most first."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    yield [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    for stride in (1, 2, 3):
        yield [10.0**decade for decade in decades if decade % stride == 0]


def _round_down(value: float) -> float:
    decade = 10.0 ** math.floor(math.log10(value))
    return max((digit * decade for digit in (1, 2, 5) if digit * decade <= value), default=decade)


def _round_up(value: float) -> float:
    decade = 10.0 ** math.floor(math.log10(value))
    return min(digit * decade for digit in (1, 2, 5, 10) if digit * decade >= value)


def nice_step(least: float) -> float:
    """The least of 1, 2, 2.5, 5, 10, 20, ... and of their tenths that is not under `least`."""
    return _not_under(least, STEPS)


def nice_length(least: float) -> float:
    """As `nice_step`, with more to choose from."""
    return _not_under(least, LENGTHS)


def _not_under(least: float, ladder: tuple[float, ...]) -> float:
    decade = 10.0 ** math.floor(math.log10(least))
    return next((rung * decade for rung in ladder if rung * decade >= least), 10 * decade)


def labels_of(values: list[float], step: float) -> list[str]:
    """The ticks of a linear axis in one unit, with as many digits as tell them apart."""
    greatest = max(map(abs, values), default=0.0)
    if greatest >= 1e15 or 0.0 < greatest < 0.01:
        exponent = math.floor(math.log10(greatest))
        unit, suffix = 10.0**exponent, f"e{exponent}"
    else:
        unit, suffix = next(((unit, sign) for unit, sign in UNITS if greatest >= unit), (1.0, ""))
    digits = min(max(0, -math.floor(math.log10(step / unit) + 1e-9)), 9)
    return [
        _trimmed(f"{value / unit:.{digits + 1}f}") + (suffix if value else "") for value in values
    ]


def _trimmed(text: str) -> str:
    """Without zeros that say nothing; minus zero is zero."""
    text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def number(value: float) -> str:
    """A number in three significant digits and few characters: 0.012, 9.3e-3, 274, 48.2k, 1e30."""
    if not math.isfinite(value):
        return str(value)
    value = float(f"{value:.3g}")
    size = abs(value)
    if value == 0.0:
        return "0"
    if size >= 1e15 or size < 0.01:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{_trimmed(mantissa)}e{int(exponent)}"
    unit, suffix = next(((unit, sign) for unit, sign in UNITS if size >= unit), (1.0, ""))
    return f"{value / unit:.3g}{suffix}"
