"""Recurrent cells along whole sequences in torch, and their Jacobian products by hand.

Legend: T steps, N environments, D inputs, M cells, G gates, S state features, P parameters of a
cell.

Every product with the Jacobian of a cell along T rows walks from row to row. What does not wait for
the row before is done for all T at once: what the inputs bring to the gates, how a tangent changes
the gates while the states stay as they are, and the sums over rows of a gradient. What is left for
each row is one matrix product and a few elementwise ones. Differentiating the loop automatically
takes several times as long, because all its small operations are traced again for each product.

The state before the first row is data: no derivative passes through it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from trpotui.rl.recurrent import PREFIX

Arrays = Mapping[str, Tensor]
PARTS = ("input.weight", "input.bias", "recurrent.weight", "recurrent.bias")


class Unrolled(ABC):
    """A cell along the rows of sequences.

    Args:
        named: arrays of a network, the cell's among them; their values are not copied.
        rows: [T, N, D].
        starts: [T, N]; where an episode begins the state before the row counts as empty.
        state: [N, S] before the first row.
    """

    outputs: Tensor
    """h [T, N, M]."""
    states: Tensor
    """[T, N, S] after each row."""

    def __init__(self, named: Arrays, rows: Tensor, starts: Tensor, state: Tensor) -> None:
        self._arrays = [named[PREFIX + part] for part in PARTS]
        weight, bias, self._recurrent_weight, self._recurrent_bias = self._arrays
        self._rows = rows.flatten(0, 1)  # [T * N, D]
        self._remembers = (~starts)[:, :, None].to(rows.dtype)  # [T, N, 1]
        gates, cells = self._recurrent_weight.shape
        self._by_row = (*starts.shape, gates)  # [T, N, G * M]
        self._by_gate = (*starts.shape, gates // cells, cells)  # [T, N, G, M]
        begins = starts.any(dim=1).tolist()
        # None where every environment remembers: most rows
        factors = [
            factor if begin else None
            for begin, factor in zip(begins, self._remembers.unbind(), strict=True)
        ]
        self._walk(torch.addmm(bias, self._rows, weight.T).view(self._by_row), factors, state)

    @property
    def size(self) -> int:
        """P: elements of the cell's arrays."""
        return sum(array.numel() for array in self._arrays)

    @abstractmethod
    def _walk(self, from_rows: Tensor, factors: list[Tensor | None], state: Tensor) -> None:
        """Take the steps, and keep what the products are made of.

        Args:
            from_rows: what the inputs bring to the gates [T, N, G * M].
            factors: of the state before each row [N, 1].
            state: [N, S] before the first row.
        """

    @abstractmethod
    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the outputs [T, N, M] per unit of a vector [P] of the cell's parameters."""

    @abstractmethod
    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [T, N, M]."""

    def _moved_gates(self, tangent: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """What a tangent [P] changes in the gates' two sums while the states stay as they are.

        Args:
            tangent: [P].
            before: h before each row [T, N, M].

        Returns:
            The change of what the inputs bring, and of what h brings: [T, N, G * M] each.
        """
        pieces = torch.split(tangent, [array.numel() for array in self._arrays])
        weight, bias, recurrent_weight, recurrent_bias = (
            piece.view_as(array) for piece, array in zip(pieces, self._arrays, strict=True)
        )
        from_rows = torch.addmm(bias, self._rows, weight.T)
        from_hidden = torch.addmm(recurrent_bias, before.flatten(0, 1), recurrent_weight.T)
        return from_rows.view(self._by_row), from_hidden.view(self._by_row)

    def _gradient(self, at_rows: Tensor, at_hidden: Tensor, before: Tensor) -> Tensor:
        """Gradient [P] from the cotangents [T, N, G, M] of the gates' two sums."""
        at_rows, at_hidden = (part.flatten(2).flatten(0, 1) for part in (at_rows, at_hidden))
        return torch.cat(
            [
                (at_rows.T @ self._rows).flatten(),
                at_rows.sum(dim=0),
                (at_hidden.T @ before.flatten(0, 1)).flatten(),
                at_hidden.sum(dim=0),
            ]
        )


