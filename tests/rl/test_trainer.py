"""A run as a stream of events: what it promises whoever reads it."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from trpotui.config import FIXED_WHILE_RUNNING, RunConfig, field_names
from trpotui.errors import EnvironmentFaultError, RequestError, RunError
from trpotui.events import (
    CheckpointSaved,
    EpisodesFinished,
    EvaluationFinished,
    Notice,
    RejectReason,
    RunFinished,
    RunStarted,
    StopReason,
    UpdateFinished,
    metrics_row,
)
from trpotui.rl import collector
from trpotui.rl.acting import Session
from trpotui.rl.algorithms.trpo import Trpo, TrpoHyperparameters
from trpotui.rl.control import Control
from trpotui.rl.environments import FEWEST_NATIVE, make_environments
from trpotui.rl.learner import Learner
from trpotui.rl.line_search import line_search
from trpotui.rl.natural_gradient import natural_step
from trpotui.rl.surrogate import Surrogate
from trpotui.rl.trainer import check, train

CPU = torch.device("cpu")


class Drift(gymnasium.Env):
    """A point pushed left or right; every copy that was made is remembered until it is closed."""

    observation_space = spaces.Box(-100, 100, (2,), np.float32)
    open: ClassVar[list[gymnasium.Env]] = []
    made: ClassVar[list[gymnasium.Env]] = []

    def __init__(self, *, continuous: bool = False, length: int = 7, most: float = 2.5) -> None:
        self.action_space = (
            spaces.Box(-1, 1, (2,), np.float32) if continuous else spaces.Discrete(2)
        )
        self._length, self._most, self.total = length, most, 0
        self.number = len(self.made)
        self.made.append(self)
        self.open.append(self)

    def _observation(self):
        return np.array([self._place, self._t], np.float32)

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._t, self._place = 0, float(self.np_random.normal())
        return self._observation(), {}

    def step(self, action):
        self._t += 1
        self.total += 1
        push = float(np.asarray(action).reshape(-1)[0])
        self._place += push - 0.4 + 0.1 * float(self.np_random.normal())
        reward = -abs(self._place)
        terminated = self._place > self._most
        return self._observation(), reward, terminated, self._t >= self._length, {}

    def close(self):
        self.open.remove(self)


class Odd(Drift):
    """Actions of a kind that no policy here has."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = spaces.Text(2)


@pytest.fixture(autouse=True)
def _forget_copies():
    Drift.open.clear()
    Drift.made.clear()


class Shelf:
    """A store in memory."""

    def __init__(self) -> None:
        self.rows: list = []
        self.saved: list = []
        self.best: list = []
        self.checkpoints: list = []

    def append_metrics(self, row):
        self.rows.append(row)

    def save_policy(self, saved, *, best):
        self.saved.append(saved)
        if best:
            self.best.append(saved)

    def save_checkpoint(self, state):
        self.checkpoints.append(state)


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def timeless(events):
    """Events without the two values that depend on the clock."""
    return [
        dataclasses.replace(
            event,
            **{
                name: 0.0
                for name in ("seconds", "steps_per_second")
                if name in {field.name for field in dataclasses.fields(event)}
            },
        )
        for event in events
    ]


def make_learner(config: RunConfig) -> Learner:
    environments = make_environments(
        config.environment_id, config.environment_kwargs, n_envs=config.n_envs
    )
    return Learner(config, environments, CPU)


def nothing() -> None:
    """An interrupt that never comes."""


VARIANTS = {
    "discrete": {},
    "continuous": {"environment_kwargs": {"continuous": True}},
    "adam": {"hyper": {"critic": "adam"}},
    "normalised": {"hyper": {"normalize_observations": True}},
}


@pytest.fixture(params=VARIANTS)
def variant(request, register, make_config) -> RunConfig:
    return make_config(register(Drift), total_steps=160, **VARIANTS[request.param])


class TestSeeds:
    def test_same_seed_gives_the_same_values(self, variant):
        config = dataclasses.replace(variant, eval_every=2, eval_episodes=3)
        torch.manual_seed(1)
        np.random.seed(1)  # the global state must not matter
        first = timeless(train(config))
        torch.manual_seed(2)
        np.random.seed(2)
        assert timeless(train(config)) == first

    def test_another_seed_gives_other_values(self, variant):
        runs = [timeless(train(dataclasses.replace(variant, seed=seed))) for seed in (0, 1, 2)]
        kls = [tuple(event.kl for event in of(UpdateFinished, run)) for run in runs]
        returns = [tuple(event.returns for event in of(EpisodesFinished, run)) for run in runs]
        assert len(set(kls)) == len(set(returns)) == 3

    def test_evaluating_does_not_change_what_is_learned(self, variant):
        quiet = of(UpdateFinished, timeless(train(variant)))
        config = dataclasses.replace(variant, eval_every=1, eval_episodes=3)
        assert of(UpdateFinished, timeless(train(config))) == quiet


