"""Matrix products at the speed of the processor, whoever made it.

Legend: B samples, n and m widths of layers.

torch multiplies float32 matrices by Intel's library, which on processors of others uses half the
width of their registers. oneDNN, which torch brings along for its compiler, does not: products of
64 by 64 and more take half the time there. It is asked where it is present and the product is large
enough to make up for the longer call. On Intel's own processors it takes up to 2.6 times as long.
"""

from __future__ import annotations

import contextlib
import platform
import sys
from pathlib import Path

import torch
from torch import Tensor

LEAST_WIDTH, LEAST_PRODUCTS = 32, 2**20
"""Smallest n and m, and multiplications, from which on oneDNN is quicker."""


def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # type: ignore[no-untyped-call]


def is_intels(described: Path) -> bool:
    """Whether the processor is one of Intel's.

    Args:
        described: where Linux tells of it; other systems are asked themselves.
    """
    if not sys.platform.startswith("linux"):
        return "GenuineIntel" in platform.processor()
    with contextlib.suppress(OSError), described.open(encoding="utf-8") as lines:
        return any(line.startswith("vendor_id") and "GenuineIntel" in line for line in lines)
    return False


ONEDNN = _has_onednn()
"""Whether oneDNN is there."""
PREFERRED = ONEDNN and not is_intels(Path("/proc/cpuinfo"))
"""Whether it is asked for large products."""


def affine(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Inputs W^T + b [B, n], for inputs [B, m], W [n, m] and b [n]."""
    if _pays(inputs, weight):
        return _linear(inputs, weight, bias)
    return torch.addmm(bias, inputs, weight.T)


def times(flowing: Tensor, weight: Tensor) -> Tensor:
    """Flowing W [..., m], for flowing [..., n] and W [n, m]."""
    if _pays(flowing, weight):
        return _linear(flowing, weight.T, None)
    return flowing @ weight


def outer(flowing: Tensor, inputs: Tensor, *, out: Tensor) -> None:
    """Sum over samples of flowing inputs^T into `out` [n, m], for [B, n] and [B, m]."""
    if _pays(inputs, out):
        out.copy_(_linear(flowing.T, inputs.T, None))
    elif inputs.shape[1] < flowing.shape[1]:  # few columns cost more than few rows
        out.copy_((inputs.T @ flowing).T)
    else:
        torch.mm(flowing.T, inputs, out=out)


def _pays(samples: Tensor, weight: Tensor) -> bool:
    n, m = weight.shape
    if not PREFERRED or n < LEAST_WIDTH or m < LEAST_WIDTH:
        return False
    products = samples.numel() // samples.shape[-1] * n * m
    return products >= LEAST_PRODUCTS and samples.dtype is torch.float32 and samples.is_cpu


def _linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return product
