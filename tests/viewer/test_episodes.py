"""Episodes without a window: seeds, returns, and what a faulty environment leads to."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from viewer_environments import FAULTY, FAULTY_STEP, Faulty
from viewer_policies import random_policy

from tests.rl.network_samples import act
from trpotui import episodes
from trpotui.config import build
from trpotui.episodes import EpisodePlayed, EpisodePlayer, PlayOptions, play_without_window
from trpotui.errors import EnvironmentFaultError, RequestError, RunError
from trpotui.rl.policy import Policy


def greedy_episode(policy: Policy, seed: int) -> tuple[float, int]:
    """Return and length of an episode, by the plainest loop."""
    with gym.make(policy.spec.environment_id, **policy.spec.environment_kwargs) as environment:
        observation, _ = environment.reset(seed=seed)
        total, length, ended = 0.0, 0, False
        while not ended:
            action = act(policy, np.asarray(observation)[None])[0]
            observation, reward, terminated, truncated, _ = environment.step(action)
            total, length, ended = total + float(reward), length + 1, terminated or truncated
    return total, length


@pytest.mark.parametrize(
    "environment_id", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "MountainCarContinuous-v0"]
)
def test_an_episode_is_the_plain_loop_with_the_seed_counted_up(environment_id: str) -> None:
    policy = random_policy(environment_id)
    played = list(play_without_window(policy, PlayOptions(episodes=2, seed=7)))
    expected = []
    for number, seed in ((1, 7), (2, 8)):
        total, length = greedy_episode(policy, seed)
        expected.append(
            EpisodePlayed(episode=number, seed=seed, episode_return=total, length=length)
        )
    assert played == expected


def test_keyword_arguments_reach_the_environment() -> None:
    policy = random_policy("CartPole-v1", max_episode_steps=4)
    [played] = play_without_window(policy, PlayOptions(episodes=1))
    assert played.length == 4


def test_sampled_actions_depend_on_the_seed_alone(cartpole: Policy) -> None:
    options = PlayOptions(episodes=4, seed=3, stochastic=True)
    first = list(play_without_window(cartpole, options))
    assert list(play_without_window(cartpole, options)) == first
    greedy = dataclasses.replace(options, stochastic=False)
    assert list(play_without_window(cartpole, greedy)) != first
    # an episode is the same whatever was played before it
    later = dataclasses.replace(options, episodes=1, seed=5)
    assert [e.length for e in play_without_window(cartpole, later)] == [first[2].length]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("raises in reset", "raised ValueError in the reset of episode 1 (seed 0): no luck"),
        ("raises in step", f"raised ZeroDivisionError in step {FAULTY_STEP} of episode 1"),
        ("nan observation", "returned an observation that is not finite in step 3"),
        ("huge observation", "returned an observation that is not finite in step 3"),
        ("wrong shape", "returned an observation that has shape (3,), not (4,) in step 3"),
        ("text observation", "returned an observation that has dtype <U1, not float32 in step 3"),
        ("infinite reward", "returned a reward that is not finite in step 3"),
        ("no reward", "returned a reward or an end that is no number"),
        ("short answer", "did not return its five values in step 3"),
    ],
)
def test_a_fault_is_one_sentence_that_names_its_place(
    tmp_path: Path, fault: str, words: str
) -> None:
    closed = tmp_path / "closed"
    policy = random_policy(FAULTY, fault=fault, open_file=str(closed))
    closed.unlink()  # the policy's maker has opened and closed one, too
    with pytest.raises(EnvironmentFaultError) as caught:
        list(play_without_window(policy, PlayOptions(episodes=2)))
    message = str(caught.value)
    assert words in message
    assert FAULTY in message
    assert "\n" not in message
    assert closed.read_text() == "closed\n"


def test_the_environment_is_closed_when_nobody_wants_more(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    policy = random_policy(FAULTY, open_file=str(closed))
    closed.unlink()
    games = play_without_window(policy, PlayOptions(episodes=3))
    assert next(games).length == 2 * FAULTY_STEP
    assert not closed.exists()
    games.close()  # type: ignore[attr-defined]
    assert closed.read_text() == "closed\n"


def test_an_environment_that_fails_to_close_has_still_played() -> None:
    policy = random_policy(FAULTY)
    spec = dataclasses.replace(policy.spec, environment_kwargs={"fault": "raises in close"})
    policy = dataclasses.replace(policy, spec=spec)
    assert len(list(play_without_window(policy, PlayOptions(episodes=2)))) == 2


def test_an_episode_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episodes, "LONGEST_EPISODE", 50)
    policy = random_policy(FAULTY, fault="endless")
    with pytest.raises(RunError, match="did not end within 50 steps"):
        list(play_without_window(policy, PlayOptions(episodes=1)))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"environment_id": "CartPoool-v1"}, "CartPoool-v1 is not known to gymnasium"),
        ({"environment_kwargs": {"colour": 1}}, "could not be made: TypeError"),
        ({"environment_id": "Acrobot-v1"}, "the observation space is"),
        ({"action_space": gym.spaces.Discrete(3)}, "the action space is"),
    ],
)
def test_another_environment_is_refused(
    cartpole: Policy, changed: dict[str, object], words: str
) -> None:
    spec = dataclasses.replace(cartpole.spec, **changed)  # type: ignore[arg-type]
    policy = dataclasses.replace(cartpole, spec=spec)
    with pytest.raises(RequestError, match=words):
        list(play_without_window(policy, PlayOptions(episodes=1)))


def test_an_action_that_is_no_number_is_refused() -> None:
    policy = random_policy("Pendulum-v1")
    policy.actor["1.bias"][:] = np.nan
    with pytest.raises(RunError, match="action for step 1 of episode 1"):
        list(play_without_window(policy, PlayOptions(episodes=1)))


@pytest.mark.parametrize(
    ("declared", "fps"), [(50, 50.0), (np.int64(15), 15.0), (None, 30.0), ("60", 30.0), (0, 30.0)]
)
def test_the_natural_speed_is_the_declared_one(
    monkeypatch: pytest.MonkeyPatch, declared: object, fps: float
) -> None:
    monkeypatch.setitem(Faulty.metadata, "render_fps", declared)
    with contextlib.closing(EpisodePlayer(random_policy(FAULTY), PlayOptions())) as player:
        assert player.fps == fps


@pytest.mark.parametrize(
    "values",
    [{"episodes": 0}, {"speed": 0.09}, {"speed": 17}, {"speed": float("nan")}, {"seed": -1}],
)
def test_options_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(RequestError, match=f"option of play {next(iter(values))}="):
        build(PlayOptions, values, what="option of play")
