"""What the app looks like in each of its states, at three sizes, as text.

The screens are kept in `snapshots/NAME-WIDTHxHEIGHT.txt` and compared to the letter. A change that
is meant is taken over with

    TRPOTUI_SNAPSHOTS=write pytest tests/tui/test_snapshots.py

and then looked at in the diff, as any other change. Nothing in them depends on the machine or on
the time: runs are scripted, and ages are counted from a fixed moment.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from textual.pilot import Pilot

from tests import scripted_run
from tests.policy_samples import saved_policy
from tests.run_samples import STARTED, config_with, make_run
from tests.tui.play_helpers import scene_of
from trpotui.errors import RunError
from trpotui.events import Event
from trpotui.policy_file import write_policy
from trpotui.rl.policy import Score
from trpotui.tui.app import Status, TrpotuiApp
from trpotui.tui.playing import Playing
from trpotui.tui.scenes import Scene
from trpotui.tui.screens import play as play_module
from trpotui.tui.screens import runs as runs_module
from trpotui.tui.screens.dialogs import ErrorDialog
from trpotui.tui.screens.help import HelpScreen
from trpotui.tui.screens.play import PlayScreen
from trpotui.tui.screens.runs import RunsScreen
from trpotui.tui.session import TrainingSession
from trpotui.tui.widgets.policy_table import PolicyTable
from trpotui.tui.widgets.run_table import RunTable

SNAPSHOTS = Path(__file__).parent / "snapshots"
WRITE = os.environ.get("TRPOTUI_SNAPSHOTS") == "write"
SIZES = [(80, 24), (120, 40), (200, 60)]
NOW = STARTED.timestamp() + 3 * 3600
PATIENCE = 60.0
"""Seconds after which what should have happened counts as never happening."""
SETTLED = 0.3
"""Seconds for which a screen stays the same before it is written down."""

Script = Callable[[TrainingSession], Iterator[Event]]
Show = Callable[[Pilot[Any], TrpotuiApp], Awaitable[None]]


def going_on(events: Callable[[], Iterator[Event]]) -> Script:
    """A run that stands still after these events, until it is stopped."""

    def script(session: TrainingSession) -> Iterator[Event]:
        yield from events()
        session.control.pause()
        while not session.control.stopping:
            session.control.wait_while_paused()

    return script


def ending(events: Callable[[], Iterator[Event]]) -> Script:
    """A run that ends with these events."""
    return lambda _: events()


def failing() -> Iterator[Event]:
    error = RunError("CartPole-v1: step 3,128 raised RuntimeError: the pole has snapped")
    return scripted_run.failing(scripted_run.training(9), error)


async def until(condition: Callable[[], object]) -> None:
    """Let the app work until `condition` holds."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, "it never happened"
        await asyncio.sleep(0.01)


async def idle(pilot: Pilot[Any], app: TrpotuiApp) -> None:
    """Nothing was started yet."""
    del pilot
    assert app.status is Status.IDLE


async def started(pilot: Pilot[Any], app: TrpotuiApp) -> None:
    """A run that has said all it has to say."""
    await pilot.press("s")
    await until(lambda: app.status is not Status.IDLE)
    session = app.session
    assert session is not None
    await until(lambda: session.control.paused or not app.busy)
    await until(session._waiting.empty)


async def failed(pilot: Pilot[Any], app: TrpotuiApp) -> None:
    """A run that has ended by an error, told of in a dialog."""
    await started(pilot, app)
    await until(lambda: isinstance(app.screen, ErrorDialog))


async def helped(pilot: Pilot[Any], app: TrpotuiApp) -> None:
    """The keys of the training screen."""
    await pilot.press("question_mark")
    assert isinstance(app.screen, HelpScreen)


async def policies(pilot: Pilot[Any], app: TrpotuiApp) -> None:
    """Policies on disk, one of them playing."""
    rng = np.random.default_rng(0)
    names = {"cartpole": "CartPole-v1", "acrobot": "Acrobot-v1", "pendulum": "Pendulum-v1"}
    Path("saved_policies").mkdir()
    for number, (name, environment_id) in enumerate(names.items(), start=1):
        path = Path("saved_policies") / f"{name}.pt"
        score = Score(episodes=100, mean=float(rng.integers(100, 500)), std=12.5)
        policy = saved_policy(environment_id=environment_id)
        write_policy(path, dataclasses.replace(policy, score=score))
        os.utime(path, (NOW - number * 3600, NOW - number * 3600))
    broken = Path("saved_policies") / "of_a_stranger.pt"
    broken.write_text("this is no policy")
    os.utime(broken, (NOW - 90_000, NOW - 90_000))
    await pilot.press("p")
    screen = app.screen
    assert isinstance(screen, PlayScreen)
    table = screen.query_one(PolicyTable)
    await until(lambda: table.row_count == 4)
    stage = screen.stage
    stage.playing = Playing(SimpleNamespace(ask=lambda: None, take=lambda: None))
    stage.scene = scene()
    screen._show_stage(True)
    stage._draw()
    stage._refresh_bindings()


