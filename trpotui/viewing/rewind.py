"""An episode that can be stepped back, by resetting with its seed and doing its actions again.

What a step led to is remembered, so that the return that really followed it can be held against
what the critic had expected. Stepping forward again does what had been done before; only where that
turns out otherwise (another action, another answer) is the rest forgotten.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trpotui.episodes import EpisodePlayed, EpisodePlayer
from trpotui.rl.observations import Observations, leaves_of
from trpotui.rl.policy import Policy
from trpotui.viewing.moments import Moment, fingerprint_of
from trpotui.viewing.returns import Followed, RewardUnits, returns_that_followed

MOST_REMEMBERED = 20_000
"""Steps of an episode that are remembered: doing them again takes a second or so."""


class RewindablePlayer:
    """An `EpisodePlayer` with a memory: `step` forward, `back` one step, as often as one likes.

    Args:
        player: what is stepped; owned from now on.
        units: how the policy's critic counts rewards; None where that is not known.
    """

    def __init__(self, player: EpisodePlayer, *, units: RewardUnits | None = None) -> None:
        self.player = player
        self.units = units
        self.notice = ""
        """A sentence for the person where stepping back did not do what was asked for."""
        self._moments: list[Moment] = []
        self._followed: Sequence[Followed] = ()
        self._end_seen = False
        self._reproduces = True
        self._leaves = leaves_of(player.policy.spec.observation_space)

    # what it shares with the player inside

    @property
    def policy(self) -> Policy:
        """Who acts."""
        return self.player.policy

    @property
    def environment_id(self) -> str:
        """Of the environment."""
        return self.player.environment_id

    @property
    def fps(self) -> float:
        """Environment steps per second at speed 1."""
        return self.player.fps

    @property
    def episode(self) -> int:
        """Its number, counted from 1."""
        return self.player.episode

    @property
    def seed(self) -> int:
        """Of this episode."""
        return self.player.seed

    @property
    def steps(self) -> int:
        """Done of this episode; also the index of `now` among `moments`."""
        return self.player.steps

    @property
    def total(self) -> float:
        """Return so far."""
        return self.player.total

    @property
    def ended(self) -> bool:
        """Whether the episode is over."""
        return self.player.ended

    @property
    def observation(self) -> Observations:
        """What the policy sees before its next step."""
        return self.player.observation

    @property
    def stochastic(self) -> bool:
        """Whether the steps to come are sampled; may be set at any time."""
        return self.player.stochastic

    @stochastic.setter
    def stochastic(self, value: bool) -> None:
        self.player.stochastic = value

    def frame(self) -> NDArray[np.uint8]:
        """The picture [H, W, 3] of the current state; raises as the player's does."""
        return self.player.frame()

    def result(self) -> EpisodePlayed:
        """The episode that has ended."""
        return self.player.result()

    def close(self) -> None:
        """Close the environment."""
        self.player.close()

    # what it remembers

    @property
    def moments(self) -> Sequence[Moment]:
        """Of this episode, the first one first; those after `steps` were there before going back.

        Empty once the episode is longer than MOST_REMEMBERED.
        """
        return self._moments

    @property
    def now(self) -> Moment:
        """The state that the episode is in."""
        return self._moments[self.steps] if self._remembers else self._look()

    @property
    def followed(self) -> Followed | None:
        """The return that really followed; None before the episode's end was seen."""
        return self._followed[self.steps] if self.steps < len(self._followed) else None

    @property
    def can_go_back(self) -> bool:
        """Whether there is a step to take back, and it is known how."""
        return self.steps > 0 and self._reproduces and self._remembers

    # what it does

    def start(self, episode: int) -> None:
        """Reset for an episode, counted from 1; raises as the player's does."""
        self.notice = ""
        self.player.start(episode)
        self._moments, self._followed = [self._look()], ()
        self._end_seen = False

    def restart(self) -> None:
        """Begin this episode anew, with the same seed."""
        self.start(self.episode)

    def step(self, action: Any = None) -> None:
        """Act once; raises as the player's does.

        Args:
            action: a person's, in place of the policy's.
        """
        self.notice = ""
        remembers = self._remembers
        stochastic = self.stochastic
        self.player.step(action)
        if not remembers or self.steps > MOST_REMEMBERED:
            self._moments, self._followed = [], ()
            return
        index = self.steps - 1
        action = self.player.action
        done = dataclasses.replace(
            self._moments[index],
            action=action.copy() if isinstance(action, np.ndarray) else action,
            reward=self.player.reward,
            stochastic=stochastic,
        )
        new = self._look()
        if not self._is_again(index, done, new):
            self._moments[index:] = [done, new]
            self._close_books()

    def back(self) -> bool:
        """Take one step back; false, with a `notice`, where that is not possible.

        The environment is reset with the episode's seed and every step but the last one is done
        again, the policy's memory and noise included. Where an observation then differs from the
        remembered one, the episode goes on from there, and nothing is remembered of the old one.
        """
        if not self.can_go_back:
            self.notice = self._why_not_back()
            return False
        return self._return_to(self.steps - 1)

    def rewind(self) -> bool:
        """Go back to the first moment at once, remembering the others; otherwise as `back`."""
        if not self.can_go_back:
            self.notice = self._why_not_back()
            return False
        return self._return_to(0)

    def _return_to(self, goal: int) -> bool:
        old, stochastic = self._moments, self.stochastic
        self.notice = ""
        try:
            self._reproduces = self._replay(old, goal)
        finally:
            self.stochastic = stochastic
        if not self._reproduces:
            self._moments = [*old[: self.steps], self._look()]
            if self.steps:
                last = dataclasses.replace(old[self.steps - 1], reward=self.player.reward)
                self._moments[-2] = last
            self._close_books()
            self.notice = self._why_not_back()
        return self._reproduces

    @property
    def _remembers(self) -> bool:
        return len(self._moments) > self.steps

    def _replay(self, old: Sequence[Moment], goal: int) -> bool:
        """Do the first `goal` steps again; false at the first answer that is another one."""
        player = self.player
        player.start(player.episode)
        for index in range(goal + 1):
            if fingerprint_of(self._arrays()) != old[index].fingerprint:
                return False
            if index == goal:
                return True
            player.stochastic = old[index].stochastic
            player.step(old[index].action)
            if player.ended or player.reward != old[index].reward:
                return False
        return True

    def _is_again(self, index: int, done: Moment, new: Moment) -> bool:
        """Whether a step, and what it led to, is the one remembered from before going back."""
        old = self._moments
        return (
            len(old) > index + 1
            and old[index].action is not None
            and np.array_equal(old[index].action, done.action)
            and old[index].reward == done.reward
            and old[index].stochastic == done.stochastic
            and old[index + 1].fingerprint == new.fingerprint
            and self.ended == (self._end_seen and index + 2 == len(old))
        )

    def _look(self) -> Moment:
        parameters, value = self.player.outlook()
        return Moment.seen(self._arrays(), self.player.observation, parameters, value)

    def _arrays(self) -> list[NDArray[Any]]:
        """The observation's leaves."""
        return [leaf.of(self.player.observation) for leaf in self._leaves]

    def _close_books(self) -> None:
        """Work out what followed every step, if this is the end."""
        self._end_seen = self.ended
        self._followed = ()
        if self.ended and self.units is not None and self.units.known:
            self._followed = returns_that_followed(
                [moment.reward for moment in self._moments[:-1]],
                self.units,
                beyond=self._moments[-1].value if self.player.truncated else 0.0,
            )

    def _why_not_back(self) -> str:
        if not self._reproduces:
            return (
                f"{self.environment_id} does not repeat an episode with the same seed and actions: "
                "it cannot be stepped back"
            )
        if not self._remembers:
            return f"after {MOST_REMEMBERED:,} steps an episode can no longer be stepped back"
        return "this is the episode's first moment"
