"""REINFORCE (Williams 1992), with or without a value baseline.

    theta <- theta + alpha g,  g = mean(grad log pi_theta(a|s) * advantage)

With the returns to go for advantages this is the policy gradient of the textbooks; the baseline,
a critic's value of the state, takes variance away and no bias in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from trpotui.config import STRICT, SharedHyperparameters, shared_field
from trpotui.rl.advantages import Estimator
from trpotui.rl.algorithm import Batch, UpdateStats
from trpotui.rl.critic_fit import AdamSettings, CriticFit
from trpotui.rl.first_order import ascending
from trpotui.rl.networks import Actor, Critic
from trpotui.rl.optimizers import make_optimizer
from trpotui.rl.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReinforceHyperparameters(SharedHyperparameters):
    """What REINFORCE adds to the shared hyperparameters; its batches are whole episodes."""

    rollout_episodes: int = shared_field("rollout_episodes", default=1)
    advantage: Estimator = shared_field("advantage", default="monte_carlo")
    baseline: bool = Field(
        default=True,
        description="subtract a critic's value from the returns; without it there is no critic, "
        "and values count as 0 wherever they are needed",
    )
    optimizer: Literal["adam", "sgd"] = Field(
        default="adam", description="how the gradient is followed: Adam, or plainly"
    )
    learning_rate: float = Field(default=5e-3, gt=0, le=100, description="of the actor")
    anneal_learning_rate: bool = Field(
        default=False, description="let the learning rates fall to 0 by the end of the run"
    )


class Reinforce:
    """One step along the policy gradient.

    With the hyperparameter `baseline` off the critic is neither used nor fitted, and whoever makes
    the batch must take all values for 0.
    """

    hyperparameter_type: ClassVar[type[SharedHyperparameters]] = ReinforceHyperparameters

    def __init__(
        self,
        actor: Actor,
        critic: Critic,
        hyperparameters: ReinforceHyperparameters,
        generator: torch.Generator,
    ) -> None:
        self.hyperparameters = hyperparameters
        self._actor = actor
        self._optimizer = make_optimizer(hyperparameters.optimizer, actor.parameters)
        self._critic_fit = CriticFit(critic, generator)

    def update(self, batch: Batch, interrupt: Callable[[], None]) -> UpdateStats:
        """One fit of the critic, if it is the baseline, and one step of the actor."""
        h = self.hyperparameters
        annealing = batch.remaining if h.anneal_learning_rate else 1.0
        value_loss = None
        if h.baseline:
            value_loss = self._critic_fit(batch, h, interrupt, AdamSettings(annealing=annealing))
        surrogate = Surrogate(self._actor, batch, interrupt)
        learning_rate = h.learning_rate * annealing
        with ascending(self._actor, self._optimizer, surrogate, interrupt) as ascent:
            ascent.step(surrogate.gradient(), learning_rate)
        return UpdateStats(
            kl=ascent.kl,
            surrogate_gain=ascent.gain,
            entropy=surrogate.entropy(),
            grad_norm=ascent.grad_norm,
            value_loss=value_loss,
            reject_reason=ascent.reject_reason,
            learning_rate=learning_rate,
        )

    def state(self) -> dict[str, Any]:
        """Both optimisers."""
        return {"actor": self._optimizer.state(), "critic_fit": self._critic_fit.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self._optimizer.restore(state["actor"])
        self._critic_fit.restore(state["critic_fit"])
