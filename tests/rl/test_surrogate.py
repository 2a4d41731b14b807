"""The surrogate and its trust region against autograd and formulas of their own."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import ClassVar

import gymnasium
import network_samples
import numpy as np
import pytest
import torch
from gymnasium import spaces
from network_samples import make_spec, parameters_of
from torch.autograd.functional import hessian, jacobian

from trpotui.rl.algorithm import Batch
from trpotui.rl.environments import make_environments
from trpotui.rl.learner import Learner
from trpotui.rl.networks import Actor
from trpotui.rl.surrogate import Surrogate

INPUTS, HIDDEN, ACTIONS = 2, 3, 2
KINDS = ["categorical", "gaussian"]


def nothing() -> None:
    """An interrupt that never comes."""


def make_actor(kind: str, *, seed: int = 0) -> Actor:
    spec = make_spec(inputs=INPUTS, hidden=(HIDDEN,), actions=ACTIONS, gaussian=kind == "gaussian")
    actor = network_samples.make_actor(spec, seed=seed, log_std=-0.3)
    generator = torch.Generator().manual_seed(seed)
    actor.parameters.add_(0.5 * torch.randn(len(actor.parameters), generator=generator))
    return actor


def make_batch(actor: Actor, count: int, *, seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, INPUTS, generator=generator)
    return Batch(
        inputs=inputs,
        actions=actor.distribution.sample(actor(inputs), generator),
        advantages=torch.randn(count, generator=generator),
        targets=torch.randn(count, generator=generator),
        values=torch.zeros(count),
    )


def outputs(flat: torch.Tensor, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Logits, or means and log sigmas, written out from the flat vector."""
    weight, bias, head, offset, log_std = flat.split(
        [HIDDEN * INPUTS, HIDDEN, ACTIONS * HIDDEN, ACTIONS, len(flat) - 17]
    )
    hidden = torch.tanh(inputs @ weight.view(HIDDEN, INPUTS).T + bias)
    return hidden @ head.view(ACTIONS, HIDDEN).T + offset, log_std if len(log_std) else None


def reference_log_prob(flat, inputs, actions) -> torch.Tensor:
    values, log_std = outputs(flat, inputs)
    if log_std is None:
        return torch.distributions.Categorical(logits=values).log_prob(actions)
    return torch.distributions.Normal(values, log_std.exp()).log_prob(actions).sum(dim=1)


