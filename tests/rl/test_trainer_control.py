"""Steering a run from outside: stop, pause, one more update, changes and snapshots."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from concurrent.futures import Future
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from network_samples import act

from trpotui.events import (
    EvaluationFinished,
    HyperparametersChanged,
    RunFinished,
    RunStarted,
    StopReason,
    UpdateFinished,
)
from trpotui.rl import trainer
from trpotui.rl.control import Control, Interrupted
from trpotui.rl.environments import make_environments
from trpotui.rl.learner import Learner
from trpotui.rl.networks import Critic
from trpotui.rl.surrogate import Surrogate
from trpotui.rl.trainer import train

PATIENCE = 60.0
"""Seconds after which a thread that should have answered counts as hanging."""


class Watched(gymnasium.Env):
    """Counts its steps, remembers what is open, and does something at one step."""

    observation_space = spaces.Box(-10, 10, (1,), np.float32)
    action_space = spaces.Discrete(2)
    open: ClassVar[list[gymnasium.Env]] = []
    made: ClassVar[list[gymnasium.Env]] = []

    def __init__(self) -> None:
        self.number, self.steps = len(self.made), 0
        self.made.append(self)
        self.open.append(self)

    at: ClassVar[dict] = {}
    """(number of the copy, its step) to what is then done."""

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._t = 0
        return self.np_random.normal(size=1).astype(np.float32), {}

    def step(self, action):
        self.steps += 1
        self._t += 1
        self.at.get((self.number, self.steps), lambda: None)()
        observation = self.np_random.normal(size=1).clip(-9, 9).astype(np.float32)
        return observation, float(action), False, self._t >= 5, {}

    def close(self):
        self.open.remove(self)


@pytest.fixture(autouse=True)
def _forget_copies():
    for collection in (Watched.open, Watched.made, Watched.at):
        collection.clear()


@pytest.fixture
def config(register, make_config):
    return make_config(register(Watched), n_envs=1, total_steps=10**9, hyper={"rollout_steps": 16})


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


class TimedControl(Control):
    """Remembers when it was told to stop, in processor time of the thread that trains."""

    stopped_at: float | None = None

    def stop(self):
        self.stopped_at = time.thread_time()
        super().stop()


def assert_stops_at_once(config, control, store=None):
    """Run until the stop that something calls for; the events that came."""
    events = list(train(config, control, store))
    # processor time, so that a busy machine does not count
    assert time.thread_time() - control.stopped_at < 0.1
    assert isinstance(events[-1], RunFinished)
    assert events[-1].reason is StopReason.STOPPED
    assert events[-1].update == len(of(UpdateFinished, events))
    assert Watched.open == []
    return events


class TestStop:
    def test_in_a_rollout_no_further_step_is_taken(self, config):
        control = TimedControl()
        Watched.at[0, 16 * 3 + 7] = control.stop
        events = assert_stops_at_once(config, control)
        assert events[-1].update == 3
        assert Watched.made[0].steps == 16 * 3 + 7

    @pytest.mark.parametrize(
        ("owner", "method"),
        [(Surrogate, "fisher_product"), (Surrogate, "kl_and_gain"), (Critic, "linearize")],
        ids=["conjugate gradient", "line search", "critic"],
    )
    @pytest.mark.parametrize("critic", ["gauss_newton", "adam"])
    def test_in_an_update_what_was_learned_before_it_is_kept(
        self, config, monkeypatch, owner, method, critic
    ):
        control, original, checkpoints = TimedControl(), getattr(owner, method), []
        hyperparameters = dataclasses.replace(
            config.hyperparameters, critic=critic, critic_epochs=1000
        )
        config = dataclasses.replace(config, hyperparameters=hyperparameters, checkpoint_updates=1)

        def stopping(self, *args):
            if len(checkpoints) == 2:  # in the third update
                control.stop()
            return original(self, *args)

        class Memory:
            def append_metrics(self, row):
                pass

            def save_policy(self, saved, *, best):
                pass

            def save_checkpoint(self, state):
                checkpoints.append((state["update"], state["learner"]["actor"].tolist()))

        monkeypatch.setattr(owner, method, stopping)
        events = assert_stops_at_once(config, control, Memory())
        assert events[-1].update == 2
        assert [update for update, _ in checkpoints] == [1, 2, 2]
        assert checkpoints[2] == checkpoints[1], "the update that was abandoned moved the actor"

    def test_in_an_evaluation(self, config):
        control = TimedControl()
        config = dataclasses.replace(config, eval_every=2, eval_episodes=3)
        Watched.at[1, 4] = control.stop  # the first copy made for evaluating
        events = assert_stops_at_once(config, control)
        assert events[-1].update == 2
        assert of(EvaluationFinished, events) == []
        assert Watched.made[1].steps == 4

    def test_in_an_evaluation_the_metrics_of_its_update_are_kept(self, config):
        control, rows = TimedControl(), []

        class Memory:
            def append_metrics(self, row):
                rows.append(row["update"])

            def save_policy(self, saved, *, best):
                pass

            def save_checkpoint(self, state):
                pass

        Watched.at[1, 4] = control.stop
        assert_stops_at_once(
            dataclasses.replace(config, eval_every=2, eval_episodes=3), control, Memory()
        )
        assert rows == [1, 2]

    def test_in_the_last_evaluation(self, config):
        control = TimedControl()
        config = dataclasses.replace(config, eval_every=10**6, eval_episodes=3, total_steps=16 * 2)
        Watched.at[1, 4] = control.stop
        assert assert_stops_at_once(config, control)[-1].update == 2

    def test_before_the_first_update(self, config):
        control = TimedControl()
        control.stop()
        events = assert_stops_at_once(config, control)
        assert [type(event) for event in events] == [RunStarted, RunFinished]
        assert Watched.made[0].steps == 0

    def test_while_the_run_is_held(self, config):
        with Running(config) as running:
            running.control.pause()
            running.held()
            running.control.stop()
            assert running.rest()[-1].reason is StopReason.STOPPED
        assert Watched.open == []

    def test_stopping_is_said_at_once_and_raised_when_asked(self):
        control = Control()
        control.raise_if_stopping()
        assert not control.stopping
        control.stop()
        assert control.stopping
        with pytest.raises(Interrupted):
            control.raise_if_stopping()


class Running:
    """A run in a thread of its own, whose events arrive in a queue."""

    def __init__(self, config, *, paused: bool = False) -> None:
        self.control = Control()
        if paused:
            self.control.pause()
        self.events: queue.Queue = queue.Queue()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(config,), daemon=True)

    def _run(self, config):
        try:
            for event in train(config, self.control):
                self.events.put(event)
        except BaseException as error:  # noqa: BLE001 - shown by the test that waits
            self.failure = error
        self.events.put(None)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.control.stop()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        assert self.failure is None, self.failure

    def wait_for(self, kind):
        """The next event of a kind."""
        while True:
            event = self.events.get(timeout=PATIENCE)
            assert event is not None, f"the run ended: {self.failure}"
            if isinstance(event, kind):
                return event

    def held(self) -> list:
        """Wait until the run is between updates; what it had said by then.

        A snapshot is only made there, so its arrival says that the update under way is over.
        """
        self.control.snapshot().result(timeout=PATIENCE)
        return self.said()

    def said(self) -> list:
        events = []
        while not self.events.empty():
            events.append(self.events.get())
        return events

    def rest(self) -> list:
        events = []
        while (event := self.events.get(timeout=PATIENCE)) is not None:
            events.append(event)
        return events


class SteppedClock:
    """A clock that moves by a second whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 1.0
        return self.now

    monotonic = perf_counter


