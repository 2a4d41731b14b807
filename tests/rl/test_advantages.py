"""Advantages against the sum that defines them, and at the two ends of an episode."""

from __future__ import annotations

from unittest.mock import patch

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trpotui.rl import advantages as module
from trpotui.rl.advantages import (
    estimate,
    explained_variance,
    gae,
    monte_carlo,
    n_step,
    standardize,
    td,
    without_noise,
)
from trpotui.rl.collector import Collector
from trpotui.rl.environments import BatchedEnvironment
from trpotui.rl.rollout import Rollout
from trpotui.rl.spaces import ActionDecoder

FORMS = [0, module.FEW]
"""Environments up to which sums go along all steps at once: none, and as it is."""
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


def advantages_of(data, lam, few=module.FEW):
    rest = {key: data[key] for key in ("terminated", "ended", "gamma")}
    with patch.object(module, "FEW", few):
        return gae(data["rewards"], data["values"], data["next_values"], **rest, lam=lam)


class TestGae:
    @pytest.mark.parametrize("few", FORMS)
    @QUICK
    @given(experience(), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
    def test_silent_bug_07_is_the_sum_that_defines_it(self, few, data, lam):
        np.testing.assert_allclose(
            advantages_of(data, lam, few), definition(**data, lam=lam), rtol=1e-10, atol=1e-10
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

    @pytest.mark.parametrize("few", FORMS)
    @QUICK
    @given(experience(), st.sampled_from([0.5, 1.0]), st.data())
    def test_silent_bug_07_later_episode_never_changes_an_earlier_one(self, few, data, lam, drawn):
        steps = len(data["rewards"])
        end = drawn.draw(st.integers(0, steps - 1))
        data["ended"][end] = True
        before = advantages_of(data, lam, few)
        for name, change in (("rewards", 1000.0), ("values", 500.0), ("next_values", 1000.0)):
            data[name][end + 1 :] += change
        data["terminated"][end + 1 :] = ~data["terminated"][end + 1 :]
        data["ended"][end + 1 :] |= data["terminated"][end + 1 :]
        after = advantages_of(data, lam, few)
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


def received(data, t, n, *, most):
    """Rewards of at most `most` rows from t on, to the end of the episode, and the row behind."""
    rewards, row = [], t
    while True:
        rewards.append(data["rewards"][row, n])
        if data["ended"][row, n] or len(rewards) == most or row == len(data["rewards"]) - 1:
            return rewards, row
        row += 1


def with_bootstrap(data, *, most):
    """sum_k gamma^k r_{t+k} + gamma^m V(s'_{t+m-1}) - V(s_t), each term looked up by itself."""
    expected = np.zeros_like(data["rewards"])
    for t, n in np.ndindex(*expected.shape):
        rewards, last = received(data, t, n, most=most)
        total = sum(data["gamma"] ** k * reward for k, reward in enumerate(rewards))
        if not data["terminated"][last, n]:
            total += data["gamma"] ** len(rewards) * data["next_values"][last, n]
        expected[t, n] = total - data["values"][t, n]
    return expected


def parts(data):
    experience = [data[key] for key in ("rewards", "values", "next_values")]
    return experience, {key: data[key] for key in ("terminated", "ended", "gamma")}


class TestEstimators:
    @QUICK
    @given(experience(), st.sampled_from([1, 2, 3, 5, 13, 14, 50]))
    def test_silent_bug_07_n_step_is_the_sum_that_defines_it(self, data, steps):
        arrays_, rest = parts(data)
        np.testing.assert_allclose(
            n_step(*arrays_, **rest, steps=steps),
            with_bootstrap(data, most=steps),
            rtol=1e-10,
            atol=1e-10,
        )

    @QUICK
    @given(experience())
    def test_td_is_the_sum_that_defines_it(self, data):
        arrays_, rest = parts(data)
        expected = with_bootstrap(data, most=1)
        np.testing.assert_allclose(td(*arrays_, **rest), expected, rtol=1e-10, atol=1e-10)

    @pytest.mark.parametrize("few", FORMS)
    @QUICK
    @given(experience())
    def test_monte_carlo_is_the_sum_that_defines_it(self, few, data):
        arrays_, rest = parts(data)
        expected = with_bootstrap(data, most=10**6)
        with patch.object(module, "FEW", few):
            ours = monte_carlo(*arrays_, **rest)
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)
        # within an episode, what a row leads to is what the next one starts from
        inside = ~data["ended"][:-1]
        data["next_values"][:-1][inside] = data["values"][1:][inside]
        np.testing.assert_allclose(
            monte_carlo(*arrays_, **rest), gae(*arrays_, **rest, lam=1.0), rtol=1e-9, atol=1e-9
        )

    @QUICK
    @given(experience(), st.sampled_from([1, 2, 4]), st.data())
    def test_silent_bug_07_n_step_never_looks_into_the_next_episode(self, data, steps, drawn):
        end = drawn.draw(st.integers(0, len(data["rewards"]) - 1))
        data["ended"][end] = True
        arrays_, rest = parts(data)
        before = n_step(*arrays_, **rest, steps=steps)
        for array, change in zip(arrays_, (1000.0, 500.0, 1000.0), strict=True):
            array[end + 1 :] += change
        data["terminated"][end + 1 :] ^= True
        after = n_step(*arrays_, **rest, steps=steps)
        assert np.array_equal(before[: end + 1], after[: end + 1])
        assert len(before) == end + 1 or not np.array_equal(before, after)

    @QUICK
    @given(experience(), st.integers(0, 13))
    def test_change_of_a_reward_reaches_as_far_back_as_the_estimator_looks(self, data, row):
        row %= len(data["rewards"])
        data["ended"][:] = data["terminated"][:] = False
        data["gamma"] = 0.97
        arrays_, rest = parts(data)
        changed = [arrays_[0].copy(), *arrays_[1:]]
        changed[0][row] += 100.0
        reach = {"td": 1, "n_step": 3, "monte_carlo": 10**6, "gae": 10**6}
        for estimator, steps in reach.items():
            before, after = (
                estimate(estimator, *given_, **rest, lam=0.5, steps=3)
                for given_ in (arrays_, changed)
            )
            moved = np.flatnonzero((before != after).any(axis=1))
            assert moved.tolist() == list(range(max(row - steps + 1, 0), row + 1)), estimator

    def test_each_name_calls_its_estimator_with_its_own_setting(self):
        rng = np.random.default_rng(2)
        arrays_ = rng.normal(size=(3, 9, 2))
        none = np.zeros((9, 2), dtype=np.bool_)
        rest = {"terminated": none, "ended": none, "gamma": 0.9}
        expected = {
            "gae": gae(*arrays_, **rest, lam=0.6),
            "td": td(*arrays_, **rest),
            "n_step": n_step(*arrays_, **rest, steps=4),
            "monte_carlo": monte_carlo(*arrays_, **rest),
        }
        for name, advantages in expected.items():
            assert np.array_equal(estimate(name, *arrays_, **rest, lam=0.6, steps=4), advantages)
        distinct = {array.tobytes() for array in expected.values()}
        assert len(distinct) == 4

    @pytest.mark.parametrize("estimator", ["gae", "td", "n_step", "monte_carlo"])
    def test_arguments_are_not_written_to(self, estimator):
        arrays_ = [np.ones((4, 2), dtype=np.float32) for _ in range(3)]
        flags = np.zeros((4, 2), dtype=np.bool_)
        found = estimate(
            estimator, *arrays_, terminated=flags, ended=flags, gamma=0.9, lam=0.9, steps=2
        )
        assert found.dtype == np.float32
        assert all(np.array_equal(array, np.ones((4, 2))) for array in arrays_)
        assert not flags.any()

    @pytest.mark.parametrize("estimator", ["td", "n_step", "monte_carlo"])
    @pytest.mark.parametrize("position", [0, 1, 2])
    def test_silent_bug_09_array_of_another_shape_is_refused(self, estimator, position):
        arrays_ = [np.zeros((5, 1)) for _ in range(3)]
        arrays_[position] = arrays_[position][:, 0]
        flags = np.zeros((5, 1), dtype=np.bool_)
        with pytest.raises(ValueError, match="must be"):
            estimate(
                estimator, *arrays_, terminated=flags, ended=flags, gamma=0.9, lam=0.9, steps=2
            )

    def test_no_step_at_all_is_refused(self):
        arrays_ = [np.zeros((5, 1)) for _ in range(3)]
        flags = np.zeros((5, 1), dtype=np.bool_)
        with pytest.raises(ValueError, match="at least 1"):
            n_step(*arrays_, terminated=flags, ended=flags, gamma=0.9, steps=0)


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

    def act(self, inputs, _):
        return np.zeros(len(inputs), dtype=np.int64)

    def parameters(self, inputs, _):
        return np.zeros((len(inputs), 2), dtype=np.float32)


VALUES = np.array([3.0, -7.0, 11.0, 2.0, 5.0, 100.0], dtype=np.float32)
"""V of the observations 0 to 5; the final one stands out."""


class TestEndsOfEpisodes:
    @pytest.mark.parametrize("mode", list(AutoresetMode))
    @pytest.mark.parametrize("end", ["terminated", "truncated", "both"])
    @pytest.mark.parametrize("estimator", ["gae", "td", "n_step"])
    def test_silent_bug_06_only_truncation_keeps_the_value_of_the_final_observation(
        self, mode, end, estimator
    ):
        environments = BatchedEnvironment(
            SyncVectorEnv([lambda: Clock(end)] * 2, autoreset_mode=mode), name="Clock"
        )
        rollout = Rollout.empty(
            17, 2, size=1, decoder=ActionDecoder(spaces.Discrete(2)), normalized=False
        )
        collector = Collector(environments, environments.reset(seed=0), rollout)
        collector.collect(Anything(), None)
        environments.close()

        values = VALUES[rollout.inputs[:, :, 0].astype(int)]  # [T + 1, N]
        final_values = VALUES[np.array(rollout.final_inputs, dtype=int).reshape(-1)]
        gamma = 0.9
        targets = values[:-1] + estimate(
            estimator,
            rollout.rewards,
            values[:-1],
            rollout.next_values(values, final_values),
            terminated=rollout.terminated,
            ended=rollout.ended,
            gamma=gamma,
            lam=0.0,
            steps=1,
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
        standard = standardize(advantages, noise=0.001)
        assert standard.mean() == pytest.approx(0.0, abs=1e-5)
        assert standard.std() == pytest.approx(1.0, rel=1e-5)
        assert np.corrcoef(standard, advantages)[0, 1] == pytest.approx(1.0)

    def test_small_spread_is_a_signal_where_noise_is_smaller(self):
        advantages = np.array([1e-6, -1e-6, 2e-6, -2e-6])
        assert standardize(advantages, noise=1e-7).std() == pytest.approx(1.0)

    def test_silent_bug_11_one_sample_is_left_as_it_is(self):
        assert standardize(np.array([7.0]), noise=10.0).tolist() == [7.0]
        assert standardize(np.array([]), noise=0.0).tolist() == []

    @pytest.mark.parametrize("value", [0.0, 0.1, -3.7])
    def test_silent_bug_11_values_without_spread_become_zero(self, value):
        standard = standardize(np.full(6, value, dtype=np.float32), noise=0.0)
        assert standard.tolist() == [0.0] * 6

    @pytest.mark.parametrize("mean", [0.0, 1000.0])
    def test_silent_bug_11_spread_of_noise_becomes_zero_wherever_its_mean_is(self, mean):
        advantages = mean + np.random.default_rng(0).normal(0.0, 0.01, size=100)
        assert standardize(advantages, noise=0.005).std() == pytest.approx(1.0)
        assert not standardize(advantages, noise=0.02).any()

    def test_argument_is_not_written_to(self):
        advantages = np.array([1.0, 2.0, 3.0])
        standardize(advantages, noise=0.1)
        standardize(advantages, noise=10.0)
        assert advantages.tolist() == [1.0, 2.0, 3.0]


class TestWithoutNoise:
    def test_silent_bug_11_small_advantages_become_zero_and_others_stay(self):
        advantages = np.random.default_rng(0).normal(0.0, 0.01, size=100)
        assert without_noise(advantages, noise=0.005) is advantages
        assert without_noise(advantages, noise=0.02).tolist() == [0.0] * 100
        assert advantages.any()

    def test_advantages_that_are_all_alike_are_no_noise(self):
        # one episode whose only reward came at its end, without a discount or a critic
        assert without_noise(np.full(7, 3.0), noise=0.1).tolist() == [3.0] * 7

    def test_one_sample_is_left_as_it_is(self):
        assert without_noise(np.array([1e-9]), noise=1.0).tolist() == [1e-9]
        assert without_noise(np.array([]), noise=0.0).tolist() == []
