"""Episodes of a frozen policy, scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trpotui.errors import EnvironmentFaultError
from trpotui.rl.environments import BatchedEnvironment
from trpotui.rl.policy import Policy, Score

MOST_STEPS = 1_000_000
"""An evaluation episode that has not ended by then never will."""


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns and lengths of finished episodes, in the order of their seeds."""

    returns: tuple[float, ...]
    lengths: tuple[int, ...]

    @property
    def score(self) -> Score:
        """Number, mean and (population) standard deviation of the returns."""
        return Score(
            episodes=len(self.returns),
            mean=float(np.mean(self.returns)),
            std=float(np.std(self.returns)),
        )


def evaluate(
    policy: Policy,
    environments: BatchedEnvironment,
    *,
    episodes: int,
    seed: int,
    stochastic: bool = False,
    interrupt: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Play `episodes` episodes and return what they scored.

    Each environment contributes its first episode and no more, then all start again with the next
    seeds until there are enough: taking whichever episodes end first would favour short ones. Where
    each environment takes its own seed, episode i starts from seed + i, however many play at once.

    Args:
        policy: its moments are not updated.
        environments: of the kind that the policy was made for.
        episodes: how many.
        seed: of the environments, and of the sampling when `stochastic`.
        stochastic: sample actions instead of taking the likeliest.
        interrupt: called before every step; what it raises ends the evaluation.

    Raises:
        EnvironmentFaultError: the environment fails, or an episode does not end.
    """
    rng = np.random.default_rng(seed) if stochastic else None
    returns: list[float] = []
    lengths: list[int] = []
    while len(returns) < episodes:
        wanted = min(environments.n_envs, episodes - len(returns))
        batch = _first_episodes(
            policy, environments, wanted, seed + len(returns), rng=rng, interrupt=interrupt
        )
        returns.extend(batch.returns)
        lengths.extend(batch.lengths)
    return Evaluation(tuple(returns), tuple(lengths))


def _first_episodes(
    policy: Policy,
    environments: BatchedEnvironment,
    wanted: int,
    seed: int,
    *,
    rng: np.random.Generator | None,
    interrupt: Callable[[], None],
) -> Evaluation:
    """The first episode of each of the first `wanted` environments."""
    observations = environments.reset(seed=range(seed, seed + environments.n_envs))
    returns = np.zeros(environments.n_envs)
    lengths = np.zeros(environments.n_envs, dtype=np.int64)
    running = np.arange(environments.n_envs) < wanted
    for _ in range(MOST_STEPS):
        interrupt()
        step = environments.step(policy.act(observations, rng))
        returns += step.rewards * running
        lengths += running
        running &= ~(step.terminated | step.truncated)
        if not running.any():
            return Evaluation(tuple(returns[:wanted].tolist()), tuple(lengths[:wanted].tolist()))
        observations = step.observations
    raise EnvironmentFaultError(
        f"{environments.name}: an evaluation episode did not end within {MOST_STEPS:,} steps"
    )
