"""A policy as TorchScript, which libtorch and `torch.jit.load` run without any Python code.

PyTorch has declared TorchScript deprecated, in favour of forms that only newer versions read; it
stays readable in every version that this program supports. ONNX is the form to keep for long.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trpotui.export.checking import Run
from trpotui.export.forward import about, greedy
from trpotui.rl.policy import Policy, SavedPolicy

ABOUT = "about.json"
"""Extra file in the archive."""


class TorchOperations:
    """The steps of a forward pass in torch; constants are buffers of a module, which can move."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module

    def constant(self, name: str, array: NDArray[Any]) -> Tensor:
        """A buffer of the module."""
        name = f"policy_{name.replace('.', '_')}"  # none that a module has already
        if not hasattr(self._module, name):
            self._module.register_buffer(name, torch.from_numpy(array.copy()))
        buffer: Tensor = getattr(self._module, name)
        return buffer

    def cast(self, value: Tensor, dtype: np.dtype[Any]) -> Tensor:
        """By PyTorch's type of the same name."""
        return value.to(getattr(torch, str(dtype)))

    def affine(self, value: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """In one call."""
        return torch.addmm(bias, value, weight.T)

    def combine(self, operation: str, left: Tensor, right: Tensor) -> Tensor:
        """By the function of that name."""
        return COMBINE[operation](left, right)

    def apply(self, function: str, value: Tensor) -> Tensor:
        """By the function of that name."""
        return APPLY[function](value)

    def columns(self, value: Tensor, start: int, stop: int) -> Tensor:
        """A view."""
        return value[:, start:stop]

    def join(self, values: Sequence[Tensor]) -> Tensor:
        """Along the columns."""
        return torch.cat(list(values), dim=1)

    def like(self, row: Tensor, value: Tensor) -> Tensor:
        """A view."""
        return row.expand_as(value)

    def argmax(self, value: Tensor) -> Tensor:
        """PyTorch's too is the first of several."""
        return value.argmax(dim=1, keepdim=True)

    def positive(self, value: Tensor) -> Tensor:
        """Truth values."""
        return value > 0

    def shaped(self, value: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A view where possible."""
        return value.reshape(-1, *shape)

    def turned(self, value: Tensor, order: tuple[int, ...]) -> Tensor:
        """A view."""
        return value.permute(*order)

    def convolve(self, value: Tensor, kernel: Tensor, shift: Tensor, stride: int) -> Tensor:
        """PyTorch's own."""
        return torch.conv2d(value, kernel, shift, stride=stride)


COMBINE: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": torch.div,
    "Max": torch.maximum,
    "Min": torch.minimum,
}
APPLY: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Tanh": torch.tanh,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Log": torch.log,
}


class GreedyPolicy(torch.nn.Module):
    """`forward.greedy` as a module.

    Args:
        policy: without memory, `(observations) -> (actions, parameters)`; with, `(observations,
            state) -> (actions, parameters, next_state)`.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self._policy = policy
        self._operations = TorchOperations(self)
        self.examples = [torch.zeros(2, policy.spec.observation_size)]
        if policy.spec.has_memory:
            self.examples.append(torch.zeros(2, policy.spec.state_size))
        self(*self.examples)  # makes the buffers, so that a trace finds them

    def forward(self, observations: Tensor, state: Tensor | None = None) -> tuple[Tensor, ...]:
        """One step, as `forward.greedy`."""
        outputs = greedy(self._operations, self._policy, observations, state)
        return tuple(part for part in outputs if part is not None)


def torchscript_bytes(saved: SavedPolicy) -> bytes:
    """The content of a TorchScript file of a policy."""
    buffer = io.BytesIO()
    with _without_the_advice(), torch.no_grad():
        module = GreedyPolicy(saved.policy).eval()
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            module,
            tuple(module.examples),
            check_trace=False,  # it is checked against the policy
        )
        torch.jit.save(traced, buffer, _extra_files={ABOUT: about(saved)})
    return buffer.getvalue()


def torchscript_runner(data: bytes) -> Run:
    """What a TorchScript file computes."""
    with _without_the_advice():
        module = torch.jit.load(  # type: ignore[no-untyped-call]
            io.BytesIO(data), map_location="cpu"
        )

    def run(rows: NDArray[Any], state: NDArray[Any] | None) -> list[NDArray[Any]]:
        given = [torch.from_numpy(part) for part in (rows, state) if part is not None]
        with torch.no_grad():
            return [part.numpy() for part in module(*given)]

    return run


@contextmanager
def _without_the_advice() -> Iterator[None]:
    """Without PyTorch's advice against TorchScript, which the help of the command passes on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
