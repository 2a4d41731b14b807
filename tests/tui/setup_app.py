"""Apps for tests of what is filled in before a run and while it goes on; none of them trains."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from textual.app import App, ComposeResult
from textual.events import Paste
from textual.pilot import Pilot
from textual.reactive import reactive
from textual.widgets import Static

import trpotui.tui
from tests.scripted_run import started
from trpotui.events import Event, HyperparametersChanged, RunFinished, StopReason
from trpotui.run_request import RunRequest
from trpotui.tui.app import Status, TrpotuiApp
from trpotui.tui.draft import Draft
from trpotui.tui.messages import RunRequested, StopRequested
from trpotui.tui.session import TrainingSession
from trpotui.tui.widgets.fields import FieldRow, FormRow
from trpotui.tui.widgets.setup import SetupPane

PATIENCE = 60.0
"""Seconds after which what should have happened counts as never happening."""
STYLES = Path(trpotui.tui.__file__).parent


class FormApp(App[None]):
    """The setup alone: a fraction of the real app's widgets, and what was asked for."""

    CSS_PATH = [STYLES / "trpotui.tcss", STYLES / "styles/setup.tcss"]  # noqa: RUF012
    status: reactive[Status] = reactive(Status.IDLE)
    core_loaded: reactive[bool] = reactive(False)

    def __init__(self, request: RunRequest) -> None:
        super().__init__()
        self.asked: list[RunRequest] = []
        self.stops = 0
        self._request = request

    @property
    def busy(self) -> bool:
        return self.status is Status.TRAINING

    def compose(self) -> ComposeResult:
        yield SetupPane(Draft.of(self._request))

    def on_run_requested(self, event: RunRequested) -> None:
        self.asked.append(event.request)

    def on_stop_requested(self, event: StopRequested) -> None:
        del event
        self.stops += 1


Test = Callable[[Pilot[Any]], Awaitable[None]]


def fill_in(test: Test, request: RunRequest | None = None, *, core: bool = True) -> None:
    """Run `test` on the setup alone, prefilled, with the core loaded or yet to be."""

    async def main() -> None:
        app = FormApp(request or RunRequest())
        async with app.run_test(size=(60, 40)) as pilot:
            app.core_loaded = core
            await pilot.pause()
            await test(pilot)
            await app.workers.wait_for_complete()

    asyncio.run(main())


def held_run(session: TrainingSession) -> Iterator[Event]:
    """A run that makes no update, but every change that it is asked for, until it is stopped."""
    control = session.control
    yield started(total_steps=session.config.total_steps)
    control.pause()
    while not control.stopping:
        if not control.wait_while_paused():
            for values in control.take_changes(0):
                yield HyperparametersChanged(update=0, values=values)
    yield RunFinished(
        reason=StopReason.STOPPED,
        update=0,
        steps=0,
        episodes=0,
        seconds=0.0,
        best_mean=None,
        best_std=None,
        best_episodes=None,
    )


def drive(
    test: Test, *, size: tuple[int, int] = (120, 40), core: bool = True, **arguments: Any
) -> None:
    """Run `test` on the whole app, and stop its run afterwards.

    Args:
        test: what to do.
        size: of the terminal.
        core: whether the core is loaded; if not, the test sets `core_loaded`.
        arguments: of the app.
    """

    async def main() -> None:
        app = TrpotuiApp(source=held_run, **arguments)
        if not core:
            app.load_core = lambda: None
        async with app.run_test(size=size) as pilot:
            if core:
                await until(pilot, lambda: app.core_loaded)
            try:
                await test(pilot)
            finally:
                app.stop_run()
                await until(pilot, lambda: not app.busy)
                await app.workers.wait_for_complete()

    asyncio.run(main())


async def until(pilot: Pilot[Any], condition: Callable[[], object]) -> None:
    """Let the app work until `condition` holds."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, "what was waited for did not happen"
        await pilot.pause()


async def write(pilot: Pilot[Any], text: str) -> None:
    """Put a text into the field that has the focus, all at once as a terminal pastes it."""
    assert pilot.app.focused is not None
    pilot.app.focused.post_message(Paste(text))
    await pilot.pause()


async def write_into(pilot: Pilot[Any], field: str, text: str) -> None:
    """Replace what stands in a field."""
    control = row(pilot, field).control
    pilot.app.screen.set_focus(control)
    await pilot.pause()
    control.action_select_all()
    await write(pilot, text)


async def started_run(pilot: Pilot[Any]) -> TrainingSession:
    """The run that was asked for, once it goes on."""
    app = pilot.app
    assert isinstance(app, TrpotuiApp)
    await until(pilot, lambda: app.session is not None and app.state.started is not None)
    assert app.session is not None
    return app.session


def row(pilot: Pilot[Any], field: str) -> FormRow | FieldRow:
    """The row of a field on the screen that is in front."""
    rows = [*pilot.app.screen.query(FormRow), *pilot.app.screen.query(FieldRow)]
    return next(one for one in rows if one.field == field)


def reason(pilot: Pilot[Any], field: str) -> str:
    """What a person reads of what is wrong with a field; nothing when it is right."""
    remark = row(pilot, field).query_one(".form-reason, .field-remark", Static)
    text = str(remark.content)
    return text if remark.display and text.startswith("✗") else ""


def told(pilot: Pilot[Any]) -> list[str]:
    """The notifications so far."""
    return [f"{one.title} {one.message}".strip() for one in pilot.app._notifications]
