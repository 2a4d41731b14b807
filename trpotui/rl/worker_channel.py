"""How the process that trains and those that step its environments talk.

What is large lies in memory that both see; beside it there is one short message each way for a
step. Both ends are the same program, started by the same person, so messages may be pickles.

Legend: N environments.
"""

from __future__ import annotations

import math
import mmap
import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import DTypeLike, NDArray

from trpotui.rl.observations import Observations, parts_of, take
from trpotui.rl.steps import Bools

HEADER = 8
"""Bytes that say how many follow."""
EMPTY = bytes(HEADER)
CHUNK = 2**16
LOOK_SECONDS = 0.05
"""Between two looks at whether waiting has become pointless."""
ALIGNMENT = 64


class Channel:
    """Messages to and from another process, over two pipes.

    Args:
        incoming: file descriptor to read from; closed with the channel.
        outgoing: to write to.
    """

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._received = bytearray()
        self._closed = False
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(incoming, select.POLLIN)
        self._writable.register(outgoing, select.POLLOUT)
        os.set_blocking(outgoing, False)

    def send(self, message: bytes = b"", *, deadline: float | None = None) -> None:
        """Send one message, empty or not.

        Raises:
            BrokenPipeError: there is nobody to read it.
            TimeoutError: nobody has read it by the `deadline`, in seconds of `time.monotonic`.
        """
        left = memoryview(len(message).to_bytes(HEADER, "little") + message)
        while left:
            try:
                left = left[os.write(self._outgoing, left) :]
            except BlockingIOError:
                _await(self._writable, deadline)

    def receive(
        self, *, deadline: float | None = None, interrupt: Callable[[], None] | None = None
    ) -> bytes:
        """The next message.

        Args:
            deadline: in seconds of `time.monotonic`; None waits for ever.
            interrupt: called again and again meanwhile; what it raises ends the waiting.

        Raises:
            EOFError: the other process has closed its end.
            TimeoutError: nothing came by the deadline.
        """
        while True:
            if deadline is not None or interrupt is not None:
                _await(self._readable, deadline, interrupt)
            chunk = os.read(self._incoming, CHUNK)
            if not chunk:
                raise EOFError
            if chunk == EMPTY and not self._received:
                return b""
            self._received += chunk
            end = HEADER + int.from_bytes(self._received[:HEADER], "little")
            if HEADER <= len(self._received) >= end:
                message = bytes(self._received[HEADER:end])
                del self._received[:end]
                return message

    def close(self) -> None:
        """Close both pipes, which the other process sees."""
        if not self._closed:
            self._closed = True
            for descriptor in {self._incoming, self._outgoing}:
                os.close(descriptor)


def _await(
    poll: select.poll, deadline: float | None, interrupt: Callable[[], None] | None = None
) -> None:
    """Until a pipe is ready."""
    while True:
        wait = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        if interrupt is not None:
            interrupt()
            wait = LOOK_SECONDS if wait is None else min(wait, LOOK_SECONDS)
        if poll.poll(None if wait is None else wait * 1000):
            return
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError


@dataclass
class SharedStep:
    """What goes into a step of N environments and comes out of it, in memory of several processes.

    What an environment has not written yet is whatever was there before.
    """

    actions: NDArray[Any]
    """[N, ...]"""
    observations: Observations
    """[N, ...], to act on next."""
    finals: Observations
    """[N, ...]; the last observation of an episode, in the rows where it ended."""
    rewards: NDArray[np.float64]
    """[N]"""
    terminated: Bools
    """[N]"""
    truncated: Bools
    """[N]"""

    @classmethod
    def within(
        cls,
        memory: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        n_envs: int,
        *,
        reserve: bool = False,
    ) -> SharedStep:
        """Find it, in the same place in every process.

        Args:
            memory: file descriptor of the memory.
            observation_space: of one environment.
            action_space: of one environment.
            n_envs: N.
            reserve: have as much memory as it takes; by the first process that looks.
        """
        size = 0
        buffer: mmap.mmap | None = None

        def array(space: spaces.Space[Any] | None, dtype: DTypeLike | None) -> NDArray[Any]:
            nonlocal size
            shape = (n_envs, *((space.shape if space is not None else None) or ()))
            count, start = math.prod(shape), size
            size += -(-count * np.dtype(dtype).itemsize // ALIGNMENT) * ALIGNMENT
            if buffer is None:
                return np.empty(0)
            return np.frombuffer(buffer, dtype, count, start).reshape(shape)

        def tree(space: spaces.Space[Any]) -> Observations:
            if isinstance(space, spaces.Dict):
                return {str(key): tree(part) for key, part in parts_of(space)}
            if isinstance(space, spaces.Tuple):
                return tuple(tree(part) for _, part in parts_of(space))
            return array(space, space.dtype)

        def laid_out() -> SharedStep:
            return cls(
                array(action_space, action_space.dtype),
                tree(observation_space),
                tree(observation_space),
                array(None, np.float64),
                array(None, np.bool_),
                array(None, np.bool_),
            )

        laid_out()  # which measures it
        if reserve:
            _reserve(memory, size)
        buffer, size = mmap.mmap(memory, size), 0
        return laid_out()

    def rows(self, rows: slice) -> SharedStep:
        """That of some of the environments."""
        return SharedStep(
            self.actions[rows],
            take(self.observations, rows),
            take(self.finals, rows),
            self.rewards[rows],
            self.terminated[rows],
            self.truncated[rows],
        )


def shared_memory() -> int:
    """A file descriptor of memory without a name, so that nothing of it can be left behind."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("trpotui")
    import tempfile  # noqa: PLC0415 - not on Linux

    descriptor, path = tempfile.mkstemp(prefix="trpotui-")
    os.unlink(path)  # noqa: PTH108
    return descriptor


def _reserve(memory: int, size: int) -> None:
    """Have so many bytes, now and not when they are written."""
    os.ftruncate(memory, size)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(memory, 0, size)
