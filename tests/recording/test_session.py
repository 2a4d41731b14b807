"""Whole recordings of an environment whose pictures tell the step."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.recording.recording_samples import (
    FPS,
    HEIGHT,
    WIDTH,
    Telling,
    gif_frames,
    mp4_frames,
    picture_of,
    step_of,
    telling_policy,
)
from trpotui.episodes import PlayOptions
from trpotui.errors import EnvironmentFaultError, RequestError
from trpotui.pacing import HOLD_SECONDS
from trpotui.recording import pictures
from trpotui.recording.options import RecordOptions, size_of
from trpotui.recording.session import most_frames, record
from trpotui.viewing.contenders import Contender

HOLD = round(HOLD_SECONDS * FPS)


@pytest.fixture(autouse=True)
def _no_fault(monkeypatch):
    monkeypatch.setattr(Telling, "fault", None)
    monkeypatch.setattr(Telling, "closed", 0)


def make(suffix=".gif", lengths=(6,), playing=None, **recording):
    contenders = [Contender.of(telling_policy(length), f"p{length}") for length in lengths]
    played, told = [], []
    options = PlayOptions(**{"episodes": 1, "seed": 0} | (playing or {}))
    recording = RecordOptions(**{"overlay": False} | recording)
    path = Path("x" + suffix)
    most = most_frames(contenders[0], options, recording, path)
    made = record(contenders, options, recording, path, report=played.append, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == made.frames <= most
    return made, played


def test_every_step_is_a_frame_and_the_last_one_stays():
    made, (played,) = make()
    frames = gif_frames(made.data)
    assert [step_of(picture) for picture, _ in frames] == [*range(7)]
    assert all(np.array_equal(picture, picture_of(t)) for t, (picture, _) in enumerate(frames))
    assert [duration for _, duration in frames] == [50] * 6 + [50 * (1 + HOLD)]
    assert (made.width, made.height) == (WIDTH, HEIGHT)
    assert made.frames == 7 + HOLD
    assert made.seconds == pytest.approx((7 + HOLD) / FPS)
    assert not made.cut
    assert (played.episode_return, played.length) == (21.0, 6)


def test_episodes_follow_each_other_with_their_seeds():
    made, played = make(".mp4", playing={"episodes": 2, "seed": 3})
    frames, rate = mp4_frames(made.data)
    steps = [step_of(frame, tolerance=2) for frame in frames]
    assert steps == [*range(10), *[9] * HOLD, *range(11), *[10] * HOLD]
    assert rate == FPS
    assert [(one.seed, one.length) for one in played] == [(3, 9), (4, 10)]


def test_a_limit_cuts_it_and_says_so():
    made, played = make(frames=4)
    assert [step_of(picture) for picture, _ in gif_frames(made.data)] == [0, 1, 2, 3]
    assert made.cut
    assert played == []
    made, _ = make(seconds=0.25)
    assert len(gif_frames(made.data)) == 5
    made, played = make(frames=7 + HOLD, playing={"episodes": 2})
    assert made.cut
    assert len(played) == 1
    made, _ = make(frames=7 + HOLD)
    assert not made.cut


def test_speed_and_rate_choose_the_steps_that_are_seen():
    made, _ = make(lengths=(20,), playing={"speed": 4.0})  # 80 steps/s at 40 frames/s
    assert [step_of(picture) for picture, _ in gif_frames(made.data)] == [*range(0, 21, 2)]
    made, _ = make(lengths=(20,), fps=5)
    assert [step_of(picture) for picture, _ in gif_frames(made.data)] == [0, 4, 8, 12, 16, 20]
    frames, rate = mp4_frames(make(".mp4", playing={"speed": 0.5})[0].data)
    assert rate == FPS / 2
    assert [step_of(frame, tolerance=2) for frame in frames[:7]] == [*range(7)]


def test_rates_that_a_kind_does_not_have_are_refused():
    with pytest.raises(RequestError, match="no more than 50"):
        make(fps=60)
    with pytest.raises(RequestError, match=r"a \.png shows steps"):
        make(".png", fps=10)


def test_several_are_side_by_side_until_the_last_one_ends():
    made, played = make(lengths=(3, 8))
    assert [one.length for one in played] == [3, 8]
    assert [one.place for one in played] == [0, 1]
    frames = [picture for picture, _ in gif_frames(made.data)]
    assert len(frames) == 9
    assert made.width > 2 * WIDTH
    left, right = (slice(0, made.width // 2 - 5), slice(made.width // 2 + 5, None))
    still = [np.array_equal(a[:, left], b[:, left]) for a, b in pairwise(frames)]
    assert still == [False] * 3 + [True] * 5
    moving = [np.array_equal(a[:, right], b[:, right]) for a, b in pairwise(frames)]
    assert moving == [False] * 8


def test_overlay_tells_what_really_followed_from_the_first_frame_on(monkeypatch):
    seen = []
    real = pictures.facts_of
    monkeypatch.setattr(pictures, "facts_of", lambda player: seen.append(real(player)) or seen[-1])
    made, (played,) = make(overlay=True)
    assert played.episode_return == 21.0
    assert [facts.step for facts in seen] == [*range(7)]
    followed = [sum(0.5**k * (t + 1 + k) for k in range(6 - t)) for t in range(7)]
    assert [facts.followed.total for facts in seen] == pytest.approx(followed)
    assert made.height > HEIGHT


def test_overlay_changes_nothing_of_what_is_played():
    def played(**options):
        return make(playing={"stochastic": True, "episodes": 2}, height=100, **options)[1]

    assert played(overlay=True) == played(overlay=False)


@pytest.mark.parametrize(
    ("asked", "size"), [("90x50", (90, 50)), ("80", (120, 80)), ("20", (30, 20))]
)
def test_size_is_as_asked(asked, size):
    made, _ = make(frames=2, **size_of(asked))
    assert (made.width, made.height) == size
    assert gif_frames(made.data)[0][0].shape == (size[1], size[0], 3)
    made, _ = make(frames=2, overlay=True, lengths=(6, 7), **size_of("400x300"))
    assert (made.width, made.height) == (400, 300)


def test_size_that_is_told_is_that_of_the_file():
    made, _ = make(".mp4", frames=1, **size_of("33x17"))
    (frame,), _ = mp4_frames(made.data)
    assert frame.shape == (made.height, made.width, 3) == (18, 34, 3)


def test_height_whose_width_would_be_too_large_is_refused():
    with pytest.raises(RequestError, match=r"--size 4096: .* is 6144 pixels wide"):
        make(frames=1, **size_of("4096"))


@pytest.mark.parametrize(
    "text", ["", "x", "40x", "0", "15", "5000", "40x15", "-40", "4e1", "1x2x3"]
)
def test_nonsense_sizes_are_refused(text):
    with pytest.raises(RequestError, match="--size"):
        size_of(text)


def test_environment_that_fails_in_the_middle_is_told_and_closed(monkeypatch):
    def fault(t):
        if t == 3:
            raise ValueError("no luck")

    monkeypatch.setattr(Telling, "fault", fault)
    with pytest.raises(EnvironmentFaultError, match="ValueError in step 3"):
        make(lengths=(6, 6))
    assert Telling.closed == 3  # one to look at its rate, and two that played


def test_no_display_is_looked_for_and_the_variables_are_put_back(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    monkeypatch.setenv("DISPLAY", ":64999")
    during = []
    monkeypatch.setattr(Telling, "fault", lambda _: during.append(os.environ["SDL_VIDEODRIVER"]))
    make()
    assert set(during) == {"dummy"}
    assert os.environ["SDL_VIDEODRIVER"] == "x11"


def test_real_environments_are_recorded_as_they_draw_themselves():
    import gymnasium as gym

    from tests.policy_samples import saved_policy

    contender = Contender.of(saved_policy(hidden_sizes=(4,)), "p")
    made = record(
        [contender],
        PlayOptions(episodes=1, seed=5),
        RecordOptions(overlay=False, frames=6),
        Path("x.gif"),
        report=lambda _: None,
        progress=lambda _: None,
    )
    frames = gif_frames(made.data)
    with gym.make("CartPole-v1", render_mode="rgb_array") as environment:
        observation, _ = environment.reset(seed=5)
        session = contender.policy.session(1)
        starts = np.ones(1, dtype=bool)
        for frame, _ in frames:
            assert np.array_equal(frame, environment.render())
            inputs = contender.policy.network_inputs(observation[None])
            action = int(contender.policy.decoder.decode(session.act(inputs, starts))[0])
            observation, *_ = environment.step(action)
    assert len(frames) == 6