class TestStream:
    def test_events_come_in_their_order_and_counters_add_up(self, variant):
        events = list(train(dataclasses.replace(variant, eval_every=2, eval_episodes=3)))
        assert isinstance(events[0], RunStarted)
        assert isinstance(events[-1], RunFinished)
        assert len(of(RunStarted, events)) == len(of(RunFinished, events)) == 1
        episodes = 0
        updates = of(UpdateFinished, events)
        for number, update in enumerate(updates, start=1):
            before = events[events.index(update) - 1]
            if isinstance(before, EpisodesFinished):
                episodes += len(before.returns)
                assert len(before.lengths) == len(before.returns)
                assert update.return_mean == pytest.approx(np.mean(before.returns))
                assert update.return_min == min(before.returns)
                assert update.return_max == max(before.returns)
                assert update.length_mean == pytest.approx(np.mean(before.lengths))
                assert before.steps == update.steps
            assert update.update == number
            assert update.steps == number * 32
            assert update.episodes == episodes
        assert episodes > 0
        finished = events[-1]
        assert finished.reason is StopReason.STEPS_REACHED
        assert (finished.update, finished.steps, finished.episodes) == (5, 160, episodes)
        evaluations = of(EvaluationFinished, events)
        assert [event.update for event in evaluations] == [2, 4, 5]
        assert finished.best_mean == max(event.mean for event in evaluations)
        seconds = [event.seconds for event in updates]
        assert seconds == sorted(seconds)

    def test_rollout_without_an_ended_episode_reports_none(self, register, make_config):
        config = make_config(
            register(Drift), environment_kwargs={"length": 10**6}, hyper={"rollout_steps": 1}
        )
        events = list(train(dataclasses.replace(config, total_steps=2)))
        assert of(EpisodesFinished, events) == []
        (update,) = of(UpdateFinished, events)
        assert update.return_mean is update.return_min is update.length_mean is None

    def test_run_started_describes_the_run(self, variant):
        started = next(iter(train(variant)))
        learner = make_learner(variant)
        assert started.steps_per_update == 32
        assert started.actor_parameters == learner.actor.parameters.numel()
        assert started.critic_parameters == learner.critic.parameters.numel()
        assert (started.first_update, started.first_step) == (0, 0)
        assert started.device == "cpu"

    @pytest.mark.parametrize(
        ("total", "steps"),
        [(1, 32), (31, 32), (32, 32), (33, 32), (63, 32), (64, 64), (95, 64), (96, 96)],
    )
    def test_steps_never_exceed_the_total_but_for_the_first_update(
        self, register, make_config, total, steps
    ):
        events = list(train(make_config(register(Drift), total_steps=total)))
        assert events[-1].steps == steps
        assert of(UpdateFinished, events)[-1].steps == steps

    def test_reset_rows_are_not_counted_as_steps(self, make_config):
        config = make_config(
            "CartPole-v1", hyper={"rollout_steps": 32}, n_envs=FEWEST_NATIVE, total_steps=1000
        )
        events = list(train(config))
        episodes = sum(len(event.returns) for event in of(EpisodesFinished, events))
        rows = 32 * FEWEST_NATIVE * events[-1].update
        # each ended episode costs a row, unless it ended with the last rollout
        assert rows - episodes <= events[-1].steps <= rows - episodes + FEWEST_NATIVE
        assert 1000 - 32 * FEWEST_NATIVE < events[-1].steps <= 1000

    def test_hyperparameters_of_another_algorithm_are_refused(self):
        config = RunConfig(environment_id="CartPole-v1")  # those that all algorithms share
        with pytest.raises(RequestError, match="trpo needs TrpoHyperparameters"):
            next(iter(train(config)))

    def test_check_finds_what_is_wrong_and_leaves_nothing_open(self, register, make_config):
        config = make_config(register(Drift))
        check(config)
        with pytest.raises(RequestError, match="cuda:99"):
            check(dataclasses.replace(config, device="cuda:99"))
        with pytest.raises(RequestError, match="did you mean"):
            check(dataclasses.replace(config, environment_id="CartPol-v1"))
        with pytest.raises(RequestError, match="not supported"):
            check(make_config(register(Odd)))
        assert len(Drift.made) == 2
        assert Drift.open == []

    @pytest.mark.parametrize(
        "wrong",
        [{"environment_id": "CartPol-v1"}, {"device": "cuda:99"}, {"algorithm": "trop"}],
    )
    def test_request_that_cannot_be_met_is_refused_before_anything_is_trained(
        self, make_config, wrong
    ):
        config = dataclasses.replace(make_config("CartPole-v1"), **wrong)
        with pytest.raises(RequestError):
            next(iter(train(config)))


