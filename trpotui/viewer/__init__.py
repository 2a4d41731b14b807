"""Showing a policy in a window that lives in a process of its own.

Importing this package imports neither pygame nor torch.
"""

from trpotui.viewer.process import PlayerWindow
from trpotui.viewer.protocol import PlaybackChanged, WindowClosed

__all__ = [
    "PlaybackChanged",
    "PlayerWindow",
    "WindowClosed",
]
