"""Policies played in windows of their own, which somebody else knows how to open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from textual.app import App

from trpotui.errors import NoDisplayError, RunError, TrpotuiError

if TYPE_CHECKING:
    from trpotui.episodes import PlayOptions
    from trpotui.tui.policy_sources import NamedPolicy, PolicySource
    from trpotui.viewing.contenders import Contender

EPISODES = 20
"""That a window plays before it closes by itself."""
MOST_WINDOWS = 4
WAIT_SECONDS = 20.0
"""For a run to hand out its policy: an update of a large network takes a while."""
LOOK_SECONDS = 0.05
"""Between two looks whether it has."""


class PlayerWindow(Protocol):
    """A window that is open."""

    def events(self) -> AsyncIterator[object]:
        """What happens in it, until it is closed; of that `EpisodePlayed` is looked at."""


OpenWindow = Callable[["Contender", "PlayOptions"], AbstractAsyncContextManager[PlayerWindow]]
"""Entering opens the window, leaving closes it. Entering raises `NoDisplayError`, or another
TrpotuiError where the environment cannot be shown."""


@dataclass(frozen=True)
class WindowReport:
    """How a window does."""

    name: str
    """Which policy it plays."""
    returns: tuple[float, ...]
    """Of the episodes that it has played to their end."""
    is_open: bool


class Windows:
    """Opens windows as tasks of the app. They and the app never wait for each other.

    Args:
        app: whose tasks they are; leaving it closes them.
        open_window: None where there are no windows.
    """

    def __init__(self, app: App[Any], open_window: OpenWindow | None) -> None:
        self._app = app
        self._open_window = open_window
        self._open = 0

    def play(
        self,
        source: PolicySource,
        *,
        stochastic: bool = False,
        report: Callable[[WindowReport], None] = lambda _: None,
        without_display: Callable[[], None],
    ) -> None:
        """Open a window on the newest policy of a source.

        Args:
            source: of which one policy is taken.
            stochastic: sample actions instead of taking the likeliest.
            report: called when the window is open, after each episode, and when it is gone.
            without_display: called in place of all that where a window would be seen by nobody.
        """
        if self._open >= MOST_WINDOWS:
            self._app.notify("Close one of the windows first.", severity="warning")
            return
        self._app.run_worker(
            self._play(source, stochastic, report, without_display),
            group="windows",
            exit_on_error=False,
        )

    async def _play(
        self,
        source: PolicySource,
        stochastic: bool,
        report: Callable[[WindowReport], None],
        without_display: Callable[[], None],
    ) -> None:
        self._open += 1
        try:
            await self._follow(source, stochastic, report)
        except NoDisplayError:
            self._app.notify("There is no display for a window: playing in the terminal.")
            without_display()
        except TrpotuiError as error:
            self._app.notify(str(error), severity="error", markup=False)
        except Exception as error:  # noqa: BLE001 - a window must not take the app with it
            message = f"The window failed: {type(error).__name__}: {error}"
            self._app.notify(message, severity="error", markup=False)
        finally:
            self._open -= 1

    async def _follow(
        self,
        source: PolicySource,
        stochastic: bool,
        report: Callable[[WindowReport], None],
    ) -> None:
        from trpotui.episodes import EpisodePlayed, PlayOptions  # noqa: PLC0415 - gymnasium
        from trpotui.tui.widgets.policy_facts import summary  # noqa: PLC0415 - when needed
        from trpotui.viewing.contenders import Contender  # noqa: PLC0415 - gymnasium

        if self._open_window is None:
            raise NoDisplayError("this app opens no windows")
        policy, name, units = await _newest(source)
        options = PlayOptions(episodes=EPISODES, stochastic=stochastic)
        returns: tuple[float, ...] = ()
        shown = Contender(policy=policy, title=name, units=units)
        async with self._open_window(shown, options) as window:
            report(WindowReport(name, (), is_open=True))
            try:
                async for event in window.events():
                    if isinstance(event, EpisodePlayed):
                        returns = (*returns, event.episode_return)
                        report(WindowReport(name, returns, is_open=True))
            finally:
                report(WindowReport(name, returns, is_open=False))
        if returns:
            self._app.notify(
                f"{name}: return {summary(returns)}", title="Window closed", markup=False
            )


async def _newest(source: PolicySource) -> NamedPolicy:
    """One policy of a source, waited for without holding up the screen."""
    source.ask()
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        newest = await asyncio.to_thread(source.take)
        if newest is not None:
            return newest
        await asyncio.sleep(LOOK_SECONDS)
    raise RunError("the run is busy with a long update: try again in a moment")
