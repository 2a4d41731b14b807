"""The surrogate objective and its trust region, around the policy that collected a batch.

Legend: B samples, K distribution parameters, P actor parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from trpotui.rl.algorithm import Batch
from trpotui.rl.distributions import Products
from trpotui.rl.linearization import Linearization, combined
from trpotui.rl.networks import Actor
from trpotui.rl.sequences import Inputs

Reduction = Literal["mean", "max"]
"""Of the KL over the states: the mean (TRPO, section 5.3), or the largest (section 3)."""


class Surrogate:
    """L(theta) = mean(ratio * advantage) and D_KL(old || theta), with ratio = pi_theta / pi_old.

    Built while the actor still is the old policy, whose distribution and activations it keeps;
    `gradient` and `fisher_product` hold at the old parameters, `kl_and_gain` wherever the actor's
    parameters are when it is called.

    Args:
        actor: the old policy.
        batch: what it collected.
        interrupt: called before every Fisher product and candidate.
        fisher_inputs: the part of the batch's inputs that Fisher products use; None uses all.

    Raises:
        ValueError: advantages or actions are not one for each sample.
    """

    def __init__(
        self,
        actor: Actor,
        batch: Batch,
        interrupt: Callable[[], None],
        *,
        fisher_inputs: Inputs | None = None,
    ) -> None:
        if batch.advantages.shape != (len(batch.inputs),):
            raise ValueError(
                f"advantages must be [{len(batch.inputs)}], got {list(batch.advantages.shape)}"
            )
        self._actor = actor
        self._batch = batch
        self._interrupt = interrupt
        self._distribution = actor.distribution
        self._linear = actor.linearize(batch.inputs)
        part = batch.inputs if fisher_inputs is None else fisher_inputs
        self._fisher_linear = self._linear if part is batch.inputs else actor.linearize(part)
        # in float64: a mean KL is compared with max_kl to more digits than float32 sums keep
        self._old = self._linear.outputs.double()
        self._old_log_prob = self._distribution.log_prob(self._old, batch.actions)
        self._advantages = batch.advantages.double()

    @property
    def old(self) -> Tensor:
        """Distribution parameters [B, K] of the old policy."""
        return self._linear.outputs

    @property
    def old_log_prob(self) -> Tensor:
        """Its log-probabilities [B] of the actions, in float64."""
        return self._old_log_prob

    def gradient(self) -> Tensor:
        """g [P]: the policy gradient, since the ratio's gradient is the score at ratio 1."""
        score = self._distribution.score(self._linear.outputs, self._batch.actions)  # [B, K]
        weights = self._batch.advantages / len(self._batch.advantages)
        return self._linear.vjp(score * weights[:, None])

    def fisher_product(self, vector: Tensor) -> Tensor:
        """F v [P] = mean over states of J^T M J v (TRPO, appendix C)."""
        self._interrupt()
        linear, products = self._fisher
        weighted = products(linear.jvp(vector))
        return linear.vjp(weighted.div_(weighted.shape[0]))

    @cached_property
    def _fisher(self) -> tuple[Linearization, Products]:
        """Of the distribution parameters, or of their differences where that costs less."""
        linear = self._fisher_linear
        differences = self._distribution.differences(linear.outputs)
        fewer = None if differences is None else combined(linear, differences.matrix)
        if differences is None or fewer is None:
            return linear, self._distribution.fisher(linear.outputs)
        return fewer, differences.fisher

    def kl_and_gain(self, reduction: Reduction = "mean") -> tuple[float, float]:
        """D_KL(old || now) in nats over the whole batch, mean or largest, and L(now) - L(old)."""
        self._interrupt()
        return self.measured(reduction)

    def measured(self, reduction: Reduction = "mean") -> tuple[float, float]:
        """What `kl_and_gain` returns, of a step that is kept: nothing interrupts any more."""
        new = self._actor(self._batch.inputs).double()
        kls = self._distribution.kl(old=self._old, new=new)
        kl = float(kls.mean() if reduction == "mean" else kls.max())
        # expm1, because L(old) is the mean advantage: (ratio - 1) * A keeps a small gain exact
        gain = float((torch.expm1(self._log_ratio(new)) * self._advantages).mean())
        return max(kl, 0.0) if kl > -1e-8 else kl, gain

    def clip_fraction(self, clip_range: float) -> float:
        """Share of the batch whose ratio is now outside [1 - clip_range, 1 + clip_range]."""
        distance = torch.expm1(self._log_ratio(self._actor(self._batch.inputs).double())).abs()
        return float((distance > clip_range).double().mean())

    def entropy(self) -> float:
        """Mean entropy of the old policy in nats."""
        return float(self._distribution.entropy(self._old).mean())

    def _log_ratio(self, new: Tensor) -> Tensor:
        return self._distribution.log_prob(new, self._batch.actions) - self._old_log_prob
