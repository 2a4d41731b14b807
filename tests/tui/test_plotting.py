"""From curves to what is drawn of them: axes, labels, and points of the unit square."""

from __future__ import annotations

import math
from itertools import pairwise
from math import inf, nan

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import scripted_run
from trpotui.series import Series
from trpotui.telemetry import Curves, RunState, fold_all
from trpotui.tui.widgets.axes import linear_axis, log_axis, number, step_axis
from trpotui.tui.widgets.chart_subjects import EXPLAINED_VARIANCE, GAIN, KL, RETURN, SUBJECTS
from trpotui.tui.widgets.drawing import ON_DARK, draw, mark_texts
from trpotui.tui.widgets.plotting import Content, Curve, Kind, Layer, Picture, Role, picture

FINITE = st.floats(allow_nan=False, allow_infinity=False)
ANY = st.floats()
TAME = st.floats(-1e100, 1e100)
POSITIVE = st.floats(1e-100, 1e100)
TICKS = st.integers(2, 12)
SIZES = st.tuples(st.integers(0, 60), st.integers(0, 20))


def series(values: list[float], step: float = 1024.0) -> Series:
    """A curve of one value an update."""
    curve = Series(64)
    for update, value in enumerate(values, start=1):
        curve = curve.appended(update * step, value)
    return curve


def drawn(
    values: list[float],
    kind: Kind = Kind.COURSE,
    *,
    width: int = 40,
    height: int = 12,
    logarithmic: bool = False,
    **content: object,
) -> Picture:
    """The picture of one curve."""
    curves = (Curve(series(values), kind, Role.LINE),)
    found = picture(Content(curves=curves, **content), width, height, logarithmic=logarithmic)
    assert isinstance(found, Picture), found
    return found


def layer(found: Picture, role: Role) -> Layer:
    """The one layer of a role."""
    (only,) = [one for one in found.layers if one.role is role]
    return only


def trained(**changes: object) -> RunState:
    """A run of 18 updates, one of them refused."""
    return fold_all(scripted_run.training(18, refused={6}, **changes))


class TestLinearAxis:
    @given(TAME, TAME, TICKS)
    @example(0.0, 0.0, 2)
    @example(500.0, 500.0, 5)
    @example(-5e-324, 0.0, 4)
    @example(1e100, -1e100, 3)
    def test_holds_what_it_is_made_for(self, one, other, most):
        low, high = min(one, other), max(one, other)
        axis = linear_axis(low, high, most_ticks=most)
        assert axis.low < axis.high
        assert axis.holds(low)
        assert axis.holds(high)
        assert len(axis.ticks) <= most
        assert all(0.0 <= tick.at <= 1.0 for tick in axis.ticks)
        assert all(before.at < after.at for before, after in pairwise(axis.ticks))
        assert len({tick.label for tick in axis.ticks}) == len(axis.ticks)

    def test_limits_are_round_and_stay_until_a_value_passes_them(self):
        limits = [linear_axis(9.0, high, most_ticks=4) for high in range(410, 501)]
        assert {(axis.low, axis.high) for axis in limits} == {(0.0, 500.0)}

    def test_what_hardly_differs_looks_flat(self):
        axis = linear_axis(0.6930, 0.6931, most_ticks=4)
        assert axis.place(0.6931) - axis.place(0.6930) < 0.02

    def test_labels_tell_ticks_apart_in_one_unit(self):
        def labels(low, high, most=4):
            return [tick.label for tick in linear_axis(low, high, most_ticks=most).ticks]

        assert labels(0, 500) == ["0", "200", "400"]
        assert labels(0.49, 0.69) == ["0.5", "0.6", "0.7"]
        assert labels(0, 2e6) == ["0", "1M", "2M"]
        assert labels(-1200, -100) == ["-1k", "-0.5k", "0"]
        assert labels(0.0, 0.004) == ["0", "2e-3", "4e-3"]


