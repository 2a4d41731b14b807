"""Scores of one or several policies on the same episodes; `reports` puts them into words."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from trpotui.errors import RequestError
from trpotui.policy_file import shown
from trpotui.rl.environments import make_environments
from trpotui.rl.evaluation import Evaluation, evaluate
from trpotui.rl.policy import Policy, SavedPolicy
from trpotui.rl.spaces import describe_space
from trpotui.statistics import (
    Float64,
    Interval,
    bootstrap_interval,
    improvement_interval,
    interquartile_mean,
    probability_of_improvement,
)

MOST_ENVIRONMENTS = 100
"""Environments that are stepped together; more of them would draw other episodes where they share
one generator."""
BOOTSTRAP_STREAM = 2
"""Second word of the seed of resampling: equal scores give equal intervals."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a policy scored."""

    name: str
    algorithm: str
    result: Evaluation
    seconds: float
    """Wall-clock time of the episodes."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A policy's scores in a line of the table."""

    policy: str
    algorithm: str
    episodes: int
    unfinished: int
    """Episodes that were cut off because they did not end."""
    mean: float
    std: float
    """Population standard deviation."""
    min: float
    max: float
    median: float
    interquartile_mean: float
    mean_interval: Interval | None
    """95 % bootstrap interval; None of a single episode."""
    interquartile_mean_interval: Interval | None
    improvement: float | None
    """Probability that an episode's return is above one of the first policy, ties counted half;
    None of the first policy itself."""
    improvement_interval: Interval | None
    mean_length: float
    """Environment steps of an episode."""
    episodes_per_second: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Policies of one environment and what they scored on the same episodes."""

    environment_id: str
    episodes: int
    seed: int
    stochastic: bool
    scored: tuple[Scored, ...]

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """A line for each policy; the first is the one that the others are compared with."""
        first = self.scored[0].result.returns
        return tuple(
            _row(policy, None if index == 0 else first, self.seed)
            for index, policy in enumerate(self.scored)
        )


def compare(
    policies: Sequence[tuple[str, SavedPolicy]],
    *,
    episodes: int,
    seed: int,
    stochastic: bool = False,
    progress: Callable[[int], None] = lambda ended: None,  # noqa: ARG005
) -> Comparison:
    """Play the same episodes with each policy.

    Args:
        policies: each with the name that it has in tables; their environments have been checked.
        episodes: of each policy.
        seed: of the episodes.
        stochastic: sample actions instead of taking the likeliest.
        progress: told after every step how many episodes have ended, of all policies.

    Raises:
        RequestError: the policies are not of one environment, or it cannot be made.
        EnvironmentFaultError: the environment fails.
    """
    check_comparable(policies)
    scored: list[Scored] = []

    def with_earlier_policies(ended: int) -> None:
        progress(len(scored) * episodes + ended)

    for name, saved in policies:
        started = time.perf_counter()
        result = _play(
            saved.policy,
            episodes=episodes,
            seed=seed,
            stochastic=stochastic,
            progress=with_earlier_policies,
        )
        seconds = time.perf_counter() - started
        scored.append(Scored(name=name, algorithm=saved.algorithm, result=result, seconds=seconds))
    return Comparison(
        environment_id=policies[0][1].policy.spec.environment_id,
        episodes=episodes,
        seed=seed,
        stochastic=stochastic,
        scored=tuple(scored),
    )


def _play(
    policy: Policy,
    *,
    episodes: int,
    seed: int,
    stochastic: bool,
    progress: Callable[[int], None],
) -> Evaluation:
    """The episodes of one policy, in environments that no other has played in."""
    spec = policy.spec
    environments = make_environments(
        spec.environment_id, spec.environment_kwargs, n_envs=min(episodes, MOST_ENVIRONMENTS)
    )
    try:
        return evaluate(
            policy,
            environments,
            episodes=episodes,
            seed=seed,
            stochastic=stochastic,
            progress=progress,
        )
    finally:
        environments.close()


def check_comparable(policies: Sequence[tuple[str, SavedPolicy]]) -> None:
    """Refuse policies that were not made for one and the same environment.

    Raises:
        RequestError: two of them differ in their environment, its keyword arguments or its spaces.
    """
    first_name, first = policies[0]
    for name, other in policies[1:]:
        for what, one, another in zip(
            ("environment", "environment arguments", "observations", "actions"),
            _made_for(first),
            _made_for(other),
            strict=True,
        ):
            if one != another:
                raise RequestError(
                    "only policies of one environment can be compared: "
                    f"{shown(first_name, most=300)} was made for the {what} {shown(one)}, "
                    f"{shown(name, most=300)} for {shown(another)}"
                )


def _made_for(saved: SavedPolicy) -> tuple[Any, ...]:
    spec = saved.policy.spec
    return (
        spec.environment_id,
        dict(spec.environment_kwargs),
        describe_space(spec.observation_space),
        describe_space(spec.action_space),
    )


def _row(scored: Scored, first: Sequence[float] | None, seed: int) -> Row:
    returns = scored.result.returns

    def rng() -> np.random.Generator:
        return np.random.default_rng([seed, BOOTSTRAP_STREAM])

    several = len(returns) > 1
    improvement, improvement_between = None, None
    if first is not None:
        improvement = probability_of_improvement(returns, first)
        if several:
            improvement_between = improvement_interval([returns], [first], rng=rng())
    return Row(
        policy=scored.name,
        algorithm=scored.algorithm,
        episodes=len(returns),
        unfinished=scored.result.unfinished,
        mean=scored.result.score.mean,
        std=scored.result.score.std,
        min=min(returns),
        max=max(returns),
        median=float(np.median(returns)),
        interquartile_mean=float(interquartile_mean(returns)),
        mean_interval=bootstrap_interval([returns], _mean, rng=rng()) if several else None,
        interquartile_mean_interval=bootstrap_interval([returns], interquartile_mean, rng=rng())
        if several
        else None,
        improvement=improvement,
        improvement_interval=improvement_between,
        mean_length=float(np.mean(scored.result.lengths)),
        episodes_per_second=len(returns) / scored.seconds,
    )


def _mean(samples: Float64) -> Float64:
    means: Float64 = samples.mean(axis=-1)
    return means
