"""Textual's pilot on a busy machine: a loop that gets no time is not one with nothing to do."""

from __future__ import annotations

import asyncio
from time import monotonic, thread_time
from typing import Any

import pytest
from textual.notifications import Notification
from textual.screen import Screen

GRANULARITY = 0.02
"""Seconds between two looks, in which timers of a frame come due."""
IDLE = 0.001
"""Seconds of the loop's own work in that time at most, where it has nothing to do."""


async def settled(min_sleep: float = GRANULARITY, max_sleep: float = 1.0) -> None:
    """Wait until the loop has done what there was to do.

    In place of Textual's `wait_for_idle`, which takes a process that is given no time for one with
    nothing to do, and waits for other threads, such as one that plays, up to the longest each time.
    What another thread does is to be waited for by what it brings about.
    """
    loop, began, rested = asyncio.get_running_loop(), monotonic(), 0
    while True:
        worked, before = thread_time(), monotonic()
        await asyncio.sleep(GRANULARITY)
        worked, now = thread_time() - worked, monotonic()
        rested += worked < IDLE
        in_time = worked < IDLE and now - before < 2 * GRANULARITY
        enough = now - began > min_sleep and (in_time or rested >= 2)
        if enough or now - began >= max_sleep:
            break
    # what is there to be done now, if it does not go on for ever
    while loop._ready and monotonic() - began < max_sleep:  # type: ignore[attr-defined]
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _waits_for_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("app", "pilot"):
        monkeypatch.setattr(f"textual.{module}.wait_for_idle", settled)


@pytest.fixture
def _nothing_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look at widgets and never at the screen: to draw it is a third of their time.

    Widgets are laid out and rendered where a test asks for it; how whole screens are drawn is seen
    by test_snapshots, test_screen_cost and the tests in a terminal.
    """

    def forget(screen: Screen[Any]) -> None:
        screen._dirty_widgets.clear()
        screen._compositor._dirty_regions.clear()

    monkeypatch.setattr(Screen, "_compositor_refresh", forget)


@pytest.fixture(autouse=True)
def _notifications_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test looks at them when it comes to it, which may be later than they last."""
    monkeypatch.setattr(Notification, "time_left", 3600.0)
