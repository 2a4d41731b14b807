"""What an algorithm is given and what it gives back.

Legend: B samples, D observation features, A action dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from trpotui.config import SharedHyperparameters
from trpotui.events import TrustRegionStep
from trpotui.rl.networks import Actor, Critic


@dataclass(frozen=True)
class Batch:
    """The real transitions of one rollout, as tensors on the learner's device."""

    inputs: Tensor
    """Network inputs [B, D]."""
    actions: Tensor
    """Raw actions [B] (int64) or [B, A]."""
    advantages: Tensor
    """[B]; standardised if the run asks for it."""
    targets: Tensor
    """[B]; what the critic is fitted to: advantages, as they were, plus values."""


@dataclass(frozen=True, kw_only=True)
class UpdateStats:
    """What one update did."""

    kl: float
    """Mean D_KL(old || new) in nats; 0 when the old policy was kept."""
    entropy: float
    """Mean entropy of the old policy, in nats."""
    grad_norm: float
    value_loss: float
    max_kl: float | None = None
    surrogate_gain: float | None = None
    trust_region: TrustRegionStep | None = None


class Algorithm(Protocol):
    """An update rule. `hyperparameters` may be replaced between updates."""

    hyperparameter_type: ClassVar[type[SharedHyperparameters]]
    hyperparameters: Any

    def __init__(
        self, actor: Actor, critic: Critic, hyperparameters: Any, generator: torch.Generator
    ) -> None:
        """Hold the networks that updates write to, and a CPU generator for shuffling."""

    def update(self, batch: Batch, interrupt: Callable[[], None]) -> UpdateStats:
        """Improve actor and critic on one batch.

        `interrupt` is called between costly steps; what it raises leaves the actor as it was.
        """

    def state(self) -> dict[str, Any]:
        """Optimiser state as plain data and tensors, for a checkpoint."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
