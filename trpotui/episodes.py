"""One environment and one frozen policy, stepped an episode at a time with every answer checked.

Every view of a policy shares this loop, so equal seeds give equal returns in all. (`eval` steps
many episodes together; of an environment with a native vector form they are other episodes.)
"""

from __future__ import annotations

import contextlib
import math
import numbers
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass

from trpotui.config import STRICT
from trpotui.errors import EnvironmentFaultError, RequestError, RunError
from trpotui.pacing import FASTEST, SLOWEST
from trpotui.rl.observations import (
    Observations,
    UnfitObservationError,
    batched,
    check_row,
    checked,
)
from trpotui.rl.policy import ACTION_STREAM, Policy
from trpotui.single_environment import because, make_environment, refuse_other_spaces

DEFAULT_FPS = 30.0
"""Frames per second of an environment that does not declare its own."""

LONGEST_EPISODE = 1_000_000
"""Steps after which an episode that nobody is watching counts as endless."""

T = TypeVar("T")


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class PlayOptions:
    """How a policy is played, with or without a window."""

    episodes: int = Field(default=3, ge=1, le=10_000, description="episodes to play")
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="the first episode's seed; each next one adds 1"
    )
    stochastic: bool = Field(
        default=False, description="sample actions instead of taking the most likely one"
    )
    speed: float = Field(
        default=1.0,
        ge=SLOWEST,
        le=FASTEST,
        description="speed of a window, in multiples of the environment's own frame rate",
    )


@dataclass(frozen=True, kw_only=True)
class EpisodePlayed:
    """An episode that ran to its end; one that was cut short is never reported."""

    episode: int
    """Its number, counted from 1."""
    seed: int
    """The seed that the environment was reset with."""
    episode_return: float
    """Undiscounted sum of rewards."""
    length: int
    """Environment steps."""
    place: int = 0
    """Whose it was, of several policies side by side, counted from 0."""


