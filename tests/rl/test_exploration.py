"""Where a policy's noise comes from: what is drawn has the density that updates reckon with."""

from __future__ import annotations

import math

import gymnasium
import network_samples
import numpy as np
import pytest
import torch
from gymnasium import spaces
from network_samples import CPU, make_critic, make_spec, parameters_of, policy_of, randomised
from torch.autograd.functional import hessian, jacobian

from trpotui.rl.acting import SDE_VARIANCE_FLOOR
from trpotui.rl.algorithm import Batch
from trpotui.rl.environments import make_environments
from trpotui.rl.learner import Learner
from trpotui.rl.surrogate import Surrogate

KINDS = {
    "independent": {"exploration": "independent"},
    "state_dependent": {"exploration": "state_dependent"},
    "gsde": {"exploration": "gsde"},
    "gsde kept": {"exploration": "gsde", "sde_interval": 5},
    "clipped logits": {"gaussian": False, "logit_clip": 2.0},
}
SIZE, ACTIONS = 3, 2
STATES = np.array([[0.5, -1.0, 2.0], [0.0, 0.1, 0.0], [-3.0, 0.2, 1.0]], dtype=np.float32)
COPIES = 40_000
"""Environments in the same state: a session draws its noise for each of them anew."""
DEVIATIONS = 5.0
"""Standard errors by which a mean may be off."""


def make_actor(kind: str, *, seed: int = 0):
    changes = {"gaussian": True} | KINDS[kind]
    spec = make_spec(inputs=SIZE, actions=ACTIONS, hidden=(4,), **changes)
    return randomised(network_samples.make_actor(spec), seed=seed)


