"""What is done so that the screen is there early, and answers and draws at a small price."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pyte
import pytest
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key, MouseMove
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets._footer import FooterKey

from trpotui.rl.control import Interrupted
from trpotui.tui import core, drawing_budget, giving_way
from trpotui.tui.app import TrpotuiApp
from trpotui.tui.drawing_budget import DrawingBudget
from trpotui.tui.giving_way import GivingWay
from trpotui.tui.screens.help import HelpScreen
from trpotui.tui.terminal_driver import lasting

PATIENCE = 60.0
"""Seconds after which what should have happened counts as never happening."""


class Shown:
    """What an app showed: every update, and the text on the screen after it."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.updates: list[CompositorUpdate] = []
        self.texts: list[str] = []
        self._screen = pyte.Screen(*size)
        self._stream = pyte.Stream(self._screen)

    def add(self, app: App[Any], update: CompositorUpdate) -> None:
        self._stream.feed(update.render_segments(app.console))
        self.updates.append(update)
        self.texts.append("\n".join(self._screen.display))


def look_at(
    test: Callable[[Pilot[int], TrpotuiApp, Shown], Any],
    monkeypatch: pytest.MonkeyPatch,
    *,
    size: tuple[int, int] = (120, 40),
) -> Shown:
    """Run `test` on an app that loads no core; what was shown all the while."""
    shown = Shown(size)
    display = App._display

    def record(app: App[Any], screen: Screen[Any], renderable: Any) -> None:
        if isinstance(renderable, CompositorUpdate) and not app._batch_count:
            shown.add(app, renderable)
        display(app, screen, renderable)

    monkeypatch.setattr(App, "_display", record)
    monkeypatch.setattr(TrpotuiApp, "load_core", lambda _app: None)

    async def main() -> None:
        app = TrpotuiApp()
        async with app.run_test(size=size) as pilot:
            await settle(pilot, shown)
            await test(pilot, app, shown)

    asyncio.run(main())
    return shown


async def settle(
    pilot: Pilot[int], shown: Shown, ready: Callable[[], object] = lambda: True
) -> None:
    """Wait until something is shown, all is ready, and a few refreshes have brought nothing new."""
    give_up = time.monotonic() + PATIENCE
    quiet = 0
    while quiet < 5:
        assert time.monotonic() < give_up, "the screen never comes to rest"
        before = len(shown.updates)
        await pilot.pause()
        pilot.app.screen._on_timer_update()
        still = before and len(shown.updates) == before and ready()
        quiet = quiet + 1 if still else 0


