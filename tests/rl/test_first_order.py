"""Ascent of an actor: gradients against autograd, and updates that are kept whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import math

import pytest
import torch
from algorithm_samples import KINDS, critic_of, make_actor, make_algorithm, make_batch, nothing
from network_samples import make_actor as make_other_actor
from network_samples import make_spec, randomised

from trpotui.events import RejectReason
from trpotui.rl.algorithms.ppo import PpoHyperparameters
from trpotui.rl.first_order import (
    Minibatch,
    ascending,
    clipped_slopes,
    minibatches,
    objective_gradient,
    standardized,
)
from trpotui.rl.optimizers import Adam, Sgd
from trpotui.rl.surrogate import Surrogate


def numerical_gradient(actor, value, *, size=1e-6):
    """Central differences of a function of where the actor is [P]."""
    old, slopes = actor.parameters.clone(), []
    for index in range(len(old)):
        values = []
        for sign in (1.0, -1.0):
            actor.parameters.copy_(old)
            actor.parameters[index] += sign * size
            values.append(float(value()))
        slopes.append((values[0] - values[1]) / (2 * size))
    actor.parameters.copy_(old)
    return torch.tensor(slopes)


def clipped_slopes_of(actor, part):
    log_ratio = actor.distribution.log_prob(actor(part.inputs), part.actions) - part.old_log_prob
    return clipped_slopes(log_ratio, part.advantages, 0.1)


@pytest.mark.usefixtures("float64")
class TestObjectives:
    """At a policy that has moved on from the one that collected."""

    @pytest.fixture(params=KINDS)
    def moved(self, request):
        actor = make_actor(request.param)
        batch = make_batch(actor, 25)
        old = actor(batch.inputs)
        generator = torch.Generator().manual_seed(3)
        actor.parameters.add_(0.1 * torch.randn(len(actor.parameters), generator=generator))
        return actor, batch, old

    def test_clipped_surrogate_with_entropy(self, moved):
        actor, batch, old = moved
        old_log_prob = actor.distribution.log_prob(old, batch.actions)

        def by_hand():
            total = 0.0
            log_ratios = (
                actor.distribution.log_prob(actor(batch.inputs), batch.actions) - old_log_prob
            )
            for log_ratio, advantage in zip(log_ratios.tolist(), batch.advantages, strict=True):
                ratio = math.exp(log_ratio)
                total += min(ratio * advantage, min(max(ratio, 0.9), 1.1) * advantage)
            return total / 25

        part = Minibatch(batch.inputs, batch.actions, batch.advantages, old, old_log_prob)
        for entropy_coef in (0.0, 0.3):
            ours = make_algorithm("ppo", actor, entropy_coef=entropy_coef)._gradient(part, 0.1)

            def objective(entropy_coef=entropy_coef):
                entropy = actor.distribution.entropy(actor(batch.inputs)).mean()
                return by_hand() + entropy_coef * float(entropy)

            expected = numerical_gradient(actor, objective)
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-8)
            assert 0 < float((clipped_slopes_of(actor, part) == 0).double().mean()) < 1

    def test_silent_bug_02_penalty_pulls_back_to_the_old_policy(self, moved):
        actor, batch, old = moved

        def kl(parameters):
            return actor.distribution.kl(old=old, new=parameters).mean()

        ours = objective_gradient(actor.linearize(batch.inputs), kl)
        expected = numerical_gradient(actor, lambda: kl(actor(batch.inputs)))
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-8)
        assert float(ours.norm()) > 1e-3

    def test_entropy(self, moved):
        actor, batch, _ = moved

        def entropy(parameters):
            return actor.distribution.entropy(parameters).mean()

        ours = objective_gradient(actor.linearize(batch.inputs), entropy)
        expected = numerical_gradient(actor, lambda: entropy(actor(batch.inputs)))
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-8)


class TestClippedSlopes:
    @pytest.mark.parametrize(
        ("ratio", "advantage", "expected"),
        [
            (1.0, 2.0, 2.0),
            (1.1, 2.0, 2.2),
            (1.5, 2.0, 0.0),  # clipped: there is nothing more to gain
            (0.5, 2.0, 1.0),  # not clipped: there is everything to gain back
            (0.5, -2.0, 0.0),
            (1.5, -2.0, -3.0),
            (1.5, 0.0, 0.0),
        ],
    )
    def test_by_hand(self, ratio, advantage, expected):
        one = clipped_slopes(torch.tensor([math.log(ratio)]), torch.tensor([advantage]), 0.2)
        assert float(one[0]) == pytest.approx(expected, rel=1e-6)

    def test_against_automatic_differentiation(self):
        generator = torch.Generator().manual_seed(0)
        log_ratio = 0.4 * torch.randn(500, generator=generator)
        advantages = torch.randn(500, generator=generator)
        with torch.enable_grad():
            log_ratio.requires_grad_()
            ratio = log_ratio.exp()
            kept = torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
            (expected,) = torch.autograd.grad(kept.mean(), log_ratio)
        ours = clipped_slopes(log_ratio.detach(), advantages, 0.2)
        torch.testing.assert_close(ours, expected)
        assert 50 < int((ours == 0).sum()) < 450


class TestStandardized:
    def test_mean_and_deviation(self):
        ours = standardized(torch.tensor([1.0, 2.0, 6.0]), scale=1.0)
        assert ours.tolist() == pytest.approx([-0.92582, -0.46291, 1.38873], rel=1e-5)

    def test_one_sample_is_left_as_it_is(self):
        assert standardized(torch.tensor([3.0]), scale=1.0).tolist() == [3.0]

    def test_silent_bug_11_rounding_is_no_signal(self):
        noise = torch.tensor([1e-5, -1e-5, 0.0])
        assert standardized(noise, scale=10.0).tolist() == [0.0, 0.0, 0.0]
        assert standardized(noise, scale=0.1).tolist() != [0.0, 0.0, 0.0]


class TestMinibatches:
    def hyper(self, **changes):
        return PpoHyperparameters(minibatches=3, **changes)

    def test_a_pass_sees_every_sample_once_with_what_belongs_to_it(self):
        actor = make_actor("gaussian")
        batch = make_batch(actor, 20)
        surrogate = Surrogate(actor, batch, nothing)
        h = self.hyper(normalize_minibatches=False)
        parts = list(minibatches(batch, surrogate, h, torch.Generator().manual_seed(0)))
        assert [len(part.inputs) for part in parts] == [7, 7, 6]
        order = torch.cat([part.inputs for part in parts])
        rows = [int((batch.inputs == row).all(dim=1).nonzero()) for row in order]
        assert sorted(rows) == list(range(20))
        assert rows != sorted(rows)
        for field in ("actions", "advantages"):
            together = torch.cat([getattr(part, field) for part in parts])
            assert torch.equal(together, getattr(batch, field)[rows])
        assert torch.equal(torch.cat([part.old for part in parts]), surrogate.old[rows])
        old_log_prob = actor.distribution.log_prob(surrogate.old, batch.actions)[rows]
        torch.testing.assert_close(torch.cat([part.old_log_prob for part in parts]), old_log_prob)

    def test_advantages_of_each_are_standardised_by_themselves(self):
        actor = make_actor("categorical")
        batch = make_batch(actor, 21, advantages=torch.arange(21.0))
        generator = torch.Generator().manual_seed(0)
        for part in minibatches(batch, Surrogate(actor, batch, nothing), self.hyper(), generator):
            assert float(part.advantages.mean()) == pytest.approx(0.0, abs=1e-6)
            assert float(part.advantages.std(correction=0)) == pytest.approx(1.0, rel=1e-5)

    @pytest.mark.parametrize("standardised", [False, True])
    def test_silent_bug_11_what_counts_as_rounding_depends_on_the_advantages(self, standardised):
        actor = make_actor("categorical")
        batch = make_batch(actor, 30, targets=torch.full((30,), 1e7))
        h = self.hyper(normalize_advantages=standardised)
        parts = minibatches(
            batch, Surrogate(actor, batch, nothing), h, torch.Generator().manual_seed(0)
        )
        moved = [bool(part.advantages.any()) for part in parts]
        assert moved == [standardised] * 3  # beside returns of 1e7 a deviation of 1 is nothing


class TestAscending:
    def begun(self, optimizer=Adam):
        actor = make_actor("gaussian")
        batch = make_batch(actor, 30)
        return actor, Surrogate(actor, batch, nothing), optimizer(actor.parameters)

    def test_steps_go_uphill_and_are_reported(self):
        actor, surrogate, optimizer = self.begun(Sgd)
        before, gradient = actor.parameters.clone(), surrogate.gradient()
        with ascending(actor, optimizer, surrogate, nothing) as ascent:
            ascent.step(gradient, 0.01)
        torch.testing.assert_close(actor.parameters, before + 0.01 * gradient)
        assert ascent.reject_reason is None
        assert (ascent.kl, ascent.gain) == surrogate.kl_and_gain()
        assert ascent.gain > 0
        assert ascent.grad_norm == pytest.approx(float(gradient.norm()))

    def test_long_gradients_are_shortened_and_their_norm_is_reported_as_it_was(self):
        actor, surrogate, optimizer = self.begun(Sgd)
        before, gradient = actor.parameters.clone(), surrogate.gradient()
        with ascending(actor, optimizer, surrogate, nothing) as ascent:
            ascent.step(3.0 * gradient, 1.0, max_grad_norm=0.25)
            ascent.step(1e-3 * gradient, 1.0, max_grad_norm=0.25)
        expected = before + 0.25 * gradient / gradient.norm() + 1e-3 * gradient
        torch.testing.assert_close(actor.parameters, expected)
        assert ascent.grad_norm == pytest.approx(3.001 * float(gradient.norm()) / 2, rel=1e-5)

    def test_interrupt_is_asked_before_every_step(self):
        actor, surrogate, optimizer = self.begun()
        calls = []
        with ascending(actor, optimizer, surrogate, lambda: calls.append(1)) as ascent:
            for _ in range(3):
                ascent.step(surrogate.gradient(), 0.01)
        assert len(calls) == 3

    def test_silent_bug_04_what_raises_puts_actor_and_optimiser_back(self):
        actor, surrogate, optimizer = self.begun()
        optimizer.step(surrogate.gradient(), learning_rate=0.01)
        before, state = actor.parameters.clone(), optimizer.state()
        with contextlib.suppress(KeyboardInterrupt):
            with ascending(actor, optimizer, surrogate, nothing) as ascent:
                ascent.step(surrogate.gradient(), 0.01)
                assert not torch.equal(actor.parameters, before)
                raise KeyboardInterrupt
            pytest.fail("it was swallowed")
        assert torch.equal(actor.parameters, before)
        after = optimizer.state()
        assert torch.equal(after["mean"], state["mean"])
        assert after["steps"] == state["steps"]

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_silent_bug_04_one_bad_step_undoes_them_all(self, bad):
        actor, surrogate, optimizer = self.begun()
        before, gradient = actor.parameters.clone(), surrogate.gradient()
        with ascending(actor, optimizer, surrogate, nothing) as ascent:
            ascent.step(gradient, 0.01)
            ascent.step(torch.where(torch.arange(len(gradient)) == 2, bad, gradient), 0.01)
            ascent.step(gradient, 0.01)
        assert ascent.reject_reason is RejectReason.NOT_FINITE
        assert torch.equal(actor.parameters, before)
        assert (ascent.kl, ascent.gain) == (0.0, 0.0)
        assert optimizer.state()["steps"] == 0

    def test_silent_bug_04_infinite_gradient_does_not_cripple_the_optimiser(self):
        """An infinite second moment would make every later step of Adam zero."""
        actor, surrogate, optimizer = self.begun()
        gradient = surrogate.gradient()
        with ascending(actor, optimizer, surrogate, nothing) as ascent:
            ascent.step(1e30 * gradient, 0.01)
        assert ascent.reject_reason is RejectReason.NOT_FINITE
        before = actor.parameters.clone()
        with ascending(actor, optimizer, surrogate, nothing) as ascent:
            ascent.step(gradient, 0.01)
        assert ascent.reject_reason is None
        assert not torch.equal(actor.parameters, before)

    def test_policy_that_is_not_finite_is_refused_though_its_parameters_are(self):
        actor, surrogate, optimizer = self.begun(Sgd)
        before = actor.parameters.clone()
        with ascending(actor, optimizer, surrogate, nothing) as ascent:
            ascent.step(torch.ones_like(before), 1e38)
        assert ascent.reject_reason is RejectReason.NOT_FINITE
        assert torch.equal(actor.parameters, before)

    def test_zero_gradient_moves_nothing_whatever_the_optimiser_remembers(self):
        actor, surrogate, optimizer = self.begun()
        optimizer.step(surrogate.gradient(), learning_rate=0.01)
        before = actor.parameters.clone()
        with ascending(actor, optimizer, surrogate, nothing) as ascent:
            ascent.step(torch.zeros_like(before), 0.01)
        assert ascent.reject_reason is RejectReason.ZERO_GRADIENT
        assert torch.equal(actor.parameters, before)

    def test_log_sigma_is_confined(self):
        actor = randomised(make_other_actor(make_spec(gaussian=True)))
        actor.named["log_std"].fill_(1.9)
        inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
        batch = make_batch(
            make_actor("gaussian"), 20, inputs=inputs, actions=3 * actor(inputs)[:, :3]
        )
        surrogate = Surrogate(actor, batch, nothing)
        with ascending(actor, Sgd(actor.parameters), surrogate, nothing) as ascent:
            step = torch.zeros_like(actor.parameters)
            step[-3:] = 1.0
            ascent.step(step, 0.5)
        assert ascent.reject_reason is None
        assert actor.named["log_std"].tolist() == [2.0] * 3


ADAM_CRITIC = {"critic": "adam", "critic_epochs": 1, "critic_minibatches": 1}


class TestAdamCritic:
    @pytest.mark.parametrize("name", ["a2c", "ppo", "ppo_penalty"])
    def test_its_gradient_is_shortened_too(self, name):
        batch = make_batch(make_actor("categorical"), 50)
        batch = dataclasses.replace(batch, targets=100.0 * batch.targets)
        for bound in (0.0, 0.01):
            algorithm = make_algorithm(
                name, make_actor("categorical"), max_grad_norm=bound, **ADAM_CRITIC
            )
            algorithm.update(batch, nothing)
            norm = float(algorithm.state()["critic_fit"]["mean"].norm()) / 0.1
            assert norm == pytest.approx(0.01, rel=1e-4) if bound else norm > 1.0

    def test_values_are_clipped_around_those_of_the_batch(self):
        """One step of Adam takes values far; the second one finds nothing left to learn."""
        actor = make_actor("categorical")
        settings = ADAM_CRITIC | {"critic_epochs": 2, "critic_learning_rate": 0.1}
        moved = []
        for clip in (0.0, 1e-4):
            algorithm = make_algorithm("ppo", actor, value_clip=clip, max_grad_norm=0.0, **settings)
            critic = algorithm._critic_fit._critic
            batch = make_batch(actor, 50)
            values = critic(batch.inputs)[:, 0].clone()
            algorithm.update(
                dataclasses.replace(batch, values=values, targets=values + 100.0), nothing
            )
            moved.append(algorithm.state()["critic_fit"]["mean"].norm())
        assert float(moved[1]) == pytest.approx(0.9 * 0.1 * float(moved[0]) / 0.19, rel=0.2)


class TestAnnealing:
    """By hand: what is left of the run is what is left of the rates."""

    @pytest.mark.parametrize("name", ["reinforce", "a2c", "ppo", "ppo_penalty"])
    @pytest.mark.parametrize(("anneal", "factor"), [(True, 0.25), (False, 1.0)])
    def test_learning_rate(self, name, anneal, factor):
        actor = make_actor("categorical")
        algorithm = make_algorithm(name, actor, anneal_learning_rate=anneal, learning_rate=0.004)
        stats = algorithm.update(make_batch(actor, 20, remaining=0.25), nothing)
        assert stats.learning_rate == pytest.approx(0.004 * factor)

    @pytest.mark.parametrize("name", ["reinforce", "a2c", "ppo", "ppo_penalty"])
    def test_learning_rate_that_is_reported_is_the_one_that_is_used(self, name):
        """Adam's first step is the learning rate, whatever the gradient."""
        actor = make_actor("categorical")
        passes = (
            {"epochs": 1, "minibatches": 1} if name.startswith("ppo") else {"optimizer": "adam"}
        )
        algorithm = make_algorithm(
            name, actor, anneal_learning_rate=True, learning_rate=0.004, **passes
        )
        before = actor.parameters.clone()
        algorithm.update(make_batch(actor, 200, remaining=0.25), nothing)
        moved = (actor.parameters - before).abs()
        assert float(moved.max()) == pytest.approx(0.001, rel=0.01)

    @pytest.mark.parametrize("name", ["reinforce", "a2c", "ppo", "ppo_penalty"])
    def test_adam_critic_is_annealed_too(self, name):
        moved = []
        for remaining in (1.0, 0.25):
            algorithm = make_algorithm(name, make_actor("categorical"), **ADAM_CRITIC)
            algorithm.hyperparameters = dataclasses.replace(
                algorithm.hyperparameters, anneal_learning_rate=True
            )
            before = critic_of(algorithm).clone()
            algorithm.update(
                make_batch(make_actor("categorical"), 50, remaining=remaining), nothing
            )
            moved.append(critic_of(algorithm) - before)
        torch.testing.assert_close(moved[1], 0.25 * moved[0], rtol=1e-3, atol=1e-6)

    def test_clip_range(self):
        actor = make_actor("categorical")
        for anneal, expected in ((True, 0.05), (False, 0.2)):
            algorithm = make_algorithm("ppo", actor, anneal_clip_range=anneal, clip_range=0.2)
            stats = algorithm.update(make_batch(actor, 20, remaining=0.25), nothing)
            assert stats.clip_range == pytest.approx(expected)

    def test_clip_range_that_is_reported_is_the_one_that_is_used(self):
        """A ratio leaves the range by hardly more than the step that takes it there."""
        fractions = []
        for remaining in (1.0, 0.05):
            actor = make_actor("categorical")
            algorithm = make_algorithm(
                "ppo", actor, anneal_clip_range=True, anneal_learning_rate=False, epochs=40
            )
            stats = algorithm.update(make_batch(actor, 60, remaining=remaining), nothing)
            fractions.append(stats.kl)
        assert fractions[1] < 0.1 * fractions[0]


