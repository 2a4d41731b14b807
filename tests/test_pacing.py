"""Speed, pause and rests between episodes, with a clock made of numbers."""

from __future__ import annotations

import pytest

from trpotui.pacing import HOLD_SECONDS, LONGEST_GAP, SPEEDS, Pace

FPS = 20.0


class Counter:
    """Episodes of so many steps, one after the other."""

    fps = FPS

    def __init__(self, length: int) -> None:
        self.length = length
        self.episodes = 1
        self.steps = 0
        self.ended = False

    def step(self) -> None:
        assert not self.ended
        self.steps += 1
        self.ended = self.steps == self.length * self.episodes

    def begin_next(self) -> bool:
        self.episodes += 1
        self.ended = False
        return True


class Run:
    """A pace and what it steps; remembers after how many steps each episode ended."""

    def __init__(self, *, length: int = 10_000, speed: float = 1.0) -> None:
        self.player = Counter(length)
        self.pace = Pace(speed)
        self.ends: list[int] = []

    def advance(self, seconds: float, *, out_of_time: bool = False, more: bool = True) -> bool:
        return self.pace.advance(
            self.player,
            seconds,
            out_of_time=lambda: out_of_time,
            end=lambda: self.ends.append(self.player.steps),
            begin_next=self.player.begin_next if more else lambda: False,
        )

    def pass_time(self, seconds: float, *, tick: float = 1 / 64) -> None:
        for _ in range(round(seconds / tick)):
            self.advance(tick)


@pytest.mark.parametrize("speed", [0.25, 1.0, 3.0, 16.0])
def test_steps_follow_the_clock(speed: float) -> None:
    run = Run(speed=speed)
    run.pass_time(2.0)
    assert run.player.steps == 2.0 * FPS * speed


def test_nothing_moves_while_paused_and_no_time_is_made_up_for() -> None:
    run = Run()
    run.pass_time(1.0)
    run.pace.toggle_pause()
    assert not run.advance(1.0)
    run.pass_time(5.0)
    assert run.player.steps == FPS
    run.pace.toggle_pause()
    run.pass_time(1.0)
    assert run.player.steps == 2 * FPS


def test_what_was_not_done_before_a_pause_is_not_done_during_it() -> None:
    run = Run()
    run.advance(5 / FPS, out_of_time=True)
    run.pace.toggle_pause()
    run.advance(0.0)
    assert run.player.steps == 1


def test_the_speeds_are_walked_one_by_one_and_end() -> None:
    pace = Pace(3.0)
    pace.faster()
    assert pace.speed == 4.0
    pace.slower()
    assert pace.speed == 2.0
    for _ in SPEEDS:
        pace.faster()
    assert pace.speed == 16.0
    for _ in SPEEDS:
        pace.slower()
    assert pace.speed == 0.1


def test_a_slow_environment_plays_slower_instead_of_falling_behind() -> None:
    run = Run(speed=16.0)
    for _ in range(100):  # each asks for 5 steps and has time for one
        run.advance(5 / (FPS * 16), out_of_time=True)
    assert run.player.steps == 100
    run.advance(0.0)
    assert run.player.steps <= 101, "the other 400 steps are forgotten"


def test_a_stall_is_not_caught_up_with() -> None:
    run = Run()
    run.advance(3600.0)
    assert run.player.steps == LONGEST_GAP * FPS


def test_the_last_frame_of_an_episode_is_held() -> None:
    run = Run(length=10)
    run.pass_time(10 / FPS)
    assert run.ends == [10]
    for _ in range(round(HOLD_SECONDS * FPS) - 1):
        assert not run.advance(1 / FPS), "there is nothing new to draw"
    assert run.player.episodes == 1
    assert run.advance(1 / FPS)
    assert run.player.episodes == 2
    run.pass_time(10 / FPS)
    assert run.ends == [10, 20]


def test_a_rest_can_be_skipped() -> None:
    run = Run(length=10)
    run.pass_time(10 / FPS)
    run.pace.skip_rest()
    run.player.begin_next()
    run.pass_time(5 / FPS)
    assert run.player.steps == 15


def test_nothing_is_stepped_after_the_last_episode() -> None:
    run = Run(length=1, speed=16.0)
    run.advance(LONGEST_GAP, more=False)
    assert run.player.steps == 1
    assert run.ends == [1]
