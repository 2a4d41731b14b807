"""A run that is gone on with is the run that was never stopped, bit for bit."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from resuming import (
    ENDLESS,
    Form,
    Push,
    Shelf,
    differences,
    inexact,
    is_the_whole,
    make_config,
    run,
)

from trpotui.errors import EnvironmentFaultError, RequestError
from trpotui.events import (
    CheckpointSaved,
    Discontinuity,
    EvaluationFinished,
    HyperparametersChanged,
    Notice,
    RunFinished,
    RunStarted,
    StopReason,
    UpdateFinished,
)
from trpotui.rl import environments, native_form, replay
from trpotui.rl.algorithms import ALGORITHMS
from trpotui.rl.control import Control
from trpotui.rl.environments import FEWEST_NATIVE
from trpotui.rl.trainer import train

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "normalised": {"normalize_observations": True, "normalize_rewards": True},
    "gru": {"network": "gru", "memory_size": 4},
    "gsde": {
        "environment_kwargs": {"continuous": True},
        "exploration": "gsde",
        "sde_interval": 4,
    },
    "whole episodes": {"rollout_episodes": 1, "eval_every": 2, "eval_episodes": 2},
    "adam": {"critic": "adam", "critic_epochs": 2, "eval_every": 1, "eval_episodes": 2},
}


def halves_and_whole(config, cut=2, updates=4):
    """What the parts of a run left behind, and why they are not exact; and what the run did."""
    first, _ = run(config, cut)
    second, events = run(config, updates, resume_from=first.last)
    return first, second, run(config, updates)[0], inexact(events)


class TestHalves:
    @pytest.mark.parametrize("variant", VARIANTS)
    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_silent_bug_14_two_halves_are_the_whole(self, register, algorithm, variant):
        config = make_config(register(Push), algorithm, **VARIANTS[variant])
        first, second, whole, reasons = halves_and_whole(config)
        assert reasons == []
        assert [row["update"] for row in whole.rows] == [1, 2, 3, 4]
        assert is_the_whole(first, second, whole), differences(second.last, whole.last)

    @pytest.mark.parametrize("variant", ["plain", "normalised", "gru", "whole episodes"])
    def test_silent_bug_14_of_a_native_vector_form(self, variant):
        config = make_config("CartPole-v1", rollout_steps=40, **VARIANTS[variant])
        first, second, whole, reasons = halves_and_whole(config, cut=3, updates=6)
        assert reasons == []
        assert whole.rows[2]["episodes"] > 3
        assert is_the_whole(first, second, whole), differences(second.last, whole.last)

    @pytest.mark.parametrize("one_array", [False, True])
    @pytest.mark.parametrize("mode", AutoresetMode)
    def test_silent_bug_14_of_a_native_vector_form_however_it_resets(
        self, register, mode, one_array
    ):
        """Also of one that hands out the array in which it shows what comes next."""

        def make(num_envs):
            return Form(num_envs, mode, one_array=one_array)

        config = make_config(register(Push, vector_entry_point=make))
        whole, _ = run(config, 4)
        for cut, looks in ((2, 0), (2, 3)):
            first, control = Shelf(), AtMoment(10**9)
            for event in train(config, control, first):
                if isinstance(event, UpdateFinished) and event.update == cut:
                    control.left = looks  # a few steps into the next rollout
            second, events = run(config, 4, resume_from=first.last)
            assert inexact(events) == []
            assert is_the_whole(first, second, whole)

    def test_silent_bug_14_however_often_it_is_cut(self, register):
        config = make_config(register(Push), **VARIANTS["normalised"])
        state, rows = None, []
        for updates in range(1, 7):
            part, events = run(config, updates, resume_from=state)
            state = part.last
            rows += part.rows
            assert inexact(events) == []
        whole, _ = run(config, 6)
        assert rows == whole.rows
        assert differences(state, whole.last) == []

    @pytest.mark.parametrize("before", ["together", "alone"])
    def test_copies_that_are_now_stepped_otherwise_begin_new_episodes(self, before, monkeypatch):
        def stepped(how):
            fewest = FEWEST_NATIVE if how == "together" else 10**9
            monkeypatch.setattr(environments, "FEWEST_NATIVE", fewest)

        config = make_config("CartPole-v1", n_envs=FEWEST_NATIVE)
        stepped(before)
        first, _ = run(config, 2)
        stepped("alone" if before == "together" else "together")
        second, events = run(config, 4, resume_from=first.last)
        (why,) = inexact(events)
        assert "its copies are no longer stepped as they were" in why
        assert [row["update"] for row in second.rows] == [3, 4]

    def test_it_is_no_accident_of_the_comparison(self, register):
        """Another seed is another run, and new episodes are other ones."""
        config = make_config(register(Push))
        whole, _ = run(config, 4)
        other, _ = run(dataclasses.replace(config, seed=1), 4)
        assert other.rows != whole.rows
        assert ".learner.actor" in differences(other.last, whole.last)
        state = run(config, 2)[0].last
        state["learner"]["experience"]["lost"] = "so"
        second, events = run(config, 4, resume_from=state)
        assert inexact(events) == ["new episodes were begun, because so"]
        assert second.rows[0]["kl"] != whole.rows[2]["kl"]

    def test_episodes_go_on_where_they_were_cut(self, register):
        lengths = []

        class Watched(Push):
            def step(self, action):
                *step, info = super().step(action)
                if step[2] or step[3]:
                    lengths.append(self._t)
                return *step, info

        config = make_config(register(Watched), rollout_steps=4)
        first, _ = run(config, 1)
        record = first.last["learner"]["experience"]["environments"]["record"]
        assert max(record["steps"].tolist()) == 4
        lengths.clear()
        second, _ = run(config, 3, resume_from=first.last)
        assert lengths
        assert max(lengths) > 4
        assert second.rows[-1]["update"] == 3

    def test_changes_before_and_after_belong_to_the_run(self, register):
        config = make_config(register(Push))
        edits = {1: {"max_kl": 0.5}, 3: {"gamma": 0.5}}
        first, _ = run(config, 2, edits=edits)
        second, events = run(config, 5, resume_from=first.last, edits=edits)
        whole, _ = run(config, 5, edits=edits)
        assert [e.update for e in events if isinstance(e, HyperparametersChanged)] == [3]
        assert is_the_whole(first, second, whole)
        assert whole.rows[1]["max_kl"] == whole.rows[4]["max_kl"] == 0.5
        assert run(config, 5)[0].rows != whole.rows

    def test_the_best_score_is_not_forgotten(self, register):
        config = make_config(register(Push), eval_every=1, eval_episodes=2)
        first, before = run(config, 3)
        second, after = run(config, 6, resume_from=first.last)
        whole, events = run(config, 6)

        def best(events):
            return [e.update for e in events if isinstance(e, EvaluationFinished) and e.is_best]

        assert best(before) + best(after) == best(events)
        assert 1 in best(before)
        assert second.last["best"] == whole.last["best"]


class Even(Push):
    """Brings the same whatever is done; episodes are only cut off, after as long as chance says."""

    def reset(self, **arguments):
        first = super().reset(**arguments)
        self._length = int(self.np_random.integers(3, 12))
        return first

    def step(self, action):
        observation, *_, info = super().step(action)
        return observation, 1.0, False, self._t >= self._length, info


SCENARIOS: dict[str, dict[str, Any]] = {
    "gru": {**VARIANTS["gru"], **VARIANTS["normalised"], "critic": "adam", "critic_epochs": 2},
    "gsde": {**VARIANTS["gsde"], "eval_every": 1, "eval_episodes": 2},
    "beta": {"algorithm": "ppo_penalty", "learning_rate": 0.1},
    "native": {"environment": "CartPole-v1", "rollout_steps": 24, "n_envs": 16},
    "whole episodes": {"rollout_episodes": 1},
    "even": {"environment": Even, "rollout_steps": 6},
}
CUT = 2
UNCHANGED = (
    "format", "computing", "learner.hyperparameters", "told_of_cut_off", "refused", "live_edits",
    "discontinuities", "owed_metrics", "solved", "just_solved", "learner.experience.lost",
    "learner.history.outcomes", "learner.experience.environments.record.numbers",
    "learner.experience.boundary.unfinished",
)  # fmt: skip
"""Parts that are the same in all of these runs, at least in part; they have tests of their own."""
UNSEEN = (
    "score", "best", "learner.history.outcomes.longest",  # overwritten by what comes after
    "seconds", "learner.experience.environments.counts.steps",  # a time, and a number in sentences
)  # fmt: skip
"""Parts without which these runs go on in the same way; they have tests of their own too."""


def leaves(tree, path=()):
    """Paths of all parts of a checkpoint."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def at(tree, path):
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


