"""The app around its screens: runs that are started, steered, left and lost."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.events import Resize
from textual.geometry import Size
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Collapsible, RichLog, Static

from tests import scripted_run
from trpotui.errors import RequestError, RunError
from trpotui.events import Event, RunFinished, StopReason
from trpotui.tui import app as app_module
from trpotui.tui.app import Status, TrpotuiApp
from trpotui.tui.screens.dialogs import ConfirmDialog, ErrorDialog, QuitDialog
from trpotui.tui.screens.help import HelpScreen
from trpotui.tui.screens.play import PlayScreen
from trpotui.tui.screens.runs import RunsScreen
from trpotui.tui.screens.train import TrainScreen
from trpotui.tui.session import MOST_WAITING, TrainingSession
from trpotui.tui.widgets.charts import ChartPane
from trpotui.tui.widgets.log_pane import LogPane
from trpotui.tui.widgets.run_header import RunHeader

pytestmark = pytest.mark.usefixtures("_nothing_drawn")
PATIENCE = 60.0
"""Seconds after which what should have happened counts as never happening."""


class Script:
    """Runs that make an update whenever the test lets them, and otherwise do as a trainer does."""

    def __init__(self) -> None:
        self.updates = 0
        """Made by the run that goes on."""
        self.runs = 0
        self.alive = False
        self.error: Exception | None = None
        """Raised in place of the next update."""
        self._permits = threading.Semaphore(0)

    def allow(self, updates: int) -> None:
        """Let the run make so many updates, as soon as it is not held."""
        if updates:
            self._permits.release(updates)

    def __call__(self, session: TrainingSession) -> Iterator[Event]:
        control = session.control
        self.updates, self.alive, self.runs = 0, True, self.runs + 1
        try:
            yield scripted_run.started(seed=self.runs)
            while not control.stopping:
                if not control.wait_while_paused() or not self._permits.acquire(timeout=0.05):
                    continue
                if self.error is not None:
                    raise self.error
                self.updates += 1
                yield scripted_run.update_finished(self.updates)
            yield stopped(self.updates)
        finally:
            self.alive = False


def stopped(updates: int) -> RunFinished:
    """The end of a run that was asked to end."""
    return RunFinished(
        reason=StopReason.STOPPED,
        update=updates,
        steps=updates * scripted_run.STEPS_PER_UPDATE,
        episodes=0,
        seconds=1.0,
        best_mean=None,
        best_std=None,
        best_episodes=None,
    )


class Clock:
    """Time that passes when it is told to; until then so fast that every drawing is due."""

    def __init__(self) -> None:
        self.stands = False
        self._now = 0.0

    def __call__(self) -> float:
        if not self.stands:
            self._now += 1000.0
        return self._now

    def jump(self) -> None:
        """Let a long time pass at once."""
        self._now += 1000.0


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No policies, no runs, no charts (which cost more than the rest), and no long waits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ChartPane, "show", lambda _, state: state)
    monkeypatch.setattr(app_module, "PULL_SECONDS", 0.05)


Source = Callable[[TrainingSession], Iterator[Event]]
Test = Callable[[Pilot[Any], TrpotuiApp], Awaitable[None]]


def drive(test: Test, source: Source, *, clock: Clock | None = None) -> TrpotuiApp:
    """Run `test` on the app; the app as it was left."""
    app = TrpotuiApp(source=source, clock=clock or Clock())

    async def main() -> None:
        async with app.run_test(size=(120, 40)) as pilot:
            await until(pilot, lambda: app.core_loaded)
            await test(pilot, app)

    asyncio.run(main())
    return app


async def until(pilot: Pilot[Any], condition: Callable[[], object]) -> None:
    """Let the app work until `condition` holds."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, "it never happened"
        await asyncio.sleep(0.005)
    await pilot.pause(0)


