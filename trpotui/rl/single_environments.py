"""Environments that run alone, one after another in this process.

Legend: N environments, T steps.

It does what gymnasium's SyncVectorEnv does when finished episodes are reset in the same step, with
the same numbers, at a fraction of its cost.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from trpotui.rl.observations import (
    Observations,
    UnfitObservationError,
    all_finite,
    check_form,
    check_numbers,
    check_row,
    checked,
    mapped,
    put,
)
from trpotui.rl.open_episodes import OpenEpisode, episode_again
from trpotui.rl.steps import Start, Step, constant

Environment = gymnasium.Env[Any, Any]


class SingleEnvironments:
    """N environments, each of which resets in the step that ends its episode.

    Args:
        environments: at least one, all with the same spaces.

    Raises:
        ValueError: their spaces differ.
    """

    seeds_each = True

    def __init__(self, environments: Sequence[Environment]) -> None:
        self.envs = list(environments)
        self.n_envs = len(self.envs)
        first = self.envs[0]
        self.observation_space, self.action_space = first.observation_space, first.action_space
        for one in self.envs[1:]:
            check_same_spaces(first, one)
        self.only_resets = self._none = constant(self.n_envs, False)
        self._all = constant(self.n_envs, True)
        self._steps = [one.step for one in self.envs]
        self._remembered: list[OpenEpisode] = []
        self._together = _joiner(self.observation_space)

    def reset(self, seed: int | Sequence[int]) -> Observations:
        """Begin all episodes: see `EnvironmentForm`."""
        seeds = range(seed, seed + self.n_envs) if isinstance(seed, int) else seed
        found = [one.reset(seed=own)[0] for one, own in zip(self.envs, seeds, strict=True)]
        return self._together(self.observation_space, found, "observation")

    def step(self, actions: NDArray[Any]) -> Step:
        """Take one action [N, ...] in each environment."""
        found: list[Any] = []
        rewards = np.empty(self.n_envs)
        ends: list[tuple[int, Observations, bool]] = []
        for n, step in enumerate(self._steps):
            observation, rewards[n], terminated, truncated, _ = step(actions[n])
            if terminated or truncated:
                ends.append((n, self._final(observation), bool(terminated)))
                observation, _ = self.envs[n].reset()
            found.append(observation)
        observations = self._together(self.observation_space, found, "observation")
        return self._step_of(observations, rewards, ends)

    def remember(self, *, seed_episodes: bool) -> None:
        """From now on know how each episode began: see `SingleForm`."""
        self._remembered = [OpenEpisode(one, seed_episodes=seed_episodes) for one in self.envs]
        self.envs[:] = self._remembered

    def starts(self) -> list[Start]:
        """How the open episode of each environment began [N]; empty where it is not remembered."""
        return [one.start for one in self._remembered] or [{}] * self.n_envs

    def restart(
        self,
        starts: Sequence[Start],
        actions: Sequence[NDArray[Any]],
        interrupt: Callable[[], None],
    ) -> tuple[Observations, NDArray[np.float64]]:
        """Begin the episodes once more: see `SingleForm`."""
        found, returns = [], []
        for one, start, taken in zip(self._remembered, starts, actions, strict=True):
            observation, total = episode_again(one, start, taken, interrupt)
            found.append(observation)
            returns.append(total)
        together = self._together(self.observation_space, found, "observation")
        return together, np.array(returns)

    def close(self) -> None:
        """Close the environments."""
        for one in self.envs:
            one.close()

    def _final(self, observation: Any) -> Observations:
        """The last observation of an episode; a copy, because a reset may write into the same."""
        return mapped(np.array, checked(self.observation_space, observation, check_row))

    def _step_of(
        self,
        observations: Observations,
        rewards: NDArray[np.float64],
        ends: Sequence[tuple[int, Observations, bool]],
    ) -> Step:
        """A step, with the environments that it ended: last observation, whether it terminated."""
        if not all_finite(rewards):
            raise UnfitObservationError("reward", "is not finite")
        if not ends:
            none = self._none
            return Step(observations, observations, rewards, none, none, self._all, none, none)
        successors = mapped(np.copy, observations)
        ended, terminated = np.zeros((2, self.n_envs), dtype=np.bool_)
        for n, final, terminal in ends:
            put(successors, n, final)
            ended[n], terminated[n] = True, terminal
        truncated = ended & ~terminated
        return Step(
            successors, observations, rewards, terminated, truncated, self._all, ended, ended
        )


@contextmanager
def quietly() -> Iterator[None]:
    """Without gymnasium's warnings about its versions, which are nothing a run can change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check_same_spaces(first: Any, other: Any) -> None:
    """Refuse copies whose spaces differ.

    Raises:
        ValueError: they do.
    """
    for name in ("observation_space", "action_space"):
        a, b = getattr(first, name), getattr(other, name)
        if a != b:
            raise ValueError(f"its copies have different spaces: {a} and {b}")


# what several environments observed, as one

_Joiner = Callable[[spaces.Space[Any], list[Any], str], Observations]


def _joiner(space: spaces.Space[Any]) -> _Joiner:
    """The quickest way for a space."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return _join
    return _join_arrays if space.shape else _join_numbers


def _join(space: spaces.Space[Any], found: list[Any], name: str) -> Observations:
    """Observations of single environments as one [N, ...], in the form of their space."""
    for one in found:
        check_form(space, one, name)
    if isinstance(space, spaces.Dict):
        return {
            key: _join(part, [one[key] for one in found], f"{name}.{key}")
            for key, part in space.spaces.items()
        }
    if isinstance(space, spaces.Tuple):
        return tuple(
            _join(part, [one[index] for one in found], f"{name}.{index}")
            for index, part in enumerate(space.spaces)
        )
    return _joiner(space)(space, found, name)


def _join_arrays(space: spaces.Space[Any], found: list[Any], name: str) -> NDArray[Any]:
    """A leaf that is an array."""
    shape, dtype = space.shape, space.dtype
    assert shape is not None
    rows = np.empty((len(found), *shape), dtype=dtype)
    for n, row in enumerate(found):
        if type(row) is np.ndarray and row.shape == shape and row.dtype is dtype:
            rows[n] = row
        else:
            with np.errstate(over="ignore"):  # it becomes infinite, and is refused
                rows[n] = check_row(space, row, name)
    check_numbers(space, rows, name)
    return rows


def _join_numbers(space: spaces.Space[Any], found: list[Any], name: str) -> NDArray[Any]:
    """A leaf that is one number."""
    if all(type(one) is int for one in found):
        numbers = np.array(found, dtype=space.dtype)
    else:
        numbers = np.array([check_row(space, one, name) for one in found], dtype=space.dtype)
    check_numbers(space, numbers, name)
    return numbers
