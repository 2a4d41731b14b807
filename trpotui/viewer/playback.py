"""The order in which a window plays episodes, without a screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from trpotui.episodes import EpisodePlayed
from trpotui.pacing import Pace, Steppable
from trpotui.viewer.protocol import PlaybackChanged


class Playable(Steppable, Protocol):
    """What playback needs of `trpotui.episodes.EpisodePlayer`."""

    episode: int
    steps: int
    total: float

    def start(self, episode: int) -> None:
        """Reset for an episode, counted from 1."""

    def result(self) -> EpisodePlayed:
        """The episode that has ended."""


class Playback:
    """Plays so many episodes, one after the other, at a pace that the person sets.

    Args:
        player: what is stepped.
        episodes: how many to play.
        speed: the multiple of the environment's own frame rate to begin with.
        report: called with each episode that has ended, at once.
    """

    def __init__(
        self,
        player: Playable,
        *,
        episodes: int,
        speed: float,
        report: Callable[[EpisodePlayed], None],
    ) -> None:
        self.player = player
        self.episodes = episodes
        self.pace = Pace(speed)
        self.finished = False
        self._report = report
        player.start(1)

    def advance(self, seconds: float, *, out_of_time: Callable[[], bool]) -> bool:
        """Step as often as the seconds that have passed ask for; true when anything moved."""
        return not self.finished and self.pace.advance(
            self.player,
            seconds,
            out_of_time=out_of_time,
            end=lambda: self._report(self.player.result()),
            begin_next=self._begin_next,
        )

    def next_episode(self) -> None:
        """Begin the next episode, whether or not this one has ended; after the last, finish."""
        self.pace.skip_rest()
        self._begin_next()

    def state(self) -> PlaybackChanged:
        """What the window is doing now."""
        return PlaybackChanged(
            paused=self.pace.paused,
            speed=self.pace.speed,
            episode=self.player.episode,
            step=self.player.steps,
        )

    def _begin_next(self) -> bool:
        self.finished = self.player.episode >= self.episodes
        if not self.finished:
            self.player.start(self.player.episode + 1)
        return not self.finished