async def start(pilot: Pilot[Any], app: TrpotuiApp, script: Script, updates: int = 0) -> None:
    """Start a run by key, and let it come so far."""
    await pilot.press("s")
    await until(pilot, lambda: app.busy and app.state.started is not None)
    script.allow(updates)
    await until(pilot, lambda: reported(app) == updates)


def reported(app: TrpotuiApp) -> int:
    """The number of the last update that the app knows of."""
    return 0 if app.state.update is None else app.state.update.update


def header(app: TrpotuiApp) -> str:
    return app.screen.query_one(RunHeader).render().plain


def log(app: TrpotuiApp) -> list[str]:
    """The lines of the log of the training screen, seen or not."""
    pane = train_screen(app).query_one(LogPane)
    assert isinstance(pane, RichLog)
    return [strip.text.rstrip() for strip in pane.lines]


def train_screen(app: TrpotuiApp) -> TrainScreen:
    (screen,) = (one for one in app._screen_stacks["train"] if isinstance(one, TrainScreen))
    return screen


class TestSteering:
    def test_a_run_is_started_followed_and_stopped(self):
        script = Script()

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            assert app.status is Status.IDLE
            assert "idle" in header(app)
            await start(pilot, app, script, updates=24)
            assert app.status is Status.TRAINING
            assert app.session is not None
            assert app.session.update == 24
            await until(pilot, lambda: "update 24" in header(app))
            for part in ("CartPole-v1 · TRPO · cpu · seed 1", "● training", "25%", "ETA 0:0"):
                assert part in header(app)
            await pilot.press("s")
            assert app.session.control.stopping
            await until(pilot, lambda: not app.busy)
            assert app.status is Status.FINISHED
            assert app.state.finished is not None
            assert "✓ finished" in header(app)
            assert "ETA" not in header(app)

        drive(test, script)

    def test_a_held_run_makes_no_update_but_those_it_is_allowed(self):
        script = Script()

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await start(pilot, app, script, updates=2)
            await pilot.press("space")
            assert app.status is Status.PAUSED
            assert app.session is not None
            assert app.session.control.paused
            assert "‖ paused" in header(app)
            script.allow(10)
            # the run may have been past the question whether it is held
            await pilot.press("full_stop")
            await until(pilot, lambda: reported(app) >= 3)
            settled = reported(app)
            assert settled <= 4
            await pilot.press("full_stop")
            await until(pilot, lambda: reported(app) == settled + 1)
            await pilot.pause(0.05)
            assert reported(app) == settled + 1
            assert app.status is Status.PAUSED
            await pilot.press("space")
            assert app.status is Status.TRAINING
            assert not app.session.control.paused
            await until(pilot, lambda: reported(app) == 12)

        drive(test, script)

    def test_one_update_of_a_run_that_goes_on_holds_it_first(self):
        script = Script()

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await start(pilot, app, script)
            await pilot.press("full_stop")
            assert app.status is Status.PAUSED
            assert app.session is not None
            assert app.session.control.paused

        drive(test, script)

    def test_the_keys_of_a_run_do_nothing_without_one(self):
        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await pilot.press("space", "full_stop")
            app.stop_run()
            assert (app.status, app.session) == (Status.IDLE, None)

        drive(test, Script())

    def test_a_held_run_can_be_stopped(self):
        script = Script()

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await start(pilot, app, script, updates=1)
            await pilot.press("space", "s")
            await until(pilot, lambda: app.status is Status.FINISHED)
            assert not script.alive

        drive(test, script)

    def test_while_a_run_goes_on_no_other_is_started(self):
        script = Script()

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await start(pilot, app, script, updates=1)
            session = app.session
            assert session is not None
            app.start(session.config)
            assert app.session is session
            assert script.runs == 1

        drive(test, script)

    def test_runs_follow_each_other_and_leave_nothing_behind(self):
        script = Script()

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            for number in (1, 2, 3):
                await start(pilot, app, script, updates=number)
                await until(pilot, lambda n=number: f"update {n}" in header(app))
                assert f"seed {number}" in header(app)
                await pilot.press("s")
                await until(pilot, lambda: app.status is Status.FINISHED)
                assert app.state.curves.kl.count == number
                await until(pilot, lambda: any("stopped after" in line for line in log(app)))
                assert len([line for line in log(app) if line.startswith(" training")]) <= 1
                assert sum("update " in line for line in log(app)) == number
            assert script.runs == 3

        drive(test, script)


