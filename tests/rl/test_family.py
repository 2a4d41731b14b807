"""How the algorithms are related: the same gradient, the same step, one thing more or less."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from algorithm_samples import (
    KINDS,
    Push,
    critic_of,
    make_actor,
    make_algorithm,
    make_batch,
    make_learner,
    nothing,
)

from trpotui.events import UpdateFinished
from trpotui.rl.algorithms import trpo
from trpotui.rl.first_order import objective_gradient
from trpotui.rl.natural_gradient import natural_step
from trpotui.rl.sequences import Sequences, share_of
from trpotui.rl.surrogate import Surrogate
from trpotui.rl.trainer import train

PLAIN = {
    "ppo": {"epochs": 1, "minibatches": 1, "normalize_minibatches": False, "max_grad_norm": 0.0},
    "ppo_penalty": {
        "epochs": 1,
        "minibatches": 1,
        "normalize_minibatches": False,
        "max_grad_norm": 0.0,
    },
    "a2c": {"entropy_coef": 0.0, "max_grad_norm": 0.0},
    "reinforce": {},
}
"""Nothing but the algorithm: one pass over the whole batch."""


class Recorder:
    """An optimiser that notes what it is given and stays where it is."""

    def __init__(self, parameters):
        self.parameters = parameters
        self.gradients = []

    def step(self, gradient, *, learning_rate):  # noqa: ARG002
        self.gradients.append(-gradient)  # of what is maximised

    def state(self):
        return {}

    def restore(self, state):
        pass


def first_gradient(name, actor, batch, **hyper):
    """What the first step of an update follows."""
    algorithm = make_algorithm(name, actor, **(PLAIN[name] | hyper))
    algorithm._optimizer = Recorder(actor.parameters)
    algorithm.update(batch, nothing)
    return algorithm._optimizer.gradients[0]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.mark.usefixtures("float64")
class TestGradients:
    @pytest.mark.parametrize("name", PLAIN)
    def test_all_follow_the_policy_gradient_where_the_ratio_is_one(self, name, kind):
        actor = make_actor(kind)
        batch = make_batch(actor, 40)
        expected = Surrogate(actor, batch, nothing).gradient()
        torch.testing.assert_close(first_gradient(name, actor, batch), expected)

    def test_first_gradient_of_trpo_is_that_of_reinforce(self, kind, monkeypatch):
        actor = make_actor(kind)
        batch = make_batch(actor, 40)
        seen = []
        monkeypatch.setattr(
            trpo,
            "natural_step",
            lambda gradient, *rest, **more: (
                seen.append(gradient) or natural_step(gradient, *rest, **more)
            ),
        )
        stats = make_algorithm("trpo", make_actor(kind)).update(batch, nothing)
        gradient = first_gradient("reinforce", actor, batch)
        torch.testing.assert_close(seen[0], gradient)
        assert stats.grad_norm == pytest.approx(float(gradient.norm()))

    @pytest.mark.parametrize("name", ["a2c", "ppo", "ppo_penalty"])
    def test_entropy_bonus_adds_its_own(self, name, kind):
        actor = make_actor(kind)
        batch = make_batch(actor, 40)
        bonus = objective_gradient(
            actor.linearize(batch.inputs), lambda p: actor.distribution.entropy(p).mean()
        )
        expected = first_gradient(name, actor, batch) + 0.3 * bonus
        ours = first_gradient(name, actor, batch, entropy_coef=0.3)
        torch.testing.assert_close(ours, expected)

    @pytest.mark.parametrize("name", ["a2c", "ppo", "ppo_penalty"])
    def test_gradient_norm_is_bounded(self, name, kind):
        actor = make_actor(kind)
        batch = make_batch(actor, 40)
        whole = first_gradient(name, actor, batch)
        ours = first_gradient(name, actor, batch, max_grad_norm=0.01)
        torch.testing.assert_close(ours, whole * (0.01 / whole.norm()))


class TestNpgAndTrpo:
    SETTINGS = {"max_kl": 0.01, "cg_damping": 0.05, "cg_iterations": 7}  # noqa: RUF012

    def both(self, batch, kind, **hyper):
        actors = make_actor(kind), make_actor(kind)
        stats = [
            make_algorithm(name, actor, **self.SETTINGS, **more).update(batch, nothing)
            for name, actor, more in zip(("npg", "trpo"), actors, ({}, hyper), strict=True)
        ]
        return *actors, *stats

    def test_npg_is_trpo_whose_first_try_is_accepted(self, kind):
        accepted = 0
        for seed in range(5):
            batch = make_batch(make_actor(kind), 60, seed=seed)
            npg, trpo_, natural, searched = self.both(batch, kind)
            if searched.trust_region.step_fraction == 1.0:
                accepted += 1
                assert torch.equal(npg.parameters, trpo_.parameters)
                assert natural == searched
        assert accepted >= 3

    def test_npg_takes_the_step_that_trpo_refuses(self, kind):
        refused = 0
        for seed in range(10):
            batch = make_batch(make_actor(kind), 60, seed=seed)
            npg, trpo_, natural, searched = self.both(
                batch, kind, acceptance_ratio=0.999, max_backtracks=0
            )
            (first,) = natural.trust_region.tries
            assert (first.fraction, first.reject_reason) == (1.0, None)
            assert natural.kl == first.kl == searched.trust_region.tries[0].kl
            if searched.reject_reason is not None:
                refused += 1
                assert torch.equal(trpo_.parameters, make_actor(kind).parameters)
                assert natural.reject_reason is None
                assert not torch.equal(npg.parameters, trpo_.parameters)
        assert refused >= 2

    def test_npg_may_leave_the_region(self):
        """Its step is as long as the second order of the KL says, which is not the KL."""
        batch = make_batch(make_actor("gaussian"), 60, advantages=torch.linspace(-9, 3, 60))
        actor = make_actor("gaussian")
        stats = make_algorithm("npg", actor, max_kl=0.5, cg_damping=0.0).update(batch, nothing)
        assert stats.reject_reason is None
        assert stats.kl > stats.max_kl == 0.5


class TestKlReduction:
    def updated(self, reduction, seed):
        actor = make_actor("gaussian", seed=seed)
        batch = make_batch(actor, 80)
        old = actor(batch.inputs).double()
        algorithm = make_algorithm("trpo", actor, kl_reduction=reduction, cg_damping=1e-3)
        stats = algorithm.update(batch, nothing)
        return stats, actor.distribution.kl(old=old, new=actor(batch.inputs).double())

    def test_max_bounds_the_kl_of_every_state(self):
        for seed in range(5):
            stats, kls = self.updated("max", seed)
            assert stats.reject_reason is None
            assert 0.003 < float(kls.max()) <= 0.01 * (1 + 1e-5)
            assert stats.largest_kl == stats.trust_region.kl == pytest.approx(float(kls.max()))
            assert stats.kl == pytest.approx(float(kls.mean()))
            refused = [one for one in stats.trust_region.tries if one.reject_reason is not None]
            assert all(one.kl > 0.01 for one in refused)

    def test_mean_does_not(self):
        for seed in range(5):
            stats, kls = self.updated("mean", seed)
            assert float(kls.mean()) <= 0.01 * (1 + 1e-5)
            assert float(kls.max()) > 0.015
            assert stats.kl == stats.trust_region.kl == pytest.approx(float(kls.mean()))
            assert stats.largest_kl is None


class TestFisherShare:
    def test_products_are_those_of_the_part(self):
        actor = make_actor("gaussian")
        batch = make_batch(actor, 50)
        part = batch.inputs[10:20]
        vector = torch.randn(len(actor.parameters), generator=torch.Generator().manual_seed(1))
        ours = Surrogate(actor, batch, nothing, fisher_inputs=part).fisher_product(vector)
        only = Surrogate(actor, make_batch(actor, 10, inputs=part), nothing).fisher_product(vector)
        torch.testing.assert_close(ours, only)
        whole = Surrogate(actor, batch, nothing).fisher_product(vector)
        assert not torch.allclose(ours, whole, rtol=1e-2)

    @pytest.mark.parametrize("name", ["npg", "trpo"])
    def test_gradient_and_reported_kl_are_those_of_the_whole_batch(self, name):
        actor = make_actor("gaussian")
        batch = make_batch(actor, 60)
        old = actor(batch.inputs).double()
        gradient = Surrogate(actor, batch, nothing).gradient()
        algorithm = make_algorithm(name, actor, fisher_share=0.05, max_kl=0.02, cg_damping=1e-3)
        stats = algorithm.update(batch, nothing)
        kl = float(actor.distribution.kl(old=old, new=actor(batch.inputs).double()).mean())
        assert stats.kl == pytest.approx(kl, rel=1e-4)
        assert stats.grad_norm == pytest.approx(float(gradient.norm()))
        if name == "trpo":  # three samples say little of the KL of sixty
            assert kl <= 0.02 * (1 + 1e-5)
            assert stats.trust_region.step_fraction < 1.0

    @pytest.mark.parametrize(("share", "rows"), [(1.0, 20), (0.5, 10), (0.26, 5), (0.001, 1)])
    def test_share_of_rows(self, share, rows):
        inputs = torch.arange(20.0)[:, None]
        part = share_of(inputs, share, torch.Generator().manual_seed(0))
        assert len(part) == len(set(part[:, 0].tolist())) == rows
        assert share < 1.0 or part is inputs

    @pytest.mark.parametrize("count", [1, 4095, 4096, 4097, 9000])
    def test_share_that_is_not_said_is_enough_of_a_large_batch(self, count):
        inputs = torch.arange(float(count))[:, None]
        part = share_of(inputs, 0.0, torch.Generator().manual_seed(0))
        assert len(part) == len(set(part[:, 0].tolist())) == min(count, 4096)
        assert (part is inputs) == (count <= 4096)

    def test_share_of_sequences_keeps_them_whole(self):
        rows = torch.arange(24.0).view(3, 8, 1)
        sequences = Sequences(
            rows,
            torch.zeros(3, 8, dtype=torch.bool),
            torch.ones(3, 8, dtype=torch.bool),
            {"actor": torch.arange(8.0)[:, None]},
        )
        part = share_of(sequences, 0.25, torch.Generator().manual_seed(0))
        assert part.rows.shape == (3, 2, 1)
        assert torch.equal(part.rows[0], part.states["actor"])
        assert torch.equal(part.rows[2], part.states["actor"] + 16)

    @pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 4), (8, 4)])
    def test_share_of_sequences_that_is_not_said(self, count, columns):
        # 8,192 samples of 8 environments; of 4 or 1 with fewer each, nearly all would be taken
        steps = 8192 // 8 if count == 8 else 4500 // count
        valid = torch.ones(steps, count, dtype=torch.bool)
        rows = torch.zeros(steps, count, 1)
        sequences = Sequences(rows, ~valid, valid, {"actor": torch.arange(float(count))[:, None]})
        part = share_of(sequences, 0.0, torch.Generator().manual_seed(0))
        assert part.rows.shape[1] == columns
        assert (part is sequences) == (columns == count)

    def test_whole_batch_draws_no_random_numbers(self):
        generator = torch.Generator().manual_seed(0)
        before = generator.get_state()
        share_of(torch.zeros(5, 1), 1.0, generator)
        share_of(torch.zeros(5, 1), 0.0, generator)
        assert torch.equal(generator.get_state(), before)


class TestReinforceWithoutBaseline:
    @pytest.fixture
    def config(self, register, make_config):
        return make_config(
            register(Push), algorithm="reinforce", hyper={"baseline": False}, total_steps=200
        )

    def test_critic_is_neither_used_nor_fitted(self, config):
        learner = make_learner(config)
        critic = learner.critic.parameters.clone()
        batches, update = [], learner.algorithm.update
        learner.algorithm.update = lambda batch, interrupt: (
            batches.append(batch) or update(batch, interrupt)
        )
        first = learner.iterate(nothing)
        assert torch.equal(learner.critic.parameters, critic)
        assert not batches[0].values.any()
        assert first.stats.value_loss is None
        assert first.stats.kl > 0
        learner.critic.parameters.add_(1.0)  # nothing depends on it
        again = make_learner(config)
        assert again.iterate(nothing).stats == first.stats
        assert learner.iterate(nothing).stats == again.iterate(nothing).stats

    def test_with_it_the_critic_is(self, config):
        hyper = dataclasses.replace(config.hyperparameters, baseline=True)
        learner = make_learner(dataclasses.replace(config, hyperparameters=hyper))
        critic = learner.critic.parameters.clone()
        stats = learner.iterate(nothing).stats
        assert not torch.equal(learner.critic.parameters, critic)
        assert stats.value_loss > 0

    def test_run_reports_no_value_loss(self, config):
        updates = [event for event in train(config) if isinstance(event, UpdateFinished)]
        assert updates
        assert {update.value_loss for update in updates} == {None}


def test_critics_of_all_are_reached_alike():
    """So that the tests above look at the right parameters."""
    actor = make_actor("categorical")
    algorithm = make_algorithm("reinforce", actor)
    before = critic_of(algorithm).clone()
    algorithm.update(make_batch(actor, 20), nothing)
    assert not torch.equal(critic_of(algorithm), before)