class TestEveryPartMatters:
    @pytest.fixture(autouse=True)
    def _look_often(self, monkeypatch):
        monkeypatch.setattr(native_form, "FIRST_STEPS", 5)

    def scenario(self, register, name):
        values = dict(SCENARIOS[name])
        environment = values.pop("environment", Push)
        if not isinstance(environment, str):
            environment = register(environment)
        return make_config(environment, values.pop("algorithm", "trpo"), **values)

    @pytest.mark.slow
    def test_silent_bug_14_without_any_part_the_run_is_another_one(self, register):
        """Of every part that differs between a run and one that has just begun."""
        known, differing, seen = set(), set(), set()
        for scenario in SCENARIOS:
            config = self.scenario(register, scenario)
            fresh = run(dataclasses.replace(config, seed=1), 1)[0].last
            state, whole = run(config, CUT)[0].last, run(config, CUT + 2)[0]
            for path in leaves(state):
                name, before = ".".join(path), at(fresh, path)
                if at(state, path) not in (None, {}):
                    known.add(name)
                if name.startswith(UNSEEN) or not differences(before, at(state, path)):
                    continue
                differing.add(name)
                if name not in seen and self.is_seen(config, state, path, before, whole):
                    seen.add(name)
        assert differing - seen == set()
        assert {name for name in known - seen if not name.startswith(UNCHANGED + UNSEEN)} == set()
        numbers = "learner.experience.environments.record.numbers."
        assert seen >= {numbers + "state", numbers + "steps"}

    def is_seen(self, config, state, path, before, whole) -> bool:
        """Whether a run goes on differently when a part was lost: as if it had not been saved."""
        damaged = copy.deepcopy(state)
        at(damaged, path[:-1])[path[-1]] = before
        try:
            second, _ = run(config, CUT + 2, resume_from=damaged)
        except (RequestError, TypeError, IndexError, AttributeError):
            return True  # it cannot go on
        return second.rows != whole.rows[CUT:] or bool(differences(second.last, whole.last))

    def test_episodes_that_are_not_to_go_on_are_known(self, register):
        config = make_config(register(Push))
        state, whole = run(config, CUT)[0].last, run(config, CUT + 1)[0]
        boundary = state["learner"]["experience"]["boundary"]
        assert boundary["unfinished"] is False
        boundary["unfinished"] = True
        assert run(config, CUT + 1, resume_from=state)[0].rows != whole.rows[CUT:]

    @pytest.mark.parametrize("part", ["update", "learner", "config", "live_edits", "score"])
    def test_a_checkpoint_that_lacks_a_part_is_refused(self, register, part):
        config = make_config(register(Push))
        state = run(config, 1)[0].last
        del state[part]
        with pytest.raises((RequestError, KeyError), match=part):
            run(config, 2, resume_from=state)


