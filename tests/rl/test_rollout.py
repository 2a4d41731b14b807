"""Experience as it is collected, against the same steps taken one by one."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from trpotui.rl.environments import BatchedEnvironment
from trpotui.rl.normalization import ObservationMoments
from trpotui.rl.rollout import Collector, Rollout
from trpotui.rl.spaces import ActionDecoder

MODES = list(AutoresetMode)


class Walk(gymnasium.Env):
    """A walk whose start, length and kind of end differ from episode to episode."""

    observation_space = spaces.Box(-1e4, 1e4, (2,), np.float32)

    def __init__(self, rank: int = 0, *, continuous: bool = False) -> None:
        self.action_space = (
            spaces.Box(-2, 4, (1,), np.float32) if continuous else spaces.Discrete(3, start=1)
        )
        self._episode, self._rank, self.steps = 0, rank, 0

    def _observation(self):
        return np.array([self._place, 100 * self._rank + self._episode], np.float32)

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._episode += 1
        self._t, self._place = 0, 10.0 * self._episode
        return self._observation(), {}

    def step(self, action):
        self.steps += 1
        self._t += 1
        self._place += float(np.asarray(action).reshape(-1)[0])
        over = self._t == 2 + (self._episode + self._rank) % 3
        cut = over and self._episode % 2 == 0
        return self._observation(), self._place / 8, over and not cut, cut, {}


class Guess:
    """A random policy that is a function of its inputs and the generator."""

    def __init__(self, *, continuous: bool = False) -> None:
        self._continuous = continuous

    def raw_actions(self, inputs, rng):
        if self._continuous:
            return rng.normal(size=(len(inputs), 1)).astype(np.float32)
        return (rng.random(len(inputs)) * 3).astype(np.int64)

    def action_parameters(self, inputs):
        return inputs * np.float32(2.0)


def walks(mode: AutoresetMode, *, continuous: bool = False, **kwargs) -> BatchedEnvironment:
    makers = [lambda rank=rank: Walk(rank, continuous=continuous) for rank in range(3)]
    return BatchedEnvironment(SyncVectorEnv(makers, autoreset_mode=mode, **kwargs), name="Walk")


def make_collector(environments: BatchedEnvironment, steps: int, *, normalized: bool = False):
    rollout = Rollout.empty(
        steps,
        environments.n_envs,
        size=2,
        decoder=ActionDecoder(environments.action_space),
        normalized=normalized,
    )
    return Collector(environments, environments.reset(seed=0), rollout)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("continuous", [False, True])
def test_contents_are_those_of_the_same_steps_one_by_one(mode, continuous):
    environments = walks(mode, continuous=continuous)
    rollout = make_collector(environments, 20).collect(
        Guess(continuous=continuous), None, rng=np.random.default_rng(0)
    )
    reference, policy = walks(mode, continuous=continuous), Guess(continuous=continuous)
    decoder, rng = ActionDecoder(reference.action_space), np.random.default_rng(0)
    observations = reference.reset(seed=0)
    assert np.array_equal(rollout.first_parameters, 2 * observations)
    finals = {}
    for t in range(20):
        raw = policy.raw_actions(observations, rng)
        step = reference.step(decoder.decode(raw))
        assert np.array_equal(rollout.rows[t], observations)
        assert np.array_equal(rollout.actions[t], raw)
        assert np.array_equal(rollout.rewards[t], step.rewards.astype(np.float32))
        assert np.array_equal(rollout.terminated[t], step.terminated)
        assert np.array_equal(rollout.truncated[t], step.truncated)
        assert np.array_equal(rollout.ended[t], step.terminated | step.truncated)
        assert np.array_equal(rollout.valid[t], step.valid)
        for n in np.flatnonzero(step.truncated):
            if step.successors is not step.observations:
                finals[t, int(n)] = step.successors[n].tolist()
        observations = step.observations
    assert np.array_equal(rollout.rows[20], observations)
    kept = dict(
        zip(rollout.final_positions, (row.tolist() for row in rollout.final_inputs), strict=True)
    )
    assert kept == finals
    assert bool(finals) == (mode is not AutoresetMode.NEXT_STEP)
    assert rollout.truncated.any()
    assert rollout.terminated.any()
    environments.close()
    reference.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("normalized", [False, True])
def test_silent_bug_06_next_value_is_that_of_the_true_successor(mode, normalized):
    environments = walks(mode)
    moments = ObservationMoments(
        mean=np.array([20.0, 3.0]), variance=np.array([9.0, 4.0]), count=5.0, clip=1e6
    )
    used = moments if normalized else None
    rollout = make_collector(environments, 25, normalized=normalized).collect(
        Guess(), used, rng=np.random.default_rng(1)
    )

    def value(inputs):  # tells every (place, episode) apart
        return (inputs @ np.array([1.0, 977.0], dtype=np.float32)).astype(np.float32)

    following = rollout.next_values(
        value(rollout.inputs), value(np.array(rollout.final_inputs).reshape(-1, 2))
    )
    place = rollout.rows[:-1, :, 0] + rollout.actions + 1  # an index counted from 0, start 1
    successors = np.stack([place, rollout.rows[:-1, :, 1]], axis=-1)
    expected = value(moments.normalize(successors) if normalized else successors)
    wanted = rollout.valid & ~rollout.terminated
    assert (wanted & rollout.truncated).sum() >= 3
    np.testing.assert_allclose(following[wanted], expected[wanted], rtol=1e-5)
    environments.close()


def test_silent_bug_10_inputs_are_normalised_and_rows_are_not():
    environments = walks(AutoresetMode.SAME_STEP)
    moments = ObservationMoments(
        mean=np.array([20.0, 3.0]), variance=np.array([9.0, 4.0]), count=5.0, clip=2.0
    )
    rollout = make_collector(environments, 25, normalized=True).collect(
        Guess(), moments, rng=np.random.default_rng(1)
    )
    expected = np.clip((rollout.rows - [20.0, 3.0]) / [3.0, 2.0], -2.0, 2.0)
    np.testing.assert_allclose(rollout.inputs, expected, rtol=1e-6)
    assert np.abs(rollout.final_inputs).max() <= 2.0
    assert rollout.rows.max() > 20
    environments.close()


@pytest.mark.parametrize("mode", MODES)
def test_environment_that_reuses_its_arrays_does_not_change_the_rollout(mode):
    rollouts = []
    for copy in (True, False):
        environments = walks(mode, copy=copy)
        collector = make_collector(environments, 15)
        rollouts.append(collector.collect(Guess(), None, rng=np.random.default_rng(2)))
        for _ in range(3):  # whatever the environment does next
            environments.step(np.full(3, 2))
        environments.close()
    first, second = rollouts
    for name in ("rows", "actions", "rewards", "terminated", "truncated", "valid"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert np.array_equal(first.final_inputs, second.final_inputs)


@pytest.mark.parametrize("mode", MODES)
def test_next_rollout_goes_on_where_the_last_one_ended(mode):
    whole = walks(mode)
    expected = make_collector(whole, 24).collect(Guess(), None, rng=np.random.default_rng(3))
    parts = walks(mode)
    collector, rng = make_collector(parts, 12), np.random.default_rng(3)
    for half in (slice(0, 12), slice(12, 24)):
        rollout = collector.collect(Guess(), None, rng=rng)
        for name in ("actions", "rewards", "terminated", "truncated", "valid"):
            assert np.array_equal(getattr(rollout, name), getattr(expected, name)[half]), name
        assert np.array_equal(rollout.rows[:-1], expected.rows[half])
        positions = [(t + half.start, n) for t, n in rollout.final_positions]
        assert positions == [p for p in expected.final_positions if half.start <= p[0] < half.stop]
    whole.close()
    parts.close()


@pytest.mark.parametrize("calls", [1, 2, 9])
def test_interrupt_is_honoured_before_the_next_step(calls):
    environments = walks(AutoresetMode.SAME_STEP)
    collector = make_collector(environments, 10)
    count = 0

    def interrupt():
        nonlocal count
        count += 1
        if count == calls:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collector.collect(Guess(), None, rng=np.random.default_rng(0), interrupt=interrupt)
    walked = environments._environments.get_attr("steps")
    assert walked == (calls - 1,) * 3
    environments.close()


@pytest.mark.parametrize(("continuous", "dtype"), [(False, np.int64), (True, np.float32)])
def test_arrays_have_the_types_of_the_actions(continuous, dtype):
    environments = walks(AutoresetMode.SAME_STEP, continuous=continuous)
    rollout = make_collector(environments, 4).collect(
        Guess(continuous=continuous), None, rng=np.random.default_rng(0)
    )
    assert rollout.actions.dtype == dtype
    assert rollout.actions.shape == ((4, 3, 1) if continuous else (4, 3))
    assert rollout.rewards.dtype == np.float32
    environments.close()