class TestLogAxis:
    @given(POSITIVE, POSITIVE, TICKS)
    @example(0.01, 0.01, 2)
    def test_holds_what_it_is_made_for(self, one, other, most):
        low, high = min(one, other), max(one, other)
        axis = log_axis(low, high, most_ticks=most)
        assert axis.holds(high)
        assert axis.holds(low) or low < high * 1e-5
        assert 2 <= len(axis.ticks) <= max(most, 2)
        assert all(before.at < after.at for before, after in pairwise(axis.ticks))
        assert len({tick.label for tick in axis.ticks}) == len(axis.ticks)

    def test_labels_are_short(self):
        ticks = log_axis(6e-3, 0.0099, most_ticks=5).ticks
        assert [tick.label for tick in ticks] == ["5e-3", "0.01", "0.02"]
        ticks = log_axis(2e-5, 0.01, most_ticks=4).ticks
        assert [tick.label for tick in ticks] == ["1e-4", "1e-3", "0.01"]

    @given(st.floats(max_value=0.0))
    def test_what_has_no_logarithm_is_at_the_lower_end_and_below(self, value):
        axis = log_axis(1e-4, 1e-2, most_ticks=4)
        assert axis.place(value) == 0.0
        assert axis.below(value)

    def test_a_decade_is_everywhere_as_long(self):
        axis = log_axis(1e-4, 1.0, most_ticks=9)
        assert axis.place(1e-3) == pytest.approx(0.25)
        assert axis.place(1e-1) == pytest.approx(0.75)


class TestStepAxis:
    @given(st.integers(0, 10**12), st.integers(0, 10**12), st.none() | st.integers(1, 10**12))
    def test_holds_the_run(self, first, done, total):
        axis = step_axis(first, first + done, total, ended=False, most_ticks=5)
        assert axis.low == first
        assert axis.holds(first + done)
        assert len(axis.ticks) <= 5

    def test_grows_in_leaps_up_to_the_steps_to_be_done(self):
        ends = [
            step_axis(0, last, 100_000, ended=False, most_ticks=5).high
            for last in range(1024, 100_001, 1024)
        ]
        assert ends == sorted(ends)
        assert len(set(ends)) < 20
        assert ends[-1] == 100_000

    def test_ends_with_the_run(self):
        assert step_axis(0, 19_456, 100_000, ended=True, most_ticks=5).high == 19_456

    def test_labels_are_short(self):
        def labels(first, last):
            axis = step_axis(first, last, None, ended=False, most_ticks=5)
            return [tick.label for tick in axis.ticks]

        assert labels(0, 40_000) == ["0", "10k", "20k", "30k", "40k"]
        assert labels(0, 1_150_000) == ["0", "0.5M", "1M", "1.5M"]
        assert labels(51_200, 61_440) == ["55k", "60k", "65k"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (274.3, "274"),
        (999.9, "1k"),
        (48_213.0, "48.2k"),
        (1_200_000, "1.2M"),
        (0.0123, "0.0123"),
        (0.0093, "9.3e-3"),
        (1e-3, "1e-3"),
        (-1234.0, "-1.23k"),
        (1e30, "1e30"),
        (nan, "nan"),
        (inf, "inf"),
    ],
)
def test_numbers_take_little_room(value, text):
    assert number(value) == text