def draw(actor, state: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Raw actions in many environments in one state, and the parameters that they are drawn with.

    The noise of the second step is looked at: where it is kept, it is that of the first.
    """
    policy = policy_of(actor, make_critic(actor.spec))
    session = policy.session(COPIES, np.random.default_rng(seed))
    inputs, starts = np.repeat(state[None], COPIES, axis=0), np.zeros(COPIES, dtype=np.bool_)
    session.act(inputs[:, ::-1].copy(), ~starts)
    return session.act(inputs, starts), session.parameters(inputs[:1], starts[:1])


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


gaussian_kinds = pytest.mark.parametrize("kind", [kind for kind in KINDS if "logits" not in kind])


class TestWhatIsDrawn:
    @gaussian_kinds
    @pytest.mark.parametrize("state", STATES, ids=["far", "near zero", "other"])
    def test_actions_are_normal_with_the_mean_and_deviation_of_the_parameters(self, kind, state):
        actions, parameters = draw(make_actor(kind), state)
        mean, log_std = np.split(parameters[0].astype(np.float64), 2)
        noise = (actions - mean) / np.exp(log_std)  # [COPIES, A], standard normal
        # variances of powers of a normal number and of the product of two
        for moment, expected, variance in (
            (noise, 0.0, 1.0),
            (noise**2, 1.0, 2.0),
            (noise**3, 0.0, 15.0),
            (noise**4, 3.0, 96.0),
            (noise[:, :1] * noise[:, 1:], 0.0, 1.0),
        ):
            error = np.abs(moment.mean(axis=0) - expected) / math.sqrt(variance / COPIES)
            assert error.max() < DEVIATIONS

    def test_log_probability_and_entropy_are_those_of_what_is_drawn(self, kind):
        actor = make_actor(kind)
        for state in STATES:
            actions, parameters = draw(actor, state)
            old = torch.from_numpy(parameters).double()
            drawn = torch.from_numpy(actions)
            log_prob = actor.distribution.log_prob(old.expand(COPIES, -1), drawn)
            entropy = float(actor.distribution.entropy(old))
            error = float(log_prob.std()) / math.sqrt(COPIES)
            assert float(-log_prob.mean()) == pytest.approx(entropy, abs=DEVIATIONS * error)

    def test_kl_is_the_mean_log_ratio_of_what_is_drawn(self, kind):
        old, new = make_actor(kind), make_actor(kind)
        generator = torch.Generator().manual_seed(3)
        new.parameters.add_(0.2 * torch.randn(len(new.parameters), generator=generator))
        for state in STATES:
            actions, parameters = draw(old, state)
            before = torch.from_numpy(parameters).double()
            after = new(torch.from_numpy(state[None])).double()
            log_ratio = sum(
                sign * old.distribution.log_prob(one.expand(COPIES, -1), torch.from_numpy(actions))
                for sign, one in ((1, before), (-1, after))
            )
            kl = float(old.distribution.kl(old=before, new=after))
            error = float(log_ratio.std()) / math.sqrt(COPIES)
            assert kl > 1e-3
            assert float(log_ratio.mean()) == pytest.approx(kl, abs=DEVIATIONS * error)

    def test_clipped_logits_bound_the_probabilities(self):
        actor = make_actor("clipped logits")
        actor.named["1.bias"].copy_(torch.tensor([50.0, -50.0]))
        expected = torch.tensor([[2.0, -2.0]]).expand(3, -1)
        assert torch.equal(actor(torch.from_numpy(STATES)), expected)
        _, parameters = draw(actor, STATES[0])
        assert parameters.tolist() == [[2.0, -2.0]]

    @gaussian_kinds
    def test_deviation_depends_on_the_state_where_it_should(self, kind):
        log_stds = make_actor(kind)(torch.from_numpy(STATES))[:, ACTIONS:]
        assert (len(log_stds.unique(dim=0)) == 1) == (kind == "independent")

    def test_a_greedy_session_draws_nothing(self, kind):
        actor = make_actor(kind)
        policy = policy_of(actor, make_critic(actor.spec))
        starts = np.ones(3, dtype=np.bool_)
        parameters = policy.session(3).parameters(STATES, starts)
        expected = (
            parameters.argmax(axis=1) if "logits" in kind else parameters[:, :ACTIONS]
        ).tolist()
        session = policy.session(3)
        assert session.act(STATES, starts).tolist() == expected
        assert session.act(STATES, ~starts).tolist() == expected


class TestKeptNoise:
    """gSDE with a latent that is the input itself, so that noise can be seen through."""

    WHITE = 10 * math.sqrt(SDE_VARIANCE_FLOOR)
    """What the white noise beside it stays below, and what is drawn anew does not."""

    def make(self, interval, *, n_envs=3, actions=6):
        spec = make_spec(
            inputs=2,
            actions=actions,
            gaussian=True,
            hidden=(),
            exploration="gsde",
            sde_interval=interval,
        )
        actor = network_samples.make_actor(spec)
        actor.named["0.weight"].zero_()
        actor.log_std.fill_(0.0)
        policy = policy_of(actor, make_critic(spec))
        return actor, policy.session(n_envs, np.random.default_rng(0))

    def noises(self, session, begins, *, inputs=None):
        """Noise [T, N, A] where the episodes begin as `begins` [T, N] says."""
        rows = np.ones((begins.shape[1], 2), np.float32) if inputs is None else inputs
        return np.stack([session.act(rows, starts) for starts in begins])

    def redrawn(self, noises):
        """[T, N]; where the noise is another than the step before."""
        changes = np.abs(np.diff(noises, axis=0)).max(axis=2) > self.WHITE
        return np.concatenate([np.ones((1, noises.shape[1]), dtype=bool), changes])

    def test_noise_is_drawn_anew_at_intervals_and_where_an_episode_begins(self):
        _, session = self.make(3)
        begins = np.zeros((12, 3), dtype=np.bool_)
        begins[0] = True
        begins[[4, 5], 1] = True
        begins[6, 2] = True  # where it was due anyway
        drawn = self.redrawn(self.noises(session, begins))
        assert [np.flatnonzero(column).tolist() for column in drawn.T] == [
            [0, 3, 6, 9],
            [0, 3, 4, 5, 8, 11],
            [0, 3, 6, 9],
        ]

    def test_noise_of_one_step_is_drawn_anew_at_every_step(self):
        _, session = self.make(1)
        assert self.redrawn(self.noises(session, np.zeros((12, 3), dtype=np.bool_))).all()

    def test_noise_is_drawn_at_first_wherever_the_episode_is(self):
        _, session = self.make(100)
        noises = self.noises(session, np.zeros((3, 3), dtype=np.bool_))
        assert np.abs(noises).max(axis=2).min() > self.WHITE
        assert not self.redrawn(noises)[1:].any()

    def test_every_environment_has_noise_of_its_own(self):
        _, session = self.make(100)
        (noises,) = self.noises(session, np.ones((1, 3), dtype=np.bool_))
        for one, other in ((0, 1), (0, 2), (1, 2)):
            assert np.abs(noises[one] - noises[other]).max() > self.WHITE

    def test_kept_noise_is_a_linear_function_of_the_latent(self):
        _, session = self.make(100)
        starts = np.zeros((1, 3), dtype=np.bool_)
        parts = [
            self.noises(session, starts, inputs=np.array([row] * 3, np.float32))[0]
            for row in ([1, 0], [0, 1], [2, -3])
        ]
        np.testing.assert_allclose(
            parts[2], 2 * parts[0] - 3 * parts[1], rtol=0, atol=5 * self.WHITE
        )

    def test_kept_noise_takes_the_deviations_of_an_update(self):
        actor, session = self.make(100)
        starts = np.zeros((1, 3), dtype=np.bool_)
        before = self.noises(session, starts)
        actor.log_std.fill_(math.log(3.0))
        np.testing.assert_allclose(
            self.noises(session, starts), 3 * before, rtol=0, atol=5 * self.WHITE
        )
        other, _ = self.make(100)
        other.log_std.fill_(math.log(0.5))
        session.follow(policy_of(other, make_critic(other.spec)).actor_network)
        np.testing.assert_allclose(
            self.noises(session, starts), 0.5 * before, rtol=0, atol=5 * self.WHITE
        )

    def test_noise_depends_on_the_generator_alone(self):
        begins = np.zeros((5, 3), dtype=np.bool_)
        first, second = (self.noises(self.make(2)[1], begins) for _ in range(2))
        assert np.array_equal(first, second)


# the silent bugs, where log sigma is no parameter of its own


def log_prob_of(actor, inputs, actions):
    """log pi(a|s) [B] as a function of the actor's flat vector, by torch's own distribution."""

    def log_prob(flat):
        mean, log_std = actor._function(flat, inputs).chunk(2, dim=1)
        return torch.distributions.Normal(mean, log_std.exp()).log_prob(actions).sum(dim=1)

    return log_prob


def textbook_kl(old, new):
    """D_KL(old || new) [B] of means and log sigmas side by side."""
    (old_mean, r), (new_mean, s) = (
        (part[:, : part.shape[1] // 2], part[:, part.shape[1] // 2 :].exp()) for part in (old, new)
    )
    terms = (s / r).log() + (r**2 + (old_mean - new_mean) ** 2) / (2 * s**2) - 0.5
    return terms.sum(dim=1)


def make_batch(actor, count):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, SIZE, generator=generator)
    return Batch(
        inputs=inputs,
        actions=actor.distribution.sample(actor(inputs), generator),
        advantages=torch.randn(count, generator=generator),
        targets=torch.zeros(count),
        values=torch.zeros(count),
    )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", ["state_dependent", "gsde"])
class TestFisherMatrix:
    def test_silent_bug_02_columns_of_f_are_those_of_the_hessian_of_the_mean_kl(self, kind):
        actor = make_actor(kind)
        batch, old = make_batch(actor, 15), actor.parameters.clone()
        surrogate = Surrogate(actor, batch, lambda: None)
        ours = torch.stack([surrogate.fisher_product(row) for row in torch.eye(len(old))])

        def mean_kl(new):
            parameters = (actor._function(vector, batch.inputs) for vector in (old, new))
            return textbook_kl(*parameters).mean()

        torch.testing.assert_close(ours, hessian(mean_kl, old), rtol=1e-8, atol=1e-10)
        assert float(ours.diagonal().min()) > 0, "F must not vanish for any parameter"
        torch.testing.assert_close(ours, ours.T)
        assert float(torch.linalg.eigvalsh(ours).min()) > -1e-10

    def test_silent_bug_02_f_is_the_mean_outer_product_of_log_probability_gradients(self, kind):
        actor = make_actor(kind)
        batch, old = make_batch(actor, 4), actor.parameters.clone()
        mean, log_std = actor(batch.inputs).chunk(2, dim=1)
        # exact for the quartic polynomial of the noise that an outer product of scores is
        nodes, weights = np.polynomial.hermite_e.hermegauss(5)
        weights /= weights.sum()
        expected = torch.zeros(len(old), len(old))
        for i in range(5):
            for j in range(5):
                actions = mean + log_std.exp() * torch.tensor([nodes[i], nodes[j]])
                rows = jacobian(log_prob_of(actor, batch.inputs, actions), old)
                expected += weights[i] * weights[j] * rows.T @ rows / len(rows)
        surrogate = Surrogate(actor, batch, lambda: None)
        ours = torch.stack([surrogate.fisher_product(row) for row in torch.eye(len(old))])
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-10)

    def test_gradient_is_that_of_the_mean_weighted_ratio(self, kind):
        actor = make_actor(kind)
        batch = make_batch(actor, 30)
        log_prob = log_prob_of(actor, batch.inputs, batch.actions)
        flat = actor.parameters.clone().requires_grad_()
        ratio = (log_prob(flat) - log_prob(actor.parameters)).exp()
        (expected,) = torch.autograd.grad((ratio * batch.advantages).mean(), flat)
        torch.testing.assert_close(Surrogate(actor, batch, lambda: None).gradient(), expected)


class Eight(gymnasium.Env):
    """Eight action dimensions and a random observation."""

    observation_space = spaces.Box(-5, 5, (3,), np.float32)
    action_space = spaces.Box(-1, 1, (8,), np.float32)

    def _observation(self):
        return self.np_random.normal(size=3).clip(-5, 5).astype(np.float32)

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._steps = 0
        return self._observation(), {}

    def step(self, action):
        self._steps += 1
        reward = -float(np.square(action - 0.3).sum())
        return self._observation(), reward, False, self._steps >= 10, {}


@pytest.mark.parametrize("kind", ["state_dependent", "gsde", "gsde kept"])
class TestRealUpdates:
    def updates(self, register, make_config, kind, *, count=6, **hyper):
        """Real updates: learner, statistics and the actor's arrays before; then the batch with the
        parameters of its distributions, in numpy and in torch."""
        settings = {"max_kl": 0.02, "rollout_steps": 32, "cg_damping": 1e-3}
        config = make_config(register(Eight), hyper=settings | KINDS[kind] | hyper, n_envs=4)
        environments = make_environments(config.environment_id, {}, n_envs=config.n_envs)
        learner = Learner(config, environments, CPU)
        update, seen = learner.algorithm.update, []

        def recorded(batch, interrupt):
            collected = parameters_of(learner.snapshot(), batch.inputs.numpy())
            now = learner.actor(batch.inputs).double()
            seen.append((batch, torch.from_numpy(collected).double(), now))
            return update(batch, interrupt)

        learner.algorithm.update = recorded
        for _ in range(count):
            named = {name: array.clone() for name, array in learner.actor.named.items()}
            stats = learner.iterate(lambda: None).stats
            yield learner, stats, named, *seen[-1]
        environments.close()

    def test_silent_bug_01_joint_kl_stays_within_the_radius_and_is_the_one_reported(
        self, register, make_config, kind
    ):
        moved = 0
        for learner, stats, _, batch, old, _ in self.updates(register, make_config, kind):
            new = learner.actor(batch.inputs).double()
            kl = float(textbook_kl(old, new).mean())
            assert kl <= 0.02 * (1 + 1e-5)
            assert stats.kl == pytest.approx(kl, rel=1e-3, abs=1e-8)
            moved += kl > 0.002
        assert moved >= 4, "updates that do not move prove nothing"

    def test_silent_bug_03_every_parameter_array_changes(self, register, make_config, kind):
        for learner, stats, before, *_ in self.updates(register, make_config, kind, count=3):
            assert stats.kl > 0
            for name, array in learner.actor.named.items():
                assert not torch.equal(array, before[name]), name
        if "gsde" in kind:
            assert learner.actor.log_std.shape == (8, 8)

    def test_silent_bug_08_raw_action_is_stored_and_its_ratio_is_one(
        self, register, make_config, kind
    ):
        [(learner, _, _, batch, old, now)] = self.updates(
            register, make_config, kind, count=1, initial_log_std=1.5
        )
        raw = batch.actions.double()
        assert float((raw.abs() > 1.0).double().mean()) > 0.4
        mean, log_std = old.chunk(2, dim=1)
        noise = (raw - mean) / log_std.exp()
        if kind != "gsde kept":  # whose noise is not independent from step to step
            error = math.sqrt(2 / noise.numel())
            assert float(noise.square().mean()) == pytest.approx(1.0, abs=DEVIATIONS * error)
        collected = torch.distributions.Normal(mean, log_std.exp()).log_prob(raw).sum(dim=1)
        log_prob = learner.actor.distribution.log_prob(now, batch.actions)
        assert float((log_prob - collected).exp().sub(1).abs().max()) < 1e-5
