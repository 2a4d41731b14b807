"""The order of episodes in a window, with a clock made of numbers."""

from __future__ import annotations

from trpotui.episodes import EpisodePlayed
from trpotui.pacing import HOLD_SECONDS
from trpotui.viewer.playback import Playback
from trpotui.viewer.protocol import PlaybackChanged

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
    def __init__(self, *, length: int = 10_000, episodes: int = 3) -> None:
        self.player = Counter(length)
        self.reported: list[int] = []
        self.playback = Playback(
            self.player,
            episodes=episodes,
            speed=1.0,
            report=lambda played: self.reported.append(played.episode),
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


def test_it_tells_how_it_stands() -> None:
    run = Run()
    run.pass_time(1.0)
    run.playback.pace.faster()
    run.playback.pace.toggle_pause()
    assert run.playback.state() == PlaybackChanged(paused=True, speed=2.0, episode=1, step=20)
