"""What a rollout says of its actions: advantages for the actor, targets for the critic.

Legend: T steps, N environments, B = valid rows of T * N, F final observations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trpotui.config import SharedHyperparameters
from trpotui.rl.advantages import estimate, explained_variance, standardize, without_noise
from trpotui.rl.normalization import ReturnMoments
from trpotui.rl.outcomes import Outcomes
from trpotui.rl.rollout import Float32, Rollout

ROUNDING = 1e-5
"""Share of the values' size up to which a difference between two of them is rounding."""
FITTED = 0.05
"""Rewards by which the advantages of a fitted critic differ. As long as no outcome has differed
from another (`trpotui.rl.outcomes`), advantages are made of nothing but the critic's errors, and
below this they are taken for noise. Larger ones are still on their way down, and lead an actor to
where the critic has not been: that is how the first goal of MountainCar is found."""


@dataclass(frozen=True, kw_only=True)
class History:
    """What the rollouts before have left behind, by which the next one is judged."""

    outcomes: Outcomes
    returns: ReturnMoments | None
    """None where rewards are not normalised."""

    @classmethod
    def initial(cls, n_envs: int, *, normalize_rewards: bool) -> History:
        """Before the first rollout."""
        returns = ReturnMoments.initial(n_envs) if normalize_rewards else None
        return cls(outcomes=Outcomes.initial(n_envs), returns=returns)

    def state(self) -> dict[str, Any]:
        """What a resumed run needs, as plain data."""
        returns = None if self.returns is None else self.returns.state()
        return {"outcomes": self.outcomes.state(), "returns": returns}

    def restored(self, state: Mapping[str, Any]) -> History:
        """This history with what `state` returned in its place."""
        returns = None if self.returns is None else self.returns.restored(state["returns"])
        return History(outcomes=self.outcomes.restored(state["outcomes"]), returns=returns)


@dataclass(frozen=True, kw_only=True)
class Appraisal:
    """The valid rows of a rollout, judged."""

    advantages: Float32
    """[B]; standardised if the run asks for it."""
    targets: Float32
    """[B]; what the critic is fitted to: advantages, as they were, plus values."""
    values: Float32
    """[B]; what the advantages were made of."""
    explained_variance: float
    """Of the targets by the values."""
    history: History
    """With this rollout in it."""


def appraise(
    rollout: Rollout,
    values: Float32,
    final_values: Float32,
    history: History,
    hyperparameters: SharedHyperparameters,
) -> Appraisal:
    """Advantages and targets of a rollout.

    An algorithm that can do without a critic says so with a hyperparameter `baseline`: when it is
    false every value counts as 0, so that nothing but the rewards that were received is left.

    Args:
        rollout: T steps of N environments.
        values: the critic's, of all inputs [T + 1, N].
        final_values: the critic's, of the rollout's final inputs [F].
        history: of the rollouts before; it stays as it is.
        hyperparameters: of the algorithm.
    """
    h, valid = hyperparameters, rollout.valid
    if not getattr(h, "baseline", True):
        values, final_values = np.zeros_like(values), np.zeros_like(final_values)
    rewards, history = _learned_rewards(rollout, history, h)
    advantages = estimate(
        h.advantage,
        rewards,
        values[:-1],
        rollout.next_values(values, final_values),
        terminated=rollout.terminated,
        ended=rollout.ended,
        gamma=h.gamma,
        lam=h.gae_lambda,
        steps=h.n_steps,
    )
    targets = (advantages + values[:-1])[valid]
    noise = ROUNDING * float(np.abs(targets).max(initial=0.0))
    if not history.outcomes.varied:  # and so the rewards are all alike
        noise = max(noise, FITTED * float(np.abs(rewards[valid]).max(initial=0.0)))
    prepare = standardize if h.normalize_advantages else without_noise
    return Appraisal(
        advantages=prepare(advantages[valid], noise=noise),
        targets=targets,
        values=values[:-1][valid],
        explained_variance=explained_variance(values[:-1][valid], targets),
        history=history,
    )


def _learned_rewards(
    rollout: Rollout, history: History, h: SharedHyperparameters
) -> tuple[Float32, History]:
    """Rewards [T, N] as they are learned from, and the history with this rollout in it."""
    starts, valid = rollout.starts[:-1], rollout.valid
    outcomes = history.outcomes.merged(
        rollout.rewards, terminated=rollout.terminated, starts=starts, valid=valid
    )
    rewards = (rollout.rewards + np.float32(h.reward_shift)) * np.float32(h.reward_scale)
    returns = history.returns
    if returns is not None:
        returns = returns.merged(rewards, starts=starts, valid=valid, gamma=h.gamma)
        rewards = returns.normalize(rewards, clip=h.reward_clip)
    return rewards, dataclasses.replace(history, outcomes=outcomes, returns=returns)
