"""What a network is given: independent rows, or sequences for a network with memory.

Legend: T steps, N environments, B valid rows of T * N, D observation features, S state features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

ENOUGH = 4096
"""Samples by which a curvature is known well enough: TRPO's authors took a tenth of 50,000."""


@dataclass(frozen=True)
class Sequences:
    """The rollout of a policy with memory, in the order in which it was lived through."""

    rows: Tensor
    """Network inputs [T, N, D]."""
    starts: Tensor
    """[T, N]; true where an episode begins, so that the memory of the one before is dropped."""
    valid: Tensor
    """[T, N]; false on rows that are no transition. Outputs leave them out."""
    states: Mapping[str, Tensor]
    """Memory [N, S] of the `actor` and of the `critic` before the first row."""

    def __len__(self) -> int:
        """B: the rows for which a network has outputs."""
        return int(self.valid.sum())

    def columns(self, chosen: Tensor) -> Sequences:
        """The sequences of some environments only; `chosen` holds their numbers."""
        return Sequences(
            self.rows[:, chosen],
            self.starts[:, chosen],
            self.valid[:, chosen],
            {name: state[chosen] for name, state in self.states.items()},
        )


Inputs = Tensor | Sequences
"""Rows [B, D], or sequences whose valid rows, step by step, count as the B rows."""


def shuffled(inputs: Inputs, generator: torch.Generator) -> Tensor:
    """Numbers of a batch's rows, in a random order; of environments where there are sequences.

    Args:
        inputs: of the whole batch.
        generator: shuffles, on the CPU.
    """
    return torch.randperm(_units(inputs), generator=generator)


def split(inputs: Inputs, parts: int, order: Tensor) -> Iterator[tuple[Inputs, Tensor]]:
    """Minibatches of nearly equal size.

    Rows are taken one by one; sequences stay whole, so it is environments that are taken, and there
    are at most N parts.

    Args:
        inputs: of the whole batch.
        parts: how many minibatches.
        order: what `shuffled` returned for the inputs.

    Yields:
        The inputs of a minibatch, and the numbers [b] of its rows in the batch.
    """
    if isinstance(inputs, Tensor):
        for rows in order.to(inputs.device).chunk(parts):
            yield inputs.index_select(0, rows), rows
        return
    numbers = torch.full(inputs.valid.shape, -1, device=inputs.valid.device)
    numbers[inputs.valid] = torch.arange(len(inputs), device=inputs.valid.device)
    for chosen in order.to(inputs.valid.device).chunk(parts):
        rows = numbers[:, chosen]
        if bool((rows >= 0).any()):
            yield inputs.columns(chosen), rows[rows >= 0]


def share_of(inputs: Inputs, share: float, generator: torch.Generator) -> Inputs:
    """A random part of a batch's inputs: rows, or whole sequences; the inputs where that is all.

    Args:
        inputs: of the whole batch.
        share: of the rows or sequences; rounded, and at least one. 0 takes `ENOUGH` samples.
        generator: draws, on the CPU.
    """
    share = share or min(ENOUGH / max(len(inputs), 1), 1.0)
    count = _units(inputs)
    wanted = max(round(share * count), 1)
    if wanted >= count:
        return inputs
    chosen = shuffled(inputs, generator)[:wanted]
    if isinstance(inputs, Tensor):
        return inputs.index_select(0, chosen.to(inputs.device))
    return inputs.columns(chosen.to(inputs.valid.device))


def _units(inputs: Inputs) -> int:
    """What is drawn of a batch: rows, or environments, whose sequences stay whole."""
    return len(inputs) if isinstance(inputs, Tensor) else inputs.valid.shape[1]
