"""The signals that ask a program to end: Ctrl-C, the system's wish, and a terminal that went away.

Not every system has all of them.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

ENDING = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
HUNG_UP = 1
"""The number of SIGHUP, where there is one."""


@contextmanager
def handling(
    handle: Callable[[int, FrameType | None], object],
    numbers: Sequence[signal.Signals] = ENDING,
) -> Iterator[None]:
    """Have signals call `handle`, in the main thread, and what they called before afterwards."""
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def set_on_signals(event: threading.Event, numbers: Sequence[signal.Signals]) -> None:
    """Have signals set an event for which the main thread may be waiting, from now on.

    A thread of its own sets it. A handler would run in the midst of that wait, which holds the
    event's lock for moments, and would then wait for the lock for ever.
    """
    arrived: SimpleQueue[None] = SimpleQueue()  # its `put` may interrupt any other call of it

    def pass_on() -> None:
        while True:
            arrived.get()
            event.set()

    threading.Thread(target=pass_on, daemon=True).start()
    for number in numbers:
        signal.signal(number, lambda *_: arrived.put(None))


def on_signals(handle: Callable[[int], None]) -> None:
    """Have the signals call `handle` with their number, in the loop that runs now."""
    import asyncio  # noqa: PLC0415 - commands that have no loop do without

    loop = asyncio.get_running_loop()
    for number in ENDING:
        loop.add_signal_handler(number, handle, int(number))
