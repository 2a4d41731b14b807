"""The end of the player window's process, by whatever way: nothing is ever left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from viewer_environments import FAULTY
from viewer_policies import random_policy
from window_processes import (
    FAST,
    LONG,
    PATIENCE,
    bare_window,
    children,
    collect,
    is_alive,
    next_line,
    run,
    wait_until,
)

from trpotui.episodes import EpisodePlayed
from trpotui.rl.policy import Policy
from trpotui.viewer import PlayerWindow, WindowClosed
from trpotui.viewer import process as window_process


@pytest.mark.usefixtures("dummy_display")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(cartpole: Policy, number: int) -> None:
    with bare_window(cartpole, LONG) as process:
        next_line(process)
        process.send_signal(number)
        records = [json.loads(line) for line in process.stdout or ()]
        assert records[-1] == {"event": "closed", "by": "parent"}
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


ASKED = """
import io, os, signal, threading
from trpotui.viewer.__main__ import _end_with_parent

class Wish(threading.Event):
    def set(self):
        print(threading.current_thread() is threading.main_thread(), flush=True)
        os._exit(0)

stop = Wish()
_end_with_parent(io.FileIO(os.pipe()[0]), stop)
os.kill(os.getpid(), signal.{name})
stop.wait()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_no_signal_handler_waits_for_a_lock(name: str) -> None:
    """Which the main thread may hold, in the midst of its own wait: the window hung in 6 of 250."""
    command = [sys.executable, "-c", ASKED.format(name=name)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert told.stdout == "False\n"


@pytest.mark.usefixtures("dummy_display")
def test_it_ends_when_its_stdin_does(cartpole: Policy) -> None:
    with bare_window(cartpole, LONG) as process:
        next_line(process)
        assert process.stdin is not None
        process.stdin.close()
        records = [json.loads(line) for line in process.stdout or ()]
        assert records[-1] == {"event": "closed", "by": "parent"}
        assert process.wait(PATIENCE) == 0


@pytest.mark.usefixtures("dummy_display")
def test_closing_is_heard_by_whoever_reads_the_events(cartpole: Policy) -> None:
    async def play() -> list[Any]:
        window = await PlayerWindow.open(cartpole, LONG)
        reader = asyncio.create_task(read(window))
        await asyncio.sleep(0)  # let it start waiting
        await window.close()
        await window.close()
        assert not is_alive(window.pid)
        assert [event async for event in window.events()] == []
        return await reader

    async def read(window: PlayerWindow) -> list[Any]:
        return [event async for event in window.events()]

    events = run(play())
    assert events[-1] == WindowClosed(by="parent")
    assert all(isinstance(event, EpisodePlayed) for event in events[:-1])


@pytest.mark.usefixtures("dummy_display")
def test_an_exception_and_a_cancellation_leave_no_process(cartpole: Policy) -> None:
    async def fail() -> None:
        async with await PlayerWindow.open(cartpole, LONG):
            raise ZeroDivisionError

    async def wait_for_ever() -> None:
        async with await PlayerWindow.open(cartpole, LONG) as window:
            opened.set()
            async for _ in window.events():
                pass

    async def cancel() -> None:
        task = asyncio.create_task(wait_for_ever())
        await opened.wait()
        task.cancel()
        await task

    opened = asyncio.Event()
    before = children()
    with pytest.raises(ZeroDivisionError):
        run(fail())
    assert children() <= before
    with pytest.raises(asyncio.CancelledError):
        run(cancel())
    assert children() <= before


@pytest.mark.usefixtures("dummy_display")
@pytest.mark.parametrize(
    "fault", ["hangs in step", pytest.param("hangs in reset", marks=pytest.mark.slow)]
)
def test_an_environment_that_hangs_is_ended_with_its_window(fault: str) -> None:
    policy = random_policy(FAULTY, fault=fault)
    before = children()

    async def play() -> float:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(collect(policy, FAST), timeout=1.0)
            pytest.fail("a hanging environment was played to its end")
        return time.monotonic()

    start = time.monotonic()
    assert run(play()) - start < PATIENCE  # it would hang for longer
    assert children() <= before


@pytest.mark.usefixtures("dummy_display")
def test_a_window_that_heeds_nothing_is_killed(
    cartpole: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_process, "GRACE", 0.2)

    async def play() -> int:
        async with await PlayerWindow.open(cartpole, LONG) as window:
            os.kill(window.pid, signal.SIGSTOP)  # sees neither the end of stdin nor SIGTERM
        return window.pid

    assert not is_alive(run(play()))


ORPHANING_PARENT = """
import asyncio, os, sys, time
sys.path.insert(0, {tests!r})
from trpotui.episodes import PlayOptions
from trpotui.viewer import PlayerWindow
from viewer_policies import random_policy

async def play():
    options = PlayOptions(episodes=1000)
    async with await PlayerWindow.open(random_policy("CartPole-v1"), options) as w:
        worker = 0
        if {with_worker} and not (worker := os.fork()):
            time.sleep(60)  # holds the write end of the window's stdin
            os._exit(0)
        print(w.pid, worker, flush=True)
        async for _ in w.events():
            pass

try:
    asyncio.run(play())
except KeyboardInterrupt:
    sys.exit(130)
"""


@contextlib.contextmanager
def parent_with_window(*, with_worker: bool) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    script = ORPHANING_PARENT.format(tests=str(Path(__file__).parent), with_worker=with_worker)
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    worker = 0
    with parent:
        assert parent.stdout is not None
        try:
            window, worker = map(int, parent.stdout.readline().split())
            yield parent, window, worker
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)


@pytest.mark.usefixtures("dummy_display")
@pytest.mark.parametrize("with_worker", [False, True])
def test_a_killed_parent_leaves_no_orphan(with_worker: bool) -> None:
    with parent_with_window(with_worker=with_worker) as (parent, window, worker):
        assert is_alive(window)
        parent.kill()
        wait_until(lambda: not is_alive(window), "the window ends after its parent")
        assert is_alive(worker) is with_worker


@pytest.mark.usefixtures("dummy_display")
def test_ctrl_c_ends_parent_and_window_without_a_word_of_the_window() -> None:
    with parent_with_window(with_worker=False) as (parent, window, _):
        os.killpg(parent.pid, signal.SIGINT)  # as a terminal does
        _, errors = parent.communicate(timeout=PATIENCE)
        assert parent.returncode == 130
        assert not is_alive(window), "the parent waits for its window"
    assert errors == ""
