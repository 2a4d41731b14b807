"""Pictures drawn by pygame in a process that has the terminal, and no window."""

from __future__ import annotations

import os


def draw_nowhere() -> None:
    """Let pygame draw pictures in this process without ever touching a display or a sound card.

    Off the main thread macOS would abort, and without a display SDL would try the console. Only the
    C library is told, so that a window opened as a child process inherits none of it.
    """
    for name in ("SDL_VIDEODRIVER", "SDL_AUDIODRIVER"):
        os.putenv(name, "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
