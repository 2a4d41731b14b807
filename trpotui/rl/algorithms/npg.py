"""Natural policy gradient (Kakade 2001, "A Natural Policy Gradient", section 3).

    theta <- theta + beta x,  H x = g,  beta = sqrt(2 delta / x^T H x)

The length of the step is the one that TRPO tries first: delta nats, as the second order of the KL
has it. Nothing checks it, so that the KL may come out larger and the surrogate lower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from trpotui.config import STRICT, SharedHyperparameters
from trpotui.rl.algorithm import Batch, UpdateStats
from trpotui.rl.critic_fit import CriticFit
from trpotui.rl.line_search import trust_region_step, whole_step
from trpotui.rl.natural_gradient import natural_step
from trpotui.rl.networks import Actor, Critic
from trpotui.rl.sequences import share_of
from trpotui.rl.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NpgHyperparameters(SharedHyperparameters):
    """What the natural policy gradient adds to the shared hyperparameters."""

    max_kl: float = Field(
        default=0.01, gt=0, le=10, description="delta: KL that a step aims at, in nats"
    )
    cg_iterations: int = Field(
        default=10, ge=1, le=1000, description="conjugate-gradient iterations for the direction"
    )
    cg_damping: float = Field(
        default=0.1, ge=0, le=1000, description="added to the diagonal of the Fisher matrix"
    )
    fisher_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the batch that Fisher products use; 0 for 4,096 samples of a larger "
        "one",
    )


class Npg:
    """The natural step, taken as it is."""

    hyperparameter_type: ClassVar[type[SharedHyperparameters]] = NpgHyperparameters

    def __init__(
        self,
        actor: Actor,
        critic: Critic,
        hyperparameters: NpgHyperparameters,
        generator: torch.Generator,
    ) -> None:
        self.hyperparameters = hyperparameters
        self._actor = actor
        self._critic_fit = CriticFit(critic, generator)
        self._generator = generator

    def update(self, batch: Batch, interrupt: Callable[[], None]) -> UpdateStats:
        """One fit of the critic and one natural step of the actor."""
        h = self.hyperparameters
        with self._critic_fit.beside(batch, h, interrupt) as loss:
            part = share_of(batch.inputs, h.fisher_share, self._generator)
            surrogate = Surrogate(self._actor, batch, interrupt, fisher_inputs=part)
            step = natural_step(
                surrogate.gradient(),
                surrogate.fisher_product,
                max_kl=h.max_kl,
                iterations=h.cg_iterations,
                damping=h.cg_damping,
            )
            taken = whole_step(step, self._actor.parameters, surrogate.kl_and_gain)
            if taken.accepted:
                self._actor.confine()
            return UpdateStats(
                kl=taken.kl,
                surrogate_gain=taken.gain,
                entropy=surrogate.entropy(),
                grad_norm=step.grad_norm,
                value_loss=loss.wait(),
                reject_reason=step.reject_reason or taken.reject_reason,
                max_kl=h.max_kl,
                trust_region=trust_region_step(step, taken, max_kl=h.max_kl),
            )

    def state(self) -> dict[str, Any]:
        """The critic's optimiser."""
        return {"critic_fit": self._critic_fit.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self._critic_fit.restore(state["critic_fit"])
