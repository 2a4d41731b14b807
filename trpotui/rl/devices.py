"""Choosing where the networks learn, and how many threads torch uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from trpotui.errors import RequestError, RunError


def resolve_device(name: str) -> torch.device:
    """The device of a configuration's `device`.

    `auto` is the CPU: the networks of these algorithms are small, and their environments step on
    the CPU.

    Raises:
        RequestError: the device asked for is not there.
    """
    if name == "auto":
        return torch.device("cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if count == 0:
            raise RequestError(f"device {name} is not available here: use --device cpu or auto")
        if (device.index or 0) >= count:
            raise RequestError(f"device {name} does not exist: the last one is cuda:{count - 1}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RequestError("device mps is not available here: use --device cpu or auto")
    return device


@contextmanager
def threads(count: int, *, batch: int, width: int) -> Iterator[None]:
    """Let torch use `count` threads, and numpy one, until the context ends.

    Args:
        count: threads; 0 chooses one for small updates, where others cost more than they save, and
            torch's own number for large ones.
        batch: samples of an update.
        width: of the widest hidden layer.
    """
    chosen = count or (1 if batch * width * width < 2**24 else torch.get_num_threads())
    with torch_threads(chosen), threadpool_limits(limits=1, user_api="blas"):
        torch.set_num_threads(chosen)
        yield


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads until the context ends."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def memory_told(device: torch.device) -> Iterator[None]:
    """Say in a sentence that memory has run out, and what takes less.

    Raises:
        RunError: it has.
    """
    try:
        yield
    except Exception as error:
        if not _is_shortage(error):
            raise
        raise RunError(
            f"device {device} ran out of memory: choose smaller n_envs, rollout_steps or "
            "hidden_sizes"
        ) from error


def _is_shortage(error: Exception) -> bool:
    """Whether numpy, an accelerator or torch on the CPU, which has no class for it, lacks room."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
