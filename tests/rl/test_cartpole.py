"""CartPole stepped in place: gymnasium's own numbers, bit for bit."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from numpy.testing import assert_array_equal

from trpotui.rl.cartpole import InPlaceCartPole
from trpotui.rl.environments import make_environments
from trpotui.rl.recorded_environment import RecordedEnvironment


@pytest.mark.parametrize("n_envs", [1, 2, 7, 8, 33, 256])
@pytest.mark.parametrize("sutton_barto_reward", [False, True])
@pytest.mark.parametrize("most_steps", [12, 12.5, 10**10, math.inf])
def test_steps_are_gymnasiums_to_the_last_bit(n_envs, sutton_barto_reward, most_steps):
    ours, theirs = (
        form(n_envs, max_episode_steps=most_steps, sutton_barto_reward=sutton_barto_reward)
        for form in (InPlaceCartPole, CartPoleVectorEnv)
    )
    assert_array_equal(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])
    rng = np.random.default_rng(n_envs)
    ended = {"terminated": 0, "truncated": 0}
    for _ in range(600):
        actions = rng.integers(2, size=n_envs)
        *step, info = ours.step(actions)
        *expected, _ = theirs.step(actions)
        for array, known in zip(step, expected, strict=True):
            assert array.dtype == known.dtype
            assert array.tobytes() == known.tobytes()
        assert ours.state.tobytes() == theirs.state.tobytes()
        assert_array_equal(ours.steps, theirs.steps)
        assert info == {}
        ended["terminated"] += step[2].sum()
        ended["truncated"] += step[3].sum()
    assert ended["terminated"] > 0
    assert (ended["truncated"] > 0) == (most_steps < 13)


def test_what_a_step_returned_is_not_written_again():
    environments = InPlaceCartPole(4)
    environments.reset(seed=0)
    actions = np.ones(4, dtype=np.int64)
    *step, _ = environments.step(actions)
    before = [array.copy() for array in step]
    for _ in range(20):
        environments.step(actions)
    for array, then in zip(step, before, strict=True):
        assert_array_equal(array, then)


def test_other_bounds_of_a_reset():
    ours, theirs = InPlaceCartPole(5), CartPoleVectorEnv(5)
    for environments in (ours, theirs):
        environments.reset(seed=1, options={"low": -0.2, "high": 0.2})
    actions = np.zeros(5, dtype=np.int64)
    for _ in range(60):  # far enough for all of them to begin anew
        assert_array_equal(ours.step(actions)[0], theirs.step(actions)[0])


@pytest.mark.parametrize("action", [-3, 2])
def test_an_action_that_there_is_not(action):
    environments = InPlaceCartPole(3)
    environments.reset(seed=0)
    with pytest.raises(IndexError):
        environments.step(np.array([0, action, 1]))


@pytest.mark.parametrize("environment_id", ["CartPole-v0", "CartPole-v1"])
def test_it_is_what_a_run_steps(environment_id):
    made = make_environments(environment_id, {}, n_envs=8)
    form = made._environments
    assert isinstance(form, InPlaceCartPole)
    assert form.max_episode_steps == {"CartPole-v0": 200, "CartPole-v1": 500}[environment_id]
    made.close()


def test_a_gymnasium_that_is_not_known_is_stepped_by_itself(monkeypatch):
    monkeypatch.setattr(gymnasium, "__version__", "1.9.0")
    made = make_environments("CartPole-v1", {}, n_envs=8)
    assert type(made._environments) is CartPoleVectorEnv
    made.close()


def test_its_episodes_are_gone_on_with():
    """What is remembered of a form is put into another one, which then does the same."""
    recorded = RecordedEnvironment.of(make_environments("CartPole-v1", {}, n_envs=8))
    recorded.reset(seed=5)
    rng = np.random.default_rng(0)
    for _ in range(700):
        recorded.step(rng.integers(2, size=8))
    position = recorded.position().plain()
    again = RecordedEnvironment.of(make_environments("CartPole-v1", {}, n_envs=8))
    again.reset(seed=9)
    again.rebuild(position, lambda: None)
    for _ in range(50):
        actions = rng.integers(2, size=8)
        for one, other in zip(recorded.step(actions), again.step(actions), strict=True):
            assert_array_equal(one, other)
