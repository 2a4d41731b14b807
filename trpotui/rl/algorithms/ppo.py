"""Proximal Policy Optimization, clipped (Schulman et al. 2017, arXiv 1707.06347), section 3.

    maximise  mean(min(ratio A, clip(ratio, 1 - epsilon, 1 + epsilon) A)) + c mean entropy

by several passes of minibatch Adam over each batch. The details that usual implementations add to
the paper are hyperparameters here; 0, or false, switches each of them off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

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
    clipped_slopes,
    minibatches,
)
from trpotui.rl.networks import Actor, Critic
from trpotui.rl.optimizers import Adam
from trpotui.rl.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PpoHyperparameters(MinibatchHyperparameters):
    """What the clipped form of PPO has of its own."""

    clip_range: float = Field(
        default=0.2, gt=0, lt=1, description="epsilon: ratios further from 1 gain nothing more"
    )
    anneal_clip_range: bool = Field(
        default=False, description="let the clip range fall to 0 by the end of the run"
    )
    value_clip: float = Field(
        default=0.0,
        ge=0,
        le=1e9,
        description="change of a value beyond which an adam critic stops learning in an update, "
        "in units of the return; 0 for no limit",
    )
    target_kl: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="mean KL beyond which no further pass is made, in nats; 0 makes all of them",
    )


class Ppo:
    """Minibatch ascent of the clipped surrogate."""

    hyperparameter_type: ClassVar[type[SharedHyperparameters]] = PpoHyperparameters

    def __init__(
        self,
        actor: Actor,
        critic: Critic,
        hyperparameters: PpoHyperparameters,
        generator: torch.Generator,
    ) -> None:
        self.hyperparameters = hyperparameters
        self._actor = actor
        self._optimizer = Adam(actor.parameters, epsilon=hyperparameters.adam_epsilon)
        self._critic_fit = CriticFit(critic, generator)
        self._generator = generator

    def update(self, batch: Batch, interrupt: Callable[[], None]) -> UpdateStats:
        """One fit of the critic, and the actor's passes over the batch."""
        h = self.hyperparameters
        annealing = batch.remaining if h.anneal_learning_rate else 1.0
        learning_rate = h.learning_rate * annealing
        clip_range = h.clip_range * (batch.remaining if h.anneal_clip_range else 1.0)
        adam = AdamSettings(
            annealing=annealing, max_grad_norm=h.max_grad_norm, value_clip=h.value_clip
        )
        with self._critic_fit.beside(batch, h, interrupt, adam) as loss:
            surrogate = Surrogate(self._actor, batch, interrupt)
            epochs, too_far = 0, False
            with ascending(self._actor, self._optimizer, surrogate, interrupt) as ascent:
                while epochs < h.epochs and not too_far:
                    for part in minibatches(batch, surrogate, h, self._generator):
                        gradient = self._gradient(part, clip_range)
                        ascent.step(gradient, learning_rate, h.max_grad_norm)
                    epochs += 1
                    too_far = h.target_kl > 0 and surrogate.kl_and_gain()[0] > h.target_kl
            return UpdateStats(
                kl=ascent.kl,
                surrogate_gain=ascent.gain,
                entropy=surrogate.entropy(),
                grad_norm=ascent.grad_norm,
                value_loss=loss.wait(),
                reject_reason=ascent.reject_reason,
                target_kl=h.target_kl or None,
                learning_rate=learning_rate,
                clip_range=clip_range,
                clip_fraction=surrogate.clip_fraction(clip_range),
                epochs=epochs,
                stopped_early=epochs < h.epochs,
            )

    def _gradient(self, part: Minibatch, clip_range: float) -> Tensor:
        """Gradient [P] of what is maximised, on a minibatch."""
        linear, distribution = self._actor.linearize(part.inputs), self._actor.distribution
        log_ratio = distribution.log_prob(linear.outputs, part.actions) - part.old_log_prob
        slopes = clipped_slopes(log_ratio, part.advantages, clip_range)  # in log pi(a|s) [b]
        cotangents = slopes[:, None] * distribution.score(linear.outputs, part.actions)
        if weight := self.hyperparameters.entropy_coef:
            entropy_slopes = distribution.entropy_slopes(linear.outputs)
            cotangents.add_(entropy_slopes, alpha=weight / max(len(slopes), 1))
        return linear.vjp(cotangents)

    def state(self) -> dict[str, Any]:
        """Both optimisers."""
        return {"actor": self._optimizer.state(), "critic_fit": self._critic_fit.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self._optimizer.restore(state["actor"])
        self._critic_fit.restore(state["critic_fit"])
