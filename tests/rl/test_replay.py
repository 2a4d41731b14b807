"""Environments that are set up again as they were, and generators that are found and put back."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from resuming import Form, Push

from trpotui.rl import replay
from trpotui.rl.checkpoint import as_arrays, as_tensors
from trpotui.rl.environments import BatchedEnvironment
from trpotui.rl.random_states import RandomStates
from trpotui.rl.recorded_environment import RecordedEnvironment
from trpotui.rl.replay import ActionLog, RebuildError
from trpotui.rl.single_environments import SingleEnvironments

BIT_GENERATORS = [
    np.random.PCG64,
    np.random.PCG64DXSM,
    np.random.MT19937,
    np.random.Philox,
    np.random.SFC64,
]


def nothing() -> None:
    """An interrupt that never comes."""


class TestRandomStates:
    @pytest.mark.parametrize(
        "generator",
        [
            *(np.random.Generator(kind(3)) for kind in BIT_GENERATORS),
            np.random.RandomState(3),
            random.Random(3),
        ],
        ids=lambda it: type(getattr(it, "bit_generator", it)).__name__,
    )
    def test_every_kind_draws_again_what_it_drew(self, generator):
        def draws():
            if isinstance(generator, random.Random):
                return [generator.gauss(0, 1) for _ in range(5)]
            return generator.standard_normal(5).tolist()

        # a generator that has drawn a number of 32 bits, or a second normal one, remembers that
        if isinstance(generator, np.random.Generator):
            generator.integers(10, dtype=np.uint32)
        draws()
        states = RandomStates(SimpleNamespace(generator=generator))
        kept = json.loads(json.dumps(states.read()))
        drawn = draws()
        assert draws() != drawn
        states.write(kept)
        assert draws() == drawn

    def test_they_are_found_wherever_they_are_and_once_each(self):
        shared = np.random.default_rng(1)
        root = SimpleNamespace(
            shared=shared,
            listed=[1, (random.Random(2),)],
            named={"deep": SimpleNamespace(own=np.random.RandomState(3), again=shared)},
            data=list(range(10**5)),
            kind=np.random,
            space=spaces.Discrete(2, seed=4),
        )
        root.itself = root
        assert set(RandomStates(root).read()) == {"shared", "listed.1.0", "named.deep.own"}

    def test_what_is_in_its_place_later_is_read(self):
        root = SimpleNamespace(own=np.random.default_rng(1), gone=np.random.default_rng(2))
        states = RandomStates(root)
        root.own = np.random.default_rng(5)
        del root.gone
        assert states.read() == RandomStates(root).read()

    @pytest.mark.parametrize("change", ["other kind", "gone", "no generator"])
    def test_a_state_of_another_generator_is_refused(self, change):
        root = SimpleNamespace(own=np.random.default_rng(1))
        kept = RandomStates(root).read()
        root.own = np.random.Generator(np.random.MT19937(1))
        if change == "gone":
            del root.own
        if change == "no generator":
            root.own = 3
        with pytest.raises(RebuildError, match="generators are other ones"):
            replay.put_back(RandomStates(root), kept)

    def test_nothing_of_the_object_is_called(self):
        class Touchy:
            def __getattr__(self, name):
                raise AssertionError(name)

            @property
            def rng(self):
                raise AssertionError

        assert RandomStates(SimpleNamespace(touchy=Touchy())).read() == {}


class TestActionLog:
    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 12)), max_size=20))
    def test_it_keeps_what_is_needed(self, moves):
        """In every move so many steps are added, and then those of some steps ago are needed."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(replay, "FIRST_STEPS", 3)
            log, everything, views = ActionLog(), [], []
            for count, back in moves:
                for _ in range(count):
                    everything.append([len(everything), -len(everything)])
                    log.append(np.array(everything[-1]))
                since = max(len(everything) - back, log.needed_from)
                log.needed_from = since
                found = log.since(since)
                assert found is not None
                assert log.count == len(everything)
                assert found.tolist() == everything[since:]
                views.append((found, everything[since:]))
            for found, expected in views:  # what was handed out stays
                assert found.tolist() == expected

    def test_what_is_too_long_ago_is_given_up(self, monkeypatch):
        monkeypatch.setattr(replay, "MOST_STEPS", 10)
        log = ActionLog()
        for step in range(10_000):
            log.append(np.array([step]))
        assert log.since(0) is None
        kept = log.since(9_990)
        assert kept is not None
        assert kept[:, 0].tolist() == list(range(9_990, 10_000))
        assert log._rows.nbytes < 10_000

    def test_memory_is_bounded_for_large_actions_too(self, monkeypatch):
        monkeypatch.setattr(replay, "MOST_BYTES", 2**14)
        monkeypatch.setattr(replay, "FIRST_BYTES", 2**12)
        log = ActionLog()
        for _ in range(300):
            log.append(np.zeros((32, 8), dtype=np.float32))  # a KiB
        assert log._rows.nbytes <= 2 * 2**14
        assert log.since(0) is None

    def test_it_goes_on_behind_others(self):
        log = ActionLog()
        log.append(np.array([9]))
        log.replace(np.array([[1], [2]]))
        log.append(np.array([3]))
        found = log.since(0)
        assert found is not None
        assert found[:, 0].tolist() == [1, 2, 3]
        assert log.count == 3


def record_of(kind: str) -> RecordedEnvironment:
    """Three environments that have been reset."""
    if kind == "single":
        vector: Any = SingleEnvironments([Push() for _ in range(3)])
    else:
        vector = Form(3, AutoresetMode(kind))
    recorded = RecordedEnvironment.of(BatchedEnvironment(vector, name="walks"))
    recorded.reset(seed=[5, 6, 7])
    return recorded


