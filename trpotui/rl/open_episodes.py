"""How the open episodes of environments that run alone came about, and each of them once more.

Legend: T steps, N environments.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import SyncVectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import NDArray

from trpotui.rl.random_states import RandomStates
from trpotui.rl.replay import MOST_STEPS, ActionLog, RebuildError, attempt, put_back


class OpenEpisode(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One environment that knows how its episode began.

    Args:
        environment: which is wrapped.
        log: of the actions of all environments that are stepped together.
        seed_episodes: whether every episode is given a seed of its own; if not, only those are for
            which the caller has one, and the environment draws the others from its generators.
    """

    def __init__(
        self, environment: gymnasium.Env[Any, Any], log: ActionLog, *, seed_episodes: bool
    ) -> None:
        super().__init__(environment)
        self.step = environment.step  # type: ignore[method-assign]  # a step takes no call more
        self._log = log
        self._seed_episodes = seed_episodes
        self._randomness: RandomStates | None = None
        self.start: Mapping[str, Any] = {}
        """As `restart` takes it."""
        self.first = 0
        """The step of the log with which the episode began."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self.first = self._log.count
        if seed is not None:
            self.start = {"seed": seed, "episode": 0}
        elif self._seed_episodes:
            self.start = {**self.start, "episode": self.start["episode"] + 1}
            seed = _seed_of(self.start)
        else:
            self.start = {"random": self._generators().read()}
        return self.env.reset(seed=seed, options=options)

    def restart(self, start: Mapping[str, Any]) -> Any:
        """Begin the episode that began with `start`; returns its first observation.

        Raises:
            RebuildError: the environment's generators are other ones.
        """
        self.start, seed = start, None
        if "seed" in start:
            seed = _seed_of(start)
        else:
            put_back(self._generators(), start["random"])
        return attempt(partial(self.env.reset, seed=seed))[0]

    def _generators(self) -> RandomStates:
        if self._randomness is None:  # not before a first reset, which makes most of them
            self._randomness = RandomStates(self.env)
        return self._randomness


def _seed_of(start: Mapping[str, Any]) -> int:
    """The seed of an episode, below 2^31: some environments take no larger ones."""
    if not start["episode"]:
        return int(start["seed"])
    sequence = np.random.SeedSequence([start["seed"], start["episode"]])
    return int(sequence.generate_state(1)[0]) >> 1


@dataclass(frozen=True)
class SinglePosition:
    """Where N environments that run alone are in their episodes."""

    starts: Sequence[tuple[Mapping[str, Any], int]]
    """How each episode began, and with which step of the log."""
    count: int
    """Steps of the log."""
    actions: NDArray[Any] | None
    """[T, N, ...] since the oldest of these episodes began; None where that is too long ago."""

    def plain(self) -> dict[str, Any]:
        """As `SingleRecord.rebuild` takes it.

        Raises:
            RebuildError: an episode is too long.
        """
        if self.actions is None:
            raise RebuildError(
                f"an episode had gone on for so long (more than {MOST_STEPS:,} steps, or fewer of "
                "many environments) that its actions are not kept"
            )
        return {
            "starts": json.dumps([start for start, _ in self.starts]),
            "steps": np.array([self.count - first for _, first in self.starts]),
            "actions": self.actions.copy(),
        }


class SingleRecord:
    """The open episodes of N environments that run alone.

    Args:
        environments: each is wrapped here; they reset in the step that ends an episode.
        seed_episodes: whether every episode is given a seed of its own.
    """

    def __init__(self, environments: SyncVectorEnv, *, seed_episodes: bool) -> None:
        self._space = environments.single_observation_space
        self._log = ActionLog()
        self._episodes = [
            OpenEpisode(environment, self._log, seed_episodes=seed_episodes)
            for environment in environments.envs
        ]
        environments.envs[:] = self._episodes

    def step(self, actions: NDArray[Any]) -> None:
        """Before a step: remember its actions [N, ...]."""
        self._log.append(actions)

    def position(self) -> SinglePosition:
        """Where the environments are now."""
        starts = [(episode.start, episode.first) for episode in self._episodes]
        oldest = self._log.needed_from = min(first for _, first in starts)
        return SinglePosition(starts, self._log.count, self._log.since(oldest))

    def rebuild(
        self, record: Mapping[str, Any], interrupt: Callable[[], None]
    ) -> tuple[Any, NDArray[np.float64]]:
        """Set every environment up as it was.

        Args:
            record: what `SinglePosition.plain` returned.
            interrupt: called before every step.

        Returns:
            Observations [N, ...], and what the rewards of each open episode [N] add up to.

        Raises:
            RebuildError: it cannot be done.
        """
        actions, starts = record["actions"], json.loads(record["starts"])
        self._log.replace(actions)
        observations, returns = [], []
        for n, (episode, start) in enumerate(zip(self._episodes, starts, strict=True)):
            episode.first = len(actions) - int(record["steps"][n])
            taken = actions[episode.first :, n] if len(actions) else actions
            observation, total = _again(episode, start, taken, interrupt)
            observations.append(observation)
            returns.append(total)
        together: Any = create_empty_array(self._space, n=len(observations), fn=np.zeros)
        return concatenate(self._space, observations, together), np.array(returns)


def _again(
    episode: OpenEpisode,
    start: Mapping[str, Any],
    actions: NDArray[Any],
    interrupt: Callable[[], None],
) -> tuple[Any, float]:
    """One episode with its actions [T, ...] once more: last observation and sum of rewards."""
    observation, total = episode.restart(start), 0.0
    for action in actions:
        interrupt()
        observation, reward, terminated, truncated, _ = attempt(episode.step, action)
        if terminated or truncated:
            raise RebuildError("with the same actions, an episode that went on has now ended")
        total += float(reward)
    return observation, total