class TestWhatComesBetween:
    """Two updates, the second evaluated, and what happened then."""

    def test_a_finished_run_is_not_evaluated_once_more(self, register):
        config = make_config(register(Push), eval_every=5, eval_episodes=2, total_steps=21 * 2)
        shelf = Shelf()
        events = list(train(config, store=shelf))
        assert [e.update for e in events if isinstance(e, EvaluationFinished)] == [2]
        events = list(train(config, resume_from=shelf.last))
        assert [type(e) for e in events] == [RunStarted, RunFinished]
        state = {**shelf.last, "score": None}
        again = list(train(config, resume_from=state))
        assert [e.update for e in again if isinstance(e, EvaluationFinished)] == [2]

    @pytest.mark.parametrize("stop_when_solved", [True, False])
    def test_a_run_that_was_just_solved_is_over_if_that_ends_it(self, register, stop_when_solved):
        environment_id = register(Push, reward_threshold=-1e9)
        config = make_config(
            environment_id, eval_every=2, eval_episodes=2, confirm_episodes=2, stop_when_solved=True
        )
        shelf = Shelf()
        events = list(train(config, store=shelf))
        assert (events[-1].reason, events[-1].update) == (StopReason.SOLVED, 2)
        config = dataclasses.replace(config, stop_when_solved=stop_when_solved, total_steps=21 * 3)
        last = list(train(config, resume_from=shelf.last))[-1]
        reason, update = (StopReason.SOLVED, 2) if stop_when_solved else ("steps_reached", 3)
        assert (last.reason, last.update) == (reason, update)

    def test_what_was_told_once_is_not_told_again(self, register, monkeypatch):
        monkeypatch.setattr("trpotui.rl.collector.LONGEST_WAIT", 4)
        monkeypatch.setattr("trpotui.rl.trainer.LONGEST_WAIT", 4)
        config = make_config(register(Even), rollout_episodes=1)
        first, before = run(config, 2)
        assert sum(isinstance(event, Notice) for event in before) == 1
        second, after = run(config, 4, resume_from=first.last)
        assert not any(isinstance(event, Notice) for event in after)
        assert is_the_whole(first, second, run(config, 4)[0])

    def test_updates_that_were_refused_go_on_being_counted(self, register):
        config = make_config(register(Push))
        state = run(config, 1)[0].last
        state |= {"refused_in_a_row": 3, "refused": 5}
        assert run(config, 1, resume_from=state)[0].last["refused_in_a_row"] == 3
        later = run(config, 2, resume_from=state)[0].last
        assert (later["refused_in_a_row"], later["refused"]) == (0, 5)


