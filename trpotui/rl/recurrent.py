"""Recurrent cells: their arrays, and one step of them in numpy.

Legend: N environments, D inputs, M cells, G gates, S state features.

The cells and their arrays are PyTorch's (`torch.nn.GRU`, `torch.nn.LSTM`): the gates lie one below
the other in each array, the input and the recurrent part have a bias each. A state [N, S] is
the output h of a GRU (Cho et al. 2014, arXiv 1406.1078), and h beside c of an LSTM (Hochreiter and
Schmidhuber 1997, with forget gates). `unrolling` takes the same steps in torch, and differentiates
them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

GATES: Mapping[str, int] = {"gru": 3, "lstm": 4}
"""G: reset, update and new of a GRU; input, forget, cell and output of an LSTM, in this order."""
FORGET_GATE = 1
"""Of an LSTM."""
PREFIX = "memory."
"""Of the names of a cell's arrays."""


def cell_shapes(kind: str, inputs: int, cells: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a cell's arrays.

    Args:
        kind: `gru` or `lstm`.
        inputs: D.
        cells: M.
    """
    rows = GATES[kind] * cells
    return {
        f"{PREFIX}input.weight": (rows, inputs),
        f"{PREFIX}input.bias": (rows,),
        f"{PREFIX}recurrent.weight": (rows, cells),
        f"{PREFIX}recurrent.bias": (rows,),
    }


def state_size(kind: str, cells: int) -> int:
    """S of M cells."""
    return cells if kind == "gru" else 2 * cells


class Cell:
    """A cell in numpy, for steps of a few environments.

    Args:
        kind: `gru` or `lstm`.
        arrays: by name, as `cell_shapes` says; not copied.
    """

    def __init__(self, kind: str, arrays: Mapping[str, Float32]) -> None:
        self.kind = kind
        self._input_weight = arrays[f"{PREFIX}input.weight"].T
        self._input_bias = arrays[f"{PREFIX}input.bias"]
        self._recurrent_weight = arrays[f"{PREFIX}recurrent.weight"].T
        self._recurrent_bias = arrays[f"{PREFIX}recurrent.bias"]
        self._cells = len(self._recurrent_weight)

    def empty(self, n_envs: int) -> Float32:
        """The state [N, S] before anything was seen."""
        return np.zeros((n_envs, state_size(self.kind, self._cells)), dtype=np.float32)

    def step(self, rows: Float32, state: Float32) -> tuple[Float32, Float32]:
        """Outputs [N, M] for rows [N, D], and the state [N, S] after them; `state` stays as it is.

        Args:
            rows: [N, D].
            state: [N, S] before them.
        """
        m = self._cells
        hidden = state[:, :m]
        from_inputs = rows @ self._input_weight
        from_inputs += self._input_bias
        from_hidden = hidden @ self._recurrent_weight
        from_hidden += self._recurrent_bias
        if self.kind == "gru":
            gates = _sigmoid(from_inputs[:, : 2 * m] + from_hidden[:, : 2 * m])
            reset, update = gates[:, :m], gates[:, m:]
            new = np.tanh(from_inputs[:, 2 * m :] + reset * from_hidden[:, 2 * m :])
            after: Float32 = new + update * (hidden - new)
            return after, after
        from_inputs += from_hidden
        gates = _sigmoid(from_inputs)
        cell = gates[:, m : 2 * m] * state[:, m:]
        cell += gates[:, :m] * np.tanh(from_inputs[:, 2 * m : 3 * m])
        hidden = gates[:, 3 * m :] * np.tanh(cell)
        return hidden, np.concatenate([hidden, cell], axis=1)


def _sigmoid(x: Float32) -> Float32:
    """1 / (1 + exp(-x)), which as a tanh overflows nowhere."""
    result: Float32 = np.tanh(np.float32(0.5) * x)
    result += 1.0
    result *= np.float32(0.5)
    return result
