"""Policies for programs that know nothing of this one: ONNX, TorchScript and plain arrays.

A file takes encoded observation rows [N, D], normalises them itself, and puts out the greedy
actions of the environment. None is kept before it was read back and agreed with the policy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trpotui.errors import RequestError, RunError
from trpotui.export.checking import Run, check
from trpotui.export.forward import check_supported
from trpotui.rl.devices import threads
from trpotui.rl.policy import SavedPolicy


@dataclass(frozen=True)
class Exported:
    """A file's content, which computes what the policy computes."""

    data: bytes
    difference: float
    """The largest found, relative where numbers are above 1."""


def to_onnx(saved: SavedPolicy) -> Exported:
    """An ONNX model; `onnx_graph` builds it.

    Raises:
        RequestError: the packages for it are not installed, or the policy cannot be exported.
        RunError: the model does not do what the policy does.
    """
    try:
        from trpotui.export.onnx_graph import onnx_bytes, onnx_runner  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if error.name not in {"onnx", "onnxruntime"}:
            raise
        raise RequestError(
            "--onnx needs packages that are not installed here: pip install 'trpotui[onnx]'"
        ) from error
    return _exported("--onnx", saved, onnx_bytes, onnx_runner)


def to_torchscript(saved: SavedPolicy) -> Exported:
    """A TorchScript archive; `torchscript` traces it.

    Raises:
        RequestError: the policy cannot be exported.
        RunError: the archive does not do what the policy does.
    """
    from trpotui.export.torchscript import (  # noqa: PLC0415 - the other forms need no torch
        torchscript_bytes,
        torchscript_runner,
    )

    return _exported("--torchscript", saved, torchscript_bytes, torchscript_runner)


def to_arrays(saved: SavedPolicy) -> Exported:
    """Arrays for numpy; `arrays.act` runs them.

    Raises:
        RequestError: the policy cannot be exported.
        RunError: the arrays do not do what the policy does.
    """
    from trpotui.export.arrays import check_plain, npz_bytes, npz_runner  # noqa: PLC0415

    check_supported(saved)
    check_plain(saved)
    return _exported("--numpy", saved, npz_bytes, npz_runner)


def _exported(
    option: str,
    saved: SavedPolicy,
    make: Callable[[SavedPolicy], bytes],
    runner: Callable[[bytes], Run],
) -> Exported:
    check_supported(saved)
    data = make(saved)
    try:
        with threads(1, batch=1, width=1):  # others would cost more than they do, where many run
            return Exported(data, check(saved.policy, runner(data)))
    except RunError as error:
        raise RunError(
            f"{option} was not written, because it would not do what the policy does: {error}"
        ) from error