class AtMoment(Control):
    """Stops at the n-th moment at which a run looks whether it is to stop."""

    def __init__(self, moment: int) -> None:
        super().__init__()
        self.left = moment

    def raise_if_stopping(self):
        self.left -= 1
        if self.left <= 0:
            self.stop()
        super().raise_if_stopping()


@pytest.mark.slow
class TestStop:
    """Wherever a run is stopped, it goes on from the update before."""

    VALUES: dict[str, Any] = {  # noqa: RUF012
        **VARIANTS["gru"], **VARIANTS["normalised"], "critic": "adam", "critic_epochs": 2,
        "eval_every": 2, "eval_episodes": 2, "n_envs": 2, "rollout_steps": 6,
    }  # fmt: skip

    def looks(self, config) -> int:
        """How often a run of 3 updates looks."""
        control = AtMoment(10**9)
        for event in train(config, control):
            if isinstance(event, UpdateFinished) and event.update == 3:
                return 10**9 - control.left
        raise AssertionError

    @pytest.mark.parametrize("exploring", [{}, VARIANTS["gsde"]], ids=["discrete", "gsde"])
    def test_silent_bug_14_stopped_at_any_moment(self, register, exploring):
        config = make_config(register(Push), **self.VALUES, **exploring)
        whole, _ = run(config, 4)
        moments = range(1, self.looks(config) + 1, 2)
        assert len(moments) > 25
        stopped_after, evaluated_again = set(), 0
        for moment in moments:
            first, control = Shelf(), AtMoment(moment)
            last = list(train(config, control, first))[-1]
            stopped_after.add(last.update)
            if not first.checkpoints:
                assert last.update == 0
                continue
            owed = first.last["owed_metrics"] is not None
            evaluated_again += owed
            if owed:  # as whoever keeps the metrics does
                first.rows.pop()
            second, events = run(config, 4, resume_from=first.last)
            assert inexact(events) == []
            assert is_the_whole(first, second, whole), moment
        assert stopped_after == {0, 1, 2}
        assert evaluated_again > 2

    @pytest.mark.parametrize("environment", [Push, "CartPole-v1"])
    def test_silent_bug_14_whatever_the_environments_did_after_the_update(
        self, register, environment
    ):
        """In whole episodes or not, those that are abandoned were in other ones by then."""
        environment_id = environment if isinstance(environment, str) else register(environment)
        for episodes in (0, 1):
            config = make_config(environment_id, rollout_steps=60, rollout_episodes=episodes)
            whole, _ = run(config, 3)
            control, first = AtMoment(10**9), Shelf()
            for event in train(config, control, first):
                if isinstance(event, UpdateFinished) and event.update == 2:
                    control.left = 50 if not episodes else 9
            assert first.last["update"] == 2
            second, events = run(config, 3, resume_from=first.last)
            assert inexact(events) == []
            assert is_the_whole(first, second, whole)

    def test_stopped_while_the_environments_are_set_up(self, register):
        config = make_config(register(Push))
        first, _ = run(config, 2)
        again = Shelf()
        events = list(train(config, AtMoment(3), again, resume_from=first.last))
        assert [type(event) for event in events] == [RunStarted, CheckpointSaved, RunFinished]
        assert again.checkpoints == [], "one without the open episodes took the good one's place"
        second, events = run(config, 4, resume_from=first.last)
        assert is_the_whole(first, second, run(config, 4)[0])

    @pytest.mark.parametrize("environment", [Push, "CartPole-v1"])
    def test_stopped_again_before_anything_was_done(self, register, environment):
        environment_id = environment if isinstance(environment, str) else register(environment)
        config = make_config(environment_id, **self.VALUES)
        first, _ = run(config, 2)
        again, events = run(config, 2, resume_from=first.last)
        assert again.rows == inexact(events) == []
        assert differences(again.last, first.last) == []
        # and where new episodes have begun, of which no step was taken
        state = copy.deepcopy(first.last)
        state["learner"]["experience"]["lost"] = "so"
        begun, events = run(config, 2, resume_from=state)
        assert len(inexact(events)) == 1
        second, events = run(config, 4, resume_from=begun.last)
        assert inexact(events) == []
        assert is_the_whole(begun, second, run(config, 4, resume_from=state)[0])


