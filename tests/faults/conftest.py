"""A folder for files that are written thousands of times."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

IN_MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """In memory where there is such a place: what a disk costs is not what is tested."""
    if not IN_MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=IN_MEMORY, prefix="trpotui-") as name:
        yield Path(name)