class TestFirstFrame:
    @pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
    def test_what_is_shown_first_is_the_whole_frame_as_it_stays(self, size, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)

        async def test(*_):
            pass

        texts = look_at(test, monkeypatch, size=size).texts
        assert "no data yet" in texts[0]
        assert "quit" in texts[0]
        assert [text for text in texts if text != texts[0]] == []

    def test_the_keys_below_are_made_once_for_it(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        made: list[FooterKey] = []

        def on_mount(key: FooterKey) -> None:
            made.append(key)

        monkeypatch.setattr(FooterKey, "on_mount", on_mount, raising=False)

        async def test(_pilot, app, _shown):
            assert made == list(app.screen.query(FooterKey))

        look_at(test, monkeypatch)

    def test_no_widget_is_styled_twice_for_it(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        restyled: list[int] = []
        update_nodes = Stylesheet.update_nodes

        def record(sheet: Stylesheet, nodes: Iterable[DOMNode], animate: bool = False) -> None:
            nodes = list(nodes)
            restyled.append(len(nodes))
            update_nodes(sheet, nodes, animate)

        monkeypatch.setattr(Stylesheet, "update_nodes", record)

        async def test(_pilot, app, _shown):
            assert max(restyled) < len(app.screen.query("*")) / 2

        look_at(test, monkeypatch)

    def test_a_chart_is_never_shown_in_the_size_it_had(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)

        async def test(pilot, app, shown):
            before = len(shown.texts)
            await pilot.resize_terminal(116, 40)
            await settle(pilot, shown, lambda: app.screen.size.width == 116)
            first, *_, last = (text.splitlines() for text in shown.texts[before:])
            assert [line[:116] for line in first] == [line[:116] for line in last]

        look_at(test, monkeypatch)

    def test_it_waits_for_nothing_that_is_not_on_it(self):
        names = [
            "screens.play",
            "screens.runs",
            "widgets.policy_view",
            "screens.environment_picker",
        ]
        code = "import sys, trpotui.tui.app; print(*sys.modules)"
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert not {f"trpotui.tui.{name}" for name in names} & set(result.stdout.split())


class TestGarbage:
    @pytest.fixture
    def frozen(self, monkeypatch):
        """The times that garbage was told from what is there for good."""
        calls: list[bool] = []
        monkeypatch.setattr(gc, "freeze", lambda: calls.append(gc.isenabled()))
        yield calls
        gc.enable()

    def test_what_was_imported_is_never_looked_at(self, frozen):
        gc.disable()
        core.load_core()
        assert frozen == [False]
        assert gc.isenabled()

    @pytest.mark.usefixtures("frozen")
    def test_it_is_looked_for_again_though_an_import_fails(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "textual_plotext", None)
        gc.disable()
        with pytest.raises(ImportError):
            core.load_core()
        assert gc.isenabled()

    def test_where_nobody_held_it_off_nothing_changes(self, frozen):
        core.load_core()
        assert frozen == []
        assert gc.isenabled()


class TestGivingWay:
    def test_a_run_waits_until_a_key_is_answered(self, monkeypatch):
        monkeypatch.setattr(giving_way, "LONGEST_SECONDS", 10 * PATIENCE)
        way = GivingWay()
        way.ask()
        learner = threading.Thread(target=way.wait, daemon=True)
        learner.start()
        learner.join(0.05)
        assert learner.is_alive()
        way.shown()
        learner.join(PATIENCE)
        assert not learner.is_alive()

    def test_but_not_for_long_and_once_for_each_key(self, monkeypatch):
        way = GivingWay()
        monkeypatch.setattr(giving_way, "LONGEST_SECONDS", 0.01)
        way.ask()
        began = time.monotonic()
        way.wait()
        assert time.monotonic() - began >= 0.01
        monkeypatch.setattr(way, "_until", began + PATIENCE)
        way.wait()
        assert time.monotonic() - began < PATIENCE

    def test_where_nothing_was_pressed_it_does_not_wait(self):
        way = GivingWay()
        way._until = time.monotonic() + PATIENCE
        began = time.monotonic()
        way.wait()
        assert time.monotonic() - began < PATIENCE / 2

    def test_a_control_gives_way_wherever_it_looks_whether_to_stop(self, monkeypatch):
        waits = []
        monkeypatch.setattr(GivingWay, "wait", lambda _way: waits.append(True))
        control = GivingWay().control()
        control.raise_if_stopping()
        control.stop()
        with pytest.raises(Interrupted):
            control.raise_if_stopping()
        assert len(waits) == 2

    def test_the_driver_tells_of_keys_and_of_what_is_shown(self):
        told: list[str] = []

        class Way(GivingWay):
            def ask(self) -> None:
                told.append("pressed")

            def shown(self) -> None:
                told.append("shown")

        class Receiver:
            async def _post_message(self, message: Any) -> None:
                told.append(type(message).__name__)

        async def main() -> None:
            driver = lasting(LinuxDriver, lambda: None, Way())(Receiver())  # type: ignore[arg-type]
            driver.process_message(Key("z", "z"))
            driver.process_message(MouseMove(None, 1, 1, 0, 0, 0, False, False, False))
            while len(told) < 3:
                await asyncio.sleep(0)
            driver.flush()

        asyncio.run(asyncio.wait_for(main(), PATIENCE))
        assert told == ["pressed", "Key", "MouseMove", "shown"]


class TestDrawing:
    def test_what_was_dear_is_drawn_again_later(self, monkeypatch):
        now, spent = [100.0], [7.0]
        monkeypatch.setattr(drawing_budget.time, "thread_time", lambda: spent[0])
        budget = DrawingBudget(lambda: now[0])
        assert budget.is_due()
        budget.begin()
        now[0], spent[0] = 100.9, 7.02  # two hundredths of a second of work
        budget.end()
        now[0] = 100.0 + 0.02 / drawing_budget.SCREEN_SHARE - 0.01
        assert not budget.is_due()
        now[0] += 0.02
        assert budget.is_due()

    def test_a_move_of_the_focus_draws_what_looks_different_alone(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)

        async def test(pilot, app, shown):
            await pilot.press("n", "down", "down", "down")  # from the seed to the steps
            await settle(pilot, shown)
            keys = list(app.screen.query(FooterKey))
            before = len(shown.updates)
            await pilot.press("down")
            await settle(pilot, shown)
            assert len(shown.updates) > before
            assert all(isinstance(update, ChopsUpdate) for update in shown.updates[before:])
            assert list(app.screen.query(FooterKey)) == keys

        look_at(test, monkeypatch)

    def test_the_footer_follows_the_screen(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)

        async def test(pilot, app, shown):
            await pilot.press("z")
            await settle(pilot, shown)
            assert "esc back" in shown.texts[-1].splitlines()[-1]
            await pilot.press("z", "question_mark")
            await settle(pilot, shown)
            assert isinstance(app.screen, HelpScreen)
            assert "s start" in shown.texts[-1].splitlines()[-1]

        assert any(isinstance(one, LayoutUpdate) for one in look_at(test, monkeypatch).updates)
