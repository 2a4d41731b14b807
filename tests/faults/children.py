"""Children of the test's process: what they do can end them without ending the tests."""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Callable

UNEXPECTED = 70


def start(action: Callable[[], int]) -> int:
    """The number of a new child that does `action` and exits with what that returns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of threads, of which none is needed
        child = os.fork()
    if child == 0:
        try:
            os._exit(action())
        except BaseException:  # noqa: BLE001 - nothing of pytest's may run in the child
            traceback.print_exc()
            os._exit(UNEXPECTED)
    return child


def end(child: int) -> int:
    """Wait for a child: its exit code, negative after a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
