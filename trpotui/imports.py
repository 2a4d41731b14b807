"""Modules of a person's own, which register environments: imported because they were named.

Only the command line names them. What a file says is never imported.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from trpotui.errors import RequestError

_imported: list[str] = []


def import_modules(names: Sequence[str]) -> None:
    """Import modules by name, from the directory that the program was started in too.

    Raises:
        RequestError: a name is none, or importing it failed; one sentence with the reason.
    """
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")) or name.endswith(".py"):
            raise RequestError(
                f"--import takes the name of a module, such as my_envs, not '{name}'"
            )
        here = str(Path.cwd())
        if not {"", here}.intersection(sys.path):
            sys.path.append(here)  # last: a file here must not take the place of a library
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # it is a program of its own
            reason = f"{type(error).__name__}: {error}"
            raise RequestError(f"--import {name} failed: {reason}") from error
        if name not in _imported:
            _imported.append(name)


def imported_modules() -> list[str]:
    """The names imported so far, for other processes of this program."""
    return list(_imported)
