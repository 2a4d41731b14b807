"""What an update asks of a network at a batch: its outputs, and products with its Jacobian.

Legend: B samples, D inputs, F features, L width of the last hidden layer, A action dimensions, K
outputs, R combinations of them, P parameters; T steps, N environments of sequences.

`jvp` is the product of the Jacobian with a parameter vector, `vjp` that of its transpose with a
vector of output cotangents. Those of multi-layer perceptrons are in `mlp`; `FunctionLinearization`
serves any network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from trpotui.rl.acting import SDE_VARIANCE_FLOOR
from trpotui.rl.architecture import LOG_STD_MAX, LOG_STD_MIN
from trpotui.rl.mlp import MLPLinearization
from trpotui.rl.unrolling import Unrolled


class Linearization(Protocol):
    """A network at a batch, to first order in its parameters."""

    outputs: Tensor
    """[B, K]."""

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the outputs [B, K] per unit of a parameter vector [P]."""

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K]."""


class JoinedLinearization:
    """A network at a batch, from what it is at parts of it."""

    def __init__(self, parts: Sequence[Linearization]) -> None:
        self._parts = parts
        self._rows = [len(part.outputs) for part in parts]
        self.outputs = torch.cat([part.outputs for part in parts])

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the outputs [B, K] per unit of a parameter vector [P]."""
        return torch.cat([part.jvp(tangent) for part in self._parts])

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K]."""
        pieces = zip(self._parts, torch.split_with_sizes(cotangents, self._rows), strict=True)
        first, *rest = (part.vjp(piece) for part, piece in pieces)
        for gradient in rest:
            first.add_(gradient)
        return first

    def combined(self, combinations: Tensor) -> JoinedLinearization | None:
        """With combinations of the outputs, if that pays in every part."""
        parts = [combined(part, combinations) for part in self._parts]
        found = [part for part in parts if part is not None]
        return JoinedLinearization(found) if len(found) == len(parts) else None


def joined(parts: Iterable[Linearization]) -> Linearization:
    """Of parts of a batch, in their order; at least one."""
    first, *rest = parts
    return JoinedLinearization([first, *rest]) if rest else first


def combined(linear: Linearization, combinations: Tensor) -> Linearization | None:
    """The same network at the same batch, with combinations of its outputs for outputs.

    Args:
        linear: with outputs [B, K].
        combinations: C [R, K].

    Returns:
        None where products with it cost no less.
    """
    if isinstance(linear, MLPLinearization | JoinedLinearization):
        return linear.combined(combinations.to(linear.outputs))
    return None


def traced(
    function: Callable[..., Tensor], *at: Tensor
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
    """Outputs of a function, and what gives the gradients of sum(outputs * cotangents).

    `torch.func.vjp` does the same, but its first product imports torch's compiler, and
    `torch.autograd.grad` with cotangents of its own what that is made of (sympy): 800 modules that
    nothing here needs, before a run gets under way.

    Args:
        function: of tensors, differentiable.
        at: its arguments, each of which has a gradient of its shape.
    """
    leaves = [argument.detach().requires_grad_() for argument in at]
    with torch.enable_grad():
        outputs = function(*leaves)

    def gradients(cotangents: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            total = (outputs * cotangents).sum()
        return torch.autograd.grad(total, leaves, retain_graph=True, materialize_grads=True)

    return outputs.detach(), gradients


class FunctionLinearization:
    """Jacobian products of any network by automatic differentiation: the general path.

    `torch.func.jvp` computes the activations again for each product. Tracing them once with
    `torch.func.linearize` pays only when the same graph is used far longer than one update lasts.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], parameters: Tensor) -> None:
        self._function = function
        self._parameters = parameters
        self.outputs, self._vjp = traced(function, parameters)

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the outputs [B, K] per unit of a parameter vector [P]."""
        moved = torch.func.jvp(self._function, (self._parameters,), (tangent,))[1]
        assert isinstance(moved, Tensor)
        return moved

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K]."""
        (gradient,) = self._vjp(cotangents)
        return gradient


