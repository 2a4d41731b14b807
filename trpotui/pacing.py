"""When episodes are stepped so that a person can watch them: speed, pause and rests."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Protocol

SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Multiples of an environment's own frame rate."""
SLOWEST, FASTEST = SPEEDS[0], SPEEDS[-1]

HOLD_SECONDS = 0.6
"""For how long, at speed 1, the last frame of an episode stays before the next one begins."""

LONGEST_GAP = 0.25
"""Seconds between two looks at the clock that count; more is a stall, not time to catch up with."""


class Steppable(Protocol):
    """What a pace needs of `trpotui.episodes.EpisodePlayer`."""

    @property
    def ended(self) -> bool:
        """Whether the episode is over."""

    @property
    def fps(self) -> float:
        """Environment steps per second at speed 1."""

    def step(self) -> None:
        """Act once."""


class Pace:
    """Turns seconds that have passed into environment steps, with a rest after each episode.

    `speed` and `paused` may be set from any thread.

    Args:
        speed: the multiple of the environment's own frame rate to begin with.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self.paused = False
        self._due = 0.0  # steps
        self._rest = 0  # likewise

    def toggle_pause(self) -> None:
        """Stop the steps, or let them go on."""
        self.paused = not self.paused

    def faster(self) -> None:
        """Take the next higher speed, if there is one."""
        self.speed = SPEEDS[min(bisect_right(SPEEDS, self.speed), len(SPEEDS) - 1)]

    def slower(self) -> None:
        """Take the next lower speed, if there is one."""
        self.speed = SPEEDS[max(bisect_left(SPEEDS, self.speed) - 1, 0)]

    def skip_rest(self) -> None:
        """Step again at once: another episode was begun by hand."""
        self._rest = 0

    def until_next_step(self, player: Steppable) -> float:
        """Seconds until `advance` has something to do; infinite while paused."""
        if self.paused:
            return math.inf
        return max(0.0, 1 - self._due) / (player.fps * self.speed)

    def advance(
        self,
        player: Steppable,
        seconds: float,
        *,
        out_of_time: Callable[[], bool],
        end: Callable[[], None],
        begin_next: Callable[[], bool],
    ) -> bool:
        """Step as often as the seconds that have passed ask for; true when anything moved.

        What could not be done before `out_of_time` said so is dropped: a slow environment plays
        more slowly, and never falls further and further behind.

        Args:
            player: what is stepped.
            seconds: since the last call.
            out_of_time: asked after each step.
            end: called when an episode has ended, at once.
            begin_next: called after the rest that follows; says whether there is a next episode.
        """
        if self.paused:
            return False
        self._due += min(seconds, LONGEST_GAP) * player.fps * self.speed
        moved = False
        while self._due >= 1:
            self._due -= 1
            if self._rest > 1:
                self._rest -= 1
                continue
            moved = True
            if not player.ended:
                player.step()
                if player.ended:
                    self._rest = max(1, round(HOLD_SECONDS * player.fps))
                    end()
            else:
                self._rest = 0
                if not begin_next():
                    break
            if out_of_time():
                self._due = min(self._due, 1.0)
                break
        return moved