class TestFailing:
    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (RunError("CartPole-v1: step 7 raised OSError"), "CartPole-v1: step 7 raised OSError"),
            (ValueError("nobody expected this"), "unexpected ValueError: nobody expected this"),
        ],
    )
    def test_a_run_that_fails_is_told_of_and_another_can_be_started(self, error, said):
        script = Script()

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await start(pilot, app, script, updates=2)
            script.error = error
            script.allow(1)
            await until(pilot, lambda: isinstance(app.screen, ErrorDialog))
            await until(pilot, lambda: not app.busy)
            assert app.status is Status.FAILED
            texts = [str(text.content) for text in app.screen.query(Static)]
            assert said in texts
            assert any("Traceback" in text for text in texts)
            assert app.screen.query_one(Collapsible).collapsed
            await pilot.press("escape")
            assert isinstance(app.screen, TrainScreen)
            assert f"✗ failed   {said}" in header(app)
            assert "ETA" not in header(app)
            assert log(app)[-1].lstrip() == f"failed: {said}"
            script.error = None
            await start(pilot, app, script, updates=1)
            assert app.status is Status.TRAINING

        drive(test, script)

    def test_the_traceback_of_a_run_that_failed_is_named(self, tmp_path):
        def breaking(session: TrainingSession) -> Iterator[Event]:
            session.directory = tmp_path / "run"
            session.directory.mkdir()
            yield scripted_run.started()
            (session.directory / "crash.log").write_text("Traceback")
            raise RunError("the pole has snapped")

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await pilot.press("s")
            await until(pilot, lambda: isinstance(app.screen, ErrorDialog))
            await pilot.press("escape")
            await until(pilot, lambda: len(log(app)) > 2)
            text = "".join(log(app)).replace(" ", "")
            crash = tmp_path / "run" / "crash.log"
            assert f"failed:thepolehassnappedthetracebackisin{crash}" in text

        drive(test, breaking)

    def test_a_run_that_cannot_begin_says_why_too(self):
        def refused(_: TrainingSession) -> Iterator[Event]:
            raise RequestError("device cuda is not available here")
            yield

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await pilot.press("s")
            await until(pilot, lambda: isinstance(app.screen, ErrorDialog))
            await pilot.press("escape")
            await until(pilot, lambda: "✗ failed" in header(app))
            assert "device cuda is not available here" in header(app)
            assert log(app)[-1].lstrip() == "failed: device cuda is not available here"

        drive(test, refused)

    def test_a_run_that_fails_behind_another_screen_is_told_of_there(self):
        script = Script()

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await start(pilot, app, script, updates=1)
            await pilot.press("r")
            script.error = RunError("no more")
            script.allow(1)
            await until(pilot, lambda: isinstance(app.screen, ErrorDialog))
            await pilot.press("escape")
            assert isinstance(app.screen, RunsScreen)

        drive(test, script)