def reference_mean_kl(old_flat, new_flat, inputs) -> torch.Tensor:
    """Mean D_KL(old || new) by the textbook formulas."""
    (old, old_log_std), (new, new_log_std) = outputs(old_flat, inputs), outputs(new_flat, inputs)
    if old_log_std is None:
        p, q = torch.softmax(old, dim=1), torch.softmax(new, dim=1)
        return (p * (p / q).log()).sum(dim=1).mean()
    s, r = old_log_std.exp(), new_log_std.exp()
    terms = (r / s).log() + (s**2 + (old - new) ** 2) / (2 * r**2) - 0.5
    return terms.sum(dim=1).mean()


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.mark.usefixtures("float64")
class TestAgainstAutograd:
    def test_gradient_is_that_of_the_mean_weighted_ratio(self, kind):
        actor = make_actor(kind)
        batch = make_batch(actor, 40)
        old = actor.parameters.clone()
        flat = old.clone().requires_grad_()
        old_log_prob = reference_log_prob(old, batch.inputs, batch.actions)
        ratio = (reference_log_prob(flat, batch.inputs, batch.actions) - old_log_prob).exp()
        (expected,) = torch.autograd.grad((ratio * batch.advantages).mean(), flat)
        torch.testing.assert_close(Surrogate(actor, batch, nothing).gradient(), expected)

    @pytest.mark.parametrize("count", [1, 20])
    def test_silent_bug_02_columns_of_f_are_those_of_the_hessian_of_the_mean_kl(self, kind, count):
        actor = make_actor(kind)
        batch = make_batch(actor, count)
        old = actor.parameters.clone()
        surrogate = Surrogate(actor, batch, nothing)
        ours = torch.stack([surrogate.fisher_product(row) for row in torch.eye(len(old))])
        expected = hessian(lambda new: reference_mean_kl(old, new, batch.inputs), old)
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-10)
        assert float(ours.abs().max()) > 1e-3, "F must not vanish"
        torch.testing.assert_close(ours, ours.T)
        assert float(torch.linalg.eigvalsh(ours).min()) > -1e-10

    def test_silent_bug_02_f_is_the_mean_outer_product_of_log_probability_gradients(self, kind):
        actor = make_actor(kind)
        batch = make_batch(actor, 6)
        flat = actor.parameters.clone()
        actions, weights = every_action(flat, batch.inputs)
        expected = torch.zeros(len(flat), len(flat))
        for chosen, weight in zip(actions, weights, strict=True):  # chosen [B, ...], weight [B]
            rows = jacobian(
                lambda p, chosen=chosen: reference_log_prob(p, batch.inputs, chosen), flat
            )
            expected += rows.T @ (weight[:, None] * rows) / len(rows)
        surrogate = Surrogate(actor, batch, nothing)
        ours = torch.stack([surrogate.fisher_product(row) for row in torch.eye(len(flat))])
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-10)

    def test_f_does_not_depend_on_the_sampled_actions(self, kind):
        actor = make_actor(kind)
        batch = make_batch(actor, 10)
        other = dataclasses.replace(batch, actions=batch.actions.flip(0))
        vector = torch.randn(len(actor.parameters), generator=torch.Generator().manual_seed(3))
        first = Surrogate(actor, batch, nothing).fisher_product(vector)
        assert torch.equal(first, Surrogate(actor, other, nothing).fisher_product(vector))

    def test_fisher_product_leaves_its_argument_alone(self, kind):
        actor = make_actor(kind)
        vector = torch.ones(len(actor.parameters))
        Surrogate(actor, make_batch(actor, 10), nothing).fisher_product(vector)
        assert torch.equal(vector, torch.ones(len(actor.parameters)))

    def test_kl_and_gain_elsewhere_are_those_of_the_formulas(self, kind):
        actor = make_actor(kind)
        batch = make_batch(actor, 40)
        surrogate = Surrogate(actor, batch, nothing)
        old = actor.parameters.clone()
        generator = torch.Generator().manual_seed(2)
        for size in (1e-4, 0.01, 0.3):
            new = old + size * torch.randn(len(old), generator=generator)
            actor.parameters.copy_(new)
            kl, gain = surrogate.kl_and_gain()
            log_ratio = reference_log_prob(new, batch.inputs, batch.actions) - reference_log_prob(
                old, batch.inputs, batch.actions
            )
            expected = ((log_ratio.exp() - 1) * batch.advantages).mean()
            assert kl == pytest.approx(float(reference_mean_kl(old, new, batch.inputs)), rel=1e-6)
            assert gain == pytest.approx(float(expected), rel=1e-8)

    def test_gradient_and_f_stay_those_of_the_old_policy(self, kind):
        actor = make_actor(kind)
        batch = make_batch(actor, 10)
        surrogate = Surrogate(actor, batch, nothing)
        before = surrogate.gradient().clone()
        actor.parameters.add_(0.1)
        surrogate.kl_and_gain()
        entropy = surrogate.entropy()
        actor.parameters.sub_(0.05)
        assert surrogate.entropy() == entropy
        actor.parameters.sub_(0.05)
        torch.testing.assert_close(surrogate.gradient(), before)


def every_action(flat, inputs):
    """Actions [M, B, ...] and weights [M, B] whose weighted sum is the mean under the policy.

    All indices of a categorical policy; of a Gaussian one the nodes of Gauss-Hermite quadrature,
    which is exact for the quartic polynomial that an outer product of scores is.
    """
    values, log_std = outputs(flat, inputs)
    if log_std is None:
        indices = torch.arange(ACTIONS)[:, None].expand(-1, len(inputs))
        return indices, torch.softmax(values, dim=1).T
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(5)
    node_weights = node_weights / node_weights.sum()
    pairs = list(itertools.product(range(5), repeat=ACTIONS))
    noise = torch.tensor([[nodes[i] for i in pair] for pair in pairs])
    weights = torch.tensor([math.prod(node_weights[i] for i in pair) for pair in pairs])
    actions = values[None] + log_std.exp() * noise[:, None, :]
    return actions, weights[:, None].expand(-1, len(inputs))