class EpisodePlayer:
    """Plays evaluation episodes of a policy in the environment that it was made for.

    Args:
        policy: who acts; greedy unless the options are stochastic.
        options: episode i, counted from 1, is reset with `seed + i - 1`.
        render_mode: "rgb_array" makes `frame` available.

    Raises:
        RequestError: the environment cannot be made, or is not the one that the policy is for.
    """

    def __init__(
        self,
        policy: Policy,
        options: PlayOptions,
        *,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        self.policy = policy
        self.options = options
        self.environment_id = policy.spec.environment_id
        self.episode = 0
        self.seed = options.seed
        self.steps = 0
        self.total = 0.0
        """Return so far."""
        self.reward = 0.0
        """Of the last step."""
        self.action: Any = None
        """The last one, as the environment was given it; None before the first step."""
        self.ended = True
        self.truncated = False
        """Whether the episode was cut short, so that more reward could have followed."""
        self._stochastic = options.stochastic
        self._rng = np.random.default_rng(0)
        self._session = policy.session(1)
        self._starts = np.ones(1, dtype=np.bool_)
        self._observation: Observations = np.zeros(0)
        self._environment = make_environment(
            self.environment_id, policy.spec.environment_kwargs, render_mode
        )
        refuse_other_spaces(
            self._environment, policy.spec.observation_space, policy.spec.action_space
        )

    @property
    def fps(self) -> float:
        """Frames per second that the environment declares for playing at its natural speed."""
        declared = (self._environment.metadata or {}).get("render_fps")
        fps = float(declared) if isinstance(declared, numbers.Real) else 0.0
        return fps if 0 < fps < math.inf else DEFAULT_FPS

    @property
    def observation(self) -> Observations:
        """What the policy sees before its next step."""
        return self._observation

    @property
    def stochastic(self) -> bool:
        """Whether the steps to come are sampled; to begin with, what the options say."""
        return self._stochastic

    @stochastic.setter
    def stochastic(self, value: bool) -> None:
        self._stochastic = value
        self._session.draw_from(self._rng if value else None)

    def follow(self, policy: Policy) -> None:
        """Go on amid the episode with another policy of the same spec: the same, after updates."""
        session = policy.session(1, self._rng if self._stochastic else None)
        session.restore(self._session.state())
        self.policy, self._session = policy, session

    def start(self, episode: int) -> None:
        """Reset for an episode, counted from 1.

        Raises:
            EnvironmentFaultError: the environment raised or handed out bad data.
        """
        self.episode, self.steps, self.total = episode, 0, 0.0
        self.reward, self.action = 0.0, None
        self.seed = self.options.seed + episode - 1
        self._rng = np.random.default_rng([self.seed, ACTION_STREAM])
        self._session = self.policy.session(1, self._rng if self._stochastic else None)
        self._starts[:] = True
        answer = self._call(lambda: self._environment.reset(seed=self.seed))
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise self._fault("did not return an observation and an info")
        self._observation = self._checked(answer[0])
        self.ended = self.truncated = False

    def step(self, action: Any = None) -> None:
        """Let the policy act once; sets `ended` when the episode is over.

        Args:
            action: done in the place of the policy's own, which is found all the same, so that its
                memory and its noise go on as if it had been that.

        Raises:
            EnvironmentFaultError: the environment raised or handed out bad data.
            RunError: the policy's action is not a finite number.
        """
        own = self._own_action()
        self.action = own if action is None else action
        self.steps += 1
        answer = self._call(lambda: self._environment.step(self.action))
        if not isinstance(answer, tuple) or len(answer) != 5:
            raise self._fault("did not return its five values")
        observation, reward, terminated, truncated, _ = answer
        try:
            total, self.reward = self.total + float(reward), float(reward)
            self.ended = bool(terminated) or bool(truncated)
            self.truncated = self.ended and not terminated
        except (TypeError, ValueError):
            raise self._fault("returned a reward or an end that is no number") from None
        if not math.isfinite(total):
            raise self._fault("returned a reward that is not finite")
        self.total = total
        self._observation = self._checked(observation)

    def _own_action(self) -> Any:
        raw = self._session.act(self._inputs(), self._starts)
        self._starts[:] = False
        action = self.policy.decoder.decode(raw)[0]
        if not np.isfinite(action).all():
            raise RunError(
                f"the policy's action for step {self.steps + 1} of episode {self.episode} "
                f"(seed {self.seed}) is not a finite number"
            )
        return int(action) if isinstance(self.policy.spec.action_space, spaces.Discrete) else action

    def outlook(self) -> tuple[NDArray[np.float32], float]:
        """Distribution parameters [K] of the next action, and the critic's estimate."""
        inputs = self._inputs()
        parameters = self._session.parameters(inputs, self._starts)[0]
        return parameters, float(self._session.values(inputs, self._starts)[0])

    def _inputs(self) -> NDArray[np.float32]:
        """What the networks see before the next step [1, D]."""
        return self.policy.network_inputs(batched(self._observation))

    def frame(self) -> NDArray[np.uint8]:
        """The picture [H, W, 3] of the current state.

        Raises:
            EnvironmentFaultError: the environment raised.
            RequestError: the environment has no such picture.
        """
        picture = self._call(self._environment.render)
        if (
            not isinstance(picture, np.ndarray)
            or picture.dtype != np.uint8
            or picture.ndim != 3
            or picture.shape[2] != 3
            or picture.size == 0
        ):
            raise RequestError(
                f"the environment {self.environment_id} has no picture to show: "
                "use --view none to play without a window"
            )
        return np.ascontiguousarray(picture)

    def result(self) -> EpisodePlayed:
        """The episode that has ended."""
        return EpisodePlayed(
            episode=self.episode, seed=self.seed, episode_return=self.total, length=self.steps
        )

    def close(self) -> None:
        """Close the environment; a complaint of it comes too late to matter."""
        with contextlib.suppress(Exception):
            self._environment.close()

    def _call(self, function: Callable[[], T]) -> T:
        try:
            return function()
        except Exception as error:
            raise EnvironmentFaultError(
                f"the environment {self.environment_id} raised {type(error).__name__} "
                f"in {self._where()}{because(error)}"
            ) from error

    def _checked(self, observation: object) -> Observations:
        """The observation in the form of the policy's space, refused unless it is of that."""
        try:
            return checked(self.policy.spec.observation_space, observation, check_row)
        except UnfitObservationError as fault:
            raise self._fault(f"returned an {fault.name} that {fault.what}") from None

    def _fault(self, what: str) -> EnvironmentFaultError:
        return EnvironmentFaultError(
            f"the environment {self.environment_id} {what} in {self._where()}"
        )

    def _where(self) -> str:
        place = f"step {self.steps}" if self.steps else "the reset"
        return f"{place} of episode {self.episode} (seed {self.seed})"


def play_without_window(policy: Policy, options: PlayOptions) -> Iterator[EpisodePlayed]:
    """Play the episodes as fast as they go, without pictures.

    Raises:
        RequestError: the environment cannot be made, or is not the one that the policy is for.
        RunError: the environment or the policy failed, or an episode does not end.
    """
    with contextlib.closing(EpisodePlayer(policy, options)) as player:
        for episode in range(1, options.episodes + 1):
            player.start(episode)
            while not player.ended:
                if player.steps >= LONGEST_EPISODE:
                    raise RunError(
                        f"episode {episode} of {player.environment_id} did not end within "
                        f"{LONGEST_EPISODE:,} steps: the environment needs a time limit"
                    )
                player.step()
            yield player.result()
