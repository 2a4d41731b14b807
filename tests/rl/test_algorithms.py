"""What every algorithm promises, whichever it is."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from algorithm_samples import (
    BY_PASSES,
    KINDS,
    NAMES,
    Push,
    critic_of,
    declares,
    make_actor,
    make_algorithm,
    make_batch,
    make_learner,
    nothing,
    same,
    timeless,
)
from test_surrogate import DiscreteWide, Wide, independent_kl

from trpotui.events import RejectReason, UpdateFinished, metrics_row
from trpotui.rl.environments import FEWEST_NATIVE
from trpotui.rl.surrogate import Surrogate
from trpotui.rl.trainer import train

pytestmark = pytest.mark.parametrize("name", NAMES)

SHORT = {"epochs": 2, "minibatches": 2}
"""Passes that do not take long."""


APPLY = {
    ("max_kl",): ("max_kl",),
    ("learning_rate",): ("learning_rate",),
    ("epochs",): ("epochs",),
    ("clip_range", "clip_fraction", "stopped_early"): ("clip_range",),
    ("penalty",): ("coefficient", "initial_penalty"),
    ("largest_kl",): ("coefficient",),
}
"""Metrics of an update, and the hyperparameters of which an algorithm has one where they apply."""


def short(name: str) -> dict:
    return dict(SHORT) if name in BY_PASSES else {}


@pytest.fixture(params=["discrete", "continuous", "multi_discrete"])
def config(request, name, register, make_config):
    """A run of the algorithm with each kind of action."""
    return make_config(
        register(Push),
        algorithm=name,
        environment_kwargs={"kind": request.param},
        total_steps=160,
        hyper=short(name),
    )


class TestEmptyRollouts:
    def test_a_rollout_of_nothing_but_resets_moves_no_actor(self, name, make_config):
        # the native form resets in a step of its own, and here every other one is such a step
        config = make_config(
            "CartPole-v1",
            algorithm=name,
            environment_kwargs={"max_episode_steps": 1},
            n_envs=FEWEST_NATIVE,
            total_steps=8,
            hyper={"rollout_steps": 1, "rollout_episodes": 0} | short(name),
        )
        learner = make_learner(config)
        assert learner.iterate(nothing).steps == FEWEST_NATIVE
        actor = learner.actor.parameters.clone()
        assert learner.iterate(nothing).steps == 0
        assert torch.equal(learner.actor.parameters, actor)


class TestStream:
    def test_same_seed_gives_the_same_events_and_another_one_others(self, config):
        torch.manual_seed(1)
        first = timeless(train(config))
        torch.manual_seed(2)  # the global state must not matter
        assert timeless(train(config)) == first
        other = timeless(train(dataclasses.replace(config, seed=1)))
        assert [event.kl for event in first if isinstance(event, UpdateFinished)] != [
            event.kl for event in other if isinstance(event, UpdateFinished)
        ]

    def test_reports_are_numbers_that_fit_together(self, config):
        updates = [event for event in train(config) if isinstance(event, UpdateFinished)]
        assert len(updates) >= 2
        for update in updates:
            row = metrics_row(update, None)
            numbers = [value for value in row.values() if isinstance(value, float)]
            assert all(map(math.isfinite, numbers))
            assert update.accepted == row["accepted"] == (update.reject_reason is None)
            assert update.grad_norm > 0
            assert update.kl > 0 if update.accepted else update.kl == 0
        assert any(update.accepted for update in updates)

    def test_without_a_value_for_what_does_not_apply(self, name, config):
        update = next(event for event in train(config) if isinstance(event, UpdateFinished))
        row = set(metrics_row(update, None))
        assert (update.trust_region is not None) == declares(name, "max_kl")
        for metrics, hyperparameters in APPLY.items():
            applies = declares(name, *hyperparameters)
            assert {metric in row for metric in metrics} == {applies}, metrics


class TestStop:
    def test_interrupt_at_any_moment_leaves_the_actor_as_it_was(self, name):
        actor = make_actor("gaussian")
        algorithm = make_algorithm(name, actor, **short(name))
        batch, before = make_batch(actor, 40), actor.parameters.clone()
        calls = []
        algorithm.update(batch, lambda: calls.append(1))
        assert not torch.equal(actor.parameters, before)
        # at the very least before each of the critic's and the actor's costly steps
        assert len(calls) >= (14 if name in BY_PASSES else 12)
        for last in range(1, len(calls) + 1):
            actor.parameters.copy_(before)
            algorithm = make_algorithm(name, actor, **short(name))
            remaining = iter(range(last - 1))

            def interrupt(remaining=remaining):
                if next(remaining, None) is None:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                algorithm.update(batch, interrupt)
            assert torch.equal(actor.parameters, before), f"interrupted at call {last}"

    def test_interrupted_iteration_leaves_all_that_learns_as_it_was(self, config):
        config = dataclasses.replace(
            config, hyperparameters=dataclasses.replace(config.hyperparameters, critic="adam")
        )
        learner = make_learner(config)
        learner.iterate(nothing)
        calls, update = [], learner.algorithm.update
        states = []

        def recorded(batch, interrupt):
            states.append(copy.deepcopy(learner.state()))
            return update(batch, interrupt)

        learner.algorithm.update = recorded

        def interrupt():
            if states:
                calls.append(1)
            if len(calls) == 22:  # after the critic's 20 passes, amid the actor's steps
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            learner.iterate(interrupt)
        after = learner.state()
        for part in ("actor", "critic", "algorithm", "generator"):
            assert same(states[0][part], after[part]), part


@pytest.mark.parametrize("critic", ["gauss_newton", "adam"])
class TestNumbersThatAreNotFinite:
    @pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
    def test_silent_bug_04_advantages_that_overflow_keep_everything_bit_for_bit(
        self, name, critic, bad
    ):
        actor = make_actor("gaussian")
        algorithm = make_algorithm(name, actor, critic=critic, normalize_advantages=False)
        good = make_batch(actor, 30)
        algorithm.update(good, nothing)
        advantages = good.advantages.clone()
        advantages[7] = bad
        actor_before, state = actor.parameters.clone(), algorithm.state()
        stats = algorithm.update(dataclasses.replace(good, advantages=advantages), nothing)
        assert torch.isfinite(actor.parameters).all()
        assert torch.isfinite(critic_of(algorithm)).all()
        if math.isfinite(bad) and stats.reject_reason is None:
            return  # it was one large advantage among others
        assert stats.reject_reason is RejectReason.NOT_FINITE
        assert torch.equal(actor.parameters, actor_before)
        assert (stats.kl, stats.surrogate_gain) == (0.0, 0.0)
        after = algorithm.state()
        for part in state.keys() - {"critic_fit"}:
            assert same(state[part], after[part]), part
        assert algorithm.update(good, nothing).kl > 0

    @pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
    def test_silent_bug_04_targets_that_overflow_keep_the_critic(self, name, critic, bad):
        actor = make_actor("categorical")
        algorithm = make_algorithm(name, actor, critic=critic)
        good = make_batch(actor, 30)
        targets = good.targets.clone()
        targets[3] = bad
        before, state = critic_of(algorithm).clone(), algorithm.state()["critic_fit"]
        algorithm.update(dataclasses.replace(good, targets=targets), nothing)
        assert torch.equal(critic_of(algorithm), before)
        assert same(algorithm.state()["critic_fit"], state)


def leaves(state: dict, path: tuple = ()):
    for key, value in state.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def replaced(state: dict, path: tuple, by: dict) -> dict:
    """`state` with the leaf at `path` taken from `by`."""
    key, *rest = path
    return {**state, key: replaced(state[key], tuple(rest), by[key]) if rest else by[key]}


class TestState:
    FAR = {"learning_rate": 0.1}  # noqa: RUF012
    """Steps that are long enough for a penalty of many of them to be adapted."""

    def begun(self, name, critic):
        """An algorithm after three updates, as state, and how it goes on."""
        actor = make_actor("gaussian")
        hyper = {"critic": critic, "critic_epochs": 2} | short(name)
        if declares(name, "initial_penalty"):
            hyper |= self.FAR
        algorithm = make_algorithm(name, actor, **hyper)
        fresh = algorithm.state()
        for seed in range(3):
            algorithm.update(make_batch(actor, 30, seed=seed), nothing)
        parameters = actor.parameters.clone(), critic_of(algorithm).clone()
        state = copy.deepcopy(algorithm.state())

        def go_on(with_state):
            again = make_actor("gaussian")
            restored = make_algorithm(name, again, seed=9, **hyper)
            again.parameters.copy_(parameters[0])
            critic_of(restored).copy_(parameters[1])
            restored.restore(with_state)
            stats = [restored.update(make_batch(again, 30, seed=s), nothing) for s in (3, 4)]
            return stats, again.parameters, critic_of(restored)

        return fresh, state, go_on

    def test_silent_bug_14_restored_algorithm_goes_on_as_if_nothing_had_happened(self, name):
        _, state, go_on = self.begun(name, "adam")
        first, actor, critic = go_on(state)
        second, actor_again, critic_again = go_on(state)
        assert first == second
        assert torch.equal(actor, actor_again)
        assert torch.equal(critic, critic_again)

    def test_silent_bug_14_every_part_of_the_state_matters(self, name):
        fresh, state, go_on = self.begun(name, "adam")
        whole, actor, critic = go_on(state)
        assert list(leaves(state))
        for path in leaves(state):
            stats, other_actor, other_critic = go_on(replaced(state, path, fresh))
            moved = not torch.equal(other_actor, actor) or not torch.equal(other_critic, critic)
            assert moved or stats != whole, f"{path} does not matter"


class TestWhatAnUpdateTouches:
    @pytest.mark.parametrize("kind", KINDS)
    def test_silent_bug_03_every_actor_parameter_moves_and_no_critic_parameter(self, name, kind):
        actor = make_actor(kind)
        algorithm = make_algorithm(name, actor)
        algorithm._critic_fit.__class__ = type(
            "NoFit",
            (algorithm._critic_fit.__class__,),
            {"__call__": lambda *_, **__: 0.0},
        )
        before, critic = actor.parameters.clone(), critic_of(algorithm).clone()
        assert algorithm.update(make_batch(actor, 40), nothing).reject_reason is None
        assert bool((actor.parameters != before).all())
        assert torch.equal(critic_of(algorithm), critic)

    @pytest.mark.parametrize("rounded", [False, True])
    def test_zero_advantages_move_nothing(self, name, rounded, monkeypatch):
        if rounded:  # as on a processor that rounds rows of a minibatch otherwise than in the batch
            above = torch.tensor(math.inf)
            old = property(lambda surrogate: surrogate._linear.outputs.nextafter(above))
            monkeypatch.setattr(Surrogate, "old", old)
        actor = make_actor("gaussian")
        algorithm = make_algorithm(name, actor)
        if hasattr(algorithm.hyperparameters, "entropy_coef"):
            algorithm.hyperparameters = dataclasses.replace(
                algorithm.hyperparameters, entropy_coef=0.0
            )
        algorithm.update(make_batch(actor, 20), nothing)  # momentum, where there is any
        before = actor.parameters.clone()
        stats = algorithm.update(make_batch(actor, 20, advantages=torch.zeros(20)), nothing)
        assert stats.kl == 0.0  # a penalty has no gradient at the old policy either
        assert stats.reject_reason is RejectReason.ZERO_GRADIENT
        assert torch.equal(actor.parameters, before)


class TestSilentBug01:
    @pytest.mark.parametrize("environment", [Wide, DiscreteWide])
    def test_silent_bug_01_reported_kl_is_the_joint_one_of_the_whole_batch(
        self, name, register, make_config, environment
    ):
        config = make_config(
            register(environment), algorithm=name, hyper={"rollout_steps": 32}, n_envs=4
        )
        learner = make_learner(config)
        update, seen = learner.algorithm.update, []
        learner.algorithm.update = lambda batch, interrupt: (
            seen.append(batch) or update(batch, interrupt)
        )
        widths = (3, *config.hyperparameters.hidden_sizes, learner.spec.output_size)
        moved = 0
        for _ in range(3):
            old = learner.actor.parameters.double().numpy().copy()
            stats = learner.iterate(nothing).stats
            new = learner.actor.parameters.double().numpy()
            kl = independent_kl(old, new, seen[-1].inputs.double().numpy(), widths)
            assert stats.kl == pytest.approx(kl, rel=2e-3, abs=1e-9)
            moved += kl > 1e-5
        assert moved >= 2, "updates that do not move prove nothing"


@pytest.mark.parametrize("count", [1, 2, 7])
class TestSilentBug09:
    def updated(self, name, batch):
        actor = make_actor("gaussian")
        hyper = {"epochs": 2, "minibatches": 1} if name in BY_PASSES else {}
        algorithm = make_algorithm(name, actor, **hyper)
        algorithm.update(batch, nothing)
        return actor.parameters, critic_of(algorithm)

    def test_silent_bug_09_order_of_the_samples_does_not_matter(self, name, count):
        batch = make_batch(make_actor("gaussian"), count)
        fields = ("inputs", "actions", "advantages", "targets", "values")
        flipped = dataclasses.replace(batch, **{f: getattr(batch, f).flip(0) for f in fields})
        for one, other in zip(self.updated(name, batch), self.updated(name, flipped), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)

    def test_silent_bug_09_which_sample_has_which_advantage_does(self, name, count):
        batch = make_batch(make_actor("gaussian"), count)
        permuted = dataclasses.replace(batch, advantages=batch.advantages.roll(1))
        one, other = self.updated(name, batch)[0], self.updated(name, permuted)[0]
        assert torch.equal(one, other) == (count == 1)

    @pytest.mark.parametrize("field", ["advantages", "targets"])
    def test_silent_bug_09_columns_are_refused(self, name, count, field):
        batch = make_batch(make_actor("gaussian"), count)
        wrong = dataclasses.replace(batch, **{field: getattr(batch, field)[:, None]})
        with pytest.raises(ValueError, match=field):
            self.updated(name, wrong)


class TestSilentBug12:
    def test_silent_bug_12_update_starts_at_the_policy_that_collected(self, config):
        config = dataclasses.replace(
            config,
            hyperparameters=dataclasses.replace(
                config.hyperparameters, normalize_observations=True
            ),
        )
        learner = make_learner(config)
        update, found = learner.algorithm.update, []
        for _ in range(4):
            policy = learner.snapshot()

            def compared(batch, interrupt, policy=policy):
                starts = np.ones(len(batch.inputs), dtype=np.bool_)
                inputs = batch.inputs.numpy()
                collected = policy.session(len(inputs)).parameters(inputs, starts)
                now = learner.actor(batch.inputs)
                distribution = learner.actor.distribution
                kl = distribution.kl(old=torch.from_numpy(collected).double(), new=now.double())
                found.append((float(kl.max()), Surrogate(learner.actor, batch, nothing)))
                assert found[-1][1].kl_and_gain() == (0.0, 0.0)
                assert found[-1][1].kl_and_gain("max") == (0.0, 0.0)
                return update(batch, interrupt)

            learner.algorithm.update = compared
            learner.iterate(nothing)
        assert len(found) == 4
        assert max(kl for kl, _ in found) < 1e-10
