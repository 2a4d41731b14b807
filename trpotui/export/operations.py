"""The few steps that a forward pass is made of, whatever it is exported to.

Legend: N environments.

In torch they compute, so that a trace can record them; for ONNX they add nodes to a graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

V = TypeVar("V")


class Operations(Protocol[V]):
    """What a forward pass does with values of a kind of its own; numbers are float32 by default."""

    def constant(self, name: str, array: NDArray[Any]) -> V:
        """An array of the policy, under a name that is used once."""

    def cast(self, value: V, dtype: np.dtype[Any]) -> V:
        """The same numbers in another type."""

    def affine(self, value: V, weight: V, bias: V) -> V:
        """value @ weight.T + bias, for [N, in], [out, in] and [out]."""

    def combine(self, operation: str, left: V, right: V) -> V:
        """Elementwise `Add`, `Sub`, `Mul`, `Div`, `Max` or `Min`, with numpy's broadcasting."""

    def apply(self, function: str, value: V) -> V:
        """Elementwise `Tanh`, `Relu`, `Sigmoid` or `Log`."""

    def columns(self, value: V, start: int, stop: int) -> V:
        """[N, stop - start] of [N, ...]."""

    def join(self, values: Sequence[V]) -> V:
        """Columns side by side."""

    def like(self, row: V, value: V) -> V:
        """A row [A] as often as `value` [N, A] has rows."""

    def argmax(self, value: V) -> V:
        """The first of the largest columns [N, 1], int64."""

    def positive(self, value: V) -> V:
        """Whether numbers are above 0."""

    def shaped(self, value: V, shape: tuple[int, ...]) -> V:
        """[N, ...] as [N, *shape]."""

    def turned(self, value: V, order: tuple[int, ...]) -> V:
        """Axes in another order."""

    def convolve(self, value: V, kernel: V, shift: V, stride: int) -> V:
        """Images [N, C, H, W] under filters [F, C, side, side] and shifts [F], not padded."""
