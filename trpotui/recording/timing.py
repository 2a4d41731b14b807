"""For how many frames of a recording each step of an episode is shown."""

from __future__ import annotations

import math


def usual_fps(steps_per_second: float, fastest: float) -> float:
    """Frames per second of which each shows the same number of steps, and no fewer than one.

    Args:
        steps_per_second: that are to be seen.
        fastest: frames per second that the file may have.
    """
    return max(steps_per_second / math.ceil(steps_per_second / fastest), 1.0)


class FrameClock:
    """Counts the frames that steps are shown for, without losing parts of a frame.

    Args:
        steps_per_second: that are to be seen.
        fps: frames per second of the file.
    """

    def __init__(self, steps_per_second: float, fps: float) -> None:
        self._frames_per_step = fps / steps_per_second
        self._steps = 0
        self._frames = 0

    def tick(self) -> int:
        """Frames of the step that is next; 0 where several steps share one frame."""
        self._steps += 1
        due = math.ceil(round(self._steps * self._frames_per_step, 6)) - self._frames
        self._frames += due
        return due
