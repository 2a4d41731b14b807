"""Episodes of a frozen policy, scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trpotui.config import RunConfig
from trpotui.rl.environments import BatchedEnvironment, make_environments, registered_spec
from trpotui.rl.policy import ACTION_STREAM, Policy, Score

EVALUATION_SEED = 1_000_000
"""Evaluations of all runs start from the same episodes, and from others than `eval` and `play`."""
CONFIRMATION_SEED = 2_000_000
MOST_EVALUATION_ENVIRONMENTS = 100
CONFIDENCE = 1.5
"""Standard errors by which the mean of a confirmation must be above the threshold: a run that stops
at the first mean that just passes would be below it on other episodes one time in twenty."""
LONGEST_EPISODE = 10_000
"""Steps after which an evaluation episode counts with the return that it has reached: a greedy
policy can walk in circles for ever where an environment has no time limit."""


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns and lengths of finished episodes, in the order of their seeds."""

    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    unfinished: int = 0
    """Episodes that were cut off after `LONGEST_EPISODE` steps."""

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
    progress: Callable[[int], None] = lambda ended: None,  # noqa: ARG005
) -> Evaluation:
    """Play `episodes` episodes and return what they scored.

    Each environment contributes its first episode and no more, then all start again with the next
    seeds until there are enough: taking whichever episodes end first would favour short ones. Where
    each environment takes its own seed, episode i starts from seed + i, however many play at once;
    a native vector form draws all its episodes from one seed.

    Args:
        policy: its moments are not updated.
        environments: of the kind that the policy was made for.
        episodes: how many.
        seed: of the environments, and of the sampling when `stochastic`.
        stochastic: sample actions instead of taking the likeliest.
        interrupt: called before every step; what it raises ends the evaluation.
        progress: told after every step how many episodes have ended.

    Raises:
        EnvironmentFaultError: the environment fails.
    """
    rng = np.random.default_rng([seed, ACTION_STREAM]) if stochastic else None
    returns: list[float] = []
    lengths: list[int] = []
    unfinished = 0

    def with_earlier_batches(ended: int) -> None:
        progress(len(returns) + ended)

    while len(returns) < episodes:
        wanted = min(environments.n_envs, episodes - len(returns))
        batch = _first_episodes(
            policy,
            environments,
            wanted,
            seed + len(returns),
            rng=rng,
            interrupt=interrupt,
            progress=with_earlier_batches,
        )
        returns.extend(batch.returns)
        lengths.extend(batch.lengths)
        unfinished += batch.unfinished
    return Evaluation(tuple(returns), tuple(lengths), unfinished)


def _first_episodes(
    policy: Policy,
    environments: BatchedEnvironment,
    wanted: int,
    seed: int,
    *,
    rng: np.random.Generator | None,
    interrupt: Callable[[], None],
    progress: Callable[[int], None],
) -> Evaluation:
    """The first episode of each of the first `wanted` environments."""
    observations = environments.reset(seed=range(seed, seed + environments.n_envs))
    returns = np.zeros(environments.n_envs)
    lengths = np.zeros(environments.n_envs, dtype=np.int64)
    running = np.arange(environments.n_envs) < wanted
    session = policy.session(environments.n_envs, rng)
    starts = np.ones(environments.n_envs, dtype=np.bool_)
    for _ in range(LONGEST_EPISODE):
        interrupt()
        raw = session.act(policy.network_inputs(observations), starts)
        step = environments.step(policy.decoder.decode(raw))
        returns += step.rewards * running
        lengths += running
        running &= ~step.ended
        left = int(np.count_nonzero(running))
        progress(wanted - left)
        if not left:
            break
        observations, starts = step.observations, step.starts
    return Evaluation(
        tuple(returns[:wanted].tolist()), tuple(lengths[:wanted].tolist()), int(running.sum())
    )


class Evaluator:
    """Scores the greedy policies of one run on fixed seeds, and says when it is solved."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._environments: dict[int, BatchedEnvironment] = {}  # by their number, made when needed
        self.solved_at = registered_spec(config.environment_id).reward_threshold
        """The environment's registered reward threshold; None when it has none."""

    def __call__(self, policy: Policy, interrupt: Callable[[], None]) -> tuple[Evaluation, bool]:
        """Score a policy; one that looks solved must show it on more episodes.

        Returns:
            The episodes that count, and whether they show that the environment is solved.
        """
        config = self._config
        result = self._play(policy, config.eval_episodes, EVALUATION_SEED, interrupt)
        if self.solved_at is None or result.score.mean < self.solved_at:
            return result, False
        result = self._play(policy, config.confirm_episodes, CONFIRMATION_SEED, interrupt)
        doubt = CONFIDENCE * result.score.standard_error
        return result, result.score.mean - doubt >= self.solved_at

    def close(self) -> None:
        """Close the environments."""
        for environments in self._environments.values():
            environments.close()

    def _play(
        self, policy: Policy, episodes: int, seed: int, interrupt: Callable[[], None]
    ) -> Evaluation:
        count = min(episodes, MOST_EVALUATION_ENVIRONMENTS)
        if count not in self._environments:
            self._environments[count] = make_environments(
                self._config.environment_id, self._config.environment_kwargs, n_envs=count
            )
        return evaluate(
            policy, self._environments[count], episodes=episodes, seed=seed, interrupt=interrupt
        )
