"""Several players in step on the same seeds: one clock, one step forward or back for all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from trpotui.episodes import EpisodePlayed


class Rewindable(Protocol):
    """What is needed of a `RewindablePlayer`."""

    notice: str
    stochastic: bool

    @property
    def fps(self) -> float:
        """Environment steps per second at speed 1."""

    @property
    def episode(self) -> int:
        """Counted from 1."""

    @property
    def steps(self) -> int:
        """Done of this episode."""

    @property
    def ended(self) -> bool:
        """Whether it is over."""

    def start(self, episode: int) -> None:
        """Reset for an episode."""

    def step(self, action: Any = None) -> None:
        """Act once."""

    def back(self) -> bool:
        """Take a step back."""

    def result(self) -> EpisodePlayed:
        """The episode that has ended."""


class Together:
    """Players side by side. Those whose episode is over wait for the others.

    Args:
        players: at least one, of environments that may differ.
        report: called with an episode when it has ended, at once; one that is played again, or was
            stepped back, is reported the first time only.
        action_of: a person's action for the player of a place; None lets the policy act.
    """

    def __init__(
        self,
        players: Sequence[Rewindable],
        *,
        report: Callable[[EpisodePlayed], None] = lambda _: None,
        action_of: Callable[[int], Any] = lambda _place: None,
    ) -> None:
        self.players = players
        self._report = report
        self._action_of = action_of
        self._reported: set[tuple[int, int]] = set()

    @property
    def fps(self) -> float:
        """Steps per second at speed 1: that of the slowest."""
        return min(player.fps for player in self.players)

    @property
    def episode(self) -> int:
        """The episode that all are in, counted from 1."""
        return self.players[0].episode

    @property
    def steps(self) -> int:
        """Those of the player who came furthest."""
        return max(player.steps for player in self.players)

    @property
    def ended(self) -> bool:
        """Whether all episodes are over."""
        return all(player.ended for player in self.players)

    @property
    def stochastic(self) -> bool:
        """Whether the steps to come are sampled; may be set at any time."""
        return self.players[0].stochastic

    @stochastic.setter
    def stochastic(self, value: bool) -> None:
        for player in self.players:
            player.stochastic = value

    @property
    def notice(self) -> str:
        """What a player has to say of its last step, if anything."""
        return next((player.notice for player in self.players if player.notice), "")

    def start(self, episode: int) -> None:
        """Reset all for an episode, counted from 1."""
        for player in self.players:
            player.start(episode)

    def step(self) -> None:
        """One step of everybody whose episode goes on."""
        for place, player in enumerate(self.players):
            if player.ended:
                continue
            player.step(self._action_of(place))
            key = place, player.episode
            if player.ended and key not in self._reported:
                self._reported.add(key)
                self._report(dataclasses.replace(player.result(), place=place))

    def back(self) -> bool:
        """Everybody as they were one step before; false where a player could not do that."""
        last = self.steps
        done = [player.back() for player in self.players if player.steps == last]
        return all(done)
