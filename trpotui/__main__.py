"""Entry point of the `trpotui` command and of `python -m trpotui`."""

import sys

from trpotui.cli import run


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
