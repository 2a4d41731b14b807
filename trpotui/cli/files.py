"""Files that commands read and write, checked before the work that they are for begins."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from trpotui.errors import RequestError, RunError


def check_output(
    path: Path, option: str, *, suffixes: Sequence[str] = (), inputs: Sequence[Path] = ()
) -> None:
    """Refuse an output that cannot be written before the work, not after.

    Args:
        path: of the output.
        option: that names it.
        suffixes: of which it must have one; any when there are none.
        inputs: that it must not replace.

    Raises:
        RequestError: it cannot be written.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise RequestError(
            f"{option} takes a file that ends in {' or '.join(suffixes)}, not {path}"
        )
    if path.exists() and not path.is_file():
        raise RequestError(f"{path} is no regular file: name another one for {option}")
    if any(path.exists() and given.exists() and path.samefile(given) for given in inputs):
        raise RequestError(f"{option} {path} would replace the policy: name another file")
    if not path.absolute().parent.is_dir():
        raise RequestError(f"the directory of {option} {path} does not exist")
    if not os.access(path.absolute().parent, os.W_OK):
        raise RequestError(f"the directory of {option} {path} cannot be written")


def write_output(path: Path, data: bytes) -> None:
    """Write an output, wholly or not at all.

    Raises:
        RunError: it cannot be written; what was there before is still there.
    """
    from trpotui.durable import write_bytes

    try:
        write_bytes(path, data)
    except OSError as error:
        raise RunError(f"{path} could not be written: {error}") from error