class Fault(Push):
    """Fails in one step of its whole life."""

    deadly = 30
    steps = 0

    def step(self, action):
        Fault.steps += 1
        if Fault.steps == self.deadly:
            raise RuntimeError("out of order")
        return super().step(action)


class TestNotExact:
    def resumed(self, config, state=None, updates=4):
        """A run that cannot be gone on with exactly after 2 updates: events, and what it left."""
        state = run(config, 2)[0].last if state is None else state
        shelf, events = run(config, updates, resume_from=state)
        assert shelf.last["update"] == updates
        return events, shelf

    def test_an_environment_that_draws_from_elsewhere_is_gone_on_with_and_marked(self, register):
        class Elsewhere(Push):
            def step(self, action):
                self._place += random.random()
                return super().step(action)

        config = make_config(register(Elsewhere))
        events, shelf = self.resumed(config)
        reason = "new episodes were begun, because with the same actions, "
        (found,) = [event for event in events if isinstance(event, Discontinuity)]
        assert found.reason.startswith(reason)
        assert found.message == f"continued, not exact: {found.reason}"
        assert found.update == 2
        assert isinstance(events[0], RunStarted)
        assert events[1] is found
        assert [row["exact_until"] for row in shelf.rows] == [2, 2]
        assert shelf.last["discontinuities"] == [{"update": 2, "reason": found.reason}]

    def test_the_mark_stays(self, register):
        config = make_config(register(Push))
        state = run(config, 2)[0].last
        state["learner"]["experience"]["lost"] = "so"
        _, shelf = self.resumed(config, state)
        further, events = run(config, 6, resume_from=shelf.last)
        assert inexact(events) == [], "it is exact from there on"
        assert [row["exact_until"] for row in further.rows] == [2, 2]

    def test_new_episodes_begin_with_nothing_of_the_old_ones(self, register):
        config = make_config(register(Push), **VARIANTS["gru"], **VARIANTS["normalised"])
        state = run(config, 2)[0].last
        state["learner"]["experience"]["lost"] = "so"
        _, shelf = self.resumed(config, state, updates=3)
        # what is shown of it is what a run with nothing to remember of them would show
        forgetful = copy.deepcopy(state)
        experience = forgetful["learner"]["experience"]
        for tensor in (experience["session"]["actor"], experience["critic_memory"]):
            tensor.fill_(7.0)
        forgetful["learner"]["history"]["returns"]["sums"] = [7.0] * 3
        _, other = self.resumed(config, forgetful, updates=3)
        assert other.rows == shelf.rows

    @pytest.mark.parametrize("environment", [Push, "CartPole-v1"])
    def test_a_tampered_record_is_seen(self, register, environment):
        environment_id = environment if isinstance(environment, str) else register(environment)
        config = make_config(environment_id)
        state = run(config, 2)[0].last
        record = state["learner"]["experience"]["environments"]["record"]
        record["actions"][-1] = 1 - record["actions"][-1]
        (reason,) = inexact(self.resumed(config, state)[0])
        assert reason.startswith("new episodes were begun, because with the same actions, ")

    def test_an_episode_that_is_too_long_is_said_to_be(self, register, monkeypatch):
        monkeypatch.setattr(replay, "MOST_STEPS", 5)
        monkeypatch.setattr(replay, "FIRST_STEPS", 2)

        class Endless(Push):
            def step(self, action):
                observation, reward, *_, info = super().step(action)
                return observation, reward, False, False, info

        (reason,) = inexact(self.resumed(make_config(register(Endless), rollout_steps=8))[0])
        assert "because an episode had gone on for so long" in reason

    def test_an_environment_that_failed_goes_on_in_new_episodes(self, register, monkeypatch):
        monkeypatch.setattr(Fault, "steps", 0)
        config = make_config(register(Fault), n_envs=1)
        shelf = Shelf()
        with pytest.raises(EnvironmentFaultError, match="out of order"):
            list(train(config, store=shelf))
        assert shelf.last["update"] == 4
        events, after = self.resumed(config, shelf.last, updates=6)
        (reason,) = inexact(events)
        assert "because the environment failed (" in reason
        assert "out of order" in reason
        assert [row["update"] for row in after.rows] == [5, 6]

    def test_another_machine_or_version_is_said_and_the_episodes_go_on(self, register):
        config = make_config(register(Push))
        first, _ = run(config, 2)
        state = copy.deepcopy(first.last)
        state["computing"]["torch"] = "1.13.1"
        events, shelf = self.resumed(config, state)
        (reason,) = inexact(events)
        assert reason == f"torch is {torch.__version__} and was 1.13.1"
        rows = [{k: v for k, v in row.items() if k != "exact_until"} for row in shelf.rows]
        assert first.rows + rows == run(config, 4)[0].rows

    def test_a_native_form_that_hides_what_it_is_like_is_seen(self):
        config = make_config("CartPole-v1", rollout_steps=30, n_envs=FEWEST_NATIVE)
        state = run(config, 2)[0].last
        numbers = state["learner"]["experience"]["environments"]["record"]["numbers"]
        del numbers["state"]
        (reason,) = inexact(self.resumed(config, state)[0])
        assert "because with the same actions, " in reason