class TestAtTheOldPolicy:
    @pytest.mark.parametrize("count", [1, 2, 7, 500])
    def test_silent_bug_12_kl_to_itself_is_exactly_zero(self, kind, count):
        actor = make_actor(kind)
        surrogate = Surrogate(actor, make_batch(actor, count), nothing)
        assert surrogate.kl_and_gain() == (0.0, 0.0)

    def test_entropy_is_the_mean_entropy_of_the_old_policy(self, kind):
        actor = make_actor(kind)
        batch = make_batch(actor, 20)
        values, log_std = outputs(actor.parameters, batch.inputs)
        reference = (
            torch.distributions.Categorical(logits=values).entropy()
            if log_std is None
            else torch.distributions.Normal(values, log_std.exp()).entropy().sum(dim=1)
        )
        assert Surrogate(actor, batch, nothing).entropy() == pytest.approx(
            float(reference.mean()), rel=1e-5
        )

    def test_interrupt_is_asked_before_every_product_and_candidate(self, kind):
        actor = make_actor(kind)
        calls = []
        surrogate = Surrogate(actor, make_batch(actor, 5), lambda: calls.append(1))
        surrogate.fisher_product(torch.ones_like(actor.parameters))
        surrogate.fisher_product(torch.ones_like(actor.parameters))
        surrogate.kl_and_gain()
        assert len(calls) == 3