class UnrolledGru(Unrolled):
    """h' = (1 - z) n + z h, with gates r, z and n = tanh(x_n + r h_n)."""

    def _walk(self, from_rows: Tensor, factors: list[Tensor | None], state: Tensor) -> None:
        cells = self._recurrent_weight.shape[1]
        weight = self._recurrent_weight.T
        self._kept: list[tuple[Tensor, ...]] = []
        outputs = []
        hidden = state
        for row, factor in zip(from_rows.unbind(), factors, strict=True):
            before = hidden if factor is None else hidden * factor
            from_hidden = torch.addmm(self._recurrent_bias, before, weight)
            gates = (row[:, : 2 * cells] + from_hidden[:, : 2 * cells]).sigmoid()
            reset, update = gates.chunk(2, dim=1)
            to_reset = from_hidden[:, 2 * cells :]
            new = (row[:, 2 * cells :] + reset * to_reset).tanh()
            hidden = new + update * (before - new)
            self._kept.append((before, reset, update, new, to_reset))
            outputs.append(hidden)
        self.outputs = self.states = torch.stack(outputs)

    @cached_property
    def _slopes(self) -> _GruSlopes:
        before, reset, update, new, to_reset = map(torch.stack, zip(*self._kept, strict=True))
        at_new = (1.0 - update) * (1.0 - new.square())
        at_reset = at_new * to_reset * reset * (1.0 - reset)
        at_update = (before - new) * update * (1.0 - update)
        at_hidden = torch.stack([at_reset, at_update, at_new * reset], dim=2)
        return _GruSlopes(
            before,
            torch.stack([at_reset, at_update, at_new], dim=2),
            at_hidden,
            at_hidden * self._remembers[:, :, None],
            update * self._remembers,
        )

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the outputs [T, N, M] per unit of a vector [P] of the cell's parameters."""
        slopes = self._slopes
        from_rows, from_hidden = self._moved_gates(tangent, slopes.before)
        moved = from_rows.view(self._by_gate) * slopes.rows
        moved += from_hidden.view(self._by_gate) * slopes.hidden
        weight, one_row = self._recurrent_weight.T, self._by_gate[1:]
        changes: list[Tensor] = []
        steps = (moved.sum(dim=2), slopes.remembered, slopes.keep)
        for change, remembered, keep in zip(*map(torch.unbind, steps), strict=True):
            if changes:
                through_gates = (changes[-1] @ weight).view(one_row).mul_(remembered)
                change.add_(through_gates.sum(dim=1)).addcmul_(keep, changes[-1])
            changes.append(change)
        return torch.stack(changes)

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [T, N, M]."""
        slopes = self._slopes
        flowing = list(cotangents.unbind())
        remembered, keep = slopes.remembered.unbind(), slopes.keep.unbind()
        for t in range(len(flowing) - 1, 0, -1):
            at_gates = (flowing[t][:, None] * remembered[t]).flatten(1)
            earlier = torch.addmm(flowing[t - 1], at_gates, self._recurrent_weight)
            flowing[t - 1] = earlier.addcmul_(keep[t], flowing[t])
        at_all = torch.stack(flowing)[:, :, None]  # [T, N, 1, M]
        return self._gradient(at_all * slopes.rows, at_all * slopes.hidden, slopes.before)


class _GruSlopes(NamedTuple):
    """How h after a row answers to what comes into it."""

    before: Tensor
    """h before a row [T, N, M]."""
    rows: Tensor
    """To what the inputs bring to the gates [T, N, 3, M]."""
    hidden: Tensor
    """To what h brings to the gates [T, N, 3, M]."""
    remembered: Tensor
    """The same; 0 where an episode begins."""
    keep: Tensor
    """To h itself, past the gates [T, N, M]; 0 where an episode begins."""


class UnrolledLstm(Unrolled):
    """c' = f c + i g, h' = o tanh(c'), with gates i, f, g, o."""

    def _walk(self, from_rows: Tensor, factors: list[Tensor | None], state: Tensor) -> None:
        cells = self._recurrent_weight.shape[1]
        weight = self._recurrent_weight.T
        self._kept: list[tuple[Tensor, ...]] = []
        states = []
        for row, factor in zip(from_rows.unbind(), factors, strict=True):
            before = state if factor is None else state * factor
            sums = torch.addmm(row, before[:, :cells], weight).add(self._recurrent_bias)
            entry, forget, new, out = sums.chunk(4, dim=1)
            entry, forget, new, out = entry.sigmoid(), forget.sigmoid(), new.tanh(), out.sigmoid()
            cell = forget * before[:, cells:] + entry * new
            squashed = cell.tanh()
            state = torch.cat([out * squashed, cell], dim=1)
            self._kept.append((before, entry, forget, new, out, squashed))
            states.append(state)
        self.states = torch.stack(states)
        self.outputs = self.states[:, :, :cells]

    @cached_property
    def _slopes(self) -> _LstmSlopes:
        kept = map(torch.stack, zip(*self._kept, strict=True))
        before, entry, forget, new, out, squashed = kept
        hidden, cell = before.chunk(2, dim=2)
        at_entry = new * entry * (1.0 - entry)
        at_forget = cell * forget * (1.0 - forget)
        at_new = entry * (1.0 - new.square())
        at_out = squashed * out * (1.0 - out)
        gates = torch.stack([at_entry, at_forget, at_new, at_out], dim=2)
        return _LstmSlopes(
            hidden,
            gates,
            gates * self._remembers[:, :, None],
            forget * self._remembers,
            out * (1.0 - squashed.square()),
        )

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the outputs [T, N, M] per unit of a vector [P] of the cell's parameters."""
        slopes = self._slopes
        from_rows, from_hidden = self._moved_gates(tangent, slopes.before)
        moved = from_rows.add_(from_hidden).view(self._by_gate) * slopes.gates
        weight, one_row = self._recurrent_weight.T, self._by_gate[1:]
        cell = torch.zeros_like(slopes.before[0])
        changes: list[Tensor] = []
        steps = (moved, slopes.remembered, slopes.keep, slopes.out)
        for gates, remembered, keep, out in zip(*map(torch.unbind, steps), strict=True):
            if changes:
                gates.addcmul_((changes[-1] @ weight).view(one_row), remembered)
            cell = gates[:, :3].sum(dim=1).addcmul_(keep, cell)
            changes.append(torch.addcmul(gates[:, 3], out, cell))
        return torch.stack(changes)

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [T, N, M]."""
        slopes = self._slopes
        hidden = list(cotangents.unbind())
        cell = torch.zeros_like(hidden[0])
        shares = cotangents.new_empty(self._by_gate)  # of what each gate moves: c, or h
        steps = (shares, slopes.remembered, slopes.keep, slopes.out)
        rows = list(zip(*map(torch.unbind, steps), strict=True))
        for t in range(len(rows) - 1, -1, -1):
            share, remembered, keep, out = rows[t]
            cell = torch.addcmul(cell, out, hidden[t])
            share[:, :3] = cell[:, None]
            share[:, 3] = hidden[t]
            if t:
                at_gates = (share * remembered).flatten(1)
                hidden[t - 1] = torch.addmm(hidden[t - 1], at_gates, self._recurrent_weight)
                cell = cell * keep
        at_gates = shares.mul_(slopes.gates)
        return self._gradient(at_gates, at_gates, slopes.before)


class _LstmSlopes(NamedTuple):
    """How c and h after a row answer to what comes into it."""

    before: Tensor
    """h before a row [T, N, M]."""
    gates: Tensor
    """To the sums of the gates [T, N, 4, M]: c to the first three, h to the last while c stays."""
    remembered: Tensor
    """The same; 0 where an episode begins."""
    keep: Tensor
    """c to c before the row, past the gates [T, N, M]; 0 where an episode begins."""
    out: Tensor
    """h to c after the row [T, N, M]."""


def unroll(kind: str, named: Arrays, rows: Tensor, starts: Tensor, state: Tensor) -> Unrolled:
    """A cell along rows [T, N, D], from `state` [N, S] on; arguments as `Unrolled` has them."""
    return (UnrolledGru if kind == "gru" else UnrolledLstm)(named, rows, starts, state)
