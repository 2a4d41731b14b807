"""When the environment is stepped: speed, pause and the order of episodes, without a screen."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import Protocol

from trpotui.episodes import FASTEST, SLOWEST, EpisodePlayed
from trpotui.viewer.protocol import PlaybackChanged

SPEEDS = (SLOWEST, 0.5, 1.0, 2.0, 4.0, 8.0, FASTEST)

HOLD_SECONDS = 0.6
"""For how long, at speed 1, the last frame of an episode stays before the next one begins."""

LONGEST_GAP = 0.25
"""Seconds between two looks at the clock that count; more is a stall, not time to catch up with."""


class Steppable(Protocol):
    """What playback needs of `trpotui.viewer.episodes.EpisodePlayer`."""

    episode: int
    steps: int
    total: float
    ended: bool

    def start(self, episode: int) -> None:
        """Reset for an episode, counted from 1."""

    def step(self) -> None:
        """Act once."""

    def result(self) -> EpisodePlayed:
        """The episode that has ended."""


class Playback:
    """Turns seconds that have passed into environment steps.

    Args:
        player: what is stepped.
        episodes: how many to play.
        fps: environment steps per second at speed 1.
        speed: the multiple to begin with.
        report: called with each episode that has ended, at once.
    """

    def __init__(
        self,
        player: Steppable,
        *,
        episodes: int,
        fps: float,
        speed: float,
        report: Callable[[EpisodePlayed], None],
    ) -> None:
        self.player = player
        self.episodes = episodes
        self.fps = fps
        self.speed = speed
        self.paused = False
        self.finished = False
        self._report = report
        self._due = 0.0
        self._hold = 0
        player.start(1)

    def advance(self, seconds: float, *, out_of_time: Callable[[], bool]) -> bool:
        """Step as often as the seconds that have passed ask for; true when anything was stepped.

        What could not be done before `out_of_time` said so is dropped: a slow environment plays
        more slowly, and never falls further and further behind.
        """
        if self.paused or self.finished:
            return False
        self._due += min(seconds, LONGEST_GAP) * self.fps * self.speed
        moved = False
        while self._due >= 1 and not self.finished:
            self._due -= 1
            self._tick()
            moved = True
            if out_of_time():
                self._due = min(self._due, 1.0)
                break
        return moved

    def toggle_pause(self) -> None:
        """Stop the steps, or let them go on."""
        self.paused = not self.paused

    def faster(self) -> None:
        """Take the next higher speed, if there is one."""
        self.speed = SPEEDS[min(bisect.bisect_right(SPEEDS, self.speed), len(SPEEDS) - 1)]

    def slower(self) -> None:
        """Take the next lower speed, if there is one."""
        self.speed = SPEEDS[max(bisect.bisect_left(SPEEDS, self.speed) - 1, 0)]

    def next_episode(self) -> None:
        """Begin the next episode, whether or not this one has ended; after the last, finish."""
        self._hold = 0
        if self.player.episode >= self.episodes:
            self.finished = True
        else:
            self.player.start(self.player.episode + 1)

    def state(self) -> PlaybackChanged:
        """What the window is doing now."""
        return PlaybackChanged(
            paused=self.paused,
            speed=self.speed,
            episode=self.player.episode,
            step=self.player.steps,
        )

    def _tick(self) -> None:
        if self._hold > 1:
            self._hold -= 1
        elif self.player.ended:
            self.next_episode()
        else:
            self.player.step()
            if self.player.ended:
                self._report(self.player.result())
                self._hold = max(1, round(HOLD_SECONDS * self.fps))
