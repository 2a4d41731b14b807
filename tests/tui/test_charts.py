"""The charts on a screen: what is drawn when, who gets which place, what keys and mouse do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.screen import ModalScreen

import trpotui.tui
from tests import scripted_run
from trpotui.events import HyperparametersChanged
from trpotui.telemetry import RunState, fold_all
from trpotui.tui.app import TrpotuiApp
from trpotui.tui.screens.enlarged_chart import EnlargedChartScreen
from trpotui.tui.widgets.chart import Chart
from trpotui.tui.widgets.charts import ChartPane

TRAINED = fold_all(scripted_run.training(18, refused={6}))


class PaneApp(App[None]):
    """Nothing but the charts."""

    CSS_PATH = Path(trpotui.tui.__file__).parent / "styles" / "charts.tcss"

    def compose(self):
        yield ChartPane()


def more(state: RunState, update: int) -> RunState:
    """The state after one more update."""
    events = (scripted_run.episodes_finished(update), scripted_run.update_finished(update))
    return fold_all(events, state)


def on_charts(
    check: Callable[[Pilot[None], ChartPane], Awaitable[None]],
    size: tuple[int, int] = (88, 28),
    state: RunState | None = TRAINED,
) -> None:
    """Run a check on a pane that shows a state."""

    async def run() -> None:
        async with PaneApp().run_test(size=size) as pilot:
            await pilot.pause()
            pane = pilot.app.screen.query_one(ChartPane)
            if state is not None:
                pane.show(state)
            await check(pilot, pane)

    asyncio.run(run())


def in_app(check: Callable[[Pilot[int]], Awaitable[None]], size: tuple[int, int] = (120, 40)):
    """Run a check in the app, whose run is a state that does not grow by itself."""

    async def run() -> None:
        app = TrpotuiApp(source=lambda _session: iter(()))
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            app.state = TRAINED
            app.screen.show(TRAINED)
            await check(pilot)

    asyncio.run(run())


def shown(pane: ChartPane) -> list[Chart]:
    return [chart for chart in pane.query(Chart) if chart.display]


def text(chart: Chart) -> str:
    return "\n".join(chart.render_line(y).text for y in range(chart.size.height))


def title(chart: Chart) -> str:
    return chart._border_title.plain


class TestDrawing:
    def test_charts_show_the_run(self):
        async def check(_pilot, pane):
            returns, kl, _ = shown(pane)
            assert "◆" in text(returns)
            assert "solved at 475" in title(returns)
            assert "✗" in text(kl)
            assert "0.01┤" in text(kl)
            assert title(kl) == "KL (log) ─ ╌ δ 0.01  ✗ 1 refused"

        on_charts(check)

    @pytest.mark.parametrize("size", [(88, 28), (80, 16), (30, 8), (168, 43)])
    def test_no_title_is_cut(self, size):
        async def check(pilot, _pane):
            frame = pilot.app.screen._compositor.render_strips()
            screen = "\n".join(strip.text for strip in frame)
            assert "return" in screen
            assert "…" not in screen

        on_charts(check, size=size)

    def test_before_a_run_they_say_that_there_is_nothing(self):
        async def check(_pilot, pane):
            assert all(text(chart).split() == ["no", "data", "yet"] for chart in shown(pane))

        on_charts(check, state=None)

    def test_what_did_not_change_is_not_drawn_again(self):
        async def check(pilot, pane):
            before = [chart.draws for chart in shown(pane)]
            pane.show(TRAINED)
            for chart in shown(pane):
                chart.refresh()
            await pilot.pause()
            assert [chart.draws for chart in shown(pane)] == before
            pane.show(more(TRAINED, 19))
            assert [chart.draws for chart in shown(pane)] == [draws + 1 for draws in before]

        on_charts(check)

    def test_another_run_with_the_same_numbers_is_drawn(self):
        async def check(_pilot, pane):
            before = [chart.draws for chart in shown(pane)]
            pane.show(fold_all(scripted_run.training(18, refused={6})))
            assert [chart.draws for chart in shown(pane)] == [draws + 1 for draws in before]

        on_charts(check)

    def test_charts_without_a_place_are_never_drawn(self):
        async def check(_pilot, pane):
            hidden = [chart for chart in pane.query(Chart) if not chart.display]
            before = [chart.draws for chart in hidden]
            pane.show(more(TRAINED, 19))
            assert len(hidden) == 4
            assert [chart.draws for chart in hidden] == before

        on_charts(check)

    def test_hidden_charts_wait_until_they_are_seen(self):
        async def check(pilot, pane):
            before = [chart.draws for chart in shown(pane)]
            pane.display = False
            await pilot.pause()
            pane.show(more(TRAINED, 19))
            assert [chart.draws for chart in shown(pane)] == before
            pane.display = True
            await pilot.pause()
            assert [chart.draws for chart in shown(pane)] == [draws + 1 for draws in before]

        on_charts(check)

    def test_covered_charts_wait_until_they_are_seen(self):
        async def check(pilot, pane):
            before = [chart.draws for chart in shown(pane)]
            await pilot.app.push_screen(ModalScreen())
            pane.show(more(TRAINED, 19))
            assert [chart.draws for chart in shown(pane)] == before
            await pilot.app.pop_screen()
            await pilot.pause()
            assert [chart.draws for chart in shown(pane)] == [draws + 1 for draws in before]
            now = more(TRAINED, 19)
            assert f"last 50: {now.recent_mean:.0f}" in title(shown(pane)[0])

        on_charts(check)

    def test_behind_a_dialog_they_follow_the_size_of_the_terminal(self):
        async def check(pilot, pane):
            await pilot.app.push_screen(ModalScreen())
            await pilot.resize_terminal(100, 30)
            await pilot.pause()
            widths = {strip.cell_length for chart in shown(pane) for strip in chart._strips}
            assert widths == {chart.size.width for chart in shown(pane)} == {98, 48}

        on_charts(check)

    def test_colours_follow_the_theme(self):
        async def check(pilot, pane):
            def colours():
                lines = [shown(pane)[1].render_line(y) for y in range(11)]
                return {segment.style.color for line in lines for segment in line if segment.style}

            pilot.app.theme = "textual-dark"
            await pilot.pause()
            dark = colours()
            pilot.app.theme = "textual-light"
            await pilot.pause()
            assert len(dark) == len(colours()) >= 4
            assert not dark & colours()

        on_charts(check)

    def test_changes_by_hand_are_marked(self):
        async def check(_pilot, pane):
            before = text(shown(pane)[0])
            pane.show(fold_all([HyperparametersChanged(update=18, values={"gamma": 0.9})], TRAINED))
            after = text(shown(pane)[0])
            assert "gamma = 0.9" in after
            assert after.count("│") > before.count("│")

        on_charts(check)

    @pytest.mark.parametrize("size", [(1, 1), (10, 3), (3, 40), (200, 2), (24, 6), (20, 80)])
    def test_no_size_is_too_small(self, size):
        async def check(pilot, pane):
            pane.show(more(TRAINED, 19))
            await pilot.pause()
            assert shown(pane)
            for chart in shown(pane):
                assert all(
                    chart.render_line(y).cell_length == chart.size.width
                    for y in range(chart.size.height)
                )

        on_charts(check, size=size)

    def test_a_run_that_goes_wrong_is_drawn(self):
        async def check(pilot, pane):
            assert text(shown(pane)[0]).split() == ["no", "data", "yet"]
            for _ in range(5):
                assert "┤" in text(shown(pane)[-1])
                pane.switch(1)
                await pilot.pause()

        on_charts(check, state=fold_all(scripted_run.unhealthy(30)))


class TestRoom:
    @pytest.mark.parametrize(
        ("size", "names"),
        [
            ((30, 8), ["return"]),
            ((80, 16), ["return", "KL"]),
            ((88, 28), ["return", "KL", "entropy"]),
            ((88, 43), ["return", "KL", "entropy", "expl. var.", "value loss"]),
            (
                (168, 43),
                ["return", "KL", "entropy", "expl. var.", "value loss", "gain", "steps/s"],
            ),
        ],
    )
    def test_there_are_as_many_charts_as_fit(self, size, names):
        async def check(_pilot, pane):
            assert [chart.subject.short for chart in shown(pane)] == names
            assert all(chart.draws for chart in shown(pane))

        on_charts(check, size=size)

    def test_the_return_is_as_wide_as_the_pane(self):
        async def check(_pilot, pane):
            returns, kl, other = shown(pane)
            assert returns.outer_size.width == 88
            assert kl.outer_size.width == other.outer_size.width == 44
            assert returns.outer_size.height > kl.outer_size.height

        on_charts(check)

    def test_charts_follow_the_size_of_the_terminal(self):
        async def check(pilot, pane):
            await pilot.resize_terminal(80, 16)
            await pilot.pause()
            assert [chart.subject.short for chart in shown(pane)] == ["return", "KL"]
            await pilot.resize_terminal(168, 43)
            await pilot.pause()
            assert len(shown(pane)) == 7
            assert all("┤" in text(chart) for chart in shown(pane))

        on_charts(check)


class TestKeysAndMouse:
    def test_brackets_turn_the_last_chart(self):
        async def check(pilot):
            pane = pilot.app.screen.query_one(ChartPane)
            names = []
            for key in ["right_square_bracket"] * 5 + ["left_square_bracket"]:
                await pilot.press(key)
                names.append(shown(pane)[-1].subject.short)
            assert names == ["expl. var.", "value loss", "gain", "steps/s", "entropy", "steps/s"]
            assert "┤" in text(shown(pane)[-1])

        in_app(check)

    def test_on_a_low_screen_they_turn_the_second(self):
        async def check(pilot, pane):
            pane.switch(1)
            await pilot.pause()
            assert [chart.subject.short for chart in shown(pane)] == ["return", "entropy"]
            pane.switch(-1)
            assert [chart.subject.short for chart in shown(pane)] == ["return", "KL"]

        on_charts(check, size=(80, 16))

    def test_a_click_on_a_title_turns_the_chart(self):
        async def check(pilot, pane):
            chart = shown(pane)[-1]
            assert title(chart).startswith("‹ entropy ›")
            await pilot.click(chart, offset=(8, 0))
            assert title(chart).startswith("‹ explained variance ›")
            await pilot.click(chart, offset=(2, 0))
            assert title(chart).startswith("‹ entropy ›")

        on_charts(check)

    def test_l_changes_the_axis_of_the_chart_that_has_the_focus(self):
        async def check(pilot, pane):
            _, kl, _ = shown(pane)
            kl.focus()
            before = text(kl)
            assert "5e-3┤" in before
            await pilot.press("l")
            assert not kl.logarithmic
            assert "(log)" not in title(kl)
            assert "5e-3┤" not in text(kl)
            await pilot.press("l")
            assert "(log)" in title(kl)
            assert text(kl) == before

        on_charts(check)

    def test_l_without_focus_is_for_the_chart_that_had_it_last(self):
        async def check(pilot):
            pane = pilot.app.screen.query_one(ChartPane)
            returns, kl, _ = shown(pane)
            await pilot.press("l")
            assert returns.logarithmic
            kl.focus()
            await pilot.pause()
            pilot.app.screen.set_focus(None)
            await pilot.press("l")
            assert not kl.logarithmic

        in_app(check)

    def test_the_mouse_changes_the_axis(self):
        async def check(pilot, pane):
            _, kl, _ = shown(pane)
            await pilot.hover(kl)
            await pilot.pause()
            assert kl._border_subtitle.plain == "linear axis · enlarge"
            row, width = kl.outer_size.height - 1, kl.outer_size.width
            await pilot.click(kl, offset=(width - 3 - len("axis · enlarge"), row))
            assert not kl.logarithmic

        on_charts(check)


class TestEnlarged:
    def test_there_are_three_ways_in_and_out(self):
        async def check(pilot):
            kl = shown(pilot.app.screen.query_one(ChartPane))[1]
            kl.focus()
            ways = [
                lambda _chart: pilot.press("enter"),
                lambda chart: pilot.click(chart, offset=(20, 5), times=2),
                lambda _chart: pilot.press("z"),
            ]
            for go in ways:
                await go(kl)
                await pilot.pause()
                assert isinstance(pilot.app.screen, EnlargedChartScreen)
                chart = pilot.app.screen.query_one(Chart)
                assert chart.subject.name == "KL per update"
                assert chart.size.width > 110
                assert "✗" in text(chart)
                await go(chart)
                await pilot.pause()
                assert not isinstance(pilot.app.screen, EnlargedChartScreen)

        in_app(check)

    def test_it_stays_live_while_the_charts_below_rest(self):
        async def check(pilot):
            train = pilot.app.screen
            below = shown(train.query_one(ChartPane))
            await pilot.press("z")
            await pilot.pause()
            chart = pilot.app.screen.query_one(Chart)
            draws, resting = chart.draws, [one.draws for one in below]
            for update in range(19, 22):
                pilot.app.state = more(pilot.app.state, update)
                train.show(pilot.app.state)
            assert chart.draws == draws + 3
            assert [one.draws for one in below] == resting
            await pilot.press("escape")
            await pilot.pause()
            assert [one.draws for one in below] == [one + 1 for one in resting]

        in_app(check)

    def test_it_turns_to_every_subject_and_keeps_the_axis_that_was_chosen(self):
        async def check(pilot):
            train = pilot.app.screen
            await pilot.press("z")
            await pilot.pause()
            chart = pilot.app.screen.query_one(Chart)
            seen = []
            for _ in range(7):
                await pilot.press("right_square_bracket")
                seen.append(chart.subject.short)
            assert len(set(seen)) == 7
            assert seen[-1] == "return"
            await pilot.press("l", "escape")
            await pilot.pause()
            assert title(shown(train.query_one(ChartPane))[0]).startswith("return (log)")

        in_app(check)


def test_the_first_frame_does_not_wait_for_plotext():
    code = "import sys, trpotui.tui.app; print('plotext' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert result.stdout.strip() == "False"
