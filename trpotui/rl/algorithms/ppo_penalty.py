"""Proximal Policy Optimization with a KL penalty (Schulman et al. 2017, 1707.06347), section 4.

    maximise  mean(ratio A) - beta mean D_KL(pi_old || pi_theta) + c mean entropy

by several passes of minibatch Adam over each batch, then adapt beta to the KL d that came of it:

    adaptive  d < target / 1.5: beta <- beta / 2;  d > 1.5 target: beta <- 2 beta
    dual      beta <- max(0, beta + alpha (d - target)), gradient ascent of the Lagrangian's dual
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from trpotui.config import STRICT, SharedHyperparameters
from trpotui.rl.algorithm import Batch, UpdateStats
from trpotui.rl.critic_fit import AdamSettings, CriticFit
from trpotui.rl.first_order import (
    Minibatch,
    MinibatchHyperparameters,
    ascending,
    minibatches,
    objective_gradient,
)
from trpotui.rl.networks import Actor, Critic
from trpotui.rl.optimizers import Adam
from trpotui.rl.penalty import adapted_penalty
from trpotui.rl.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PpoPenaltyHyperparameters(MinibatchHyperparameters):
    """What the penalised form of PPO has of its own."""

    target_kl: float = Field(
        default=0.01, gt=0, le=10, description="mean KL that beta is adapted to, in nats"
    )
    initial_penalty: float = Field(
        default=1.0, ge=0, le=1e6, description="beta at the start, in advantages per nat"
    )
    beta_update: Literal["adaptive", "dual", "fixed"] = Field(
        default="adaptive",
        description="after an update beta is halved or doubled, or moved by gradient ascent of the "
        "dual, or left",
    )
    dual_rate: float = Field(
        default=10.0, gt=0, le=1e6, description="alpha of the dual update, in beta per nat"
    )


class PpoPenalty:
    """Minibatch ascent of the surrogate less a multiple of the KL."""

    hyperparameter_type: ClassVar[type[SharedHyperparameters]] = PpoPenaltyHyperparameters

    def __init__(
        self,
        actor: Actor,
        critic: Critic,
        hyperparameters: PpoPenaltyHyperparameters,
        generator: torch.Generator,
    ) -> None:
        self.hyperparameters = hyperparameters
        self._actor = actor
        self._optimizer = Adam(actor.parameters, epsilon=hyperparameters.adam_epsilon)
        self._critic_fit = CriticFit(critic, generator)
        self._generator = generator
        self._beta = hyperparameters.initial_penalty

    def update(self, batch: Batch, interrupt: Callable[[], None]) -> UpdateStats:
        """One fit of the critic, the actor's passes over the batch, and the next beta."""
        h, beta = self.hyperparameters, self._beta
        annealing = batch.remaining if h.anneal_learning_rate else 1.0
        learning_rate = h.learning_rate * annealing
        adam = AdamSettings(annealing=annealing, max_grad_norm=h.max_grad_norm)
        with self._critic_fit.beside(batch, h, interrupt, adam) as loss:
            surrogate = Surrogate(self._actor, batch, interrupt)
            with ascending(self._actor, self._optimizer, surrogate, interrupt) as ascent:
                for _ in range(h.epochs):
                    for part in minibatches(batch, surrogate, h, self._generator):
                        linear = self._actor.linearize(part.inputs)
                        # rows of a minibatch round otherwise than in the batch: the KL's gradient
                        # would be that, which Adam scales to whole steps
                        old = part.old if ascent.moved else linear.outputs
                        gradient = objective_gradient(linear, partial(self._objective, part, old))
                        ascent.step(gradient, learning_rate, h.max_grad_norm)
            if ascent.reject_reason is None:
                self._beta = self._next_beta(ascent.kl)
            return UpdateStats(
                kl=ascent.kl,
                surrogate_gain=ascent.gain,
                entropy=surrogate.entropy(),
                grad_norm=ascent.grad_norm,
                value_loss=loss.wait(),
                reject_reason=ascent.reject_reason,
                target_kl=None if h.beta_update == "fixed" else h.target_kl,
                penalty=beta,
                learning_rate=learning_rate,
                epochs=h.epochs,
            )

    def _objective(self, part: Minibatch, old: Tensor, parameters: Tensor) -> Tensor:
        """What is maximised, of distribution parameters [b, K]; `old` are the old policy's."""
        distribution = self._actor.distribution
        ratio = (distribution.log_prob(parameters, part.actions) - part.old_log_prob).exp()
        gain = ratio * part.advantages - self._beta * distribution.kl(old=old, new=parameters)
        return (gain + self.hyperparameters.entropy_coef * distribution.entropy(parameters)).mean()

    def _next_beta(self, kl: float) -> float:
        h = self.hyperparameters
        if h.beta_update == "adaptive":
            return adapted_penalty(self._beta, kl=kl, target_kl=h.target_kl)
        if h.beta_update == "dual":
            return max(0.0, self._beta + h.dual_rate * (kl - h.target_kl))
        return self._beta

    def state(self) -> dict[str, Any]:
        """Both optimisers, and beta."""
        return {
            "actor": self._optimizer.state(),
            "critic_fit": self._critic_fit.state(),
            "beta": self._beta,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self._optimizer.restore(state["actor"])
        self._critic_fit.restore(state["critic_fit"])
        self._beta = state["beta"]