class TestPause:
    def test_held_run_does_nothing_until_it_is_resumed(self, config):
        with Running(config, paused=True) as running:
            assert [type(event) for event in running.held()] == [RunStarted]
            assert running.control.paused
            assert running.held() == []
            running.control.resume()
            assert not running.control.paused
            assert running.wait_for(UpdateFinished).update == 1

    def test_pause_takes_hold_after_the_update_under_way(self, config):
        with Running(config) as running:
            running.wait_for(UpdateFinished)
            running.control.pause()
            running.held()
            # between the pause and the snapshot one more update may have begun, but now it is held
            running.held()
            steps = Watched.made[0].steps
            assert running.held() == []
            assert Watched.made[0].steps == steps
            assert steps % 16 == 0

    def test_one_update_is_one_update(self, config):
        with Running(config, paused=True) as running:
            running.held()
            for update in (1, 2, 3):
                running.control.allow_one_update()
                assert running.wait_for(UpdateFinished).update == update
                assert of(UpdateFinished, running.held()) == []
                assert Watched.made[0].steps == 16 * update

    def test_updates_that_were_allowed_add_up(self, config):
        with Running(config, paused=True) as running:
            running.held()
            running.control.allow_one_update()
            running.control.allow_one_update()
            assert running.wait_for(UpdateFinished).update == 1
            assert running.wait_for(UpdateFinished).update == 2
            assert of(UpdateFinished, running.held()) == []

    def test_resuming_forgets_updates_that_were_allowed(self, config):
        with Running(config, paused=True) as running:
            running.held()
            with running.control._condition:  # the run cannot look in between
                running.control.allow_one_update()
                running.control.resume()
                running.control.pause()
            running.held()
            assert of(UpdateFinished, running.held()) == []

    def test_pause_is_no_training_time(self, config, monkeypatch):
        clock = SteppedClock()
        monkeypatch.setattr(trainer, "time", clock)
        with Running(config, paused=True) as running:
            running.held()
            for update in (1, 2):
                clock.now += 1000.0  # the person thinks
                running.control.allow_one_update()
                seconds = running.wait_for(UpdateFinished).seconds
                assert 0 < seconds < 100 * update
                running.held()


