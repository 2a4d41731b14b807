"""For how long each step is seen."""

import pytest

from trpotui.recording.timing import FrameClock, usual_fps


@pytest.mark.parametrize(
    ("steps_per_second", "fps"), [(30, 30), (50, 50), (60, 30), (200, 50), (5, 5), (0.4, 1)]
)
def test_usual_rate_shows_the_same_number_of_steps_in_every_frame(steps_per_second, fps):
    assert usual_fps(steps_per_second, 50) == pytest.approx(fps)


@pytest.mark.parametrize(("steps_per_second", "fps"), [(30, 30), (30, 20), (60, 50), (7, 50)])
def test_frames_keep_up_with_steps(steps_per_second, fps):
    clock = FrameClock(steps_per_second, fps)
    frames = [clock.tick() for _ in range(70)]
    assert sum(frames) == pytest.approx(70 * fps / steps_per_second, abs=1)
    assert max(frames) - min(frames) <= 1
    assert frames[0] >= 1  # the first picture is always seen


def test_one_frame_for_each_step():
    clock = FrameClock(50 * 0.1, 5.0)
    assert [clock.tick() for _ in range(1000)] == [1] * 1000
