"""The command line. Nothing heavy is imported here: `trpotui --help` must not wait for torch."""

from trpotui.cli import policies, training  # noqa: F401 - each adds its commands
from trpotui.cli.application import run

__all__ = ["run"]