class TestShapes:
    @pytest.mark.parametrize("count", [2, 7])
    def test_silent_bug_09_permuting_the_advantages_changes_gradient_and_gain(self, kind, count):
        actor = make_actor(kind)
        batch = make_batch(actor, count)
        permuted = dataclasses.replace(batch, advantages=batch.advantages.roll(1))
        surrogates = [Surrogate(actor, one, nothing) for one in (batch, permuted)]
        gradients = [surrogate.gradient() for surrogate in surrogates]
        assert not torch.allclose(*gradients, rtol=1e-3)
        actor.parameters.add_(0.05)
        gains = [surrogate.kl_and_gain()[1] for surrogate in surrogates]
        assert gains[0] != pytest.approx(gains[1], rel=1e-3)

    @pytest.mark.parametrize("count", [1, 2, 7])
    def test_silent_bug_09_permuting_samples_together_changes_nothing(self, kind, count):
        actor = make_actor(kind)
        batch = make_batch(actor, count)
        flipped = Batch(
            batch.inputs.flip(0),
            batch.actions.flip(0),
            batch.advantages.flip(0),
            batch.targets.flip(0),
            batch.values.flip(0),
        )
        first, second = (Surrogate(actor, one, nothing) for one in (batch, flipped))
        torch.testing.assert_close(first.gradient(), second.gradient(), rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("count", [1, 2, 7])
    def test_silent_bug_09_column_of_actions_is_refused(self, kind, count):
        actor = make_actor(kind)
        batch = make_batch(actor, count)
        wrong = batch.actions[:, None] if kind == "categorical" else batch.actions[:, :1]
        with pytest.raises(ValueError, match="actions must be"):
            Surrogate(actor, dataclasses.replace(batch, actions=wrong), nothing)

    @pytest.mark.parametrize("count", [1, 2, 7])
    def test_silent_bug_09_column_of_advantages_is_refused(self, kind, count):
        actor = make_actor(kind)
        batch = make_batch(actor, count)
        wrong = dataclasses.replace(batch, advantages=batch.advantages[:, None])
        with pytest.raises(ValueError, match="advantages"):
            Surrogate(actor, wrong, nothing).kl_and_gain()


class Wide(gymnasium.Env):
    """Eight action dimensions, a random observation, and what the environment was given."""

    observation_space = spaces.Box(-5, 5, (3,), np.float32)
    action_space = spaces.Box(-1, 1, (8,), np.float32)
    received: ClassVar[list[np.ndarray]] = []

    def _observation(self):
        return self.np_random.normal(size=3).clip(-5, 5).astype(np.float32)

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._steps = 0
        return self._observation(), {}

    def step(self, action):
        self.received.append(action)
        self._steps += 1
        reward = -float(np.square(action - 0.3).sum())
        return self._observation(), reward, False, self._steps >= 10, {}


class DiscreteWide(Wide):
    """The same with three actions."""

    action_space = spaces.Discrete(3)

    def step(self, action):
        observation, _, terminated, truncated, info = super().step(np.full(8, action))
        return observation, float(action == 1) + float(observation[0]), terminated, truncated, info


def flat_layers(flat: np.ndarray, sizes: tuple[int, ...]):
    start = 0
    for fan_in, out in itertools.pairwise(sizes):
        end = start + fan_in * out
        yield flat[start:end].reshape(out, fan_in), flat[end : end + out]
        start = end + out


def float64_outputs(flat, inputs, sizes):
    """The actor once more, in numpy and float64: means or logits, and log sigmas if any."""
    layers = list(flat_layers(flat, sizes))
    hidden = inputs
    for weight, bias in layers[:-1]:
        hidden = np.tanh(hidden @ weight.T + bias)
    weight, bias = layers[-1]
    weights = sum((fan_in + 1) * out for fan_in, out in itertools.pairwise(sizes))
    return hidden @ weight.T + bias, flat[weights:]


def independent_kl(old_flat, new_flat, inputs, sizes) -> float:
    """Mean over states of the joint D_KL(old || new), all in float64."""
    (old, old_log_std) = float64_outputs(old_flat, inputs, sizes)
    (new, new_log_std) = float64_outputs(new_flat, inputs, sizes)
    if len(old_log_std):
        s, r = np.exp(old_log_std), np.exp(new_log_std)
        terms = np.log(r / s) + (s**2 + (old - new) ** 2) / (2 * r**2) - 0.5
    else:
        p = np.exp(old) / np.exp(old).sum(axis=1, keepdims=True)
        q = np.exp(new) / np.exp(new).sum(axis=1, keepdims=True)
        terms = p * np.log(p / q)
    return float(terms.sum(axis=1).mean())


class TestRealUpdates:
    @pytest.mark.parametrize("normalize", [False, True])
    @pytest.mark.parametrize("max_kl", [0.001, 0.05])
    @pytest.mark.parametrize("environment", [Wide, DiscreteWide])
    def test_silent_bug_01_joint_kl_stays_within_the_radius_and_is_the_one_reported(
        self, register, make_config, environment, max_kl, normalize
    ):
        config = make_config(
            register(environment),
            hyper={
                "max_kl": max_kl,
                "rollout_steps": 32,
                "cg_damping": 1e-3,
                "normalize_observations": normalize,
            },
            n_envs=4,
        )
        environments = make_environments(config.environment_id, {}, n_envs=config.n_envs)
        learner = Learner(config, environments, torch.device("cpu"))
        update, seen = learner.algorithm.update, []
        learner.algorithm.update = lambda batch, interrupt: (
            seen.append(batch) or update(batch, interrupt)
        )
        moved = 0
        for _ in range(8):
            old = learner.actor.parameters.double().numpy().copy()
            stats = learner.iterate(nothing).stats
            new = learner.actor.parameters.double().numpy()
            inputs = seen[-1].inputs.double().numpy()
            spec = learner.spec
            sizes = (spec.observation_size, *spec.hidden_sizes, spec.output_size)
            kl = independent_kl(old, new, inputs, sizes)
            assert kl <= max_kl * (1 + 1e-5)
            assert stats.kl == pytest.approx(kl, rel=1e-4, abs=1e-9)
            moved += kl > 0.1 * max_kl
        environments.close()
        assert moved >= 6, "updates that do not move prove nothing"

    def test_silent_bug_08_raw_action_is_stored_and_its_ratio_is_one(self, register, make_config):
        # the widest sigma there is, e^2 on bounds of 1: nearly every action is clipped
        Wide.received.clear()
        config = make_config(register(Wide), hyper={"initial_log_std": 2.0, "rollout_steps": 64})
        environments = make_environments(config.environment_id, {}, n_envs=config.n_envs)
        learner = Learner(config, environments, torch.device("cpu"))
        policy, seen = learner.snapshot(), []
        update = learner.algorithm.update

        def recorded(batch, interrupt):
            parameters = parameters_of(policy, batch.inputs.numpy()).astype(np.float64)
            now = learner.actor(batch.inputs).double()
            seen.append((batch, parameters, now))
            return update(batch, interrupt)

        learner.algorithm.update = recorded
        learner.iterate(nothing)
        environments.close()

        batch, parameters, now = seen[0]
        raw = batch.actions.double().numpy()
        assert np.abs(Wide.received).max() <= 1.0
        assert (np.abs(raw) > 1.0).mean() > 0.8
        assert raw.std() == pytest.approx(math.exp(2.0), rel=0.1)
        mean, log_std = np.split(parameters, 2, axis=1)
        collected = (
            -0.5 * ((raw - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * math.log(2 * math.pi)
        ).sum(axis=1)
        log_prob = learner.actor.distribution.log_prob(now, batch.actions).numpy()
        np.testing.assert_allclose(np.exp(log_prob - collected), 1.0, rtol=0, atol=1e-6)
