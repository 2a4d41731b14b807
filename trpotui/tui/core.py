"""What is imported behind the first frame: all that trains, and the screens not seen at first."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trpotui.tui.screens.play import PlayScreen
    from trpotui.tui.screens.runs import RunsScreen


def load_core() -> None:
    """Import it, and then let the garbage collector work if it was held off for the imports.

    It need not look at what is there by then, as none of that is garbage: torch alone has so many
    objects that looking at them takes a tenth of a second, in which no key is answered. Where
    nobody held it off, as in a test, what is there may be anyone's, and is left to it.
    """
    try:
        import textual_plotext  # noqa: F401, PLC0415

        import trpotui.recorded_run  # noqa: PLC0415
        import trpotui.rl.algorithms.trpo  # noqa: PLC0415
        import trpotui.tui.screens.play  # noqa: PLC0415
        import trpotui.tui.screens.runs  # noqa: F401, PLC0415
    finally:
        if not gc.isenabled():
            gc.freeze()
            gc.enable()


def play_screen() -> PlayScreen:
    """The screen of the policies."""
    from trpotui.tui.screens.play import PlayScreen  # noqa: PLC0415 - after the first frame

    return PlayScreen()


def runs_screen() -> RunsScreen:
    """The screen of the runs."""
    from trpotui.tui.screens.runs import RunsScreen  # noqa: PLC0415 - as above

    return RunsScreen()
