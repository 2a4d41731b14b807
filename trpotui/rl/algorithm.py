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
from trpotui.events import RejectReason, TrustRegionStep
from trpotui.rl.networks import Actor, Critic
from trpotui.rl.sequences import Inputs


@dataclass(frozen=True)
class Batch:
    """The real transitions of one rollout, as tensors on the learner's device."""

    inputs: Inputs
    """Network inputs: rows [B, D], or sequences with B valid rows."""
    actions: Tensor
    """Raw actions [B] (int64) or [B, A]."""
    advantages: Tensor
    """[B]; standardised if the run asks for it."""
    targets: Tensor
    """[B]; what the critic is fitted to: advantages, as they were, plus values."""
    values: Tensor
    """[B]; what the critic said of the inputs when the advantages were made."""
    remaining: float = 1.0
    """Share of the run's steps that is left, from 1 down to 0; schedules anneal with it."""


@dataclass(frozen=True, kw_only=True)
class UpdateStats:
    """What one update did: fields of `trpotui.events.UpdateFinished`, which explains them."""

    kl: float
    surrogate_gain: float
    entropy: float
    grad_norm: float
    value_loss: float | None
    reject_reason: RejectReason | None
    max_kl: float | None = None
    largest_kl: float | None = None
    target_kl: float | None = None
    penalty: float | None = None
    learning_rate: float | None = None
    clip_range: float | None = None
    clip_fraction: float | None = None
    epochs: int | None = None
    stopped_early: bool | None = None
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

        `interrupt` is called between costly steps, perhaps in two threads; what it raises leaves
        networks and optimisers in the middle of the update, and the learner puts them back.
        """

    def state(self) -> dict[str, Any]:
        """Optimiser state as plain data and tensors, for a checkpoint."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
