"""Pictures of the window, written whole or not at all under a name that says what they show."""

from __future__ import annotations

from pathlib import Path

from trpotui.durable import unused, write_bytes
from trpotui.errors import RunError
from trpotui.viewing.names import base_name


def write_screenshot(
    folder: Path, png: bytes, *, environment_id: str, seed: int, step: int
) -> Path:
    """Write a picture under a name that is not taken.

    Args:
        folder: made if it is not there.
        png: the file's content.
        environment_id: for the name.
        seed: likewise, of the episode.
        step: likewise.

    Raises:
        RunError: it could not be written.
    """
    name = f"{base_name(environment_id)}-seed{seed}-step{step}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = unused(folder, name, ".png")
        write_bytes(path, png)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"the screenshot could not be written to {folder}: {reason}") from error
    return path
