"""Playing a policy: a window in a process of its own, or episodes without one.

Importing this package imports neither pygame nor torch.
"""

from trpotui.viewer.episodes import EpisodePlayer, play_without_window
from trpotui.viewer.process import PlayerWindow
from trpotui.viewer.protocol import (
    EpisodePlayed,
    NoDisplayError,
    PlaybackChanged,
    PlayOptions,
    WindowClosed,
)

__all__ = [
    "EpisodePlayed",
    "EpisodePlayer",
    "NoDisplayError",
    "PlayOptions",
    "PlaybackChanged",
    "PlayerWindow",
    "WindowClosed",
    "play_without_window",
]