class TestWhatAnUpdateTouches:
    def test_silent_bug_03_every_actor_parameter_moves_and_no_critic_parameter(self, variant):
        learner = make_learner(variant)
        batches = []
        learner.algorithm.update = lambda batch, _: batches.append(batch) or stop()

        def stop():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            learner.iterate(nothing)
        actor, critic = learner.actor.parameters.clone(), learner.critic.parameters.clone()
        surrogate = Surrogate(learner.actor, batches[0], nothing)
        step = natural_step(
            surrogate.gradient(), surrogate.fisher_product, max_kl=0.01, iterations=10, damping=0.1
        )
        search = line_search(
            learner.actor.parameters,
            step.full_step,
            surrogate.kl_and_gain,
            max_kl=0.01,
            backtrack_factor=0.8,
            max_backtracks=10,
        )
        assert search.accepted
        assert bool((learner.actor.parameters != actor).all())
        assert torch.equal(learner.critic.parameters, critic)

    def test_silent_bug_03_whole_update_moves_every_parameter_of_both(self, variant):
        learner = make_learner(variant)
        actor, critic = learner.actor.parameters.clone(), learner.critic.parameters.clone()
        stats = learner.iterate(nothing).stats
        assert stats.trust_region.accepted
        assert bool((learner.actor.parameters != actor).all())
        assert bool((learner.critic.parameters != critic).all())

    def test_silent_bug_04_refused_step_keeps_the_actor_bit_for_bit(self, register, make_config):
        # hardly a full step gains what the linear model promises, over so large a distance
        config = make_config(
            register(Drift), hyper={"acceptance_ratio": 0.999, "max_backtracks": 0, "max_kl": 0.5}
        )
        learner = make_learner(config)
        reasons = set()
        for _ in range(12):
            actor, critic = learner.actor.parameters.clone(), learner.critic.parameters.clone()
            stats = learner.iterate(nothing).stats
            step = stats.trust_region
            assert step.accepted == (not torch.equal(learner.actor.parameters, actor))
            assert not torch.equal(learner.critic.parameters, critic)
            if not step.accepted:
                reasons.add(step.reject_reason)
                assert (stats.kl, stats.surrogate_gain, step.step_fraction) == (0.0, 0.0, 0.0)
        assert reasons
        assert reasons <= {RejectReason.NO_GAIN, RejectReason.KL_TOO_LARGE}

    @pytest.mark.parametrize("critic", ["gauss_newton", "adam"])
    def test_silent_bug_04_interrupt_at_any_moment_leaves_the_actor_as_it_was(
        self, register, make_config, critic
    ):
        config = make_config(register(Drift), hyper={"critic": critic, "critic_epochs": 3})
        learner = make_learner(config)
        batches = []
        update = learner.algorithm.update
        learner.algorithm.update = lambda batch, interrupt: (
            batches.append(batch) or update(batch, interrupt)
        )
        calls = []
        learner.iterate(lambda: calls.append(1))
        during_update = len(calls) - 16  # the rest were the steps of the rollout
        assert during_update > 11
        actor = learner.actor.parameters.clone()
        moved = []
        for last in range(1, during_update + 1):
            remaining = iter(range(last - 1))

            def interrupt(remaining=remaining):
                if next(remaining, None) is None:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                update(batches[0], interrupt)
            if not torch.equal(learner.actor.parameters, actor):
                moved.append(last)
                learner.actor.parameters.copy_(actor)
        assert moved == []

    def test_reported_step_is_the_one_that_was_taken(self, variant):
        for update in of(UpdateFinished, train(variant)):
            step = update.trust_region
            assert update.kl == step.kl <= step.max_kl == update.max_kl == 0.01
            assert update.surrogate_gain == step.surrogate_gain
            assert step.step_scale == pytest.approx((2 * 0.01 / step.x_h_x) ** 0.5)
            assert len(step.cg_residuals) <= 11
            if step.accepted:
                taken = step.tries[-1]
                assert taken.reject_reason is None
                assert (taken.kl, taken.gain) == (step.kl, step.surrogate_gain)
                assert step.expected_gain == pytest.approx(
                    taken.fraction * step.step_scale * step.g_dot_x
                )
            assert all(one.reject_reason is not None for one in step.tries[:-1])

    def test_tries_are_refused_for_the_reasons_that_the_settings_give(self, register, make_config):
        ratio, max_kl = 0.9, 0.3
        hyper = {"acceptance_ratio": ratio, "max_kl": max_kl, "cg_damping": 1e-3}
        config = make_config(register(Drift), hyper=hyper, n_envs=4, total_steps=64 * 20)
        reasons, shortened = set(), 0
        for update in of(UpdateFinished, train(config)):
            step = update.trust_region
            full_gain = step.step_scale * step.g_dot_x
            for one in step.tries:
                too_little = one.gain <= ratio * one.fraction * full_gain
                expected = RejectReason.NO_GAIN if too_little else None
                if one.kl > max_kl:
                    expected = RejectReason.KL_TOO_LARGE
                assert one.reject_reason is expected
                reasons.add(expected)
            assert step.expected_gain == pytest.approx(step.step_fraction * full_gain)
            shortened += 0 < step.step_fraction < 1
        assert reasons == {None, RejectReason.NO_GAIN, RejectReason.KL_TOO_LARGE}
        assert shortened > 0


