"""The surrogate objective and its trust region, around the policy that collected a batch.

Legend: B samples, P actor parameters.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trpotui.rl.algorithm import Batch
from trpotui.rl.networks import Actor


class Surrogate:
    """L(theta) = mean(ratio * advantage) and D_KL(old || theta), with ratio = pi_theta / pi_old.

    Built while the actor still is the old policy, whose distribution and activations it keeps;
    `gradient` and `fisher_product` hold at the old parameters, `kl_and_gain` wherever the actor's
    parameters are when it is called.

    Args:
        actor: the old policy.
        batch: what it collected.
        interrupt: called before every Fisher product and candidate.

    Raises:
        ValueError: advantages or actions are not one for each sample.
    """

    def __init__(self, actor: Actor, batch: Batch, interrupt: Callable[[], None]) -> None:
        if batch.advantages.shape != (len(batch.inputs),):
            raise ValueError(
                f"advantages must be [{len(batch.inputs)}], got {list(batch.advantages.shape)}"
            )
        self._actor = actor
        self._batch = batch
        self._interrupt = interrupt
        self._distribution = actor.distribution
        self._linear = actor.linearize(batch.inputs)
        # in float64: a mean KL is compared with max_kl to more digits than float32 sums keep
        self._old = self._linear.outputs.double()
        self._old_log_prob = self._distribution.log_prob(self._old, batch.actions)
        self._advantages = batch.advantages.double()

    def gradient(self) -> Tensor:
        """g [P]: the policy gradient, since the ratio's gradient is the score at ratio 1."""
        score = self._distribution.score(self._linear.outputs, self._batch.actions)  # [B, K]
        weights = self._batch.advantages / len(self._batch.advantages)
        return self._linear.vjp(score * weights[:, None])

    def fisher_product(self, vector: Tensor) -> Tensor:
        """F v [P] = mean over states of J^T M J v (TRPO, appendix C)."""
        self._interrupt()
        moved = self._linear.jvp(vector)
        weighted = self._distribution.fisher_product(self._linear.outputs, moved)
        return self._linear.vjp(weighted.div_(len(weighted)))

    def kl_and_gain(self) -> tuple[float, float]:
        """Mean D_KL(old || now) in nats over the whole batch, and L(now) - L(old)."""
        self._interrupt()
        new = self._actor(self._batch.inputs).double()
        kl = float(self._distribution.kl(old=self._old, new=new).mean())
        log_ratio = self._distribution.log_prob(new, self._batch.actions) - self._old_log_prob
        # expm1, because L(old) is the mean advantage: (ratio - 1) * A keeps a small gain exact
        gain = float((torch.expm1(log_ratio) * self._advantages).mean())
        return max(kl, 0.0) if kl > -1e-8 else kl, gain

    def entropy(self) -> float:
        """Mean entropy of the old policy in nats."""
        return float(self._distribution.entropy(self._old).mean())
