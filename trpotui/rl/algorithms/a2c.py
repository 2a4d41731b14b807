"""Advantage actor-critic (Mnih et al. 2016, arXiv 1602.01783, algorithm S3), synchronous.

    theta <- theta + alpha grad(mean(log pi_theta(a|s) * advantage) + c mean entropy)

once for every short rollout of many environments, with advantages of n rewards and then the critic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from trpotui.config import STRICT, SharedHyperparameters, shared_field
from trpotui.rl.advantages import Estimator
from trpotui.rl.algorithm import Batch, UpdateStats
from trpotui.rl.critic_fit import AdamSettings, CriticFit
from trpotui.rl.first_order import ascending, objective_gradient
from trpotui.rl.networks import Actor, Critic
from trpotui.rl.optimizers import make_optimizer
from trpotui.rl.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True, config=STRICT)
class A2cHyperparameters(SharedHyperparameters):
    """What A2C adds to the shared hyperparameters."""

    rollout_steps: int = shared_field("rollout_steps", default=16)
    advantage: Estimator = shared_field("advantage", default="n_step")
    n_steps: int = shared_field("n_steps", default=16)
    optimizer: Literal["rmsprop", "adam"] = Field(
        default="rmsprop", description="how the actor's gradient is followed"
    )
    learning_rate: float = Field(default=7e-4, gt=0, le=100, description="of the actor")
    anneal_learning_rate: bool = Field(
        default=True, description="let the learning rates fall to 0 by the end of the run"
    )
    entropy_coef: float = Field(
        default=0.01, ge=0, le=100, description="weight of the mean entropy in what is maximised"
    )
    max_grad_norm: float = Field(
        default=0.5,
        ge=0,
        le=1e6,
        description="longer gradients of the actor, and of an adam critic, are shortened to this "
        "norm; 0 leaves them",
    )


class A2c:
    """One step along the gradient of policy and entropy."""

    hyperparameter_type: ClassVar[type[SharedHyperparameters]] = A2cHyperparameters

    def __init__(
        self,
        actor: Actor,
        critic: Critic,
        hyperparameters: A2cHyperparameters,
        generator: torch.Generator,
    ) -> None:
        self.hyperparameters = hyperparameters
        self._actor = actor
        self._optimizer = make_optimizer(hyperparameters.optimizer, actor.parameters)
        self._critic_fit = CriticFit(critic, generator)

    def update(self, batch: Batch, interrupt: Callable[[], None]) -> UpdateStats:
        """One fit of the critic and one step of the actor."""
        h, distribution = self.hyperparameters, self._actor.distribution
        annealing = batch.remaining if h.anneal_learning_rate else 1.0
        adam = AdamSettings(annealing=annealing, max_grad_norm=h.max_grad_norm)
        value_loss = self._critic_fit(batch, h, interrupt, adam)
        surrogate = Surrogate(self._actor, batch, interrupt)

        def objective(parameters: Tensor) -> Tensor:  # [B, K]
            gain = distribution.log_prob(parameters, batch.actions) * batch.advantages
            return (gain + h.entropy_coef * distribution.entropy(parameters)).mean()

        learning_rate = h.learning_rate * annealing
        with ascending(self._actor, self._optimizer, surrogate, interrupt) as ascent:
            gradient = objective_gradient(self._actor.linearize(batch.inputs), objective)
            ascent.step(gradient, learning_rate, h.max_grad_norm)
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