def scene() -> Scene:
    """A moment of an episode, with a picture of nothing in particular."""
    frame = np.full((100, 150, 3), 255, dtype=np.uint8)
    frame[70:72] = 0
    frame[60:70, 60:90] = (40, 40, 40)
    frame[15:60, 73:78] = (200, 150, 100)
    return scene_of(
        frame=frame,
        name="cartpole",
        value=43.21,
        episode=4,
        step=128,
        total=128.0,
        returns=(500.0, 500.0, 431.0),
    )


async def past_runs(pilot: Pilot[Any], app: TrpotuiApp) -> None:
    """Two runs, compared."""
    runs = app.runs
    make_run(runs, scripted_run.finished(scripted_run.training(30)), files=("best.pt",))
    other = config_with(seed=4, max_kl=0.02)
    make_run(runs, scripted_run.training(22, refused=range(5, 22, 4)), config=other)
    await pilot.press("r")
    assert isinstance(app.screen, RunsScreen)
    table = app.screen.query_one(RunTable)
    await until(lambda: table.row_count == 2)
    await pilot.press("space", "down", "space")


STATES: dict[str, tuple[Script, Show]] = {
    "idle": (going_on(scripted_run.training), idle),
    "training": (going_on(lambda: scripted_run.training(18, edits={9: {"max_kl": 0.02}})), started),
    "refused": (going_on(lambda: scripted_run.training(18, refused=range(12, 19))), started),
    "finished": (ending(lambda: scripted_run.finished(scripted_run.training(40))), started),
    "failed": (ending(failing), failed),
    "play": (going_on(scripted_run.training), policies),
    "runs": (going_on(scripted_run.training), past_runs),
    "help": (going_on(scripted_run.training), helped),
}


@pytest.mark.parametrize(
    "size",
    [size if size == (120, 40) else pytest.param(size, marks=pytest.mark.slow) for size in SIZES],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
@pytest.mark.parametrize("name", STATES)
def test_the_screen_is_as_it_was(name, size, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clock = SimpleNamespace(time=lambda: NOW, monotonic=time.monotonic)
    monkeypatch.setattr(play_module, "time", clock)
    monkeypatch.setattr(runs_module, "time", clock)
    script, show = STATES[name]
    path = SNAPSHOTS / f"{name}-{size[0]}x{size[1]}.txt"
    expected = path.read_text(encoding="utf-8") if path.is_file() and not WRITE else None
    seen = asyncio.run(look(script, show, size, expected))
    if WRITE:
        SNAPSHOTS.mkdir(exist_ok=True)
        path.write_text(seen, encoding="utf-8")
    assert expected is not None or WRITE, f"there is no {path.name}: see the top of this file"
    if not WRITE:
        assert seen.splitlines() == expected.splitlines()


async def look(script: Script, show: Show, size: tuple[int, int], expected: str | None) -> str:
    """What stands on the screen: what is expected as soon as it does, else what stays."""
    app = TrpotuiApp(source=script, clock=lambda: 0.0)
    app.load_core = lambda: setattr(app, "core_loaded", True)  # this module has imported it
    async with app.run_test(size=size) as pilot:
        await until(lambda: app.core_loaded)
        await pilot.pause()
        await show(pilot, app)
        await pilot.pause()
        app._show()
        give_up = time.monotonic() + PATIENCE / 4
        since, seen = time.monotonic(), text_of(app)
        while seen != expected and time.monotonic() < give_up:
            await pilot.pause(0.02)
            before, seen = seen, text_of(app)
            if seen != before:
                since = time.monotonic()
            if expected is None and time.monotonic() - since > SETTLED:
                break
        app.stop_run()
        return seen


def text_of(app: TrpotuiApp) -> str:
    """The screen, line by line, without what is blank at the ends."""
    width, height = app.size
    console = Console(
        width=width,
        height=height,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        record=True,
        legacy_windows=False,
    )
    update = app.screen._compositor.render_update(full=True, screen_stack=app._background_screens)
    console.print(update)
    lines = console.export_text(styles=False).splitlines()
    return "".join(line.rstrip() + "\n" for line in lines)
