"""Curves of bounded size that grow point by point.

A run of ten million updates must cost no more memory than one of ten thousand, so a `Series` keeps
at most `CAPACITY` buckets, each with its least, mean and greatest value, and joins them two by two
when they are full.

A screen that still reads the state of a moment ago must not see it change, so a series is a value:
`appended` returns a new one and leaves the old as it was. That copies nothing: the new one shares
the storage of the old, which only ever grows at its end, and each knows how much of it is its own.
Grow series in one thread; any thread may read any series that it was handed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import inf, isfinite, nextafter
from operator import mul
from typing import NamedTuple

CAPACITY = 4096
"""Most buckets of a series."""


class Bucket(NamedTuple):
    """Neighbouring points, `size` of them, as what a chart needs to know."""

    first: float
    last: float
    low_x: float
    """Where the least value is; the first place if there are several."""
    low: float
    mean: float
    high_x: float
    high: float
    size: int


class Column(NamedTuple):
    """What a series holds in one column of a chart."""

    x: float  # in the middle of its points; exact where there is one
    low: float
    mean: float
    high: float


# of a bucket; a plain tuple, made for every point, is four times as quick as a named one
_Fields = tuple[float, float, float, float, float, float, float, int]
_FIELDS = ("first", "last", "low_x", "low", "mean", "high_x", "high")


class _Closed:
    """Buckets of `span` points each, field by field.

    Buckets of one point have one x and one y: their fields are the same two arrays.
    """

    __slots__ = (*_FIELDS, "span")

    def __init__(self, span: int) -> None:
        self.span = span
        self.first = self.last = self.low_x = self.high_x = array("d")
        self.low = self.mean = self.high = array("d")

    def copied(self, size: int) -> _Closed:
        """The first `size` buckets, in storage of their own."""
        copy = _Closed(self.span)
        if self.span == 1:
            copy.first = copy.last = copy.low_x = copy.high_x = self.first[:size]
            copy.low = copy.mean = copy.high = self.low[:size]
        else:
            for name in _FIELDS:
                setattr(copy, name, getattr(self, name)[:size])
        return copy

    def append(self, bucket: _Fields) -> None:
        for name, value in zip(_FIELDS, bucket, strict=False):
            getattr(self, name).append(value)

    def halved(self) -> _Closed:
        """Neighbours joined two by two, in storage of their own."""
        half = _Closed(2 * self.span)
        half.first, half.last = self.first[::2], self.last[1::2]
        evens = range(0, len(self.first), 2)
        least = [i + (self.low[i + 1] < self.low[i]) for i in evens]
        most = [i + (self.high[i + 1] > self.high[i]) for i in evens]
        half.low_x = array("d", [self.low_x[i] for i in least])
        half.low = array("d", [self.low[i] for i in least])
        half.high_x = array("d", [self.high_x[i] for i in most])
        half.high = array("d", [self.high[i] for i in most])
        half.mean = array("d", [self.mean[i] / 2 + self.mean[i + 1] / 2 for i in evens])
        return half


class Series:
    """Points (x, y) in the order of x, decimated to at most `capacity` buckets.

    All buckets hold equally many points but the last, which is being filled; the least and the
    greatest value ever appended are always there. Values that are not finite are counted and left
    out: nothing that reads a series meets one.

    Args:
        capacity: most buckets; even.
    """

    __slots__ = ("_capacity", "_closed", "_open", "_size", "count", "last", "skipped")

    def __init__(self, capacity: int = CAPACITY) -> None:
        if capacity < 2 or capacity % 2:
            raise ValueError(f"capacity must be even and positive, got {capacity}")
        self._capacity = capacity
        self._closed = _Closed(1)
        self._size = 0  # of _closed, as far as it is this series' own
        self._open: _Fields | None = None
        self.count = 0
        """Points appended, those skipped not counted."""
        self.skipped = 0
        """Points that were not finite."""
        self.last: tuple[float, float] | None = None
        """The latest point."""

    def appended(self, x: float, y: float) -> Series:
        """This series and one more point.

        Raises:
            ValueError: `x` is less than the one before.
        """
        return self.extended(x, (y,))

    def extended(self, x: float, ys: Iterable[float]) -> Series:
        """This series and more points, all at one `x`; otherwise as `appended`."""
        new = self._shared()
        for y in ys:
            new._add(x, y)
        return new

    def _shared(self) -> Series:
        new = Series.__new__(Series)
        new._capacity = self._capacity
        new._closed = self._closed
        new._size = self._size
        new._open = self._open
        new.count = self.count
        new.skipped = self.skipped
        new.last = self.last
        return new

    def _add(self, x: float, y: float) -> None:
        """Only while nobody else knows this object."""
        if not (isfinite(x) and isfinite(y)):
            self.skipped += 1
            return
        if self.last is not None and x < self.last[0]:
            raise ValueError(f"x must not fall: {x} after {self.last[0]}")
        self.last = (x, y)
        self.count += 1
        closed = self._closed
        if closed.span == 1:
            closed = self._own(closed)
            closed.first.append(x)
            closed.low.append(y)
        else:
            bucket = _joined(self._open, x, y)
            self._open = bucket
            if bucket[-1] < closed.span:
                return
            closed = self._own(closed)
            closed.append(bucket)
            self._open = None
        self._size += 1
        if self._size == self._capacity:
            self._closed = closed.halved()
            self._size //= 2

    def _own(self, closed: _Closed) -> _Closed:
        """Storage that ends where this series ends: a copy if another grew out of the same one."""
        if len(closed.first) != self._size:
            self._closed = closed = closed.copied(self._size)
        return closed

    def buckets(self) -> list[Bucket]:
        """All of it, oldest first."""
        sizes = [self._closed.span] * self._size
        if self._open is not None:
            sizes.append(self._open[-1])
        return list(map(Bucket, *self._fields(*_FIELDS), sizes))

    def columns(
        self, width: int, x_from: float | None = None, x_to: float | None = None
    ) -> list[Column]:
        """What to draw as a line or a band, one entry for each column that holds something.

        Every point of the range lies between `low` and `high` of its column. A bucket that reaches
        over the edge of a column counts in both.

        Args:
            width: columns of equal width over the range.
            x_from: where the range begins; None at the first point.
            x_to: where it ends, itself included; None at the last point.

        Raises:
            ValueError: `width` is less than 1.
        """
        first, last, low, mean, high = self._fields("first", "last", "low", "mean", "high")
        weights = [1.0] * len(first)
        if self._open is not None:
            weights[-1] = self._open[-1] / self._closed.span
        columns: list[Column] = []
        for left, right in pairwise(self._edges(width, x_from, x_to)):
            start, stop = bisect_left(last, left), bisect_left(first, right)
            if start < stop:
                begin, end = max(first[start], left), min(last[stop - 1], right)
                least, most = min(low[start:stop]), max(high[start:stop])
                average = _weighted_mean(mean[start:stop], weights[start:stop])
                average = min(max(average, least), most)  # no rounding past the extremes
                columns.append(Column(begin + (end - begin) / 2, least, average, most))
        return columns

    def dots(
        self, width: int, x_from: float | None = None, x_to: float | None = None
    ) -> list[tuple[float, float]]:
        """What to draw as dots: of each column the least and the greatest point, at their own x.

        The arguments are those of `columns`. At most 2 `width` points, in the order of x, each one
        that was appended.
        """
        low_x, low, high_x, high = self._fields("low_x", "low", "high_x", "high")
        dots: list[tuple[float, float]] = []
        for left, right in pairwise(self._edges(width, x_from, x_to)):
            chosen = set()
            for xs, ys, best in ((low_x, low, min), (high_x, high, max)):
                start = bisect_left(xs, left)
                column = ys[start : bisect_left(xs, right)]
                if column:
                    y = best(column)
                    chosen.add((xs[start + column.index(y)], y))
            dots += sorted(chosen)
        return dots

    def _fields(self, *names: str) -> Iterator[list[float]]:
        """Of all buckets, one list for each name."""
        for name in names:
            field = getattr(self._closed, name)[: self._size].tolist()
            if self._open is not None:
                field.append(self._open[_FIELDS.index(name)])
            yield field

    def _edges(self, width: int, x_from: float | None, x_to: float | None) -> list[float]:
        """Where columns begin, and where the last one ends; nothing where there is none to draw."""
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        if self.last is None:
            return []
        x_from = self._closed.first[0] if x_from is None else x_from
        x_to = self.last[0] if x_to is None else x_to
        if not x_from <= x_to:
            return []
        width = 1 if x_from == x_to else width
        inner = [min(x_from + (x_to - x_from) * i / width, x_to) for i in range(width)]
        return [*inner, nextafter(x_to, inf)]  # a column ends before its right edge

    def __len__(self) -> int:
        """Buckets, the one being filled included."""
        return self._size + (self._open is not None)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Series):
            return NotImplemented
        return self is other or (
            (self.count, self.skipped, self.last) == (other.count, other.skipped, other.last)
            and self.buckets() == other.buckets()
        )

    def __hash__(self) -> int:
        return hash((self.count, self.skipped, self.last))


def _joined(bucket: _Fields | None, x: float, y: float) -> _Fields:
    """A bucket with one more point at its end."""
    if bucket is None:
        return (x, x, x, y, y, x, y, 1)
    first, _, low_x, low, mean, high_x, high, size = bucket
    size += 1
    if y < low:
        low_x, low = x, y
    if y > high:
        high_x, high = x, y
    mean += y / size - mean / size  # the difference of two huge values might overflow
    return (first, x, low_x, low, mean, high_x, high, size)


def _weighted_mean(values: list[float], weights: list[float]) -> float:
    total = sum(weights)
    mean: float = sum(map(mul, values, weights)) / total
    if not isfinite(mean):  # the sum overflowed
        mean = sum(value * (weight / total) for value, weight in zip(values, weights, strict=True))
    return mean
