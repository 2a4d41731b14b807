"""Curves of bounded size: nothing that matters is lost, and no curve ever changes."""

import itertools
import math
import statistics
import threading
import time
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trpotui.series import CAPACITY, Column, Series

CAPACITIES = st.sampled_from([2, 4, 6, 16])
YS = st.floats(allow_nan=True, allow_infinity=True)
FINITE = st.floats(min_value=-1e300, max_value=1e300)


def points(ys=FINITE, most=80):
    """Points with integer x that never falls."""
    steps = st.lists(st.tuples(st.integers(0, 3), ys), max_size=most)
    return steps.map(
        lambda pairs: list(
            zip(itertools.accumulate(dx for dx, _ in pairs), (y for _, y in pairs), strict=True)
        )
    )


def series_of(pairs, capacity=CAPACITY) -> Series:
    series = Series(capacity)
    for x, y in pairs:
        series = series.appended(x, y)
    return series


def chunks(pairs, sizes):
    """The points again, as many at a time as `sizes` says."""
    rest = iter(pairs)
    return [list(itertools.islice(rest, size)) for size in sizes]


@given(points(YS), CAPACITIES)
def test_every_finite_point_is_in_one_bucket_and_the_others_are_counted(pairs, capacity):
    series = series_of(pairs, capacity)
    kept = [pair for pair in pairs if math.isfinite(pair[1])]
    assert sum(bucket.size for bucket in series.buckets()) == series.count == len(kept)
    assert series.skipped == len(pairs) - len(kept)
    assert series.last == (kept[-1] if kept else None)


@given(points(YS, most=300), CAPACITIES)
def test_the_size_is_bounded(pairs, capacity):
    series = series_of(pairs, capacity)
    assert len(series) == len(series.buckets()) <= capacity
    if series.count >= capacity:
        assert len(series) >= capacity // 2


@given(points(), CAPACITIES)
def test_a_bucket_holds_the_extremes_and_the_mean_of_its_points(pairs, capacity):
    buckets = series_of(pairs, capacity).buckets()
    for bucket, part in zip(buckets, chunks(pairs, [b.size for b in buckets]), strict=True):
        ys = [y for _, y in part]
        assert (bucket.first, bucket.last) == (part[0][0], part[-1][0])
        assert (bucket.low, bucket.high) == (min(ys), max(ys))
        assert (bucket.low_x, bucket.low) in part
        assert (bucket.high_x, bucket.high) in part
        exact = statistics.fmean(y / 1e3 for y in ys) * 1e3  # the sum of 80 may overflow
        assert bucket.mean == pytest.approx(exact, abs=1e-9 * max(map(abs, ys)) + 1e-300)


