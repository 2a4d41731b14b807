"""What comes before a network's affine layers: a recurrent cell, or the network of images.

Legend: N environments, D observation features, M cells, S state features, F features.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

from trpotui.export.operations import Operations
from trpotui.rl import images, recurrent
from trpotui.rl.policy import Policy

V = TypeVar("V")


def recurrent_cell(ops: Operations[V], policy: Policy, rows: V, state: V) -> tuple[V, V]:
    """Outputs [N, M] of the cell for rows [N, D], and its state [N, S] after them.

    The gates lie one below the other as in PyTorch: reset, update and new of a GRU; input, forget,
    cell and output of an LSTM.
    """
    m = policy.spec.memory_size
    hidden = ops.columns(state, 0, m)
    from_rows = ops.affine(rows, *_weight_and_bias(ops, policy, f"{recurrent.PREFIX}input"))
    from_hidden = ops.affine(hidden, *_weight_and_bias(ops, policy, f"{recurrent.PREFIX}recurrent"))

    def gate(function: str, index: int) -> V:
        both = (ops.columns(part, index * m, (index + 1) * m) for part in (from_rows, from_hidden))
        return ops.apply(function, ops.combine("Add", *both))

    if policy.spec.network == "gru":
        reset, update = gate("Sigmoid", 0), gate("Sigmoid", 1)
        to_reset = ops.combine("Mul", reset, ops.columns(from_hidden, 2 * m, 3 * m))
        new = ops.columns(from_rows, 2 * m, 3 * m)
        new = ops.apply("Tanh", ops.combine("Add", new, to_reset))
        kept = ops.combine("Mul", update, ops.combine("Sub", hidden, new))
        after = ops.combine("Add", new, kept)
        return after, after
    entry, forget, new, out = (
        gate("Tanh" if index == 2 else "Sigmoid", index) for index in range(4)
    )
    cell = ops.combine("Mul", forget, ops.columns(state, m, 2 * m))
    cell = ops.combine("Add", cell, ops.combine("Mul", entry, new))
    hidden = ops.combine("Mul", out, ops.apply("Tanh", cell))
    return hidden, ops.join([hidden, cell])


def image_features(ops: Operations[V], policy: Policy, rows: V) -> V:
    """Features [N, F] of images, rows [N, D] of numbers from 0 to 255."""
    layout = images.image_layout(policy.spec.observation_space)
    height, width, channels = layout.height, layout.width, layout.channels
    if layout.channels_first:
        hidden = ops.shaped(rows, (channels, height, width))
    else:
        hidden = ops.turned(ops.shaped(rows, (height, width, channels)), (0, 3, 1, 2))
    hidden = ops.combine("Div", hidden, ops.constant("brightest", np.array(255, np.float32)))
    for index, (_, _, stride) in enumerate(images.CONVOLUTIONS):
        kernel, shift = _weight_and_bias(ops, policy, f"{images.PREFIX}{index}")
        hidden = ops.apply("Relu", ops.convolve(hidden, kernel, shift, stride))
    last = f"{images.PREFIX}{len(images.CONVOLUTIONS)}"
    flat = math.prod(layout.shapes[f"{last}.weight"][1:])
    hidden = ops.affine(ops.shaped(hidden, (flat,)), *_weight_and_bias(ops, policy, last))
    return ops.apply("Relu", hidden)


def _weight_and_bias(ops: Operations[V], policy: Policy, name: str) -> tuple[V, V]:
    weight, bias = f"{name}.weight", f"{name}.bias"
    return ops.constant(weight, policy.actor[weight]), ops.constant(bias, policy.actor[bias])
