"""First-order ascent of an actor: what REINFORCE, A2C and both forms of PPO share.

Legend: B samples, b samples of a minibatch, K distribution parameters, P actor parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pydantic.dataclasses
import torch
from pydantic import Field
from torch import Tensor

from trpotui.config import STRICT, SharedHyperparameters
from trpotui.events import RejectReason
from trpotui.rl.algorithm import Batch
from trpotui.rl.linearization import Linearization
from trpotui.rl.natural_gradient import all_finite
from trpotui.rl.networks import Actor
from trpotui.rl.optimizers import Optimizer, shortened
from trpotui.rl.sequences import Inputs, shuffled, split
from trpotui.rl.surrogate import Surrogate


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)
class MinibatchHyperparameters(SharedHyperparameters):
    """What both forms of PPO add to the shared hyperparameters."""

    learning_rate: float = Field(default=3e-4, gt=0, le=1, description="of the actor's Adam")
    anneal_learning_rate: bool = Field(
        default=True, description="let the learning rates fall to 0 by the end of the run"
    )
    adam_epsilon: float = Field(default=1e-5, gt=0, le=1, description="of the actor's Adam")
    epochs: int = Field(default=10, ge=1, le=1000, description="passes over each batch")
    minibatches: int = Field(default=4, ge=1, le=10_000, description="minibatches per pass")
    normalize_minibatches: bool = Field(
        default=True, description="centre and scale the advantages of each minibatch by themselves"
    )
    entropy_coef: float = Field(
        default=0.0, ge=0, le=100, description="weight of the mean entropy in what is maximised"
    )
    max_grad_norm: float = Field(
        default=0.5,
        ge=0,
        le=1e6,
        description="longer gradients of the actor, and of an adam critic, are shortened to this "
        "norm; 0 leaves them",
    )


@dataclass(frozen=True)
class Minibatch:
    """Some rows of a batch."""

    inputs: Inputs
    actions: Tensor
    """[b] or [b, A]."""
    advantages: Tensor
    """[b]."""
    old: Tensor
    """Distribution parameters [b, K] of the old policy."""
    old_log_prob: Tensor
    """Its log-probabilities [b] of the actions."""


def minibatches(
    batch: Batch, surrogate: Surrogate, h: MinibatchHyperparameters, generator: torch.Generator
) -> Iterator[Minibatch]:
    """One shuffled pass over a batch.

    Args:
        batch: of the old policy.
        surrogate: of the batch, around the old policy.
        h: how many minibatches, and whether their advantages are centred and scaled.
        generator: shuffles, on the CPU.
    """
    # advantages of deviation 1 are no rounding, whatever they were differences of
    scale = 1.0 if h.normalize_advantages else float(batch.targets.abs().max())
    old_log_prob = surrogate.old_log_prob.to(surrogate.old.dtype)
    order = shuffled(batch.inputs, generator)
    for inputs, rows in split(batch.inputs, h.minibatches, order):
        advantages = batch.advantages.index_select(0, rows)
        if h.normalize_minibatches:
            advantages = standardized(advantages, scale=scale)
        of_all = (batch.actions, surrogate.old, old_log_prob)
        actions, old, log_prob = (values.index_select(0, rows) for values in of_all)
        yield Minibatch(inputs, actions, advantages, old, log_prob)


def objective_gradient(linear: Linearization, objective: Callable[[Tensor], Tensor]) -> Tensor:
    """Gradient [P] of an objective of the distribution parameters.

    Automatic differentiation sees the few operations of `objective` only; the network's own part
    is one product with its Jacobian's transpose.

    Args:
        linear: the actor at b inputs.
        objective: distribution parameters [b, K] to a scalar.
    """
    with torch.enable_grad():
        parameters = linear.outputs.detach().requires_grad_()
        (cotangents,) = torch.autograd.grad(objective(parameters), parameters)
    return linear.vjp(cotangents)


def clipped_slopes(log_ratio: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """Gradient [b] of PPO's clipped surrogate in each log-ratio: ratio A / b, or 0 where clipped.

        mean(min(ratio A, clip(ratio, 1 - epsilon, 1 + epsilon) A))     (PPO, equation 7)

    Args:
        log_ratio: log pi_theta(a|s) - log pi_old(a|s) [b].
        advantages: [b].
        clip_range: epsilon.
    """
    ratio = log_ratio.exp()
    # clipped where a ratio is outside on the side to which its advantage pulls
    pulled = (ratio - 1.0) * advantages.sign()
    return (ratio * advantages).masked_fill_(pulled > clip_range, 0.0).div_(len(advantages))


def standardized(advantages: Tensor, *, scale: float) -> Tensor:
    """Advantages [b], centred and divided by their standard deviation.

    As they are when there is one only, and zero when their spread is rounding beside `scale`, the
    size of the numbers that they are differences of.
    """
    if len(advantages) < 2:
        return advantages
    deviation = float(advantages.std(correction=0))
    if deviation <= 1e-5 * scale:
        return torch.zeros_like(advantages)
    return (advantages - advantages.mean()) / deviation


class Ascent:
    """The steps of one update, and what came of them once `ascending` is over."""

    def __init__(self, optimizer: Optimizer, interrupt: Callable[[], None]) -> None:
        self._optimizer = optimizer
        self._interrupt = interrupt
        self._norms: list[float] = []
        self.kl, self.gain = 0.0, 0.0
        self.reject_reason: RejectReason | None = None

    @property
    def grad_norm(self) -> float:
        """Mean norm of the gradients so far, before they were clipped; 0 before the first."""
        return math.fsum(self._norms) / max(len(self._norms), 1)

    @property
    def moved(self) -> bool:
        """Whether a step has been taken; until then the actor is the old policy, bit for bit."""
        return any(self._norms)

    def step(self, gradient: Tensor, learning_rate: float, max_grad_norm: float = 0.0) -> None:
        """Move up a gradient [P]; a zero one moves nothing, whatever an optimiser remembers.

        Args:
            gradient: of what is to be maximised.
            learning_rate: of this step.
            max_grad_norm: a longer gradient is shortened to this norm; 0 leaves all as they are.
        """
        self._interrupt()
        norm = float(torch.linalg.vector_norm(gradient))
        self._norms.append(norm)
        if norm == 0.0:
            return
        self._optimizer.step(-shortened(gradient, max_grad_norm), learning_rate=learning_rate)

    def judge(self, actor: Actor, surrogate: Surrogate) -> None:
        """Measure how far the actor has come, and refuse what is not finite."""
        if not self.moved:
            self.reject_reason = RejectReason.ZERO_GRADIENT
            return
        kl, gain = surrogate.kl_and_gain()
        # an infinite gradient leaves the actor finite, and an Adam whose steps are zero ever after
        numbers = (kl, gain, self.grad_norm)
        if all(map(math.isfinite, numbers)) and all_finite(actor.parameters):
            self.kl, self.gain = kl, gain
        else:
            self.reject_reason = RejectReason.NOT_FINITE


@contextmanager
def ascending(
    actor: Actor, optimizer: Optimizer, surrogate: Surrogate, interrupt: Callable[[], None]
) -> Iterator[Ascent]:
    """An update of several steps that is kept as a whole, or not at all.

    If anything raises, or what comes of the steps is not finite, actor and optimiser are put back
    bit for bit.

    Args:
        actor: whose parameters the optimiser writes.
        optimizer: of those parameters.
        surrogate: around the policy as it is before the first step.
        interrupt: called before every step.

    Yields:
        What to step with.
    """
    parameters, state = actor.parameters.clone(), optimizer.state()
    ascent, kept = Ascent(optimizer, interrupt), False
    try:
        yield ascent
        actor.confine()
        ascent.judge(actor, surrogate)
        kept = ascent.reject_reason is None
    finally:
        if not kept:
            actor.parameters.copy_(parameters)
            optimizer.restore(state)