class TestChange:
    def test_change_is_announced_and_holds_from_the_next_update_on(self, config):
        with Running(config, paused=True) as running:
            running.held()
            running.control.change({"max_kl": 0.002})
            changed = running.wait_for(HyperparametersChanged)
            assert (changed.update, changed.values) == (0, {"max_kl": 0.002})
            running.control.allow_one_update()
            assert running.wait_for(UpdateFinished).max_kl == 0.002

    def test_text_from_a_form_becomes_a_number(self, config):
        with Running(config, paused=True) as running:
            running.control.change({"max_kl": "0.005", "cg_iterations": "3"})
            changed = running.wait_for(HyperparametersChanged)
            assert changed.values == {"max_kl": 0.005, "cg_iterations": 3}

    def test_several_changes_between_two_updates_are_one(self, config):
        with Running(config, paused=True) as running:
            running.held()
            with running.control._condition:  # the run cannot look in between
                running.control.change({"max_kl": 0.002})
                running.control.change({"max_kl": 0.003, "gamma": 0.5})
            assert running.wait_for(HyperparametersChanged).values == {
                "max_kl": 0.003,
                "gamma": 0.5,
            }


class TestSnapshot:
    def test_snapshot_is_a_copy_that_does_not_follow_the_run(self, config):
        with Running(config, paused=True) as running:
            first = running.control.snapshot().result(timeout=PATIENCE)
            kept = first.to_bytes()
            assert running.control.snapshot().result(timeout=PATIENCE).to_bytes() == kept
            running.control.allow_one_update()
            running.wait_for(UpdateFinished)
            second = running.control.snapshot().result(timeout=PATIENCE)
            assert first.to_bytes() == kept
            assert second.to_bytes() != kept

    def test_snapshot_is_made_while_the_run_goes_on(self, config):
        with Running(config) as running:
            running.wait_for(UpdateFinished)
            policy = running.control.snapshot().result(timeout=PATIENCE)
            assert policy.spec.environment_id == config.environment_id
            assert act(policy, np.zeros((1, 1), np.float32)).shape == (1,)

    def test_request_that_is_waiting_when_the_run_ends_is_cancelled(self, config):
        control, futures = Control(), []

        def ask_and_stop():
            futures.append(control.snapshot())
            control.stop()

        Watched.at[0, 5] = ask_and_stop
        list(train(config, control))
        assert futures[0].cancelled()

    def test_request_that_was_withdrawn_does_not_end_the_run(self, config):
        with Running(config, paused=True) as running:
            running.held()
            with running.control._condition:  # withdrawn before the run can serve it
                future: Future = running.control.snapshot()
                assert future.cancel()
            running.control.allow_one_update()
            assert running.wait_for(UpdateFinished).update == 1


class TestAbandonedUpdate:
    @pytest.mark.parametrize("critic", ["gauss_newton", "adam"])
    def test_leaves_everything_that_learns_as_it_was(self, config, critic):
        hyperparameters = dataclasses.replace(config.hyperparameters, critic=critic)
        config = dataclasses.replace(config, hyperparameters=hyperparameters)
        environments = make_environments(config.environment_id, {}, n_envs=config.n_envs)
        learner = Learner(config, environments, torch.device("cpu"))
        learner.iterate(lambda: None)
        before, calls = learner.state(), []
        during_rollout = config.hyperparameters.rollout_steps

        def interrupt():
            calls.append(1)
            if len(calls) > during_rollout + 12:  # in conjugate gradient, after the critic's fit
                raise Interrupted

        with pytest.raises(Interrupted):
            learner.iterate(interrupt)
        after = learner.state()
        for name in ("actor", "critic", "generator"):
            assert torch.equal(before[name], after[name]), name
        fits = [state["algorithm"]["critic_fit"] for state in (before, after)]
        assert torch.equal(fits[0]["mean"], fits[1]["mean"])
        assert fits[0]["steps"] == fits[1]["steps"]
        environments.close()


class TestControlAlone:
    def test_an_update_allowed_to_a_run_that_is_not_held_is_not_saved_up(self):
        control = Control()
        control.allow_one_update()
        control.pause()
        threading.Timer(0.05, control.stop).start()
        assert control.wait_while_paused()
        assert control.stopping, "the update that was allowed before the pause let the run go on"

    def test_a_snapshot_asked_for_after_the_end_is_cancelled_at_once(self):
        control = Control()
        control.end()
        assert control.snapshot().cancelled()
