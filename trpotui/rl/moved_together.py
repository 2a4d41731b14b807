"""Copies of an environment whose equations of motion are known, moved all at once.

Legend: N environments.

Each copy is still an environment of gymnasium's, which begins its episodes with a generator of its
own, so that the episodes are those of copies that are stepped one by one, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.acrobot import AcrobotEnv
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv
from gymnasium.envs.classic_control.mountain_car import MountainCarEnv
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from gymnasium.wrappers import OrderEnforcing, TimeLimit
from numpy.typing import NDArray

from trpotui.rl.equations.acrobot import AcrobotEquations
from trpotui.rl.equations.motion import Equations, Float32
from trpotui.rl.equations.mountain_cars import ContinuousMountainCarEquations, MountainCarEquations
from trpotui.rl.equations.pendulum import PendulumEquations
from trpotui.rl.observations import (
    Observations,
    UnfitObservationError,
    all_finite,
    check_numbers,
    check_row,
)
from trpotui.rl.single_environments import Environment, SingleEnvironments
from trpotui.rl.steps import Bools, Start, Step

_EQUATIONS: Mapping[type[Environment], Callable[[Any, int], Equations]] = {
    AcrobotEnv: AcrobotEquations,
    Continuous_MountainCarEnv: ContinuousMountainCarEquations,
    MountainCarEnv: MountainCarEquations,
    PendulumEnv: PendulumEquations,
}


def equations_of(environment: Environment, n_envs: int) -> Equations | None:
    """The equations that move copies of an environment.

    None where they are not known: it is of another class, has noise, shows itself in a window, or
    has a wrapper that does more than limit its steps once.
    """
    solve = _EQUATIONS.get(type(environment.unwrapped))
    if solve is None or environment.unwrapped.render_mode is not None:
        return None
    limits, layer = 0, environment
    while isinstance(layer, gymnasium.Wrapper):
        limits += type(layer) is TimeLimit
        if type(layer) not in (OrderEnforcing, TimeLimit) or limits > 1:
            return None
        layer = layer.env
    try:
        return solve(environment.unwrapped, n_envs)
    except ValueError:
        return None


class MovedTogether(SingleEnvironments):
    """N environments, each of which resets in the step that ends its episode.

    Args:
        environments: at least one, all made alike.
        equations: by which they move; of no one else.
    """

    def __init__(self, environments: Sequence[Environment], equations: Equations) -> None:
        super().__init__(environments)
        self._equations = equations
        spec = self.envs[0].spec
        limit = None if spec is None else spec.max_episode_steps
        self._most_steps = np.iinfo(np.int64).max if limit is None else limit
        self._lengths = np.zeros(self.n_envs, dtype=np.int64)
        self._begun: set[int] = set()
        """Whose next step is the first of an episode, which is the environment's own."""

    def reset(self, seed: int | Sequence[int]) -> Observations:
        """Begin all episodes: see `EnvironmentForm`."""
        observations = super().reset(seed)
        self._begin(range(self.n_envs))
        return observations

    def step(self, actions: NDArray[Any]) -> Step:
        """Take one action [N, ...] in each environment."""
        observations, rewards, terminated = self._equations.step(actions)
        self._lengths += 1
        if self._begun:
            terminated = terminated.copy()
            rewards = rewards.copy()
            self._take_first_steps(actions, observations, rewards, terminated)
        check_numbers(self.observation_space, observations, "observation")
        if not all_finite(rewards):
            raise UnfitObservationError("reward", "is not finite")
        ended = terminated | (self._lengths >= self._most_steps)
        if not np.count_nonzero(ended):
            none = self._none
            return Step(observations, observations, rewards, none, none, self._all, none, none)
        return self._begin_anew(observations, rewards, terminated, ended)

    def restart(
        self,
        starts: Sequence[Start],
        actions: Sequence[NDArray[Any]],
        interrupt: Callable[[], None],
    ) -> tuple[Observations, NDArray[np.float64]]:
        """Begin the episodes once more: see `SingleForm`."""
        found = super().restart(starts, actions, interrupt)
        self._begin(range(self.n_envs))
        for n, taken in enumerate(actions):
            if len(taken):
                self._take_up(n)
                self._lengths[n] = len(taken)
        return found

    def _begin(self, which: Iterable[int]) -> None:
        for n in which:
            self._lengths[n] = 0
            self._begun.add(n)

    def _take_up(self, n: int) -> None:
        """Go on by the equations from where an environment is."""
        self._equations.state[:, n] = self.envs[n].unwrapped.state  # type: ignore[attr-defined]
        self._begun.discard(n)

    def _take_first_steps(
        self,
        actions: NDArray[Any],
        observations: Float32,
        rewards: NDArray[np.float64],
        terminated: Bools,
    ) -> None:
        """Let environments take their first steps, and write what comes of it into the rows."""
        for n in sorted(self._begun):
            observation, rewards[n], terminated[n], _, _ = self._steps[n](actions[n])
            observations[n] = check_row(self.observation_space, observation, "observation")
            self._take_up(n)

    def _begin_anew(
        self,
        successors: Float32,
        rewards: NDArray[np.float64],
        terminated: Bools,
        ended: Bools,
    ) -> Step:
        """A step that ended episodes."""
        observations = successors.copy()
        for n in np.flatnonzero(ended).tolist():
            first, _ = self.envs[n].reset()
            observations[n] = check_row(self.observation_space, first, "observation")
            self._begin([n])
        truncated = ended & ~terminated
        return Step(
            successors, observations, rewards, terminated, truncated, self._all, ended, ended
        )
