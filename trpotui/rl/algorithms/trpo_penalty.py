"""The penalised problem behind TRPO (Schulman et al. 2015, arXiv 1502.05477), algorithm 1.

    maximise  L(theta) - C max over states of D_KL(pi_old || pi_theta)

With C = 4 epsilon gamma / (1 - gamma)^2, epsilon = max |A|, a lower bound on the true return
(theorem 1) grows with every update, by minute steps. A smaller C guarantees nothing. An adaptive
one is halved after a largest KL below target / 1.5, and doubled above 1.5 target for another try.

The maximum is sought along the natural direction: of L to first order and the mean KL to second,
x / C is the maximiser. The search goes on from there, over the whole batch, with the largest KL.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from trpotui.config import STRICT, SharedHyperparameters
from trpotui.events import RejectReason
from trpotui.rl.algorithm import Batch, UpdateStats
from trpotui.rl.critic_fit import CriticFit
from trpotui.rl.line_search import maximize_along
from trpotui.rl.natural_gradient import NaturalDirection, all_finite, natural_direction
from trpotui.rl.networks import Actor, Critic
from trpotui.rl.penalty import Coefficient, adapted_penalty, theory_penalty
from trpotui.rl.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrpoPenaltyHyperparameters(SharedHyperparameters):
    """What the penalised problem adds to the shared hyperparameters."""

    coefficient: Coefficient = Field(
        default="adaptive",
        description="C: theory is 4 max|A| gamma / (1 - gamma)^2; adaptive follows target_kl; or a "
        "number, in advantages per nat",
    )
    target_kl: float = Field(default=0.05, gt=0, le=10, description="nats adaptive C aims at")
    cg_iterations: int = Field(
        default=10, ge=1, le=1000, description="conjugate-gradient iterations for the direction"
    )
    cg_damping: float = Field(
        default=0.1, ge=0, le=1000, description="added to the diagonal of the Fisher matrix"
    )
    backtrack_factor: float = Field(
        default=0.7, gt=0, lt=1, description="c: the search tries c, c^2, ... of the first step"
    )
    max_backtracks: int = Field(default=15, ge=0, le=1000, description="tries after the first one")


class _Maximum(NamedTuple):
    """What a search along the natural direction came to; zeros where it left the actor."""

    kl: float = 0.0
    gain: float = 0.0
    largest_kl: float = 0.0
    reject_reason: RejectReason | None = None


class TrpoPenalty:
    """The maximum of the penalised surrogate along the natural direction."""

    hyperparameter_type: ClassVar[type[SharedHyperparameters]] = TrpoPenaltyHyperparameters

    def __init__(
        self,
        actor: Actor,
        critic: Critic,
        hyperparameters: TrpoPenaltyHyperparameters,
        generator: torch.Generator,
    ) -> None:
        self.hyperparameters = hyperparameters
        self._actor = actor
        self._critic_fit = CriticFit(critic, generator)
        self._adapted: float | None = None

    def update(self, batch: Batch, interrupt: Callable[[], None]) -> UpdateStats:
        """One fit of the critic and one search of the actor."""
        h = self.hyperparameters
        with self._critic_fit.beside(batch, h, interrupt) as loss:
            surrogate = Surrogate(self._actor, batch, interrupt)
            direction = natural_direction(
                surrogate.gradient(),
                surrogate.fisher_product,
                iterations=h.cg_iterations,
                damping=h.cg_damping,
            )
            old, penalty = self._actor.parameters.clone(), self._coefficient(batch, direction)
            found = self._maximize(surrogate, direction, penalty)
            while (following := self._following(penalty, found.largest_kl)) > penalty:
                self._actor.parameters.copy_(old)  # it went too far
                penalty = following
                found = self._maximize(surrogate, direction, penalty)
            if found.reject_reason is None:
                self._actor.confine()
                self._adapted = following
            return UpdateStats(
                kl=found.kl,
                surrogate_gain=found.gain,
                entropy=surrogate.entropy(),
                grad_norm=direction.grad_norm,
                value_loss=loss.wait(),
                reject_reason=found.reject_reason,
                largest_kl=found.largest_kl,
                penalty=penalty,
                target_kl=h.target_kl if h.coefficient == "adaptive" else None,
            )

    def _maximize(
        self, surrogate: Surrogate, direction: NaturalDirection, penalty: float
    ) -> _Maximum:
        """Move to the maximum, if one of the tries is finite and improves."""
        h, parameters, finite = self.hyperparameters, self._actor.parameters, False
        if direction.reject_reason is not None:
            return _Maximum(reject_reason=direction.reject_reason)

        def penalized_gain() -> float:
            nonlocal finite
            largest_kl, gain = surrogate.kl_and_gain("max")
            value = gain - penalty * largest_kl
            finite |= math.isfinite(value) and all_finite(parameters)
            return value

        fraction = maximize_along(
            parameters,
            direction.x / penalty,
            penalized_gain,
            backtrack_factor=h.backtrack_factor,
            max_backtracks=h.max_backtracks,
        )
        if not fraction:
            return _Maximum(
                reject_reason=RejectReason.NO_GAIN if finite else RejectReason.NOT_FINITE
            )
        return _Maximum(*surrogate.measured(), surrogate.measured("max")[0])

    def _coefficient(self, batch: Batch, direction: NaturalDirection) -> float:
        """C to begin an update with."""
        h = self.hyperparameters
        if h.coefficient == "theory":
            return theory_penalty(float(batch.advantages.abs().max()), h.gamma)
        if h.coefficient != "adaptive":
            return h.coefficient
        # at first where the quadratic model expects the mean KL of x / C to be target_kl
        return self._adapted or math.sqrt(max(direction.x_h_x, 0.0) / (2.0 * h.target_kl)) or 1.0

    def _following(self, penalty: float, largest_kl: float) -> float:
        """C after an update with `penalty`; if it is a greater one, that update is made again."""
        h = self.hyperparameters
        if h.coefficient != "adaptive" or not largest_kl:
            return penalty
        return adapted_penalty(penalty, kl=largest_kl, target_kl=h.target_kl)

    def state(self) -> dict[str, Any]:
        """The critic's optimiser, and C as it was adapted."""
        return {"critic_fit": self._critic_fit.state(), "coefficient": self._adapted}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self._critic_fit.restore(state["critic_fit"])
        self._adapted = state["coefficient"]
