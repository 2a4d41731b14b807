"""The command line. Nothing heavy is imported here: `trpotui --help` must not wait for torch."""

from trpotui.cli import exporting, plotting, policies, scoring, training  # noqa: F401 - add commands
from trpotui.cli.application import run

__all__ = ["run"]