class TestPicture:
    @settings(max_examples=200)
    @given(
        st.lists(ANY, max_size=40),
        st.sampled_from(Kind),
        SIZES,
        st.booleans(),
        st.tuples(st.none() | FINITE, st.sampled_from([None, -1.0])),
    )
    @example([1e308, -1e308], Kind.COURSE, (40, 12), False, (None, None))
    @example([0.0, -1.0, nan], Kind.COURSE, (40, 12), True, (None, None))
    @example([5e-324], Kind.COURSE, (40, 12), True, (None, None))
    @example([1e30] * 3, Kind.MEAN, (16, 4), False, (None, None))
    def test_whatever_comes_in_lies_in_the_unit_square(
        self, values, kind, size, logarithmic, lines
    ):
        level, floor = lines
        curves = (Curve(series(values), kind, Role.LINE),)
        content = Content(curves=curves, level=level, floor=floor)
        found = picture(content, *size, logarithmic=logarithmic)
        if isinstance(found, str):
            assert found
            return
        assert found.layers
        for one in found.layers:
            assert len(one.xs) == len(one.ys) > 0
            assert all(0.0 <= place <= 1.0 for place in (*one.xs, *one.ys))
            assert len(one.xs) <= 2 * size[0]

    def test_a_long_curve_has_no_more_points_than_a_short_one_may_have(self):
        short = drawn([math.sin(k) for k in range(40)])
        long = drawn([math.sin(k) for k in range(5000)])
        assert len(layer(long, Role.LINE).xs) <= 40
        assert sum(len(one.xs) for one in long.layers) <= 3 * 40
        assert len(layer(short, Role.LINE).xs) >= 20

    def test_too_small_and_empty_say_so(self):
        curves = (Curve(series([1.0, 2.0]), Kind.COURSE, Role.LINE),)
        assert picture(Content(curves=curves), 10, 3, logarithmic=False) == "too small for a chart"
        curves = (Curve(series([nan, inf]), Kind.COURSE, Role.LINE),)
        assert picture(Content(curves=curves), 40, 12, logarithmic=False) == "no data yet"

    def test_nothing_to_take_the_logarithm_of_says_so(self):
        curves = (Curve(series([0.0, -3.0]), Kind.COURSE, Role.LINE),)
        found = picture(Content(curves=curves), 40, 12, logarithmic=True)
        assert found == "nothing above 0 for a logarithmic axis"

    def test_what_is_not_positive_is_marked_at_the_edge_of_a_logarithmic_axis(self):
        found = drawn([0.01, 0.0, 0.02], logarithmic=True)
        (arrow,) = [one for one in found.layers if one.marker == "▼"]
        assert arrow.ys == [0.0]
        assert arrow.xs == [found.x.place(2048.0)]

    def test_one_terrible_value_does_not_flatten_everything(self):
        values = [-1e6, *[0.5 + 0.01 * k for k in range(40)]]
        found = drawn(values, floor=-1.0)
        assert found.y.low == -1.0
        assert found.y.place(0.9) - found.y.place(0.5) > 0.15
        (arrow,) = [one for one in found.layers if one.marker == "▼"]
        assert len(arrow.xs) == 1

    def test_dots_are_only_where_the_line_is_not(self):
        assert {one.role for one in drawn([k / 100 for k in range(100)]).layers} == {Role.LINE}
        spikes = [1.0 + 9.0 * (k == 500) for k in range(1000)]
        found = drawn(spikes)
        dots = layer(found, Role.DOTS)
        assert found.y.place(10.0) in dots.ys

    def test_a_level_is_drawn_across_and_steps_where_it_was_changed(self):
        found = drawn([0.01] * 10 + [0.02] * 10, Kind.LEVEL, total_steps=40 * 1024)
        dashes = layer(found, Role.LIMIT)
        assert dashes.xs[0] == 0.0
        assert dashes.xs[-1] == 1.0
        before = [y for x, y in zip(dashes.xs, dashes.ys, strict=True) if x < 0.3]
        after = [y for x, y in zip(dashes.xs, dashes.ys, strict=True) if x > 0.4]
        assert set(before) == {found.y.place(0.01)}
        assert set(after) == {found.y.place(0.02)}

    def test_marks_are_where_something_was_changed(self):
        found = drawn([1.0] * 20, total_steps=20_480, marks=((10_240, "max_kl = 0.02"),))
        assert found.marks == ((0.5, "max_kl = 0.02"),)

    def test_marks_speak_where_there_is_room_the_latest_first(self):
        marks = ((1000, "gamma = 0.9"), (2000, "gae_lambda = 0.9"), (15_000, "max_kl = 0.02"))
        found = drawn([1.0] * 20, width=80, total_steps=20_480, marks=marks)
        assert [text for _, text in mark_texts(found, 80)] == ["max_kl = 0.02", "gae_lambda = 0.9"]
        assert list(mark_texts(found, 40)) == []

    def test_the_text_of_a_mark_at_the_right_edge_stands_to_its_left(self):
        found = drawn([1.0] * 20, width=80, total_steps=20_480, marks=((20_000, "gamma = 0.9"),))
        ((at, _),) = mark_texts(found, 80)
        assert at < found.marks[0][0] - 10 / 80