@given(points(), st.sampled_from([1, 2, 5, 12]))
def test_while_every_point_has_its_bucket_columns_are_exact(pairs, width):
    expected: dict[int, list[float]] = {}
    for x, y in pairs:
        if x <= 4 * width:
            expected.setdefault(min(x // 4, width - 1), []).append(y)
    columns = series_of(pairs).columns(width, 0, 4 * width)
    found = {min(int(column.x // 4), width - 1): column for column in columns}
    assert found.keys() == expected.keys()
    assert len(found) == len(columns)
    for index, ys in expected.items():
        assert (found[index].low, found[index].high) == (min(ys), max(ys))


@given(points(), st.integers(1, 12), CAPACITIES)
def test_every_point_lies_within_its_column_however_few_the_buckets(pairs, width, capacity):
    x_to = 4 * width
    columns = series_of(pairs, capacity).columns(width, 0, x_to)
    by_place = {min(int(column.x // 4), width - 1): column for column in columns}
    for x, y in pairs:
        if x <= x_to:
            column = by_place[min(x // 4, width - 1)]
            assert column.low <= y <= column.high


@given(points(), st.integers(1, 12), CAPACITIES)
def test_columns_are_ordered_within_the_range_and_the_mean_within_the_extremes(
    pairs, width, capacity
):
    columns = series_of(pairs, capacity).columns(width)
    assert len(columns) <= width
    assert bool(columns) == bool(pairs)
    xs = [column.x for column in columns]
    assert xs == sorted(xs)
    assert all(pairs[0][0] <= x <= pairs[-1][0] for x in xs)
    assert all(column.low <= column.mean <= column.high for column in columns)
    if pairs:
        assert min(c.low for c in columns) == min(y for _, y in pairs)
        assert max(c.high for c in columns) == max(y for _, y in pairs)


@given(points(), st.integers(1, 12), CAPACITIES)
@example([(0, 1.0)], 1, 2)
def test_dots_are_points_of_the_curve_and_the_extremes_are_among_them(pairs, width, capacity):
    dots = series_of(pairs, capacity).dots(width)
    assert set(dots) <= set(pairs)
    assert dots == sorted(dots)
    assert len(dots) <= 2 * width
    if pairs:
        ys = [y for _, y in dots]
        assert (min(ys), max(ys)) == (min(y for _, y in pairs), max(y for _, y in pairs))


def test_the_mean_of_a_column_weighs_all_points_alike():
    series = series_of([(x, float(x)) for x in range(11)], capacity=4)
    assert [bucket.size for bucket in series.buckets()] == [4, 4, 3]
    assert series.columns(1) == [Column(5.0, 0.0, pytest.approx(5.0), 10.0)]


def test_a_single_point_is_drawn_where_it_is():
    series = Series().appended(700, 3.0)
    assert series.columns(100) == [(700, 3.0, 3.0, 3.0)]
    assert series.columns(10, 0, 1000) == [(700, 3.0, 3.0, 3.0)]
    assert series.dots(10, 0, 1000) == [(700, 3.0)]
    assert series.columns(10, 701, 1000) == series.dots(10, 701, 1000) == []


def test_a_range_inside_one_bucket_is_drawn_from_it():
    series = series_of([(x, float(x % 2)) for x in range(64)], capacity=2)
    columns = series.columns(4, 10, 11)
    assert [column.x for column in columns] == [10.125, 10.375, 10.625, 10.875]
    assert {(column.low, column.high) for column in columns} == {(0.0, 1.0)}
    assert len(series.columns(4, 10, 10)) == 1


def test_nothing_is_drawn_of_nothing():
    assert Series().columns(10) == Series().dots(10) == Series().buckets() == []
    series = Series().appended(1, math.nan)
    assert (series.columns(10), series.skipped, series.last) == ([], 1, None)
    assert series_of([(1, 1.0), (2, 2.0)]).columns(10, 5, 3) == []


def test_huge_values_do_not_overflow():
    series = series_of([(x, (-1) ** x * 1.7e308) for x in range(9)], capacity=4)
    (column,) = series.columns(1)
    assert (column.low, column.high) == (-1.7e308, 1.7e308)
    assert math.isfinite(column.mean)
    (column,) = series_of([(x, 1.7e308) for x in range(9)], capacity=4).columns(1)
    assert column.mean == pytest.approx(1.7e308)


def test_several_points_at_one_place_may_come_together():
    together = Series().extended(5, [1.0, math.inf, 3.0])
    assert together == series_of([(5, 1.0), (5, math.inf), (5, 3.0)])
    assert together.dots(80) == [(5, 1.0), (5, 3.0)]


def test_x_must_not_fall():
    series = Series().appended(5, 1.0)
    with pytest.raises(ValueError, match="x must not fall: 4 after 5"):
        series.appended(4, 1.0)
    assert series == Series().appended(5, 1.0)


@pytest.mark.parametrize("capacity", [0, -2, 7])
def test_an_impossible_capacity_is_refused(capacity):
    with pytest.raises(ValueError, match="even and positive"):
        Series(capacity)


@pytest.mark.parametrize("draw", [Series().columns, Series().dots])
def test_a_chart_has_at_least_one_column(draw):
    with pytest.raises(ValueError, match="at least 1"):
        draw(0)


@given(st.lists(st.tuples(st.integers(0, 100), FINITE), max_size=60), CAPACITIES)
def test_a_series_never_changes_whatever_grows_out_of_it(choices, capacity):
    history = [[]]
    family = [Series(capacity)]
    for choice, y in choices:
        parent = choice % len(family)
        x = len(history[parent])
        history.append([*history[parent], (x, y)])
        family.append(family[parent].appended(x, y))
    for pairs, series in zip(history, family, strict=True):
        alone = series_of(pairs, capacity)
        assert series == alone
        assert hash(series) == hash(alone)
        assert series.columns(3) == alone.columns(3)
        assert series.dots(3) == alone.dots(3)


def test_series_differ_where_their_points_do():
    pairs = [(x, float(x)) for x in range(40)]
    other = [*pairs[:20], (20, 7.0), *pairs[21:]]
    assert series_of(pairs, 8) == series_of(pairs, 8)
    assert series_of(pairs, 8) != series_of(other, 8)
    assert Series() != "nothing"


def test_a_thread_may_read_while_another_appends():
    latest = [Series(8)]
    stop = threading.Event()
    faults = []

    def read():
        while not stop.is_set():
            series = latest[0]
            buckets = series.buckets()
            if sum(bucket.size for bucket in buckets) != series.count:
                faults.append((series.count, buckets))
            if series.columns(4) and series.columns(1)[0].high != series.count - 1:
                faults.append(series.columns(1))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for x in range(20_000):
            latest[0] = latest[0].appended(x, float(x))
    finally:
        stop.set()
        reader.join()
    assert not faults


def test_memory_does_not_grow_with_the_number_of_points():
    def measured(series, start, stop):
        for x in range(start, stop):
            series = series.appended(x, float(x % 97))
        return series, tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        series, before = measured(Series(64), 0, 1000)
        series, after = measured(series, 1000, 30_000)
    finally:
        tracemalloc.stop()
    assert series.count == 30_000
    assert after - before < 20_000  # 29,000 points are 464,000 bytes


def test_a_point_costs_the_same_however_many_there_are():
    def fastest(times):
        """Seconds of a thousand appends, at best."""
        best, series = math.inf, grown[0]
        for _ in range(times):
            began = time.process_time()
            for x in range(series.count, series.count + 1000):
                series = series.appended(x, 1.0)
            best = min(best, time.process_time() - began)
        grown[0] = series
        return best

    grown = [Series(2**20)]
    early = fastest(10)
    fastest(80)
    assert fastest(10) < 10 * early  # 100 times if appending copied the 100,000 points
