"""Keeping the memory that tensors leave, so that the next ones need not ask the system for it.

An update makes and drops arrays of megabytes. The allocator of glibc gives such memory back and
gets it anew, a page fault for every 4 KiB: up to a fifth of an update of 16,384 samples.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""glibc's numbers of what is set (malloc.h)."""
KEPT_BYTES = 2**30
"""Freed memory that stays with the process."""
LARGEST_KEPT = 2**25
"""Bytes of an array whose memory is kept; glibc takes no more."""
KEPT_AFTERWARDS = 2 * LARGEST_KEPT
"""Freed memory that may stay later: glibc's own rule, when it has met arrays of such a size."""


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory until the context ends; other C libraries than glibc do as they always do.

    What is kept is given back then. glibc does not tell what it was set to before, so it is left as
    it sets itself in a program with large arrays.
    """
    library = _glibc()
    if library is None:
        yield
        return
    library.mallopt(TRIM_THRESHOLD, KEPT_BYTES)
    library.mallopt(MMAP_THRESHOLD, LARGEST_KEPT)
    try:
        yield
    finally:
        library.mallopt(TRIM_THRESHOLD, KEPT_AFTERWARDS)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library of this process, if it has what is asked of it."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
