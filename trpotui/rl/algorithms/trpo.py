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
from trpotui.events import TrustRegionStep
from trpotui.rl.algorithm import Batch, UpdateStats
from trpotui.rl.natural_gradient import line_search, natural_step
from trpotui.rl.networks import Actor, Critic
from trpotui.rl.surrogate import Surrogate
from trpotui.rl.value_function import CriticFit


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrpoHyperparameters(SharedHyperparameters):
    """What TRPO adds to the shared hyperparameters."""

    max_kl: float = Field(default=0.01, gt=0, le=10, description="delta: largest mean KL, in nats")
    cg_iterations: int = Field(
        default=10, ge=1, le=1000, description="conjugate-gradient iterations for the direction"
    )
    cg_damping: float = Field(
        default=0.1, ge=0, le=1000, description="added to the diagonal of the Fisher matrix"
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

    def update(self, batch: Batch, interrupt: Callable[[], None]) -> UpdateStats:
        """One fit of the critic and one trust-region step of the actor.

        The critic goes first: whatever is interrupted then leaves the actor as it was.
        """
        h = self.hyperparameters
        value_loss = self._critic_fit(batch.inputs, batch.targets, h, interrupt)
        surrogate = Surrogate(self._actor, batch, interrupt)
        step = natural_step(
            surrogate.gradient(),
            surrogate.fisher_product,
            max_kl=h.max_kl,
            iterations=h.cg_iterations,
            damping=h.cg_damping,
        )
        full_gain = step.step_scale * step.g_dot_x  # g^T (beta x)
        search = line_search(
            self._actor.parameters,
            step.full_step,
            surrogate.kl_and_gain,
            max_kl=h.max_kl,
            backtrack_factor=h.backtrack_factor,
            max_backtracks=h.max_backtracks if step.reject_reason is None else -1,
            least_gain=lambda fraction: h.acceptance_ratio * fraction * full_gain,
        )
        if search.accepted:
            self._actor.confine()
        return UpdateStats(
            kl=search.kl,
            entropy=surrogate.entropy(),
            grad_norm=step.grad_norm,
            value_loss=value_loss,
            max_kl=h.max_kl,
            surrogate_gain=search.gain,
            trust_region=TrustRegionStep(
                max_kl=h.max_kl,
                grad_norm=step.grad_norm,
                g_dot_x=step.g_dot_x,
                x_h_x=step.x_h_x,
                step_scale=step.step_scale,
                expected_gain=search.fraction * full_gain,
                cg_residuals=step.cg_residuals,
                tries=search.tries,
                accepted=search.accepted,
                step_fraction=search.fraction,
                kl=search.kl,
                surrogate_gain=search.gain,
                reject_reason=step.reject_reason or search.reject_reason,
            ),
        )

    def state(self) -> dict[str, Any]:
        """The critic's optimiser."""
        return {"critic_fit": self._critic_fit.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self._critic_fit.restore(state["critic_fit"])