class TestLeaving:
    def test_without_a_run_quitting_is_leaving(self):
        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await pilot.press("q")
            assert app._exit

        assert drive(test, Script()).return_code == 0

    def test_amid_a_run_quitting_asks_and_waits_for_the_end(self):
        script = Script()

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await start(pilot, app, script, updates=1)
            await pilot.press("q")
            assert isinstance(app.screen, ConfirmDialog)
            await pilot.press("escape")
            assert app.status is Status.TRAINING
            assert not app._exit
            script.allow(1)
            await until(pilot, lambda: reported(app) == 2)
            await pilot.press("q", "y")
            await until(pilot, lambda: app._exit)
            assert not script.alive
            assert app.status is Status.FINISHED

        assert drive(test, script).return_code == 0

    def test_ctrl_c_without_a_run_is_leaving(self):
        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await pilot.press("ctrl+c")
            assert app._exit

        assert drive(test, Script()).return_code == 0

    @pytest.mark.parametrize("before", ["question_mark", "e", "n", "ctrl+p"])
    def test_ctrl_c_is_for_leaving_everywhere(self, before):
        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            shown, focused = app.screen, app.focused
            await pilot.press(before)
            await until(pilot, lambda: (app.screen, app.focused) != (shown, focused))
            await pilot.press("ctrl+c")
            assert app._exit

        assert drive(test, Script()).return_code == 0

    def test_ctrl_c_amid_a_run_asks_and_a_second_one_agrees(self):
        script = Script()

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await start(pilot, app, script, updates=1)
            await pilot.press("ctrl+c")
            assert isinstance(app.screen, QuitDialog)
            assert app.status is Status.TRAINING
            await pilot.press("ctrl+c")
            await until(pilot, lambda: app._exit)
            assert not script.alive

        assert drive(test, script).return_code == 0

    def test_whoever_asks_again_while_the_run_is_saved_leaves_at_once(self):
        ended = threading.Event()

        def deaf(session: TrainingSession) -> Iterator[Event]:
            """A run in the middle of a long update."""
            yield scripted_run.started()
            ended.wait(PATIENCE)
            assert session.control.stopping
            yield stopped(0)

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await pilot.press("s")
            await until(pilot, lambda: app.state.started is not None)
            await pilot.press("q", "y")
            assert not app._exit
            assert app.status is Status.STOPPING
            await pilot.press("q")
            assert app._exit
            ended.set()

        assert drive(test, deaf).return_code == 0

    def test_a_run_that_ends_while_the_question_is_open(self):
        script = Script()

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await start(pilot, app, script, updates=1)
            await pilot.press("q")
            app.stop_run()
            await until(pilot, lambda: not app.busy)
            assert isinstance(app.screen, ConfirmDialog)
            await pilot.press("y")
            assert app._exit

        assert drive(test, script).return_code == 0

    @pytest.mark.parametrize(
        ("number", "held"), [(signal.SIGINT, False), (signal.SIGTERM, True), (signal.SIGHUP, False)]
    )
    def test_a_signal_ends_the_run_and_then_the_app(self, number, held):
        script = Script()

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await start(pilot, app, script, updates=1)
            if held:
                await pilot.press("space")
            app._on_signal(int(number))
            assert app.status is Status.STOPPING
            assert not app._exit
            await until(pilot, lambda: app._exit)
            assert not script.alive

        assert drive(test, script).return_code == 128 + number

    def test_a_signal_without_a_run_ends_the_app_at_once(self):
        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            del pilot
            app._on_signal(int(signal.SIGTERM))
            assert app._exit

        assert drive(test, Script()).return_code == 143

    def test_a_second_signal_ends_the_app_at_once(self):
        ended = threading.Event()

        def deaf(session: TrainingSession) -> Iterator[Event]:
            """A run in the middle of a long update, which is not to be waited for."""
            yield scripted_run.started()
            ended.wait(PATIENCE)
            assert session.control.stopping
            yield stopped(0)

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await pilot.press("s")
            await until(pilot, lambda: app.state.started is not None)
            app._on_signal(int(signal.SIGTERM))
            await pilot.pause()
            assert not app._exit
            app._on_signal(int(signal.SIGINT))
            assert app._exit
            ended.set()

        assert drive(test, deaf).return_code == 130