class TestSilentBug12:
    def test_silent_bug_12_policy_to_update_is_the_one_that_collected(self, variant):
        learner = make_learner(variant)
        update, distances = learner.algorithm.update, []
        for _ in range(6):
            policy = learner.snapshot()  # with the moments of before the rollout

            def compared(batch, interrupt, policy=policy):
                session = policy.session(len(batch.inputs))
                none = np.zeros(len(batch.inputs), dtype=np.bool_)
                collected = torch.from_numpy(session.parameters(batch.inputs.numpy(), none))
                current = learner.actor(batch.inputs)
                kl = learner.actor.distribution.kl(old=collected.double(), new=current.double())
                distances.append(float(kl.max()))
                return update(batch, interrupt)

            learner.algorithm.update = compared
            learner.iterate(nothing)
        assert len(distances) == 6
        assert max(distances) < 1e-10

    def test_silent_bug_12_inputs_are_those_of_the_moments_before_the_rollout(
        self, register, make_config
    ):
        config = make_config(register(Drift), hyper={"normalize_observations": True})
        learner = make_learner(config)
        learner.iterate(nothing)
        seen = []
        update = learner.algorithm.update
        learner.algorithm.update = lambda batch, interrupt: (
            seen.append(batch.inputs.numpy().copy()) or update(batch, interrupt)
        )
        before = learner.moments
        learner.iterate(nothing)
        after = learner.moments
        assert after.count == before.count + 32
        raw = seen[0].astype(np.float64) * np.sqrt(before.variance) + before.mean
        merged = before.merged(raw.astype(np.float32))
        np.testing.assert_allclose(merged.mean, after.mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(merged.variance, after.variance, rtol=1e-5)

    def test_silent_bug_12_actor_that_changed_during_the_rollout_is_noticed(self, variant):
        learner = make_learner(variant)
        learner.iterate(nothing)
        calls = []

        def tamper():
            calls.append(1)
            if len(calls) == 9:
                learner.actor.parameters.add_(0.1)

        critic = learner.critic.parameters.clone()
        with pytest.raises(RunError, match="not the one that collected"):
            learner.iterate(tamper)
        assert torch.equal(learner.critic.parameters, critic), "it was learned from"

    @pytest.mark.parametrize("drift", [1.1, float("nan")])
    def test_silent_bug_12_inputs_that_drift_while_acting_end_the_run(
        self, variant, monkeypatch, drift
    ):
        honest = Session.parameters

        def drifted(self, inputs, starts):
            return honest(self, np.float32(drift) * inputs + np.float32(drift), starts)

        monkeypatch.setattr(Session, "parameters", drifted)
        # heads start near zero, where any input gives nearly the same distribution
        config = dataclasses.replace(
            variant, hyperparameters=dataclasses.replace(variant.hyperparameters, max_kl=0.05)
        )
        with pytest.raises(RunError, match="not the one that collected"):
            list(train(config))


class TestEnvironmentsAreClosed:
    def test_after_a_whole_run_with_evaluations(self, variant):
        list(train(dataclasses.replace(variant, eval_every=1, eval_episodes=3)))
        assert len(Drift.made) == 2 + 3
        assert Drift.open == []

    @pytest.mark.parametrize("events", [1, 2, 4])
    def test_when_the_reader_walks_away(self, variant, events):
        run = train(dataclasses.replace(variant, eval_every=1, eval_episodes=3))
        for _ in range(events):
            next(run)
        assert Drift.open
        run.close()
        assert Drift.open == []

    def test_when_the_environment_cannot_be_learned(self, register, make_config):
        with pytest.raises(RequestError, match="not supported"):
            list(train(make_config(register(Odd))))
        assert len(Drift.made) == 2
        assert Drift.open == []

    def test_torch_threads_are_given_back(self, register, make_config):
        before = torch.get_num_threads()
        run = train(make_config(register(Drift), torch_threads=before + 1))
        next(run)
        assert torch.get_num_threads() == before + 1
        run.close()
        assert torch.get_num_threads() == before


class Failing(Drift):
    """Goes wrong at one step of one copy, or in every evaluation."""

    def __init__(self, *, at: int = 0, in_evaluation: bool = False) -> None:
        super().__init__()
        self._at, self._in_evaluation = at, in_evaluation

    def step(self, action):
        if self.total + 1 == self._at or (self._in_evaluation and self.number >= 2):
            raise RuntimeError("the simulator is gone")
        return super().step(action)


class TestEnvironmentFaults:
    def test_fault_in_a_later_update_saves_what_was_learned_first(self, register, make_config):
        environment_id = register(Failing)
        shelf, events = Shelf(), []
        config = make_config(
            environment_id, environment_kwargs={"at": 16 * 2 + 5}, total_steps=10_000
        )
        with pytest.raises(EnvironmentFaultError, match=f"{environment_id}: step 37 .*gone"):
            events.extend(train(config, store=shelf))
        assert Drift.open == []
        assert [row["update"] for row in shelf.rows] == [1, 2]
        assert (shelf.saved[-1].updates, shelf.saved[-1].steps) == (2, 64)
        assert shelf.checkpoints[-1]["update"] == 2

    def test_fault_in_the_first_rollout_leaves_nothing_to_save(self, register, make_config):
        shelf = Shelf()
        config = make_config(register(Failing), environment_kwargs={"at": 3})
        with pytest.raises(EnvironmentFaultError):
            list(train(config, store=shelf))
        assert shelf.saved == shelf.checkpoints == shelf.rows == []

    @pytest.mark.parametrize("eval_every", [2, 10**6])
    def test_fault_in_an_evaluation_saves_what_was_learned_first(
        self, register, make_config, eval_every
    ):
        shelf = Shelf()
        config = make_config(
            register(Failing), environment_kwargs={"in_evaluation": True}, eval_every=eval_every
        )
        with pytest.raises(EnvironmentFaultError, match="gone"):
            list(train(config, store=shelf))
        assert Drift.open == []
        assert shelf.saved[-1].updates == 2
        assert shelf.checkpoints[-1]["update"] == 2


class Full(Shelf):
    """A store whose disk is full: for the methods named, from one call to another."""

    def __init__(self, *methods: str, until: int = 10**9) -> None:
        super().__init__()
        for method in methods:
            setattr(self, method, self._failing(method, until))

    def _failing(self, method, until):
        working, calls = getattr(self, method), []

        def call(*args, **kwargs):
            calls.append(1)
            if len(calls) <= until:
                raise OSError(28, "No space left on device")
            working(*args, **kwargs)

        return call


METHODS = ["append_metrics", "save_policy", "save_checkpoint"]


class TestStore:
    def test_metrics_are_kept_once_for_every_update(self, variant):
        shelf = Shelf()
        config = dataclasses.replace(variant, eval_every=2, eval_episodes=3)
        events = list(train(config, store=shelf))
        evaluations = {event.update: event for event in of(EvaluationFinished, events)}
        expected = [
            metrics_row(update, evaluations.get(update.update))
            for update in of(UpdateFinished, events)
        ]
        assert shelf.rows == expected
        assert [row["update"] for row in shelf.rows if "eval_return" in row] == [2, 4, 5]

    def test_policies_of_the_best_evaluations_and_the_last_are_kept(self, variant):
        shelf = Shelf()
        config = dataclasses.replace(variant, eval_every=1, eval_episodes=3)
        events = list(train(config, store=shelf))
        best = [event for event in of(EvaluationFinished, events) if event.is_best]
        means = [event.mean for event in best]
        assert means == sorted(set(means))
        assert [(one.updates, one.score.mean) for one in shelf.best] == [
            (event.update, event.mean) for event in best
        ]
        last = shelf.saved[-1]
        assert (last.updates, last.steps, last.seed) == (5, 160, config.seed)
        assert last.algorithm == "trpo"
        assert last.config["hyperparameters"]["max_kl"] == 0.01
        assert isinstance(events[-2], CheckpointSaved)

    def test_saved_policy_is_not_changed_by_later_updates(self, variant):
        shelf, saved = Shelf(), []
        keep = shelf.save_policy
        shelf.save_policy = lambda policy, *, best: (
            saved.append(policy.policy.to_bytes()) or keep(policy, best=best)
        )
        config = dataclasses.replace(variant, eval_every=1, eval_episodes=3)
        list(train(dataclasses.replace(config, checkpoint_updates=1), store=shelf))
        assert len(saved) > 5
        assert [one.policy.to_bytes() for one in shelf.saved] == saved

    def test_silent_bug_14_kept_checkpoint_is_not_changed_by_later_updates(self, variant):
        shelf, copies = Shelf(), []
        shelf.save_checkpoint = lambda state: (
            shelf.checkpoints.append(state) or copies.append(plain(state))
        )
        list(train(dataclasses.replace(variant, checkpoint_updates=1), store=shelf))
        assert len(copies) == 6
        assert [plain(state) for state in shelf.checkpoints] == copies

    def test_checkpoints_are_made_as_often_as_asked(self, variant):
        often, rarely = Shelf(), Shelf()
        list(train(dataclasses.replace(variant, checkpoint_updates=1), store=often))
        events = list(train(variant, store=rarely))
        assert [state["update"] for state in often.checkpoints] == [1, 2, 3, 4, 5, 5]
        assert [state["update"] for state in rarely.checkpoints] == [5]
        assert of(CheckpointSaved, events) == [CheckpointSaved(update=5, steps=160)]

    def test_no_store_means_no_checkpoints(self, variant):
        events = list(train(dataclasses.replace(variant, checkpoint_updates=1)))
        assert of(CheckpointSaved, events) == []

    def test_full_disk_is_a_notice_and_the_run_goes_on_to_an_error_at_its_end(self, variant):
        events = []
        with pytest.raises(RunError, match="could not be saved"):
            read_into(events, train(variant, store=Full(*METHODS)))
        assert len(of(UpdateFinished, events)) == 5
        messages = [notice.message for notice in of(Notice, events)]
        assert len(messages) == len(set(messages)) == 3  # metrics, policy, checkpoint: once each
        assert all("No space left on device" in message for message in messages)
        assert of(CheckpointSaved, events) == []
        assert of(RunFinished, events) == []
        assert Drift.open == []

    @pytest.mark.parametrize("method", ["save_policy", "save_checkpoint"])
    def test_last_policy_or_checkpoint_that_cannot_be_saved_is_an_error(
        self, register, make_config, method
    ):
        events, config = [], make_config(register(Drift), total_steps=160)
        with pytest.raises(RunError, match="could not be saved"):
            read_into(events, train(config, store=Full(method)))
        assert len(of(UpdateFinished, events)) == 5
        assert of(Notice, events)

    def test_metrics_that_cannot_be_kept_are_a_notice_only(self, variant):
        shelf = Full("append_metrics")
        events = list(train(variant, store=shelf))
        assert len(of(Notice, events)) == 1
        assert events[-1].reason is StopReason.STEPS_REACHED
        assert shelf.saved[-1].updates == 5

    def test_disk_that_has_room_again_is_no_error(self, variant):
        shelf = Full(*METHODS, until=1)
        events = list(train(dataclasses.replace(variant, checkpoint_updates=1), store=shelf))
        assert of(Notice, events)
        assert isinstance(events[-1], RunFinished)
        assert shelf.checkpoints[-1]["update"] == shelf.saved[-1].updates == 5


def read_into(events: list, run):
    """Keep what a run said before it raised."""
    for event in run:
        events.append(event)


def plain(state):
    """A state as text, to compare it with itself later."""
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    return state.tolist() if isinstance(state, torch.Tensor) else state


class Graded(gymnasium.Env):
    """One step whose reward depends on the seed alone: other episodes, other scores."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, *, evaluation: float = 10.0, confirmation: float = 10.0) -> None:
        self._rewards = {1: evaluation, 2: confirmation}

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        if seed is not None:
            self._reward = self._rewards.get(seed // 1_000_000, 0.0)
        return np.zeros(1, np.float32), {}

    def step(self, _):
        return np.zeros(1, np.float32), self._reward, True, False, {}


@pytest.fixture
def graded(register, make_config):
    def made(*, evaluation, confirmation, **run):
        return make_config(
            register(Graded, reward_threshold=5.0),
            environment_kwargs={"evaluation": evaluation, "confirmation": confirmation},
            **({"eval_every": 2, "eval_episodes": 3, "confirm_episodes": 8} | run),
            total_steps=320,
        )

    return made


class TestSolved:
    def test_confirmed_evaluation_ends_the_run(self, graded):
        shelf = Shelf()
        events = list(train(graded(evaluation=10.0, confirmation=5.0), store=shelf))
        (evaluation,) = of(EvaluationFinished, events)
        assert (evaluation.update, evaluation.episodes, evaluation.mean) == (2, 8, 5.0)
        assert evaluation.solved
        assert evaluation.is_best
        finished = events[-1]
        assert (finished.reason, finished.update) == (StopReason.SOLVED, 2)
        assert (finished.best_mean, finished.best_episodes) == (5.0, 8)
        assert shelf.best[-1].score.episodes == 8
        assert events[0].solved_at == 5.0

    def test_evaluation_that_is_not_confirmed_goes_on(self, graded):
        events = list(train(graded(evaluation=10.0, confirmation=4.9)))
        evaluations = of(EvaluationFinished, events)
        assert len(evaluations) == 5
        assert not any(event.solved for event in evaluations)
        # the confirmation is what counts: a lucky 10 must not become the best score
        assert all((event.mean, event.episodes) == (4.9, 8) for event in evaluations)
        assert events[-1].reason is StopReason.STEPS_REACHED
        assert events[-1].best_mean == 4.9

    def test_evaluation_below_the_threshold_needs_no_confirmation(self, graded):
        events = list(train(graded(evaluation=4.9, confirmation=10.0)))
        assert all(event.episodes == 3 for event in of(EvaluationFinished, events))
        assert events[-1].reason is StopReason.STEPS_REACHED

    def test_solved_run_goes_on_when_asked_to(self, graded):
        config = graded(evaluation=10.0, confirmation=10.0, stop_when_solved=False)
        events = list(train(config))
        assert all(event.solved for event in of(EvaluationFinished, events))
        assert events[-1].reason is StopReason.STEPS_REACHED
        assert events[-1].update == 10

    def test_environment_without_a_threshold_is_never_solved(self, register, make_config):
        events = list(train(make_config(register(Graded), eval_every=1, eval_episodes=3)))
        assert events[0].solved_at is None
        assert not any(event.solved for event in of(EvaluationFinished, events))

    def test_evaluations_can_be_turned_off(self, graded):
        config = graded(evaluation=10.0, confirmation=10.0, eval_every=0)
        events = list(train(config))
        assert of(EvaluationFinished, events) == []
        assert events[-1].best_mean is None


class Slot(gymnasium.Env):
    """No memory and no luck of its own: what happens depends on the actions alone.

    So a run that starts it anew goes on exactly where the one before it stopped.
    """

    observation_space = spaces.Box(-10, 10, (2,), np.float32)

    def __init__(self, *, continuous: bool = False) -> None:
        self.action_space = (
            spaces.Box(-1, 1, (1,), np.float32) if continuous else spaces.Discrete(3)
        )

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        return np.array([3.0, -1.0], np.float32), {}

    def step(self, action):
        reward = -((float(np.asarray(action).reshape(-1)[0]) - 0.7) ** 2)
        return np.array([4.0, 1.0], np.float32), reward, True, False, {}


class TestResume:
    def config(self, register, make_config, **changed) -> RunConfig:
        values = {
            "hyper": {
                "critic": "adam",
                "normalize_observations": True,
                "normalize_rewards": True,
                "rollout_steps": 8,
                "max_kl": 0.003,
            },
            "total_steps": 16 * 6,
        }
        return make_config(register(Slot), **(values | changed))

    def first_half(self, config: RunConfig) -> dict:
        """The checkpoint after three of the six updates, with a hyperparameter changed before."""
        shelf, control = Shelf(), Control()
        control.change({"max_kl": 0.02})
        list(train(dataclasses.replace(config, total_steps=16 * 3), control, shelf))
        return shelf.checkpoints[-1]

    def whole(self, config: RunConfig, **arguments):
        """Updates of a run, and its last checkpoint, times aside."""
        shelf, control = Shelf(), Control()
        if not arguments:
            control.change({"max_kl": 0.02})
        events = timeless(train(config, control, shelf, **arguments))
        last = plain(shelf.checkpoints[-1])
        del last["seconds"]
        return of(UpdateFinished, events), last

    @pytest.mark.parametrize("continuous", [False, True])
    @pytest.mark.parametrize("critic", ["gauss_newton", "adam"])
    def test_silent_bug_14_two_halves_are_the_whole(
        self, register, make_config, continuous, critic
    ):
        config = self.config(
            register,
            make_config,
            hyper={
                "critic": critic,
                "rollout_steps": 8,
                "normalize_observations": True,
                "normalize_rewards": True,
            },
            environment_kwargs={"continuous": continuous},
        )
        updates, last = self.whole(config)
        state = self.first_half(config)
        resumed, resumed_last = self.whole(config, resume_from=state)
        assert [update.update for update in resumed] == [4, 5, 6]
        assert resumed == updates[3:]
        assert resumed_last == last

    @pytest.mark.parametrize(
        "dropped",
        [
            "actor",
            "critic",
            "algorithm",
            "hyperparameters",
            "moments",
            "history",
            "rng",
            "generator",
        ],
    )
    def test_silent_bug_14_every_part_of_the_learner_matters(self, register, make_config, dropped):
        config = self.config(register, make_config)
        updates, _ = self.whole(config)
        state = self.first_half(config)
        shelf = Shelf()
        list(train(dataclasses.replace(config, seed=1, total_steps=1), store=shelf))
        # as if this part had not been saved: that of a run that has hardly begun
        other = shelf.checkpoints[-1]["learner"]
        assert set(state["learner"]) == set(other)
        if dropped == "moments":
            other["moments"] = {
                "mean": torch.zeros(2, dtype=torch.float64),
                "variance": torch.ones(2, dtype=torch.float64),
                "count": 0.0,
            }
        state["learner"][dropped] = other[dropped]
        resumed, _ = self.whole(config, resume_from=state)
        assert resumed != updates[3:]

    def test_all_parts_of_the_learner_are_covered(self, register, make_config):
        state = self.first_half(self.config(register, make_config))
        assert set(state["learner"]) == {
            "actor", "critic", "algorithm", "hyperparameters", "moments", "history", "rng",
            "generator", "experience",
        }  # fmt: skip

    @pytest.mark.parametrize("part", ["outcomes", "returns"])
    def test_silent_bug_14_every_part_of_the_history_is_restored(self, register, make_config, part):
        config = self.config(register, make_config)
        history = self.first_half(config)["learner"]["history"]
        fresh = make_learner(config).state()["history"]
        assert set(history) == set(fresh) == {"outcomes", "returns"}
        assert history[part] != fresh[part]
        learner = make_learner(config)
        learner.restore(self.first_half(config)["learner"])
        assert learner.state()["history"] == history

    def test_counters_and_the_best_score_go_on(self, register, make_config):
        config = make_config(register(Drift), eval_every=2, eval_episodes=3, total_steps=32 * 4)
        shelf = Shelf()
        first = list(train(config, store=shelf))
        state = shelf.checkpoints[-1]
        longer = dataclasses.replace(config, total_steps=32 * 7)
        events = list(train(longer, resume_from=state))
        started, updates = events[0], of(UpdateFinished, events)
        assert (started.first_update, started.first_step) == (4, 128)
        assert [update.update for update in updates] == [5, 6, 7]
        assert [update.steps for update in updates] == [160, 192, 224]
        seen = len(of(EpisodesFinished, events)[0].returns)
        assert updates[0].episodes == first[-1].episodes + seen
        assert updates[0].seconds > first[-1].seconds > 0
        best = max(event.mean for event in of(EvaluationFinished, [*first, *events]))
        assert events[-1].best_mean == best
        for event in of(EvaluationFinished, events):
            assert not event.is_best or event.mean > first[-1].best_mean

    def test_best_score_of_before_is_not_beaten_by_less(self, register, make_config):
        config = make_config(register(Drift), eval_every=1, eval_episodes=3)
        shelf = Shelf()
        list(train(config, store=shelf))
        state = shelf.checkpoints[-1]
        state["best"] = {"episodes": 3, "mean": 1e6, "std": 0.5}
        longer = dataclasses.replace(config, total_steps=32 * 5)
        events = list(train(longer, resume_from=state))
        assert [event.is_best for event in of(EvaluationFinished, events)] == [False] * 3
        finished = events[-1]
        assert (finished.best_mean, finished.best_std, finished.best_episodes) == (1e6, 0.5, 3)

    def test_finished_run_has_nothing_to_resume(self, register, make_config):
        config = make_config(register(Drift), total_steps=64)
        shelf = Shelf()
        list(train(config, store=shelf))
        events = list(train(config, resume_from=shelf.checkpoints[-1]))
        assert of(UpdateFinished, events) == []
        assert (events[-1].reason, events[-1].update) == (StopReason.STEPS_REACHED, 2)

    def test_resumed_policy_is_the_saved_one(self, register, make_config):
        config = make_config(register(Drift), hyper={"normalize_observations": True})
        shelf = Shelf()
        list(train(config, store=shelf))
        control = Control()
        future = control.snapshot()
        longer = dataclasses.replace(config, total_steps=1000)
        run = train(longer, control, resume_from=shelf.checkpoints[-1])
        next(run)  # started
        next(run)  # the snapshot is served before the first update
        run.close()
        assert future.result(timeout=0).to_bytes() == shelf.saved[-1].policy.to_bytes()


class TestWholeEpisodes:
    def config(self, register, make_config, *, total_episodes=0, n_envs=3, **hyper) -> RunConfig:
        return make_config(
            register(Drift),
            hyper={"rollout_episodes": 2} | hyper,
            n_envs=n_envs,
            total_steps=10**6 if total_episodes else 200,
            total_episodes=total_episodes,
        )

    def test_episodes_that_are_told_are_those_that_were_learned_from(self, register, make_config):
        batches = []
        config = self.config(register, make_config)
        learner = make_learner(config)
        update = learner.algorithm.update
        learner.algorithm.update = lambda batch, interrupt: (
            batches.append(batch) or update(batch, interrupt)
        )
        for _ in range(5):
            iteration = learner.iterate(nothing)
            assert len(iteration.returns) == 6
            rows = batches[-1].inputs.numpy()  # place, and steps since the beginning
            assert iteration.steps == len(rows) == sum(iteration.lengths)
            assert (rows[:, 1] == 0).sum() == 6

    def test_steps_of_an_update_are_not_known_and_those_of_the_run_add_up(
        self, register, make_config
    ):
        events = list(train(self.config(register, make_config)))
        assert events[0].steps_per_update is None
        lengths, updates = of(EpisodesFinished, events), of(UpdateFinished, events)
        assert [update.episodes for update in updates] == [6 * (k + 1) for k in range(len(updates))]
        total = np.cumsum([sum(event.lengths) for event in lengths])
        assert [update.steps for update in updates] == total.tolist()
        # goes on until the steps are done, and says so
        assert total[-2] < 200 <= total[-1]
        assert events[-1].reason is StopReason.STEPS_REACHED

    @pytest.mark.parametrize(("total", "done"), [(1, 6), (6, 6), (7, 6), (12, 12), (17, 12)])
    def test_run_ends_with_its_episodes(self, register, make_config, total, done):
        events = list(train(self.config(register, make_config, total_episodes=total)))
        finished = events[-1]
        assert (finished.reason, finished.episodes) == (StopReason.EPISODES_REACHED, done)
        assert events[0].total_episodes == total

    def test_one_environment_and_one_episode_an_update(self, register, make_config):
        config = self.config(register, make_config, total_episodes=20, n_envs=1, rollout_episodes=1)
        events = list(train(config))
        finished, updates = of(EpisodesFinished, events), of(UpdateFinished, events)
        assert len(updates) == events[-1].episodes == 20
        assert all(len(event.returns) == 1 for event in finished)
        assert sum(event.lengths[0] for event in finished) == events[-1].steps

    def test_run_of_steps_can_end_with_its_episodes_too(self, register, make_config):
        config = make_config(register(Drift), total_steps=10**6, total_episodes=25)
        events = list(train(config))
        updates = of(UpdateFinished, events)
        assert events[-1].reason is StopReason.EPISODES_REACHED
        assert events[0].steps_per_update == 32
        assert updates[-2].episodes < 25 <= updates[-1].episodes == events[-1].episodes

    def test_last_update_is_evaluated(self, register, make_config):
        config = self.config(register, make_config, total_episodes=18)
        config = dataclasses.replace(config, eval_every=100, eval_episodes=2)
        assert [event.update for event in of(EvaluationFinished, list(train(config)))] == [3]

    def test_resumed_run_ends_with_its_episodes(self, register, make_config):
        config = self.config(register, make_config, total_episodes=12)
        shelf = Shelf()
        list(train(config, store=shelf))
        longer = dataclasses.replace(config, total_episodes=30)
        events = list(train(longer, resume_from=shelf.checkpoints[-1]))
        assert [update.episodes for update in of(UpdateFinished, events)] == [18, 24, 30]

    def test_episode_without_an_end_is_told_of_once(self, register, make_config, monkeypatch):
        monkeypatch.setattr(collector, "LONGEST_WAIT", 20)
        config = make_config(
            register(Drift),
            hyper={"rollout_episodes": 1},
            environment_kwargs={"length": 10**9, "most": 10**9},
            total_steps=150,
        )
        events = list(train(config))
        assert len(of(UpdateFinished, events)) == 4
        (notice,) = of(Notice, events)
        assert "2 training episodes did not end" in notice.message
        assert "max_episode_steps" in notice.message
        assert events[-1].episodes == 0


class TestRemaining:
    def shares(self, config, **arguments):
        """What is left of a run before each of its updates, as algorithms are told."""
        told = []
        original = Trpo.update

        def update(self, batch, interrupt):
            told.append(batch.remaining)
            return original(self, batch, interrupt)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trpo, "update", update)
            events = list(train(config, **arguments))
        return told, events

    def test_falls_with_the_steps_that_were_done_before(self, register, make_config):
        told, _ = self.shares(make_config(register(Drift), total_steps=32 * 5))
        assert told == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])

    def test_falls_with_the_episodes_where_those_end_the_run(self, register, make_config):
        config = make_config(
            register(Drift),
            hyper={"rollout_episodes": 1},
            total_steps=10**6,
            total_episodes=8,
        )
        told, _ = self.shares(config)
        assert told == pytest.approx([1.0, 0.75, 0.5, 0.25])

    def test_follows_a_change_of_the_length(self, register, make_config):
        control = Control()
        control.change({"total_steps": 32 * 2})
        told, _ = self.shares(make_config(register(Drift), total_steps=32 * 5), control=control)
        assert told == pytest.approx([1.0, 0.5])

    def test_goes_on_where_a_resumed_run_was(self, register, make_config):
        config = make_config(register(Drift), total_steps=32 * 2)
        shelf = Shelf()
        list(train(config, store=shelf))
        longer = dataclasses.replace(config, total_steps=32 * 4)
        told, _ = self.shares(longer, resume_from=shelf.checkpoints[-1])
        assert told == pytest.approx([0.5, 0.25])


BASES = {
    "plain": {},
    "adam": {"critic": "adam"},
    "gaussian": {"continuous": True},
    "normalised": {"normalize_observations": True},
    "searching": {"max_kl": 0.5, "acceptance_ratio": 0.95, "cg_damping": 1e-3},
    "waiting": {"advantage": "n_step"},
    "scaled": {"normalize_rewards": True},
    "remembering": {"network": "gru", "memory_size": 8},
    "gsde": {"continuous": True, "exploration": "gsde"},
}
KNOBS = {
    "rollout_steps": ("plain", 24),
    "rollout_episodes": ("plain", 2),
    "gamma": ("plain", 0.5),
    "advantage": ("plain", "td"),
    "gae_lambda": ("plain", 0.0),
    "n_steps": ("waiting", 2),
    "hidden_sizes": ("plain", (9,)),
    "activation": ("plain", "relu"),
    "network": ("plain", "gru"),
    "memory_size": ("remembering", 9),
    "orthogonal_init": ("plain", False),
    "exploration": ("gaussian", "state_dependent"),
    "sde_interval": ("gsde", 4),
    "logit_clip": ("plain", 0.05),
    "initial_log_std": ("gaussian", -1.0),
    "normalize_observations": ("plain", True),
    "observation_clip": ("normalised", 0.3),
    "normalize_advantages": ("plain", False),
    "reward_shift": ("plain", 3.0),
    "reward_scale": ("plain", 0.1),
    "normalize_rewards": ("plain", True),
    "reward_clip": ("scaled", 0.1),
    "critic": ("plain", "adam"),
    "critic_iterations": ("plain", 1),
    "critic_damping": ("plain", 1.0),
    "critic_share": ("plain", 0.25),
    "critic_learning_rate": ("adam", 0.02),
    "critic_epochs": ("adam", 3),
    "critic_minibatches": ("adam", 1),
    "max_kl": ("plain", 0.002),
    "kl_reduction": ("plain", "max"),
    "fisher_share": ("plain", 0.25),
    "cg_iterations": ("plain", 1),
    "cg_damping": ("plain", 1.0),
    "backtrack_factor": ("searching", 0.4),
    "max_backtracks": ("searching", 0),
    "acceptance_ratio": ("searching", 0.0),
}
"""Field to a run in which it applies and a value that must change what that run reports."""


class TestHyperparameters:
    def test_every_field_is_listed(self):
        assert set(KNOBS) == set(field_names(TrpoHyperparameters))

    def settings(self, base: str) -> tuple[dict, dict]:
        values = dict(BASES[base])
        return {"continuous": values.pop("continuous", False)}, values

    @pytest.mark.parametrize("name", KNOBS)
    def test_no_dead_knobs(self, register, make_config, name):
        base, value = KNOBS[name]
        kwargs, hyper = self.settings(base)
        environment_id = register(Drift)

        def updates(**changed):
            config = make_config(
                environment_id,
                hyper=hyper | changed,
                environment_kwargs=kwargs,
                n_envs=4,
                total_steps=64 * 5,
            )
            return of(UpdateFinished, timeless(train(config)))

        assert updates() != updates(**{name: value})

    @pytest.mark.parametrize("name", KNOBS)
    def test_change_while_running_takes_effect_or_is_refused(self, register, make_config, name):
        base, value = KNOBS[name]
        kwargs, hyper = self.settings(base)
        config = make_config(
            register(Drift), hyper=hyper, environment_kwargs=kwargs, n_envs=4, total_steps=64 * 6
        )

        def updates(change):
            control, found, notices = Control(), [], []
            for event in train(config, control):
                if isinstance(event, UpdateFinished):
                    found.append(event)
                    if event.update == 2 and change:
                        control.change({name: value})
                elif isinstance(event, Notice):
                    notices.append(event.message)
            return timeless(found), notices

        changed, notices = updates(change=True)
        unchanged, _ = updates(change=False)
        assert len(changed) == 6
        assert changed[:2] == unchanged[:2]
        if name in FIXED_WHILE_RUNNING:
            assert [name in notice for notice in notices] == [True]
        else:
            assert notices == []
        assert (changed[2:] == unchanged[2:]) == (name in FIXED_WHILE_RUNNING)

    def test_refused_change_changes_nothing(self, register, make_config):
        learner = make_learner(make_config(register(Drift)))
        before = learner.algorithm.hyperparameters
        for wrong in ({"max_kl": -1.0}, {"max_lk": 0.1}, {"gamma": 0.5, "gae_lambda": 7}):
            with pytest.raises(RequestError):
                learner.change(wrong)
            assert learner.algorithm.hyperparameters == before
