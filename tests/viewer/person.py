"""Someone in front of the window on a real X server, who looks and presses keys."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from viewer_environments import FAULTY
from viewer_policies import random_policy
from x_client import pixels

from trpotui.episodes import PlayOptions
from trpotui.rl.policy import Policy
from trpotui.viewer import PlaybackChanged, PlayerWindow
from trpotui.viewing.contenders import Contender

PATIENCE = 60.0


def xdotool(*arguments: str) -> str:
    return subprocess.run(
        ["xdotool", *arguments], check=True, capture_output=True, text=True, timeout=PATIENCE
    ).stdout


class Person:
    """Someone in front of the window."""

    def __init__(self, window: PlayerWindow, display: str) -> None:
        self.window = window
        self.display = display
        self.x_window = 0
        self._events = window.events()

    async def look(self) -> None:
        """Find the window, also after it was made anew, and give it the keyboard."""
        found = await asyncio.to_thread(
            xdotool, "search", "--sync", "--onlyvisible", "--pid", str(self.window.pid)
        )
        self.x_window = int(found.split()[-1])
        await asyncio.to_thread(xdotool, "windowfocus", "--sync", str(self.x_window))

    async def press(self, *keys: str) -> None:
        await asyncio.to_thread(xdotool, "key", *keys)

    async def next_event(self) -> Any:
        return await asyncio.wait_for(anext(self._events), PATIENCE)

    async def next_of(self, kind: type[Any]) -> Any:
        while not isinstance(event := await self.next_event(), kind):
            pass
        return event

    async def next_change(self) -> PlaybackChanged:
        change: PlaybackChanged = await self.next_of(PlaybackChanged)
        return change

    async def rest_of_events(self) -> list[Any]:
        async def read() -> list[Any]:
            return [event async for event in self._events]

        return await asyncio.wait_for(read(), PATIENCE)

    def sees(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return pixels(self.display, self.x_window)

    async def wait_to_see(self, condition: Callable[[Any], object], what: str) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not condition(seen := self.sees()):
            assert time.monotonic() < deadline, f"never seen: {what}"
            await asyncio.sleep(0.01)
        return seen


@asynccontextmanager
async def watched(
    display: str,
    shown: Policy | Sequence[Contender],
    screenshots: Path | None = None,
    **options: Any,
) -> AsyncIterator[Person]:
    async with await PlayerWindow.open(
        shown, PlayOptions(**options), screenshots=screenshots
    ) as window:
        assert window.driver == "x11"
        person = Person(window, display)
        await person.look()
        yield person


def watch(
    display: str,
    action: Callable[[Person], Awaitable[None]],
    *,
    policy: Policy | Sequence[Contender] | None = None,
    screenshots: Path | None = None,
    **options: Any,
) -> None:
    """Let a person act in front of a window, by default one in which nothing ends by itself."""
    shown = policy or random_policy(FAULTY, fault="endless")

    async def play() -> None:
        async with watched(display, shown, screenshots, **options) as person:
            await action(person)

    asyncio.run(asyncio.wait_for(play(), 2 * PATIENCE))
