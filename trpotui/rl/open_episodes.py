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
from numpy.typing import NDArray

from trpotui.rl.observations import Observations
from trpotui.rl.random_states import RandomStates
from trpotui.rl.replay import MOST_STEPS, ActionLog, RebuildError, attempt, put_back
from trpotui.rl.steps import SingleForm, Start


class OpenEpisode(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One environment that knows how its episode began.

    Args:
        environment: which is wrapped.
        seed_episodes: whether every episode is given a seed of its own; if not, only those are for
            which the caller has one, and the environment draws the others from its generators.
    """

    def __init__(self, environment: gymnasium.Env[Any, Any], *, seed_episodes: bool) -> None:
        super().__init__(environment)
        self.step = environment.step  # type: ignore[method-assign]  # a step takes no call more
        self._seed_episodes = seed_episodes
        self._randomness: RandomStates | None = None
        self.start: Start = {}
        """As `restart` takes it."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        if seed is not None:
            self.start = {"seed": seed, "episode": 0}
        elif self._seed_episodes:
            self.start = {**self.start, "episode": self.start["episode"] + 1}
            seed = _seed_of(self.start)
        else:
            self.start = {"random": self._generators().read()}
        return self.env.reset(seed=seed, options=options)

    def restart(self, start: Start) -> Any:
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


def _seed_of(start: Start) -> int:
    """The seed of an episode, below 2^31: some environments take no larger ones."""
    if not start["episode"]:
        return int(start["seed"])
    sequence = np.random.SeedSequence([start["seed"], start["episode"]])
    return int(sequence.generate_state(1)[0]) >> 1


@dataclass(frozen=True)
class SinglePosition:
    """Where N environments that run alone are in their episodes."""

    starts: Sequence[Start]
    """How each episode began."""
    lengths: NDArray[np.int64]
    """Steps of each episode [N]."""
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
            "starts": json.dumps(list(self.starts)),
            "steps": self.lengths,
            "actions": self.actions.copy(),
        }


class SingleRecord:
    """The open episodes of N environments that run alone.

    Args:
        environments: which are told to remember how their episodes begin.
        counts: says what was counted of their episodes.
        seed_episodes: whether every episode is given a seed of its own.
    """

    def __init__(
        self,
        environments: SingleForm,
        counts: Callable[[], Mapping[str, Any]],
        *,
        seed_episodes: bool,
    ) -> None:
        self._environments = environments
        self._counts = counts
        self._log = ActionLog()
        environments.remember(seed_episodes=seed_episodes)

    def step(self, actions: NDArray[Any]) -> None:
        """Before a step: remember its actions [N, ...]."""
        self._log.append(actions)

    def position(self) -> SinglePosition:
        """Where the environments are now."""
        lengths = self._counts()["lengths"]
        oldest = self._log.needed_from = self._log.count - int(lengths.max())
        return SinglePosition(self._environments.starts(), lengths, self._log.since(oldest))

    def rebuild(
        self, record: Mapping[str, Any], interrupt: Callable[[], None]
    ) -> tuple[Observations, NDArray[np.float64]]:
        """Set every environment up as it was.

        Args:
            record: what `SinglePosition.plain` returned.
            interrupt: called before every step, or often.

        Returns:
            Observations [N, ...], and what the rewards of each open episode [N] add up to.

        Raises:
            RebuildError: it cannot be done.
        """
        actions = record["actions"]
        self._log.replace(actions)
        firsts = [len(actions) - int(steps) for steps in record["steps"]]
        taken = [actions[first:, n] if len(actions) else actions for n, first in enumerate(firsts)]
        return self._environments.restart(json.loads(record["starts"]), taken, interrupt)


def episode_again(
    episode: OpenEpisode,
    start: Start,
    actions: NDArray[Any],
    interrupt: Callable[[], None],
) -> tuple[Any, float]:
    """One episode with its actions [T, ...] once more: last observation and sum of rewards.

    Raises:
        RebuildError: it is not the same.
    """
    observation, total = episode.restart(start), 0.0
    for action in actions:
        interrupt()
        observation, reward, terminated, truncated, _ = attempt(episode.step, action)
        if terminated or truncated:
            raise RebuildError("with the same actions, an episode that went on has now ended")
        total += float(reward)
    return observation, total
