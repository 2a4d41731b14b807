"""Signals that ask the app to end, which Textual leaves to their defaults."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
HUNG_UP = 1
"""The number of SIGHUP, where there is one."""


def on_signals(handle: Callable[[int], None]) -> None:
    """Call `handle` with the number of each signal, in the loop that runs now."""
    loop = asyncio.get_running_loop()
    for name in SIGNALS:
        if hasattr(signal, name):
            number = int(getattr(signal, name))
            loop.add_signal_handler(number, handle, number)
