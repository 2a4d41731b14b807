"""Entry point of the `trpotui` command and of `python -m trpotui`."""

import io
import os
import sys
from pathlib import Path

from trpotui.cli import run


def main() -> None:
    """Run the command line and exit with its code."""
    _mend_streams()
    sys.exit(run(sys.argv[1:]))


def _mend_streams() -> None:
    """Give output a place where it was closed, and signs that its encoding lacks an escape."""
    sink = Path(os.devnull)
    sys.stdin = sys.stdin or sink.open(encoding="utf-8")
    sys.stdout = sys.stdout or sink.open("w", encoding="utf-8")
    sys.stderr = sys.stderr or sink.open("w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
