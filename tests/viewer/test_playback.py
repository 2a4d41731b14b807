"""The order of episodes in a window, with a clock made of numbers."""

from __future__ import annotations

import math
from typing import Any

from gymnasium import spaces

from trpotui.episodes import EpisodePlayed
from trpotui.pacing import HOLD_SECONDS
from trpotui.viewer.playback import Playback
from trpotui.viewer.protocol import PlaybackChanged
from trpotui.viewing.by_hand import HandControl

FPS = 20.0


class Counter:
    """An episode is so many steps; remembers all it was asked for."""

    fps = FPS

    def __init__(self, length: int) -> None:
        self.length = length
        self.started: list[int] = []
        self.all_steps = 0
        self.episode = 0
        self.steps = 0
        self.total = 0.0
        self.ended = True
        self.notice = ""
        self.actions: list[Any] = []
        self.stochastic = False

    def start(self, episode: int) -> None:
        self.started.append(episode)
        self.episode, self.steps, self.ended = episode, 0, False

    def step(self, action: Any = None) -> None:
        assert not self.ended
        self.actions.append(action)
        self.steps += 1
        self.all_steps += 1
        self.ended = self.steps == self.length

    def back(self) -> bool:
        self.steps -= 1
        self.ended = False
        return True

    def result(self) -> EpisodePlayed:
        return EpisodePlayed(episode=self.episode, seed=0, episode_return=0.0, length=self.steps)


class Run:
    def __init__(
        self, *, length: int = 10_000, episodes: int = 3, hand: HandControl | None = None
    ) -> None:
        self.player = Counter(length)
        self.reported: list[int] = []
        self.playback = Playback(
            [self.player],
            episodes=episodes,
            speed=1.0,
            report=lambda played: self.reported.append(played.episode),
            hand=hand,
        )

    def pass_time(self, seconds: float, *, tick: float = 1 / 64) -> None:
        for _ in range(round(seconds / tick)):
            self.playback.advance(tick, out_of_time=lambda: False)


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


def test_a_step_pauses_and_the_end_asks_for_the_next_episode() -> None:
    run = Run(length=2, episodes=2)
    assert run.playback.step() == ""
    assert run.playback.pace.paused
    assert run.playback.step() == ""
    assert run.reported == [1]
    assert "n begins the next one" in run.playback.step()
    assert run.player.all_steps == 2
    run.pass_time(5.0)
    assert run.player.started == [1], "paused"
    assert run.playback.back() == ""
    run.playback.pace.toggle_pause()
    run.pass_time(2 / FPS)
    assert run.reported == [1], "its end was reported before"


def test_a_restart_plays_the_same_seed_and_goes_on_to_the_next() -> None:
    run = Run(length=10, episodes=2)
    run.pass_time(10 / FPS + HOLD_SECONDS / 2)
    run.playback.restart()
    run.pass_time(1 / FPS)
    assert (run.player.started, run.player.steps) == ([1, 1], 1)
    run.pass_time(10 / FPS + HOLD_SECONDS)
    assert run.player.started == [1, 1, 2]
    assert run.reported == [1]


def test_an_episode_of_a_person_begins_with_a_key() -> None:
    run = Run(length=10, episodes=2, hand=HandControl("Other-v0", spaces.Discrete(2), fps=FPS))
    run.pass_time(1.0)
    assert run.player.steps == 0
    hand = run.playback.hand
    assert hand is not None
    hand.press("2")
    assert run.playback.heed_hand()
    run.pass_time(3 / FPS)
    assert run.player.actions == [1, 1, 1]
    run.playback.next_episode()
    run.pass_time(1.0)
    assert (run.player.episode, run.player.steps) == (2, 0), "it waits again"


def test_a_grid_moves_once_for_each_key() -> None:
    run = Run(length=10, hand=HandControl("FrozenLake-v1", spaces.Discrete(4), fps=FPS))
    hand = run.playback.hand
    assert hand is not None
    assert run.playback.step() == "it is your turn: press one of your keys"
    for key, steps in (("down", 1), ("right", 2)):
        hand.press(key)
        run.playback.heed_hand()
        run.pass_time(1.0, tick=0.25)  # time enough for five steps
        assert run.player.steps == steps
    assert run.player.actions == [1, 2]


def test_the_next_step_is_waited_for_to_the_point() -> None:
    run = Run()
    assert run.playback.until_next_step() == 1 / FPS
    run.playback.advance(0.03, out_of_time=lambda: False)
    assert abs(run.playback.until_next_step() - 0.02) < 1e-9
    run.playback.pace.toggle_pause()
    assert run.playback.until_next_step() == math.inf


def test_it_tells_how_it_stands() -> None:
    run = Run()
    run.pass_time(1.0)
    run.playback.pace.faster()
    run.playback.pace.toggle_pause()
    assert run.playback.state() == PlaybackChanged(paused=True, speed=2.0, episode=1, step=20)