def decided_batch(actor):
    """A batch in which one action is always the better one."""
    batch = make_batch(actor, 60)
    return dataclasses.replace(batch, advantages=2.0 * batch.actions - 1.0)


class TestPassesOfPpo:
    def test_target_kl_stops_them_after_the_first_that_goes_beyond(self):
        kls = []
        for epochs in range(1, 9):
            actor = make_actor("categorical")
            algorithm = make_algorithm("ppo", actor, epochs=epochs, learning_rate=1e-3)
            kls.append(algorithm.update(decided_batch(actor), nothing).kl)
        assert kls[2] < kls[3] < kls[4]
        target = (kls[3] + kls[4]) / 2  # the fifth pass goes beyond
        actor = make_actor("categorical")
        algorithm = make_algorithm("ppo", actor, epochs=8, learning_rate=1e-3, target_kl=target)
        stats = algorithm.update(decided_batch(actor), nothing)
        assert (stats.epochs, stats.stopped_early, stats.target_kl) == (5, True, target)
        assert stats.kl == pytest.approx(kls[4], rel=1e-6)

    def test_none_of_them_is_left_out_without_a_target(self):
        actor = make_actor("categorical")
        algorithm = make_algorithm("ppo", actor, epochs=7, learning_rate=0.1)
        stats = algorithm.update(decided_batch(actor), nothing)
        assert stats.kl > 0.1
        assert (stats.epochs, stats.stopped_early, stats.target_kl) == (7, False, None)

    def test_clip_fraction_is_that_of_the_new_policy(self):
        actor = make_actor("categorical")
        batch = make_batch(actor, 80)
        old = torch.softmax(actor(batch.inputs), dim=1)
        algorithm = make_algorithm("ppo", actor, learning_rate=0.02, clip_range=0.1)
        stats = algorithm.update(batch, nothing)
        new = torch.softmax(actor(batch.inputs), dim=1)
        ratios = (new / old)[torch.arange(80), batch.actions]
        outside = int(((ratios < 0.9) | (ratios > 1.1)).sum())
        assert 0 < outside < 80
        assert stats.clip_fraction == pytest.approx(outside / 80)
