"""Copies of an environment whose equations of motion are known, moved all at once.

Legend: N environments.

Each copy is still an environment of gymnasium's, which begins its episodes with a generator of its
own, so that the episodes are those of copies that are stepped one by one, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import OrderEnforcing, TimeLimit
from numpy.typing import NDArray

from trpotui.rl.equations.acrobot import AcrobotEquations
from trpotui.rl.equations.motion import Equations, Float32
from trpotui.rl.equations.mountain_cars import ContinuousMountainCarEquations, MountainCarEquations
from trpotui.rl.equations.pendulum import PendulumEquations
from trpotui.rl.observations import Observations, check_numbers, check_row
from trpotui.rl.single_environments import Environment, SingleEnvironments
from trpotui.rl.steps import Start, Step

_EQUATIONS: Mapping[str, Callable[[Any, int], Equations]] = {
    "gymnasium.envs.classic_control.acrobot:AcrobotEnv": AcrobotEquations,
    "gymnasium.envs.classic_control.continuous_mountain_car:Continuous_MountainCarEnv": (
        ContinuousMountainCarEquations
    ),
    "gymnasium.envs.classic_control.mountain_car:MountainCarEnv": MountainCarEquations,
    "gymnasium.envs.classic_control.pendulum:PendulumEnv": PendulumEquations,
}
"""By entry point: what another one returns may have been changed, or differ from copy to copy."""
_SETTINGS = {"g", "goal_velocity"}
"""Keyword arguments of the environments that are in their equations."""
_LARGEST_SETTING = 1e30
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Known:
    """What is known of an environment's copies."""

    equations: Equations
    most_steps: int
    """After which an episode is cut off."""


def known_of(environment: Environment, n_envs: int) -> Known | None:
    """What moves N copies of an environment, made alike.

    None where that is not known: it is not made by an entry point of gymnasium's or with plain
    numbers, has been changed, has noise, shows itself, or has a wrapper that does more than limit
    its steps once.
    """
    bare = environment.unwrapped
    solve = _EQUATIONS.get(_entry_point(bare))
    if solve is None:
        return None
    try:
        return Known(solve(bare, n_envs), _most_steps(environment))
    except ValueError:
        return None


def _entry_point(bare: Environment) -> str:
    """Of the class that made an environment as it is; empty where something may have changed it."""
    spec, made_by = bare.spec, type(bare)
    entry_point = f"{made_by.__module__}:{made_by.__qualname__}"
    if spec is None or spec.entry_point != entry_point or not _are_plain(spec.kwargs):
        return ""
    origins = {getattr(own, "__module__", made_by.__module__) for own in vars(made_by).values()}
    return entry_point if origins == {made_by.__module__} else ""


def _most_steps(environment: Environment) -> int:
    """Steps after which its wrappers cut an episode off.

    Raises:
        ValueError: they do more than that, or do it twice.
    """
    limits = []
    while isinstance(environment, gymnasium.Wrapper):
        if type(environment) is TimeLimit:
            limits.append(environment._max_episode_steps)  # a spec that cannot be copied has none
        elif type(environment) is not OrderEnforcing:
            raise ValueError(f"it has a wrapper: {type(environment).__name__}")
        environment = environment.env
    if len(limits) > 1:
        raise ValueError("its steps are limited twice")
    return limits[0] if limits else _NEVER


def _are_plain(settings: Mapping[str, Any]) -> bool:
    """Whether keyword arguments are numbers of Python's, none of them beyond all measure."""
    return settings.keys() <= _SETTINGS and all(
        type(value) in (int, float) and abs(value) < _LARGEST_SETTING for value in settings.values()
    )


class MovedTogether(SingleEnvironments):
    """N environments, each of which resets in the step that ends its episode.

    Args:
        environments: at least one, all made alike.
        known: of as many of them; nobody else moves by these equations.

    Raises:
        ValueError: their spaces differ.
    """

    def __init__(self, environments: Sequence[Environment], known: Known) -> None:
        super().__init__(environments)
        self._equations, self._most_steps = known.equations, known.most_steps
        self._lengths = np.zeros(self.n_envs, dtype=np.int64)
        """Steps of each open episode."""

    def reset(self, seed: int | Sequence[int]) -> Observations:
        """Begin all episodes: see `EnvironmentForm`."""
        self._lengths[:] = 0
        return super().reset(seed)

    def step(self, actions: NDArray[Any]) -> Step:
        """Take one action [N, ...] in each environment; the first of an episode is its own."""
        observations, rewards, terminated = self._equations.step(actions)
        if np.count_nonzero(self._lengths) < self.n_envs:
            rewards, terminated = rewards.copy(), terminated.copy()
            for n in np.flatnonzero(self._lengths == 0).tolist():
                observation, rewards[n], terminated[n], _, _ = self._steps[n](actions[n])
                observations[n] = check_row(self.observation_space, observation, "observation")
                self._take_up(n)
        self._lengths += 1
        check_numbers(self.observation_space, observations, "observation")
        ended = np.flatnonzero(terminated | (self._lengths >= self._most_steps)).tolist()
        ends = [(n, self._begin_anew(n, observations), bool(terminated[n])) for n in ended]
        return self._step_of(observations, rewards, ends)

    def restart(
        self,
        starts: Sequence[Start],
        actions: Sequence[NDArray[Any]],
        interrupt: Callable[[], None],
    ) -> tuple[Observations, NDArray[np.float64]]:
        """Begin the episodes once more: see `SingleForm`."""
        found = super().restart(starts, actions, interrupt)
        for n, taken in enumerate(actions):
            self._lengths[n] = len(taken)
            if len(taken):
                self._take_up(n)
        return found

    def _take_up(self, n: int) -> None:
        """Go on by the equations from where an environment is."""
        self._equations.state[:, n] = self.envs[n].unwrapped.state  # type: ignore[attr-defined]

    def _begin_anew(self, n: int, observations: Float32) -> Float32:
        """Put the first observation of an episode in the place of the last one, and return that."""
        final: Float32 = observations[n].copy()
        first, _ = self.envs[n].reset()
        observations[n] = check_row(self.observation_space, first, "observation")
        self._lengths[n] = 0
        return final