class OwnGenerator(Push):
    """Draws from a generator of its own, which only a seed replaces, deep inside itself."""

    def __init__(self) -> None:
        super().__init__()
        self._parts = {"world": [random.Random(0), np.random.RandomState(0)]}

    def reset(self, *, seed=None, options=None):  # noqa: ARG002
        if seed is not None:
            self._parts["world"] = [random.Random(seed), np.random.RandomState(seed)]
        self._t, self._place = 0, self._parts["world"][0].gauss(0.0, 1.0)
        return self._observation(), {}

    def step(self, action):
        self._t += 1
        self._place += int(action) - 0.4 + 0.1 * float(self._parts["world"][1].normal())
        return self._observation(), -abs(self._place), self._place > 2.5, self._t >= 9, {}


class Careless(Push):
    """Draws from a generator that is new, and nobody knows of, whenever no seed is given."""

    def reset(self, *, seed=None, options=None):  # noqa: ARG002
        draw = np.random.default_rng(seed)
        self._noise = iter([float(draw.normal()) for _ in range(20)])
        self._t, self._place = 0, next(self._noise)
        return self._observation(), {}

    def step(self, action):
        self._t += 1
        self._place += int(action) - 0.4 + 0.1 * next(self._noise)
        return self._observation(), -abs(self._place), self._place > 2.5, self._t >= 9, {}


