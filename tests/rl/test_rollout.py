"""Experience as it is collected, against the same steps taken one by one."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from trpotui.rl import collector as collector_module
from trpotui.rl.collector import Collector
from trpotui.rl.environments import BatchedEnvironment
from trpotui.rl.normalization import ObservationMoments
from trpotui.rl.rollout import PER_STEP, Rollout
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
    """A random policy, and what it was told of the beginnings of episodes."""

    def __init__(self, seed: int, *, continuous: bool = False) -> None:
        self._rng = np.random.default_rng(seed)
        self._continuous = continuous
        self.starts: list[list[bool]] = []

    def act(self, inputs, starts):
        self.starts.append(starts.tolist())
        if self._continuous:
            return self._rng.normal(size=(len(inputs), 1)).astype(np.float32)
        return (self._rng.random(len(inputs)) * 3).astype(np.int64)

    def parameters(self, inputs, starts):
        return inputs * np.float32(2.0) + starts[:, None]


def walks(mode: AutoresetMode, *, continuous: bool = False, **kwargs) -> BatchedEnvironment:
    makers = [lambda rank=rank: Walk(rank, continuous=continuous) for rank in range(3)]
    return BatchedEnvironment(SyncVectorEnv(makers, autoreset_mode=mode, **kwargs), name="Walk")


def make_collector(
    environments: BatchedEnvironment, steps: int, *, normalized: bool = False, episodes: int = 0
):
    rollout = Rollout.empty(
        steps,
        environments.n_envs,
        size=2,
        decoder=ActionDecoder(environments.action_space),
        normalized=normalized,
    )
    return Collector(
        environments,
        environments.reset(seed=0),
        rollout,
        episodes=episodes,
        rng=np.random.default_rng(7),
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("continuous", [False, True])
def test_contents_are_those_of_the_same_steps_one_by_one(mode, continuous):
    environments = walks(mode, continuous=continuous)
    rollout = make_collector(environments, 20).collect(Guess(0, continuous=continuous), None)
    reference, policy = walks(mode, continuous=continuous), Guess(0, continuous=continuous)
    decoder, starts = ActionDecoder(reference.action_space), np.ones(3, dtype=np.bool_)
    observations = reference.reset(seed=0)
    assert np.array_equal(rollout.first_parameters, 2 * observations + 1)
    finals = {}
    for t in range(20):
        raw = policy.act(observations, starts)
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
    rollout = make_collector(environments, 25, normalized=normalized).collect(Guess(1), used)

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
    rollout = make_collector(environments, 25, normalized=True).collect(Guess(1), moments)
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
        rollouts.append(collector.collect(Guess(2), None))
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
    expected = make_collector(whole, 24).collect(Guess(3), None)
    parts = walks(mode)
    collector, policy = make_collector(parts, 12), Guess(3)
    for half in (slice(0, 12), slice(12, 24)):
        rollout = collector.collect(policy, None)
        for name in ("actions", "rewards", "terminated", "truncated", "valid"):
            assert np.array_equal(getattr(rollout, name), getattr(expected, name)[half]), name
        assert np.array_equal(rollout.rows[:-1], expected.rows[half])
        assert np.array_equal(rollout.starts[:-1], expected.starts[half])
        positions = [(t + half.start, n) for t, n in rollout.final_positions]
        assert positions == [p for p in expected.final_positions if half.start <= p[0] < half.stop]
        assert np.array_equal(rollout.starts[-1], expected.starts[half.stop])
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
        collector.collect(Guess(0), None, interrupt=interrupt)
    walked = environments._environments.get_attr("steps")
    assert walked == (calls - 1,) * 3
    environments.close()


@pytest.mark.parametrize(("continuous", "dtype"), [(False, np.int64), (True, np.float32)])
def test_arrays_have_the_types_of_the_actions(continuous, dtype):
    environments = walks(AutoresetMode.SAME_STEP, continuous=continuous)
    rollout = make_collector(environments, 4).collect(Guess(0, continuous=continuous), None)
    assert rollout.actions.dtype == dtype
    assert rollout.actions.shape == ((4, 3, 1) if continuous else (4, 3))
    assert rollout.rewards.dtype == np.float32
    environments.close()


def first_rows(rollout: Rollout) -> np.ndarray:
    """Where the row before is of another episode, by the number that `Walk` shows of it [T - 1, N].

    A row that only resets still shows the last observation of the episode before.
    """
    return rollout.rows[1:, :, 1] != rollout.rows[:-1, :, 1]


@pytest.mark.parametrize("mode", MODES)
def test_starts_are_the_rows_in_which_episodes_begin(mode):
    environments, session = walks(mode), Guess(5)
    collector = make_collector(environments, 7)
    told = []
    for number in range(4):
        rollout = collector.collect(session, None)
        assert np.array_equal(rollout.starts[1:], first_rows(rollout))
        assert rollout.starts[0].all() == (number == 0)
        assert rollout.starts[1:].any()
        told.extend(rollout.starts[:-1].tolist())
        # no row that begins an episode, and no row within one, is a mere reset
        assert not (~rollout.valid & rollout.starts[:-1]).any()
        expected = 2 * rollout.inputs[0] + rollout.starts[0][:, None]
        assert np.array_equal(rollout.first_parameters, expected)
    assert session.starts == told
    environments.close()


@pytest.mark.parametrize("mode", MODES)
def test_episodes_of_a_rollout_of_steps_are_those_that_ended_in_it(mode):
    environments = walks(mode)
    collector, session = make_collector(environments, 13), Guess(6)
    totals = np.zeros(3)
    for _ in range(3):
        rollout = collector.collect(session, None)
        returns, lengths = [], []
        for t, n in np.ndindex(13, 3):
            totals[n] += rollout.rewards[t, n]
            if rollout.ended[t, n]:
                returns.append(totals[n])
                lengths.append(2 + int(rollout.rows[t, n, 1] % 100 + n) % 3)
                totals[n] = 0.0
        assert rollout.returns == returns
        assert rollout.lengths == lengths
        assert rollout.cut_off == 0
    environments.close()


def whole_episodes(rollout: Rollout) -> list[list[tuple[float, int, int]]]:
    """Of every environment its episodes, as return, length and number, from the valid rows."""
    found: list[list[tuple[float, int, int]]] = []
    for n in range(rollout.rewards.shape[1]):
        episodes, rewards = [], []
        for t in np.flatnonzero(rollout.valid[:, n]):
            rewards.append(float(rollout.rewards[t, n]))
            if rollout.ended[t, n]:
                episodes.append((sum(rewards), len(rewards), int(rollout.rows[t, n, 1] % 100)))
                rewards = []
        assert rewards == [], "an episode without its end is trained on"
        found.append(episodes)
    return found


ALL_PARTS = (*PER_STEP, "rows", "inputs", "starts", "final_positions", "final_inputs", "returns")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("episodes", [1, 2])
@pytest.mark.parametrize("capacity", [1, 4, 64])
class TestWholeEpisodes:
    def test_every_environment_gives_as_many_as_asked_for(self, mode, episodes, capacity):
        environments = walks(mode)
        collector = make_collector(environments, capacity, episodes=episodes)
        session = Guess(8)
        for _ in range(4):
            rollout = collector.collect(session, None)
            found = whole_episodes(rollout)
            assert [len(one) for one in found] == [episodes] * 3
            each = [(r, length) for one in found for r, length, _ in one]
            reported = list(zip(rollout.returns, rollout.lengths, strict=True))
            assert sorted(reported) == sorted(each)
            assert int(rollout.valid.sum()) == sum(rollout.lengths)
            # the first of each begins with the rollout, or behind the row that only resets
            first = rollout.valid.argmax(axis=0)
            assert rollout.starts[first, range(3)].all()
            assert (first <= (mode is AutoresetMode.NEXT_STEP)).all()
            assert not rollout.valid[-1].all() or rollout.ended[-1].any()
        environments.close()

    def test_room_does_not_matter(self, mode, episodes, capacity):
        rollouts = []
        for room in (capacity, 200):
            environments = walks(mode)
            collector = make_collector(environments, room, normalized=True, episodes=episodes)
            moments = ObservationMoments(
                mean=np.array([20.0, 3.0]), variance=np.array([9.0, 4.0]), count=5.0, clip=2.0
            )
            session = Guess(9)
            collector.collect(session, moments)
            rollouts.append(collector.collect(session, moments))
            environments.close()
        small, large = rollouts
        assert small.steps == large.steps
        for name in ALL_PARTS:
            assert np.array_equal(getattr(small, name), getattr(large, name)), name
        assert len(small.rows) == small.steps + 1 == len(small.actions) + 1

    def test_next_rollout_begins_anew_where_an_episode_would_go_on(self, mode, episodes, capacity):
        environments = walks(mode)
        seeds = []
        reset = environments.reset

        def remembered(*, seed):
            seeds.append(seed)
            return reset(seed=seed)

        environments.reset = remembered
        collector, session = make_collector(environments, capacity, episodes=episodes), Guess(8)
        expected, before = 0, None
        for _ in range(6):
            rollout = collector.collect(session, None)
            if before is not None and before.any():
                expected += 1
                assert rollout.starts[0].all()
            assert len(seeds) == 1 + expected
            before = ~(rollout.starts[-1] | rollout.ended[-1])
        assert expected > 0
        assert len({tuple(one) for one in seeds[1:]}) == expected, "a seed is used again"
        environments.close()


@pytest.mark.parametrize("mode", MODES)
def test_one_environment_goes_from_episode_to_episode_without_a_seed(mode):
    environments = BatchedEnvironment(
        SyncVectorEnv([lambda: Walk(0)], autoreset_mode=mode), name="Walk"
    )
    collector, session = make_collector(environments, 2, episodes=1), Guess(4)
    numbers = []
    for _ in range(5):
        rollout = collector.collect(session, None)
        ((_, length, number),) = whole_episodes(rollout)[0]  # one environment, one episode
        assert rollout.lengths == [length] == [2 + number % 3]
        numbers.append(number)
    assert numbers == [1, 2, 3, 4, 5]
    environments.close()


class Endless(Walk):
    """An episode that does not end."""

    def step(self, action):
        observation, reward, *_ = super().step(action)
        return observation, reward, False, False, {}


def test_episode_that_does_not_end_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(collector_module, "LONGEST_WAIT", 30)
    makers = [lambda: Walk(0), lambda: Endless(1)]
    environments = BatchedEnvironment(
        SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP), name="Walk"
    )
    collector, session = make_collector(environments, 4, episodes=2), Guess(4)
    rollout = collector.collect(session, None)
    assert (rollout.steps, rollout.cut_off, len(rollout.returns)) == (60, 1, 2)
    assert rollout.valid[:, 1].all()
    assert int(rollout.valid[:, 0].sum()) == sum(rollout.lengths)
    rollout = collector.collect(session, None)
    assert rollout.starts[0].all()
    environments.close()


def test_whole_episodes_need_a_source_of_seeds():
    environments = walks(AutoresetMode.SAME_STEP)
    observations = environments.reset(seed=0)
    rollout = make_collector(environments, 4)._rollout
    with pytest.raises(ValueError, match="seeds"):
        Collector(environments, observations, rollout, episodes=1)
    environments.close()
