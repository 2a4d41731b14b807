"""What the app remembers from one sitting to the next: the theme and the last setup."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path

from platformdirs import user_config_path
from pydantic import TypeAdapter, ValidationError

from trpotui.durable import read_json, write_json
from trpotui.run_request import RunRequest

DIRECTORY_VARIABLE = "TRPOTUI_CONFIG_DIR"
"""Environment variable that names another directory than the user's own."""
FILE = "preferences.json"


def default_path() -> Path:
    """Where the preferences of this user are."""
    directory = os.environ.get(DIRECTORY_VARIABLE)
    return (Path(directory) if directory else user_config_path("trpotui", appauthor=False)) / FILE


class Preferences:
    """A file that is read once and replaced at every change.

    Nothing here fails: what cannot be read, or is not what this program writes, is as if it had
    never been there, and what cannot be written is forgotten.

    Args:
        path: the file; by default the user's own.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or default_path()
        self.theme: str | None = None
        self.setup: RunRequest | None = None
        with contextlib.suppress(OSError, ValueError):
            stored = read_json(self._path)
            theme = stored.get("theme")
            self.theme = theme if isinstance(theme, str) else None
            self.setup = _request(stored.get("setup"))

    def remember_theme(self, theme: str) -> None:
        """Keep the name of a theme."""
        if theme != self.theme:
            self.theme = theme
            self._write()

    def remember_setup(self, setup: RunRequest) -> None:
        """Keep what was trained last."""
        if setup != self.setup:
            self.setup = setup
            self._write()

    def _write(self) -> None:
        setup = None if self.setup is None else dataclasses.asdict(self.setup)
        with contextlib.suppress(OSError, ValueError, TypeError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, {"theme": self.theme, "setup": setup})


def _request(stored: object) -> RunRequest | None:
    """A setup as it was written; None when it is none."""
    if not isinstance(stored, dict):
        return None
    if not stored.keys() <= {field.name for field in dataclasses.fields(RunRequest)}:
        return None
    with contextlib.suppress(ValidationError):
        return TypeAdapter(RunRequest).validate_python(stored)
    return None
