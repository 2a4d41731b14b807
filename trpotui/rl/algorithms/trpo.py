"""Trust Region Policy Optimization (Schulman et al. 2015, arXiv 1502.05477), section 6, appendix C.

    maximise    L(theta) = mean(ratio * advantage)
    subject to  mean over states of D_KL(pi_old || pi_theta) <= delta

to first order in L and second order in the KL, then checked against both by a line search.
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
from trpotui.rl.line_search import line_search, trust_region_step
from trpotui.rl.natural_gradient import natural_step
from trpotui.rl.networks import Actor, Critic
from trpotui.rl.sequences import share_of
from trpotui.rl.surrogate import Reduction, Surrogate


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrpoHyperparameters(SharedHyperparameters):
    """What TRPO adds to the shared hyperparameters."""

    max_kl: float = Field(default=0.01, gt=0, le=10, description="delta: largest KL, in nats")
    kl_reduction: Reduction = Field(
        default="mean",
        description="whether max_kl bounds the mean of the KL over the states or the largest",
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
        "one; the KL is checked on all of it",
    )
    backtrack_factor: float = Field(
        default=0.8, gt=0, lt=1, description="c: a refused step is shortened by this factor"
    )
    max_backtracks: int = Field(
        default=10, ge=0, le=1000, description="shortened steps tried after the full one"
    )
    acceptance_ratio: float = Field(
        default=0.0, ge=0, lt=1, description="share of the expected gain that a step must reach"
    )


class Trpo:
    """The natural step with line search."""

    hyperparameter_type: ClassVar[type[SharedHyperparameters]] = TrpoHyperparameters

    def __init__(
        self,
        actor: Actor,
        critic: Critic,
        hyperparameters: TrpoHyperparameters,
        generator: torch.Generator,
    ) -> None:
        self.hyperparameters = hyperparameters
        self._actor = actor
        self._critic_fit = CriticFit(critic, generator)
        self._generator = generator

    def update(self, batch: Batch, interrupt: Callable[[], None]) -> UpdateStats:
        """One fit of the critic and one trust-region step of the actor."""
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
            search = line_search(
                self._actor.parameters,
                step.full_step,
                lambda: surrogate.kl_and_gain(h.kl_reduction),
                max_kl=h.max_kl,
                backtrack_factor=h.backtrack_factor,
                max_backtracks=h.max_backtracks if step.reject_reason is None else -1,
                least_gain=lambda fraction: h.acceptance_ratio * fraction * step.full_gain,
            )
            if search.accepted:
                self._actor.confine()
            by_mean = h.kl_reduction == "mean"
            return UpdateStats(
                kl=search.kl if by_mean else surrogate.measured()[0],
                largest_kl=None if by_mean else search.kl,
                surrogate_gain=search.gain,
                entropy=surrogate.entropy(),
                grad_norm=step.grad_norm,
                value_loss=loss.wait(),
                reject_reason=step.reject_reason or search.reject_reason,
                max_kl=h.max_kl,
                trust_region=trust_region_step(step, search, max_kl=h.max_kl),
            )

    def state(self) -> dict[str, Any]:
        """The critic's optimiser."""
        return {"critic_fit": self._critic_fit.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self._critic_fit.restore(state["critic_fit"])
