"""A policy that acts in numpy: as bytes, as a copy, greedy and sampled."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from network_samples import (
    act,
    make_actor,
    make_critic,
    parameters_of,
    policy_of,
    raw_actions,
    values_of,
)

from trpotui.rl.architecture import LOG_STD_MAX, LOG_STD_MIN, PolicySpec
from trpotui.rl.networks import Actor, Critic
from trpotui.rl.normalization import ObservationMoments
from trpotui.rl.policy import Policy
from trpotui.rl.sampling import sample_categorical

KINDS = ["categorical", "gaussian"]


def make_spec(kind: str, activation: str = "tanh") -> PolicySpec:
    return PolicySpec(
        environment_id="Any-v0",
        environment_kwargs={"gravity": 9.8, "name": "a b"},
        observation_space=spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
        action_space=(
            spaces.Discrete(3, start=-1)
            if kind == "categorical"
            else spaces.Box(np.array([-2, 0], np.float32), np.array([2, 1], np.float32))
        ),
        hidden_sizes=(6, 5),
        activation=activation,
    )


def make_policy(
    kind: str, *, activation: str = "tanh", normalized: bool = False, seed: int = 0
) -> tuple[Policy, Actor, Critic]:
    spec = make_spec(kind, activation)
    actor, critic = make_actor(spec, log_std=-0.5, seed=seed), make_critic(spec, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for network in (actor, critic):
        network.parameters.add_(0.4 * torch.randn(len(network.parameters), generator=generator))
    moments = ObservationMoments.initial(4, clip=3.5)
    policy = policy_of(
        actor, critic, moments.merged(np.float32(5.0) + rows(20, seed=9)) if normalized else None
    )
    return policy, actor, critic


def rows(count: int, *, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


def observations(count: int) -> np.ndarray:
    return rows(count, seed=2).reshape(count, 2, 2).astype(np.float64)


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


class TestLikeTorch:
    @pytest.mark.parametrize("activation", ["tanh", "relu"])
    def test_silent_bug_12_numpy_and_torch_give_the_same_distribution(self, kind, activation):
        policy, actor, _ = make_policy(kind, activation=activation)
        inputs = rows(200)
        ours = parameters_of(policy, inputs)
        expected = actor(torch.from_numpy(inputs)).numpy()
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("log_std", [-50.0, LOG_STD_MIN, -3.0, LOG_STD_MAX, 7.0])
    def test_silent_bug_12_log_sigma_is_clamped_alike(self, log_std):
        policy, actor, _ = make_policy("gaussian")
        actor.log_std.fill_(log_std)
        inputs = rows(5)
        ours = parameters_of(policy, inputs)[:, 2:]
        assert np.array_equal(ours, actor(torch.from_numpy(inputs))[:, 2:].numpy())
        assert ours.min() >= LOG_STD_MIN
        assert ours.max() <= LOG_STD_MAX

    @pytest.mark.parametrize("log_std", [-1.0, 7.0])
    def test_sampled_actions_have_the_clamped_sigma(self, log_std):
        policy, actor, _ = make_policy("gaussian")
        actor.log_std.fill_(log_std)
        inputs = np.repeat(rows(1), 20_000, axis=0)
        sampled = raw_actions(policy, inputs, np.random.default_rng(0))
        noise = sampled - raw_actions(policy, inputs)
        sigma = math.exp(min(log_std, LOG_STD_MAX))
        np.testing.assert_allclose(noise.std(axis=0), sigma, rtol=0.03)
        np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=0.05 * sigma)

    def test_values_are_those_of_the_critic(self, kind):
        policy, _, critic = make_policy(kind)
        flat = observations(9).reshape(9, 4).astype(np.float32)
        expected = critic(torch.from_numpy(flat))[:, 0].numpy()
        np.testing.assert_allclose(values_of(policy, observations(9)), expected, atol=1e-6)

    def test_live_policy_follows_the_networks(self, kind):
        policy, actor, _ = make_policy(kind)
        before = parameters_of(policy, rows(4))
        actor.parameters.add_(0.1)
        after = parameters_of(policy, rows(4))
        assert not np.array_equal(before, after)
        np.testing.assert_allclose(after, actor(torch.from_numpy(rows(4))).numpy(), atol=1e-6)


class TestActing:
    def test_greedy_action_is_the_likeliest(self, kind):
        policy, _, _ = make_policy(kind)
        actions = act(policy, observations(50))
        parameters = parameters_of(policy, policy.network_inputs(observations(50)))
        if kind == "categorical":
            assert actions.tolist() == (parameters.argmax(axis=1) - 1).tolist()
            assert len(set(actions.tolist())) > 1
        else:
            middle, half = np.array([0, 0.5]), np.array([2, 0.5])
            expected = np.clip(middle + half * parameters[:, :2], [-2, 0], [2, 1])
            np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-6)
        assert np.array_equal(actions, act(policy, observations(50)))

    def test_sampled_actions_depend_on_the_generator_alone(self, kind):
        policy, _, _ = make_policy(kind)

        def sampled(seed):
            return act(policy, observations(50), np.random.default_rng(seed))

        assert np.array_equal(sampled(0), sampled(0))
        assert not np.array_equal(sampled(0), sampled(1))
        assert not np.array_equal(sampled(0), act(policy, observations(50)))

    def test_actions_are_inside_the_space(self, kind):
        policy, _, _ = make_policy(kind)
        for rng in (None, np.random.default_rng(0)):
            for action in act(policy, 100 * observations(50), rng):
                assert policy.spec.action_space.contains(action)

    def test_observations_are_normalised_by_the_policys_own_moments(self, kind):
        policy, _, _ = make_policy(kind, normalized=True)
        flat = observations(7).reshape(7, 4).astype(np.float32)
        expected = policy.moments.normalize(flat)
        assert np.array_equal(policy.network_inputs(observations(7)), expected)
        plain, _, _ = make_policy(kind)
        assert np.array_equal(plain.network_inputs(observations(7)), flat)

    def test_acting_leaves_moments_and_observations_alone(self, kind):
        policy, _, _ = make_policy(kind, normalized=True)
        before, given = policy.moments.mean.copy(), observations(7)
        act(policy, given, np.random.default_rng(0))
        assert np.array_equal(policy.moments.mean, before)
        assert np.array_equal(given, observations(7))


class TestSampleCategorical:
    def test_frequencies_are_the_probabilities(self):
        logits = np.array([[0.0, 1.0, -2.0, 0.5]], dtype=np.float32)
        probabilities = np.exp(logits[0]) / np.exp(logits[0]).sum()
        count = 100_000
        drawn = sample_categorical(np.repeat(logits, count, axis=0), np.random.default_rng(0))
        frequencies = np.bincount(drawn, minlength=4) / count
        error = np.sqrt(probabilities * (1 - probabilities) / count)
        assert (np.abs(frequencies - probabilities) < 5 * error).all()

    def test_each_row_has_its_own_distribution(self):
        logits = np.full((300, 3), -100.0, dtype=np.float32)
        wanted = np.arange(300) % 3
        logits[np.arange(300), wanted] = 0.0
        assert np.array_equal(sample_categorical(logits, np.random.default_rng(0)), wanted)

    # a generator stays below 1; its product with the sum of the weights may be rounded up to it
    @pytest.mark.parametrize("threshold", [0.0, np.nextafter(1.0, 0.0), 1.0])
    @pytest.mark.parametrize("count", [1, 2, 3, 1000])
    def test_extreme_draws_stay_in_range(self, threshold, count):
        class Extreme:
            def random(self, size):
                return np.full(size, threshold)

        logits = np.random.default_rng(0).normal(size=(50, count)).astype(np.float32)
        drawn = sample_categorical(logits, Extreme())
        assert (drawn >= 0).all()
        assert (drawn < count).all()
        assert (drawn == (0 if threshold == 0.0 else count - 1)).all()

    @pytest.mark.parametrize("threshold", [0.0, 0.5, np.nextafter(1.0, 0.0)])
    def test_action_without_probability_is_never_drawn(self, threshold):
        class Extreme:
            def random(self, size):
                return np.full(size, threshold)

        logits = np.array([[-1e4, 0.0, -1e4], [0.0, -1e4, -1e4], [-1e4, -1e4, 0.0]], np.float32)
        assert sample_categorical(logits, Extreme()).tolist() == [1, 0, 2]

    def test_huge_logits_do_not_overflow(self):
        logits = np.array([[3e38, 0.0], [-3e38, 0.0]], dtype=np.float32)
        assert sample_categorical(logits, np.random.default_rng(0)).tolist() == [0, 1]


class TestCopy:
    def test_copy_is_independent_and_equal(self, kind):
        policy, actor, critic = make_policy(kind, normalized=True)
        copied = policy.copy()
        before, values = parameters_of(policy, rows(5)), values_of(policy, observations(5))
        assert np.array_equal(parameters_of(copied, rows(5)), before)
        actor.parameters.mul_(2.0)
        critic.parameters.mul_(2.0)
        assert np.array_equal(parameters_of(copied, rows(5)), before)
        assert np.array_equal(values_of(copied, observations(5)), values)
        assert not np.array_equal(parameters_of(policy, rows(5)), before)


class TestBytes:
    @pytest.mark.parametrize("normalized", [False, True])
    def test_silent_bug_10_policy_from_bytes_is_the_same_bit_for_bit(self, kind, normalized):
        policy, _, _ = make_policy(kind, activation="relu", normalized=normalized)
        read = Policy.from_bytes(policy.to_bytes())
        assert read.spec == policy.spec
        for ours, theirs in ((policy.actor, read.actor), (policy.critic, read.critic)):
            assert ours.keys() == theirs.keys()
            assert all(theirs[name].tobytes() == ours[name].tobytes() for name in ours)
        assert (read.moments is None) == (not normalized)
        if normalized:
            assert read.moments.mean.tobytes() == policy.moments.mean.tobytes()
            assert read.moments.variance.tobytes() == policy.moments.variance.tobytes()
            assert (read.moments.count, read.moments.clip) == (20.0, 3.5)
        given = observations(30)
        parameters = parameters_of(policy, policy.network_inputs(given))
        again = parameters_of(read, read.network_inputs(given))
        assert again.tobytes() == parameters.tobytes()
        first, second = (act(one, given, np.random.default_rng(0)) for one in (policy, read))
        assert first.tobytes() == second.tobytes()
        assert values_of(read, given).tobytes() == values_of(policy, given).tobytes()

    def test_bytes_of_bytes_are_the_same_policy(self, kind):
        policy, _, _ = make_policy(kind, normalized=True)
        once = Policy.from_bytes(policy.to_bytes())
        twice = Policy.from_bytes(once.to_bytes())
        assert np.array_equal(parameters_of(once, rows(3)), parameters_of(twice, rows(3)))