class TestWhereRandomnessIs:
    def test_silent_bug_14_in_generators_of_its_own(self, register):
        config = make_config(register(OwnGenerator))
        first, second, whole, reasons = halves_and_whole(config, cut=3, updates=6)
        assert reasons == []
        assert is_the_whole(first, second, whole)

    def test_kept_from_everyone_the_run_is_marked_and_seeded_episodes_are_exact(self, register):
        config = make_config(register(Careless))
        (reason,) = halves_and_whole(config)[3]
        assert reason.startswith("new episodes were begun, because with the same actions, ")
        config = dataclasses.replace(config, seed_episodes=True)
        first, second, whole, reasons = halves_and_whole(config, cut=3, updates=6)
        assert reasons == []
        assert is_the_whole(first, second, whole)

    def test_seeded_episodes_are_all_different(self, register):
        seeds = []

        class Seeded(Push):
            def reset(self, *, seed=None, options=None):
                seeds.append(seed)
                return super().reset(seed=seed, options=options)

        run(make_config(register(Seeded), seed_episodes=True), 8)
        assert None not in seeds
        assert len(seeds) == len(set(seeds)) > 15
        assert all(0 <= seed < 2**31 for seed in seeds)
        seeds.clear()
        run(make_config(register(Seeded)), 8)
        assert seeds.count(None) == len(seeds) - 3


class TestAnotherRun:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("seed", 1),
            ("n_envs", 4),
            ("eval_every", 3),
            ("environment_kwargs", {"continuous": True}),
            ("seed_episodes", True),
        ],
    )
    def test_is_refused_by_the_name_of_what_differs(self, register, field, value):
        config = make_config(register(Push))
        state = run(config, 1)[0].last
        other = dataclasses.replace(config, **{field: value})
        with pytest.raises(RequestError, match=rf"^{field} is .*that would be another run"):
            run(other, 2, resume_from=state)

    @pytest.mark.parametrize(("field", "value"), [("hidden_sizes", (6,)), ("gamma", 0.5)])
    def test_by_a_hyperparameter_too(self, register, field, value):
        environment_id = register(Push)
        state = run(make_config(environment_id), 1)[0].last
        with pytest.raises(RequestError, match=rf"^{field} is "):
            run(make_config(environment_id, **{field: value}), 2, resume_from=state)

    def test_what_it_did_not_know_yet_is_as_it_is_by_default(self, register):
        config = make_config(register(Push))
        state = run(config, 1)[0].last
        stored = json.loads(state["config"])
        del stored["hyperparameters"]["critic_share"]  # as an earlier version left it
        state["config"] = json.dumps(stored)
        run(config, 2, resume_from=state)
        other = dataclasses.replace(config.hyperparameters, critic_share=0.5)
        with pytest.raises(RequestError, match=r"^critic_share is 0.5, but 0.0"):
            run(dataclasses.replace(config, hyperparameters=other), 2, resume_from=state)

    @pytest.mark.parametrize(
        "changed",
        [
            {"total_steps": 2 * ENDLESS},
            {"total_episodes": ENDLESS},
            {"stop_when_solved": True},
            {"checkpoint_seconds": 1.0},
            {"checkpoint_updates": 1},
            {"preset": "mine"},
        ],
    )
    def test_what_does_not_change_what_it_does_may_change(self, register, changed):
        config = make_config(register(Push))
        first, _ = run(config, 1)
        second, events = run(dataclasses.replace(config, **changed), 2, resume_from=first.last)
        assert inexact(events) == []
        assert first.rows + second.rows == run(config, 2)[0].rows


class Doubled(gymnasium.Env):
    """Observes a Dict, whose parts are of other types than the networks compute with."""

    observation_space = spaces.Dict(
        {"image": spaces.Box(0, 255, (3,), np.uint8), "at": spaces.Tuple([spaces.Discrete(7)])}
    )
    action_space = spaces.MultiDiscrete([2, 3])

    def _observation(self):
        image = self.np_random.integers(0, 256, 3).astype(np.uint8)
        return {"image": image, "at": (self._t % 7,)}

    def reset(self, *, seed=None, options=None):  # noqa: ARG002
        super().reset(seed=seed)
        self._t = 0
        return self._observation(), {}

    def step(self, action):
        self._t += 1
        return self._observation(), float(action.sum()), self._t == 11, False, {}


def test_silent_bug_14_of_composite_observations_and_several_actions(register):
    first, second, whole, reasons = halves_and_whole(make_config(register(Doubled)))
    assert reasons == []
    assert is_the_whole(first, second, whole)