KINDS = ["single", *(mode.value for mode in AutoresetMode)]
ACTIONS = np.random.default_rng(0).integers(0, 2, (200, 3))


def stored(recorded: RecordedEnvironment) -> dict[str, Any]:
    """Where it is, as another process reads it."""
    return as_arrays(as_tensors(recorded.position().plain()))


def seen(recorded: RecordedEnvironment, actions) -> list[Any]:
    """All that steps bring."""
    found = []
    for action in actions:
        step = recorded.step(action)
        found += [step.observations, step.successors, step.rewards, step.terminated]
        found += [step.truncated, step.valid, step.starts, recorded.take_finished_episodes()]
    return [it.tolist() if isinstance(it, np.ndarray) else it for it in found]


class TestRebuilding:
    @pytest.mark.parametrize("steps", [1, 2, 7, 23, 64])
    @pytest.mark.parametrize("kind", KINDS)
    def test_it_goes_on_as_if_nothing_had_happened(self, monkeypatch, kind, steps):
        monkeypatch.setattr("trpotui.rl.native_form.FIRST_STEPS", 20)
        recorded = record_of(kind)
        last = [recorded.step(action) for action in ACTIONS[:steps]][-1]
        recorded.take_finished_episodes()
        state = stored(recorded)
        again = record_of(kind)
        observations = again.rebuild(state, nothing)
        assert observations.tolist() == last.observations.tolist()
        assert seen(again, ACTIONS[steps:]) == seen(recorded, ACTIONS[steps:])

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_position_does_not_follow_what_comes_after_it(self, kind):
        recorded = record_of(kind)
        seen(recorded, ACTIONS[:30])
        position = recorded.position()
        before = as_tensors(position.plain())
        seen(recorded, ACTIONS[30:])
        recorded.reset(seed=[1, 2, 3])
        after = as_tensors(position.plain())
        assert json.dumps(before, default=torch.Tensor.tolist) == json.dumps(
            after, default=torch.Tensor.tolist
        )

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_can_be_done_again_and_again(self, kind):
        whole, part = record_of(kind), record_of(kind)
        for start in range(0, 60, 6):
            actions = ACTIONS[start : start + 6]
            assert seen(part, actions) == seen(whole, actions)
            state, part = stored(part), record_of(kind)
            part.rebuild(state, nothing)
            assert stored(part).keys() == state.keys()

    @pytest.mark.parametrize("kind", KINDS)
    def test_what_is_not_the_same_is_said(self, kind):
        recorded = record_of(kind)
        seen(recorded, ACTIONS[:20])
        state = stored(recorded)
        state["counts"]["returns"] = state["counts"]["returns"] + 1e-9
        with pytest.raises(RebuildError, match="the returns of its episodes differ"):
            record_of(kind).rebuild(state, nothing)

    def test_a_form_that_hides_something_is_found_out(self):
        recorded = record_of("NextStep")
        recorded._environments._hidden[0] = 0.25
        seen(recorded, ACTIONS[:17])
        with pytest.raises(RebuildError, match="differ"):
            record_of("NextStep").rebuild(stored(recorded), nothing)

    def test_a_form_that_has_become_another_one_is_found_out(self):
        recorded = record_of("NextStep")
        seen(recorded, ACTIONS[:20])
        state = stored(recorded)
        state["record"]["numbers"]["_place"] = np.zeros(4)
        with pytest.raises(RebuildError, match="its '_place' is now of another kind"):
            record_of("NextStep").rebuild(state, nothing)

    @pytest.mark.parametrize("kind", ["single", "NextStep"])
    def test_an_environment_that_fails_is_said_to(self, monkeypatch, kind):
        recorded = record_of(kind)
        seen(recorded, ACTIONS[:20])

        def failing(_self, _action):
            raise RuntimeError("out of order")

        for it in (Push, Form):
            monkeypatch.setattr(it, "step", failing)
        with pytest.raises(RebuildError, match=r"it raised .*: out of order"):
            record_of(kind).rebuild(stored(recorded), nothing)

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_can_be_interrupted_at_every_step(self, kind):
        recorded = record_of(kind)
        seen(recorded, ACTIONS[:10])
        looks = []
        record_of(kind).rebuild(stored(recorded), lambda: looks.append(1))
        assert len(looks) >= 3

        def interrupt():
            looks.pop()
            if not looks:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            record_of(kind).rebuild(stored(recorded), interrupt)

    def test_single_environments_that_reset_in_the_next_step_are_not_set_up_wrongly(self):
        """No run has them; what cannot be put back is found out."""
        vector = SyncVectorEnv([Push] * 2, autoreset_mode=AutoresetMode.NEXT_STEP)
        recorded = RecordedEnvironment(vector, name="walks")
        recorded.reset(seed=[5, 6])
        seen(recorded, ACTIONS[:13, :2])
        again = RecordedEnvironment(
            SyncVectorEnv([Push] * 2, autoreset_mode=AutoresetMode.NEXT_STEP), name="walks"
        )
        again.reset(seed=[7, 8])
        with pytest.raises(RebuildError):
            again.rebuild(stored(recorded), nothing)


def test_a_step_of_a_recorded_environment_is_that_of_a_plain_one():
    """Remembering changes no number and takes no random one."""
    plain = BatchedEnvironment(SingleEnvironments([Push() for _ in range(3)]), name="walks")
    plain.reset(seed=[5, 6, 7])
    assert seen(record_of("single"), ACTIONS) == seen(plain, ACTIONS)


def test_wrappers_and_seeds_are_kept_as_they_are():
    recorded = record_of("single")
    environments = recorded._environments.envs
    assert all(isinstance(one.unwrapped, Push) for one in environments)
    assert isinstance(environments[0], gymnasium.Wrapper)
    assert recorded.seeds_each