class TestSubjects:
    def test_the_return_has_its_line_dots_evaluations_and_threshold(self):
        state = trained()
        found = picture(RETURN.content(state), 86, 13, logarithmic=False)
        assert {one.role for one in found.layers} == {
            Role.LINE,
            Role.DOTS,
            Role.EVALUATION,
            Role.LIMIT,
        }
        assert set(layer(found, Role.LIMIT).ys) == {found.y.place(475.0)}

    def test_refused_steps_stand_at_their_limit(self):
        found = picture(KL.content(trained()), 42, 11, logarithmic=True)
        refused = layer(found, Role.REFUSED)
        assert refused.ys == [found.y.place(scripted_run.MAX_KL)]
        assert refused.xs == [found.x.place(6 * 1024)]

    def test_the_gain_that_was_expected_lies_over_the_one_there_was(self):
        found = picture(GAIN.content(trained()), 42, 11, logarithmic=False)
        assert found.layers[-1].role is Role.SECOND

    def test_explained_variance_is_cut_at_minus_one(self):
        curves = Curves(explained_variance=series([-40.0, 0.2, 0.9]))
        found = picture(
            EXPLAINED_VARIANCE.content(RunState(curves=curves)), 42, 11, logarithmic=False
        )
        assert (found.y.low, found.y.high) == (-1.0, 1.0)

    @pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.short)
    @pytest.mark.parametrize("width", [*range(1, 40), 60, 84, 160])
    def test_titles_fit_and_begin_with_the_name(self, subject, width):
        pieces = subject.title(trained(), width, logarithmic=subject.logarithmic)
        title = "".join(separator + piece.sign + piece.text for piece, separator in pieces)
        assert title.startswith((subject.name, subject.short))
        assert len(title) <= max(width, len(subject.short))

    def test_the_title_of_the_return_says_what_is_what(self):
        state = trained()
        pieces = RETURN.title(state, 82, logarithmic=False)
        title = "".join(separator + piece.sign + piece.text for piece, separator in pieces)
        assert title == (
            f"return ─ ⠒ last 50: {number(state.recent_mean)}  · episodes"
            f"  ◆ evaluations, best {number(state.best.mean)}  ╌ solved at 475"
        )
        pieces = RETURN.title(state, 36, logarithmic=False)
        title = "".join(separator + piece.sign + piece.text for piece, separator in pieces)
        assert title == (
            f"return ─ ⠒ last 50: {number(state.recent_mean)}  ◆ best {number(state.best.mean)}"
        )

    def test_the_title_of_the_kl_counts_refusals(self):
        pieces = KL.title(trained(), 38, logarithmic=True)
        title = "".join(separator + piece.sign + piece.text for piece, separator in pieces)
        assert title == "KL (log) ─ ╌ δ 0.01  ✗ 1 refused"

    def test_what_was_not_changed_is_drawn_alike(self):
        state = trained()
        content = RETURN.content(state)
        assert content.same_as(RETURN.content(state))
        assert not content.same_as(None)
        more = fold_all([scripted_run.episodes_finished(19)], state)
        assert not content.same_as(RETURN.content(more))
        again = trained()  # another run with the very same numbers
        assert not content.same_as(RETURN.content(again))


class TestDrawing:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(ANY, min_size=1, max_size=30), SIZES, st.booleans())
    @example([1e30, -1e30, 5.0], (60, 20), False)
    @example([7.0], (16, 4), False)
    @example([7.0], (17, 5), True)
    def test_a_real_chart_is_as_large_as_asked(self, values, size, logarithmic):
        curves = (
            Curve(series(values), Kind.COURSE, Role.LINE),
            Curve(series(values), Kind.LEVEL, Role.LIMIT),
        )
        content = Content(curves=curves, level=1.0, marks=((1024, "gamma = 0.9"),))
        found = picture(content, *size, logarithmic=logarithmic)
        if isinstance(found, str):
            return
        strips = draw(found, *size, ON_DARK)
        assert len(strips) == size[1]
        assert all(len(strip.text) == strip.cell_length == size[0] for strip in strips)

    def test_signs_tell_apart_what_colours_do(self):
        state = trained()
        found = picture(RETURN.content(state), 86, 13, logarithmic=False)
        text = "\n".join(strip.text for strip in draw(found, 86, 13, ON_DARK))
        assert "◆" in text
        assert "╌" in text
        assert "·" in text
        assert any("\u2801" <= character <= "\u28ff" for character in text)
        found = picture(KL.content(state), 42, 11, logarithmic=True)
        text = "\n".join(strip.text for strip in draw(found, 42, 11, ON_DARK))
        assert "✗" in text
        assert "5e-3" in text

    def test_a_chart_larger_than_the_terminal_is_not_cut(self):
        found = drawn([1.0, 2.0], width=400, height=100)
        assert len(draw(found, 400, 100, ON_DARK)) == 100