class ActorLinearization:
    """Jacobian products of an actor: its network's, and log sigma's, which are plain copies.

    Args:
        network: of the affine layers.
        outputs: distribution parameters [B, K].
        passes: 1 where the outputs' bounds let changes through, else 0 [B, ...]; None without any.
        log_std: state-independent [A], when there is one.
    """

    def __init__(
        self,
        network: MLPLinearization,
        outputs: Tensor,
        *,
        passes: Tensor | None,
        log_std: Tensor | None,
    ) -> None:
        self._network = network
        self.outputs = outputs
        self._passes = passes
        self._log_std = log_std

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the distribution parameters [B, K] per unit of a parameter vector [P]."""
        if self._log_std is None:
            moved = self._network.jvp(tangent)
            return moved if self._passes is None else moved.mul_(self._passes)
        means = self._network.jvp(tangent[: -len(self._log_std)])
        moved = tangent[-len(self._log_std) :] * _inside_range(self._log_std)
        return torch.cat([means, moved.expand_as(means)], dim=1)

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K]."""
        if self._log_std is None:
            flowing = cotangents if self._passes is None else cotangents * self._passes
            return self._network.vjp(flowing)
        means, log_stds = cotangents.chunk(2, dim=1)
        gradient = log_stds.sum(dim=0) * _inside_range(self._log_std)
        return torch.cat([self._network.vjp(means), gradient])


class SdeLinearization:
    """Jacobian products of an actor with gSDE, whose deviations depend on weights and latent alike.

        2 log sigma(s) = log(z(s)^2 S + floor),  z the latent [L], S = exp(2 log_std) [L, A]

    Args:
        network: of the affine layers.
        log_std: [L, A].
    """

    def __init__(self, network: MLPLinearization, log_std: Tensor) -> None:
        self._network = network
        self._size = log_std.numel()
        self._latent = network.latent
        self._squares = network.latent.square()
        self._variances = torch.exp(2 * log_std.clamp(LOG_STD_MIN, LOG_STD_MAX))
        self._slopes = self._variances * _inside_range(log_std)
        self._sums = sde_variance(network.latent, log_std)  # [B, A]
        self.outputs = torch.cat([network.outputs, 0.5 * self._sums.log()], dim=1)

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the distribution parameters [B, K] per unit of a parameter vector [P]."""
        latent, means = self._network.latent_and_outputs_jvp(tangent[: -self._size])
        moved = self._squares @ (self._slopes * tangent[-self._size :].view_as(self._slopes))
        if latent is not None:
            moved.addmm_(self._latent * latent, self._variances)
        return torch.cat([means, moved.div_(self._sums)], dim=1)

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K]."""
        means, log_stds = cotangents.chunk(2, dim=1)
        at_sums = log_stds / self._sums
        at_latent = (at_sums @ self._variances.T).mul_(self._latent)
        gradient = (self._squares.T @ at_sums).mul_(self._slopes)
        return torch.cat([self._network.vjp(means, at_latent), gradient.flatten()])


def sde_variance(latent: Tensor, log_std: Tensor) -> Tensor:
    """Variances [B, A] of gSDE's actions for what the last affine layer sees [B, L]."""
    variances = torch.exp(2 * log_std.clamp(LOG_STD_MIN, LOG_STD_MAX))
    return latent.square() @ variances + SDE_VARIANCE_FLOOR


def _inside_range(log_std: Tensor) -> Tensor:
    """1 where the clamp of log sigma passes changes through, 0 where it holds them back."""
    return ((log_std >= LOG_STD_MIN) & (log_std <= LOG_STD_MAX)).to(log_std.dtype)


class UnrolledLinearization:
    """Jacobian products of a network that begins with a cell: its steps by hand, the rest not.

    Args:
        unrolled: the cell along all rows.
        valid: [T, N]; of which rows there are outputs.
        head: the other parameters, and features [B, F], to outputs [B, K].
        parameters: of the whole network, the cell's first.
    """

    def __init__(
        self,
        unrolled: Unrolled,
        valid: Tensor,
        head: Callable[[Tensor, Tensor], Tensor],
        parameters: Tensor,
    ) -> None:
        self._unrolled = unrolled
        self._valid = valid
        self._head = head
        self._at = parameters[unrolled.size :], unrolled.outputs[valid]
        self.outputs, self._head_vjp = traced(head, *self._at)

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the outputs [B, K] per unit of a parameter vector [P]."""
        size = self._unrolled.size
        features = self._unrolled.jvp(tangent[:size])[self._valid]
        moved = torch.func.jvp(self._head, self._at, (tangent[size:], features))[1]
        assert isinstance(moved, Tensor)
        return moved

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K]."""
        gradient, features = self._head_vjp(cotangents)
        flowing = torch.zeros_like(self._unrolled.outputs)
        flowing[self._valid] = features
        return torch.cat([self._unrolled.vjp(flowing), gradient])
