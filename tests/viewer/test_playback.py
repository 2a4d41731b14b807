"""Speed, pause and the order of episodes, with a clock made of numbers."""

from __future__ import annotations

import pytest

from trpotui.episodes import EpisodePlayed
from trpotui.viewer.playback import HOLD_SECONDS, LONGEST_GAP, SPEEDS, Playback

FPS = 20.0


class Counter:
    """An episode is so many steps; remembers all it was asked for."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.started: list[int] = []
        self.all_steps = 0
        self.episode = 0
        self.steps = 0
        self.total = 0.0
        self.ended = True

    def start(self, episode: int) -> None:
        self.started.append(episode)
        self.episode, self.steps, self.ended = episode, 0, False

    def step(self) -> None:
        assert not self.ended
        self.steps += 1
        self.all_steps += 1
        self.ended = self.steps == self.length

    def result(self) -> EpisodePlayed:
        return EpisodePlayed(episode=self.episode, seed=0, episode_return=0.0, length=self.steps)


class Run:
    def __init__(self, *, length: int = 10_000, episodes: int = 3, speed: float = 1.0) -> None:
        self.player = Counter(length)
        self.reported: list[int] = []
        self.playback = Playback(
            self.player,
            episodes=episodes,
            fps=FPS,
            speed=speed,
            report=lambda played: self.reported.append(played.episode),
        )

    def pass_time(self, seconds: float, *, tick: float = 1 / 64) -> None:
        for _ in range(round(seconds / tick)):
            self.playback.advance(tick, out_of_time=lambda: False)


@pytest.mark.parametrize("speed", [0.25, 1.0, 3.0, 16.0])
def test_steps_follow_the_clock(speed: float) -> None:
    run = Run(speed=speed)
    run.pass_time(2.0)
    assert run.player.all_steps == 2.0 * FPS * speed


def test_nothing_moves_while_paused_and_no_time_is_made_up_for() -> None:
    run = Run()
    run.pass_time(1.0)
    run.playback.toggle_pause()
    run.pass_time(5.0)
    assert run.player.all_steps == FPS
    run.playback.toggle_pause()
    run.pass_time(1.0)
    assert run.player.all_steps == 2 * FPS


def test_the_speeds_are_walked_one_by_one_and_end() -> None:
    run = Run(speed=3.0)
    run.playback.faster()
    assert run.playback.speed == 4.0
    run.playback.slower()
    assert run.playback.speed == 2.0
    for _ in SPEEDS:
        run.playback.faster()
    assert run.playback.speed == 16.0
    for _ in SPEEDS:
        run.playback.slower()
    assert run.playback.speed == 0.25


def test_a_slow_environment_plays_slower_instead_of_falling_behind() -> None:
    run = Run(speed=16.0)
    for _ in range(100):  # each asks for 5 steps and has time for one
        run.playback.advance(5 / (FPS * 16), out_of_time=lambda: True)
    assert run.player.all_steps == 100
    run.playback.advance(0.0, out_of_time=lambda: False)
    assert run.player.all_steps <= 101, "the other 400 steps are forgotten"


def test_a_stall_is_not_caught_up_with() -> None:
    run = Run()
    run.playback.advance(3600.0, out_of_time=lambda: False)
    assert run.player.all_steps == LONGEST_GAP * FPS


def test_episodes_are_reported_at_their_end_and_their_last_frame_is_held() -> None:
    run = Run(length=10, episodes=2)
    run.pass_time(10 / FPS)
    assert run.reported == [1]
    assert run.player.started == [1]
    run.pass_time(HOLD_SECONDS - 1 / FPS)
    assert run.player.started == [1], "the last frame is still held"
    run.pass_time(1 / FPS + 1 / 64)
    assert run.player.started == [1, 2]
    run.pass_time(10 / FPS)
    assert run.reported == [1, 2]
    assert not run.playback.finished
    run.pass_time(HOLD_SECONDS + 1 / FPS)
    assert run.playback.finished
    assert run.player.all_steps == 20


def test_a_skipped_episode_is_not_reported() -> None:
    run = Run(length=10, episodes=2)
    run.pass_time(5 / FPS)
    run.playback.next_episode()
    run.pass_time(2.0)
    assert run.reported == [2]
    run = Run(episodes=1)
    run.playback.next_episode()
    assert run.playback.finished
    assert run.reported == []
