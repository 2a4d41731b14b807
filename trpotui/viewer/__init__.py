"""Showing policies in a window that lives in a process of its own.

Importing this package imports neither pygame nor torch. `PlayerWindow` waits until it is asked for:
the window's process has no use for what the parent's side needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trpotui.viewer.protocol import NoticeShown, PlaybackChanged, ScreenshotTaken, WindowClosed

if TYPE_CHECKING:
    from trpotui.viewer.process import PlayerWindow

__all__ = [
    "NoticeShown",
    "PlaybackChanged",
    "PlayerWindow",
    "ScreenshotTaken",
    "WindowClosed",
]


def __getattr__(name: str) -> Any:
    if name == "PlayerWindow":
        from trpotui.viewer.process import PlayerWindow  # noqa: PLC0415

        return PlayerWindow
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
