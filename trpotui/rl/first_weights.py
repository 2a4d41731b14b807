"""The weights that a network begins with."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from trpotui.rl.recurrent import FORGET_GATE, PREFIX

Arrays = Mapping[str, Tensor]


def initialize(
    named: Arrays, *, orthogonal: bool, output_gain: float, generator: torch.Generator
) -> None:
    """Write the first weights; biases stay zero where they are orthogonal.

    Args:
        named: arrays of a network, all zero.
        orthogonal: weights of gain sqrt(2), `output_gain` in the last affine layer; False draws
            weights and biases uniformly within 1 / sqrt(inputs), as most libraries do by default.
        output_gain: of the last affine layer, when orthogonal.
        generator: on the CPU.
    """
    _initialize_cell(
        {name: array for name, array in named.items() if name.startswith(PREFIX)},
        orthogonal=orthogonal,
        generator=generator,
    )
    weights = [name for name in named if name.endswith("weight") and not name.startswith(PREFIX)]
    for name in weights:
        weight = named[name]
        if orthogonal:
            gain = output_gain if name == weights[-1] else math.sqrt(2)
            _orthogonal_(weight, gain, generator)
            continue
        bound = 1.0 / math.sqrt(weight[0].numel())
        for array in (weight, named[name.removesuffix("weight") + "bias"]):
            array.copy_((2.0 * torch.rand(array.shape, generator=generator) - 1.0) * bound)


def _initialize_cell(named: Arrays, *, orthogonal: bool, generator: torch.Generator) -> None:
    """Write a recurrent cell's first weights.

    Orthogonal for each gate, with zero biases but for an LSTM's forget gate, which starts open at
    1: what is put into memory stays there until it is learned what to forget (Gers et al. 2000,
    Jozefowicz et al. 2015). A GRU has no such gate. Else uniform within 1 / sqrt(cells), as PyTorch
    has it.

    Args:
        named: the cell's arrays, all zero; none where there is no cell.
        orthogonal: or uniform.
        generator: on the CPU.
    """
    if not named:
        return
    gates, cells = named[f"{PREFIX}recurrent.weight"].shape
    for name, array in named.items():
        if not orthogonal:
            uniform = 2.0 * torch.rand(array.shape, generator=generator) - 1.0
            array.copy_(uniform / math.sqrt(cells))
        elif name.endswith("weight"):
            for gate in torch.split(array, cells):
                _orthogonal_(gate, 1.0, generator)
    if orthogonal and gates == 4 * cells:
        named[f"{PREFIX}input.bias"].view(4, cells)[FORGET_GATE] = 1.0


def _orthogonal_(weight: Tensor, gain: float, generator: torch.Generator) -> None:
    """Fill a weight [out, ...] with gain times orthonormal rows or columns (Saxe et al. 2014)."""
    rows, columns = len(weight), weight[0].numel()
    noise = torch.randn(max(rows, columns), min(rows, columns), generator=generator)
    q, r = torch.linalg.qr(noise)
    q *= r.diagonal().sign()  # makes the distribution uniform over orthogonal matrices
    weight.copy_((gain * (q if rows >= columns else q.T)).reshape(weight.shape))
