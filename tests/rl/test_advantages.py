"""Advantages against the sum that defines them, and at the two ends of an episode."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trpotui.rl.advantages import discounted_returns, explained_variance, gae, standardize
from trpotui.rl.environments import BatchedEnvironment
from trpotui.rl.rollout import Collector, Rollout
from trpotui.rl.spaces import ActionDecoder

QUICK = settings(max_examples=60, deadline=None, database=None)


def definition(rewards, values, next_values, *, terminated, ended, gamma, lam):
    """A_t = sum over l of (gamma lam)^l delta_{t+l}, up to the end of the episode, term by term."""
    steps, envs = rewards.shape
    advantages = np.zeros((steps, envs))
    for n in range(envs):
        for t in range(steps):
            for later in range(t, steps):
                bootstrap = 0.0 if terminated[later, n] else gamma * next_values[later, n]
                delta = rewards[later, n] + bootstrap - values[later, n]
                advantages[t, n] += (gamma * lam) ** (later - t) * delta
                if ended[later, n]:
                    break
    return advantages


@st.composite
def experience(draw):
    """Random arrays with random ends, and gamma and lambda."""
    shape = (draw(st.integers(1, 14)), draw(st.integers(1, 3)))
    floats = arrays(np.float64, shape, elements=st.floats(-10, 10, width=32))
    terminated = draw(arrays(np.bool_, shape))
    truncated = draw(arrays(np.bool_, shape)) & ~terminated
    return {
        "rewards": draw(floats),
        "values": draw(floats),
        "next_values": draw(floats),
        "terminated": terminated,
        "ended": terminated | truncated,
        "gamma": draw(st.sampled_from([0.0, 0.5, 0.97, 1.0])),
    }


def advantages_of(data, lam):
    rest = {key: data[key] for key in ("terminated", "ended", "gamma")}
    return gae(data["rewards"], data["values"], data["next_values"], **rest, lam=lam)


class TestGae:
    @QUICK
    @given(experience(), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
    def test_silent_bug_07_is_the_sum_that_defines_it(self, data, lam):
        np.testing.assert_allclose(
            advantages_of(data, lam), definition(**data, lam=lam), rtol=1e-10, atol=1e-10
        )

    @QUICK
    @given(experience())
    def test_lambda_zero_is_the_one_step_advantage(self, data):
        bootstrap = np.where(data["terminated"], 0.0, data["gamma"] * data["next_values"])
        expected = data["rewards"] + bootstrap - data["values"]
        np.testing.assert_allclose(advantages_of(data, 0.0), expected, atol=1e-12)

    def test_lambda_one_is_the_discounted_return_minus_the_value(self):
        rng = np.random.default_rng(0)
        rewards, values = rng.normal(size=(6, 1)), rng.normal(size=(7, 1))
        none = np.zeros((6, 1), dtype=np.bool_)
        advantages = gae(
            rewards, values[:-1], values[1:], terminated=none, ended=none, gamma=0.9, lam=1.0
        )
        for t in range(6):
            total = sum(0.9**k * rewards[t + k, 0] for k in range(6 - t))
            total += 0.9 ** (6 - t) * values[6, 0]
            assert advantages[t, 0] == pytest.approx(total - values[t, 0])

    @QUICK
    @given(experience(), st.sampled_from([0.5, 1.0]), st.data())
    def test_silent_bug_07_later_episode_never_changes_an_earlier_one(self, data, lam, drawn):
        steps = len(data["rewards"])
        end = drawn.draw(st.integers(0, steps - 1))
        data["ended"][end] = True
        before = advantages_of(data, lam)
        for name, change in (("rewards", 1000.0), ("values", 500.0), ("next_values", 1000.0)):
            data[name][end + 1 :] += change
        data["terminated"][end + 1 :] = ~data["terminated"][end + 1 :]
        data["ended"][end + 1 :] |= data["terminated"][end + 1 :]
        after = advantages_of(data, lam)
        assert np.array_equal(before[: end + 1], after[: end + 1])
        assert steps == end + 1 or not np.array_equal(before, after)

    def test_environments_are_independent(self):
        rng = np.random.default_rng(1)
        columns = [rng.normal(size=(9, 1)) for _ in range(9)]
        ended = [rng.random((9, 1)) < 0.3 for _ in range(3)]
        settings_ = {"gamma": 0.9, "lam": 0.8}

        def of(n):
            return gae(
                *(np.hstack(columns[i * 3 : i * 3 + 3])[:, n] for i in range(3)),
                terminated=np.hstack(ended)[:, n],
                ended=np.hstack(ended)[:, n],
                **settings_,
            )

        together = of(slice(None))
        for n in range(3):
            np.testing.assert_allclose(together[:, n : n + 1], of(slice(n, n + 1)))

    def test_arguments_are_not_written_to(self):
        arrays_ = [np.ones((4, 2)) for _ in range(3)]
        none = np.zeros((4, 2), dtype=np.bool_)
        gae(*arrays_, terminated=none, ended=none, gamma=0.9, lam=0.9)
        assert all(np.array_equal(array, np.ones((4, 2))) for array in arrays_)

    @pytest.mark.parametrize("name", ["rewards", "values", "next_values", "terminated", "ended"])
    def test_silent_bug_09_array_of_another_shape_is_refused(self, name):
        data = {key: np.zeros((5, 1)) for key in ("rewards", "values", "next_values")} | {
            key: np.zeros((5, 1), dtype=np.bool_) for key in ("terminated", "ended")
        }
        data[name] = data[name][:, 0]
        with pytest.raises(ValueError, match="must be"):
            gae(**data, gamma=0.9, lam=0.9)


class TestDiscountedReturns:
    @QUICK
    @given(experience())
    def test_are_the_sums_that_define_them(self, data):
        rewards, following = data["rewards"], data["next_values"]
        gamma, steps = data["gamma"], len(rewards)
        expected = np.zeros_like(rewards)
        for n in range(rewards.shape[1]):
            for t in range(steps):
                for later in range(t, steps):
                    expected[t, n] += gamma ** (later - t) * rewards[later, n]
                    if data["ended"][later, n] or later == steps - 1:
                        if not data["terminated"][later, n]:
                            expected[t, n] += gamma ** (later - t + 1) * following[later, n]
                        break
        ours = discounted_returns(
            rewards,
            following,
            terminated=data["terminated"],
            ended=data["ended"],
            gamma=gamma,
        )
        np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-10)


class Clock(gymnasium.Env):
    """Reward 1, observation t, and an end after five steps, of the kind asked for."""

    observation_space = spaces.Box(0, 10, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, end: str) -> None:
        self._flags = {"terminated": (True, False), "truncated": (False, True)}.get(
            end, (True, True)
        )

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._t = 0
        return np.array([0], np.float32), {}

    def step(self, _):
        self._t += 1
        flags = self._flags if self._t == 5 else (False, False)
        return np.array([self._t], np.float32), 1.0, *flags, {}


class Anything:
    """A policy that always takes the first action."""

    def raw_actions(self, inputs, _):
        return np.zeros(len(inputs), dtype=np.int64)

    def action_parameters(self, inputs):
        return np.zeros((len(inputs), 2), dtype=np.float32)


VALUES = np.array([3.0, -7.0, 11.0, 2.0, 5.0, 100.0], dtype=np.float32)
"""V of the observations 0 to 5; the final one stands out."""


class TestEndsOfEpisodes:
    @pytest.mark.parametrize("mode", list(AutoresetMode))
    @pytest.mark.parametrize("end", ["terminated", "truncated", "both"])
    def test_silent_bug_06_only_truncation_keeps_the_value_of_the_final_observation(
        self, mode, end
    ):
        environments = BatchedEnvironment(
            SyncVectorEnv([lambda: Clock(end)] * 2, autoreset_mode=mode), name="Clock"
        )
        rollout = Rollout.empty(
            17, 2, size=1, decoder=ActionDecoder(spaces.Discrete(2)), normalized=False
        )
        collector = Collector(environments, environments.reset(seed=0), rollout)
        collector.collect(Anything(), None, rng=np.random.default_rng(0))
        environments.close()

        values = VALUES[rollout.inputs[:, :, 0].astype(int)]  # [T + 1, N]
        final_values = VALUES[np.array(rollout.final_inputs, dtype=int).reshape(-1)]
        gamma = 0.9
        targets = values[:-1] + gae(
            rollout.rewards,
            values[:-1],
            rollout.next_values(values, final_values),
            terminated=rollout.terminated,
            ended=rollout.ended,
            gamma=gamma,
            lam=0.0,
        )
        clock = rollout.rows[:-1, :, 0].astype(int)
        last = 1 + gamma * VALUES[5] if end == "truncated" else 1.0
        expected = np.where(clock < 4, 1 + gamma * VALUES[np.minimum(clock + 1, 5)], last)
        assert rollout.valid.sum() >= 2 * 14
        np.testing.assert_allclose(targets[rollout.valid], expected[rollout.valid], rtol=1e-6)
        assert (clock[rollout.valid] == 4).sum() >= 4, "no end was seen"
        assert not (rollout.terminated & rollout.truncated).any()
        assert rollout.terminated.any() == (end != "truncated")


class TestExplainedVariance:
    def test_perfect_constant_and_worse_critics(self):
        targets = np.array([1.0, 2.0, 4.0, 8.0])
        assert explained_variance(targets, targets) == 1.0
        assert explained_variance(targets + 3.0, targets) == pytest.approx(1.0)
        assert explained_variance(np.full(4, 7.0), targets) == pytest.approx(0.0)
        assert explained_variance(-targets, targets) == pytest.approx(-3.0)

    def test_is_the_textbook_formula(self):
        rng = np.random.default_rng(0)
        values, targets = rng.normal(size=(2, 50)).astype(np.float32)
        expected = 1 - np.var(targets - values) / np.var(targets)
        assert explained_variance(values, targets) == pytest.approx(float(expected), rel=1e-4)

    @pytest.mark.parametrize("count", [1, 5])
    def test_constant_targets_leave_nothing_to_explain(self, count):
        targets = np.full(count, 2.0)
        assert explained_variance(np.arange(float(count)), targets) == 0.0


class TestStandardize:
    def test_centres_and_scales(self):
        advantages = np.random.default_rng(0).normal(3.0, 20.0, size=500).astype(np.float32)
        standard = standardize(advantages, scale=50.0)
        assert standard.mean() == pytest.approx(0.0, abs=1e-5)
        assert standard.std() == pytest.approx(1.0, rel=1e-5)
        assert np.corrcoef(standard, advantages)[0, 1] == pytest.approx(1.0)

    def test_small_spread_of_small_values_is_a_signal(self):
        advantages = np.array([1e-6, -1e-6, 2e-6, -2e-6])
        standard = standardize(advantages, scale=1e-5)
        assert standard.std() == pytest.approx(1.0)

    def test_silent_bug_11_one_sample_is_left_as_it_is(self):
        assert standardize(np.array([7.0]), scale=1.0).tolist() == [7.0]
        assert standardize(np.array([]), scale=0.0).tolist() == []

    @pytest.mark.parametrize("value", [0.0, 0.1, -3.7])
    def test_silent_bug_11_values_without_spread_become_zero(self, value):
        standard = standardize(np.full(6, value, dtype=np.float32), scale=abs(value))
        assert standard.tolist() == [0.0] * 6

    def test_silent_bug_11_noise_beside_a_large_scale_becomes_zero(self):
        noise = np.random.default_rng(0).normal(size=100).astype(np.float32)
        rounding = (np.float32(1000.0) + 1e-4 * noise) - np.float32(1000.0)
        assert rounding.std() > 0
        assert not standardize(rounding, scale=1000.0).any()

    def test_argument_is_not_written_to(self):
        advantages = np.array([1.0, 2.0, 3.0])
        standardize(advantages, scale=3.0)
        assert advantages.tolist() == [1.0, 2.0, 3.0]