class TestScreens:
    def test_the_run_goes_on_behind_other_screens_and_is_caught_up_with(self):
        script = Script()

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await start(pilot, app, script, updates=2)
            await until(pilot, lambda: sum("update " in line for line in log(app)) == 2)
            for key, screen, back, updates in (
                ("p", PlayScreen, "t", 5),
                ("r", RunsScreen, "escape", 9),
            ):
                before = log(app)
                await pilot.press(key)
                assert isinstance(app.screen, screen)
                script.allow(updates - reported(app))
                await until(pilot, lambda n=updates: reported(app) == n)
                await until(pilot, lambda n=updates: f"update {n}" in header(app))
                assert log(app) == before, "what nobody sees was drawn"
                await pilot.press(back)
                assert isinstance(app.screen, TrainScreen)
                await until(pilot, lambda n=updates: sum("update " in x for x in log(app)) == n)
                assert f"update {updates}" in header(app)

        drive(test, script)

    def test_drawing_waits_until_it_is_due_and_folding_does_not(self):
        script, clock = Script(), Clock()

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await start(pilot, app, script, updates=1)
            await until(pilot, lambda: "update 1" in header(app))
            clock.stands = True
            script.allow(1)
            await until(pilot, lambda: reported(app) == 2)
            await pilot.pause(0.05)
            drawn = header(app)
            script.allow(3)
            await until(pilot, lambda: reported(app) == 5)
            await pilot.pause(0.05)
            assert header(app) == drawn
            clock.jump()
            await until(pilot, lambda: "update 5" in header(app))

        drive(test, script, clock=clock)

    def test_the_end_is_drawn_even_where_drawing_is_not_due(self):
        script, clock = Script(), Clock()

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await start(pilot, app, script, updates=1)
            clock.stands = True
            script.allow(3)
            await until(pilot, lambda: reported(app) == 4)
            await pilot.press("s")
            await until(pilot, lambda: any("stopped after" in line for line in log(app)))

        drive(test, script, clock=clock)

    def test_sizes_that_wait_together_do_not_follow_each_other_for_ever(self):
        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await pilot.press("question_mark")
            assert isinstance(app.screen, HelpScreen)
            laid_out: list[Size] = []

            def after_layout(screen: Screen[Any]) -> None:
                laid_out.append(screen.size)
                screen.call_later(
                    lambda: None
                )  # as widgets do: keeps sizes from being taken for one

            screen = app.screen
            screen.screen_layout_refresh_signal.subscribe(screen, after_layout)
            for width in (90, 40):
                screen.post_message(Resize(Size(width, 30), Size(width, 30)))
                screen.call_later(lambda: None)
            await pilot.pause(0.2)
            await until(pilot, lambda: screen.size == app.size)
            assert len(laid_out) < 10

        drive(test, Script())


class TestBackPressure:
    @pytest.mark.slow
    def test_the_app_can_be_quit_amid_a_flood_of_events(self):
        ended = threading.Event()

        def flood(session: TrainingSession) -> Iterator[Event]:
            yield scripted_run.started()
            while not session.control.stopping:
                yield scripted_run.update_finished(1)
            ended.set()
            yield stopped(1)

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await pilot.press("s")
            await until(pilot, lambda: app.state.update is not None)
            await pilot.press("q", "y")
            await until(pilot, lambda: app._exit)
            assert ended.is_set()

        assert drive(test, flood).return_code == 0

    def test_a_run_does_not_wait_for_a_screen_that_is_gone(self, monkeypatch):
        """An error of the app itself, say: nobody takes what the run has to tell any more."""
        monkeypatch.setattr(TrpotuiApp, "_pull", lambda _: None)
        told, ended = [0], threading.Event()

        def talkative(session: TrainingSession) -> Iterator[Event]:
            yield scripted_run.started()
            while not session.control.stopping:
                told[0] += 1
                yield scripted_run.update_finished(1)
            ended.set()

        async def test(pilot: Pilot[Any], app: TrpotuiApp) -> None:
            await pilot.press("s")
            await until(pilot, lambda: told[0] >= MOST_WAITING)
            app.exit(1, return_code=1)

        began = time.monotonic()
        assert drive(test, talkative).return_code == 1
        assert ended.is_set()
        assert time.monotonic() - began < PATIENCE
