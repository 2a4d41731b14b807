"""Every action is in the palette, in `?` and in the footer, on every screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from textual.binding import Binding
from textual.events import Resize
from textual.geometry import Size
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, Static
from textual.widgets._footer import FooterKey

from tests import scripted_run
from tests.run_samples import make_run
from tests.tui.setup_app import held_run, until
from trpotui.tui.app import Status, TrpotuiApp
from trpotui.tui.palette import Palette
from trpotui.tui.playing import Playing
from trpotui.tui.screens.enlarged_chart import EnlargedChartScreen
from trpotui.tui.screens.play import PlayScreen
from trpotui.tui.screens.runs import RunsScreen
from trpotui.tui.screens.train import TrainScreen
from trpotui.tui.widgets.chart import Chart
from trpotui.tui.widgets.key_footer import KeyFooter
from trpotui.tui.widgets.run_table import RunTable
from trpotui.tui.widgets.setup import SetupPane

Test = Callable[[Pilot[Any], TrpotuiApp], Awaitable[None]]
WIDE = (250, 60)
pytestmark = pytest.mark.usefixtures("_nothing_drawn")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def drive(test: Test, size: tuple[int, int] = WIDE) -> None:
    """Run `test` on the app, and stop its run afterwards."""

    async def main() -> None:
        app = TrpotuiApp(source=held_run)
        app.load_core = lambda: setattr(app, "core_loaded", True)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: app.core_loaded)
            await pilot.pause()
            try:
                await test(pilot, app)
            finally:
                app.stop_run()
                await until(pilot, lambda: not app.busy)

    asyncio.run(main())


async def training(pilot: Pilot[Any], app: TrpotuiApp) -> type[Screen[Any]]:
    assert pilot.app is app
    assert app.focused is None
    return TrainScreen


async def training_in_the_form(pilot: Pilot[Any], app: TrpotuiApp) -> type[Screen[Any]]:
    """The field takes letters; what they do elsewhere is still in the palette and in `?`."""
    app.screen.query_one(SetupPane).query(Input).first().focus()
    await pilot.pause()
    return TrainScreen


async def enlarged(pilot: Pilot[Any], app: TrpotuiApp) -> type[Screen[Any]]:
    await pilot.press("z")
    await until(pilot, lambda: isinstance(app.screen, EnlargedChartScreen))
    return EnlargedChartScreen


async def playing(pilot: Pilot[Any], app: TrpotuiApp) -> type[Screen[Any]]:
    await pilot.press("p")
    assert isinstance(app.screen, PlayScreen)
    app.screen.stage.playing = Playing(SimpleNamespace(ask=lambda: None, take=lambda: None))
    app.screen.stage.display = True
    app.screen.refresh_bindings()
    return PlayScreen


async def comparing(pilot: Pilot[Any], app: TrpotuiApp) -> type[Screen[Any]]:
    make_run(app.runs, scripted_run.training(5))
    await pilot.press("r")
    await until(pilot, lambda: app.screen.query_one(RunTable).row_count == 1)
    return RunsScreen


STATES = [training, training_in_the_form, enlarged, playing, comparing]


def declared(kind: type[Any]) -> Iterator[Binding]:
    """The bindings of a screen and of the app, as they stand in their classes."""
    for owner in (kind, TrpotuiApp):
        yield from Binding.make_bindings(owner.BINDINGS)


async def in_palette(pilot: Pilot[Any], app: TrpotuiApp) -> set[str]:
    """What the palette of Textual offers, but for its own."""
    entries = {command.title for command in app.get_system_commands(app.screen)}
    await pilot.press("ctrl+p")
    palette = app.screen
    assert isinstance(palette, Palette)
    await until(pilot, lambda: len(palette.query_one("CommandList").options) == len(entries))
    await pilot.press("escape")
    return entries - {"Theme", "Screenshot"}


async def in_help(pilot: Pilot[Any], app: TrpotuiApp) -> dict[str, str]:
    """Meaning to keys."""
    app.action_help()
    await pilot.pause()
    table = app.screen.query(Static)[1].visual._renderable
    keys, texts = (column._cells for column in table.columns)
    await pilot.press("escape")
    return dict(zip((t.plain for t in texts), (k.plain for k in keys), strict=True))


@pytest.mark.parametrize("state", STATES)
def test_every_binding_is_in_the_palette_in_the_help_and_in_a_wide_footer(state):
    async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
        kind = await state(pilot, app)
        assert isinstance(app.screen, kind)
        screen = app.screen
        enabled = {
            binding.tooltip or binding.description
            for owner, node in ((kind, screen), (TrpotuiApp, app))
            for binding in Binding.make_bindings(owner.BINDINGS)
            if node.check_action(binding.action.partition("(")[0], ())
        }
        assert len(enabled) >= 8
        helped = await in_help(pilot, app)
        assert enabled <= set(helped)
        listed = await in_palette(pilot, app)
        for meaning in helped.keys() - {"open the command palette"}:
            ends = (meaning.lower(), f": {meaning.lower()}")
            (title,) = (t for t in listed if t.lower() == ends[0] or t.lower().endswith(ends[1]))
            listed.remove(title)
        assert not listed, "there is nothing in the palette that is not in the help"
        assert app.screen is screen
        for binding in declared(kind):
            if (meaning := binding.tooltip or binding.description) in enabled:
                assert app.get_key_display(binding) in helped[meaning].split()
        if not isinstance(app.focused, Input):  # its letters are its own
            footer = app.screen.query_one(KeyFooter)
            wanted = {
                binding.description
                for owner, node in ((kind, screen), (TrpotuiApp, app))
                for binding in Binding.make_bindings(owner.BINDINGS)
                if node.check_action(binding.action.partition("(")[0], ())
            }
            await until(pilot, lambda: wanted <= {k.description for k in footer.query(FooterKey)})

    drive(test)


@pytest.mark.parametrize("state", [training, enlarged, playing, comparing])
def test_at_80_columns_the_main_actions_are_in_the_footer(state):
    async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
        kind = await state(pilot, app)
        await pilot.pause()
        footer = app.screen.query_one(KeyFooter)
        shown = {
            active.binding.action
            for active in app.screen.active_bindings.values()
            if active.binding.show and active.binding.description
        }
        assert len(shown) >= 2, kind

        def seen() -> set[str]:
            return {
                key.action
                for key in footer.query(FooterKey)
                if key.region.right <= 80 and key.region.width
            }

        await until(pilot, lambda: shown <= seen())

    drive(test, (80, 24))


@pytest.mark.slow
def test_the_palette_does_what_it_says():
    async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
        chart = app.screen.query(Chart).first()
        before = chart.logarithmic
        await pilot.press("ctrl+p", *"logarithmic", "enter")
        await until(pilot, lambda: chart.logarithmic is not before)
        await pilot.press("ctrl+p", *"large", "escape", "escape")
        await pilot.press("ctrl+p", *"startarun", "enter")
        await until(pilot, lambda: app.status is not Status.IDLE)
        await pilot.press("ctrl+p", *"pause", "enter")
        await until(pilot, lambda: app.status is Status.PAUSED)

    drive(test)


@pytest.mark.slow
def test_the_keys_of_a_run_work_on_an_enlarged_chart():
    async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
        await pilot.press("z")
        assert isinstance(app.screen, EnlargedChartScreen)
        await pilot.press("s")
        await until(pilot, lambda: app.busy and app.state.started is not None)
        await pilot.press("space")
        assert app.status is Status.PAUSED
        await pilot.press("space")
        assert app.status is Status.TRAINING
        await pilot.press("full_stop")
        assert app.status is Status.PAUSED
        await pilot.press("s")
        await until(pilot, lambda: not app.busy)
        await pilot.press("z")
        assert isinstance(app.screen, TrainScreen)

    drive(test)


@pytest.mark.parametrize("theme", [False, True])
def test_sizes_that_wait_together_do_not_trap_the_palette(theme):
    async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
        if theme:
            app.action_change_theme()
        else:
            app.action_command_palette()
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, Palette)
        laid_out: list[Size] = []

        def after_layout(screen: Screen[Any]) -> None:
            laid_out.append(screen.size)
            screen.call_later(lambda: None)  # as widgets do: keeps sizes from being taken for one

        screen.screen_layout_refresh_signal.subscribe(screen, after_layout)
        for width in (90, 40):
            screen.post_message(Resize(Size(width, 30), Size(width, 30)))
            screen.call_later(lambda: None)
        await pilot.pause(0.2)
        await until(pilot, lambda: screen.size == app.size)
        assert len(laid_out) < 20

    drive(test, (120, 40))
