"""Observations into rows, raw actions into the environment's, and spaces as plain data."""

from __future__ import annotations

import json
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from trpotui.errors import RequestError
from trpotui.rl.spaces import (
    ActionDecoder,
    ObservationEncoder,
    PolicySpec,
    describe_space,
    space_from_description,
)
from trpotui.rl.trainer import train

INF = float("inf")


class TestObservationEncoder:
    @pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3), (2, 1, 3)])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64])
    def test_box_is_flattened_in_order(self, shape, dtype):
        space = spaces.Box(0, 200, shape, dtype)
        encoder = ObservationEncoder(space)
        space.seed(0)
        batch = np.stack([space.sample() for _ in range(5)])
        rows = encoder.encode(batch)
        assert rows.dtype == np.float32
        assert rows.shape == (5, encoder.size) == (5, int(np.prod(shape)))
        for row, observation in zip(rows, batch, strict=True):
            assert row.tolist() == observation.astype(np.float32).reshape(-1).tolist()

    @pytest.mark.parametrize("start", [-1, 0, 5])
    def test_silent_bug_13_discrete_is_one_hot_counted_from_its_start(self, start):
        encoder = ObservationEncoder(spaces.Discrete(3, start=start))
        rows = encoder.encode(np.array([start + 2, start, start + 1]))
        assert rows.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
        assert rows.dtype == np.float32

    @pytest.mark.parametrize(
        "space",
        [
            spaces.MultiDiscrete([2, 3]),
            spaces.MultiBinary(4),
            spaces.Dict({"a": spaces.Discrete(2)}),
            spaces.Tuple([spaces.Discrete(2)]),
            spaces.Text(5),
            spaces.Box(0, 1, (0,)),
        ],
    )
    def test_refusal_names_the_space_and_what_is_supported(self, space):
        with pytest.raises(RequestError) as refusal:
            ObservationEncoder(space)
        assert str(space) in str(refusal.value)
        assert "Box or Discrete" in str(refusal.value)


class TestDiscreteActions:
    @pytest.mark.parametrize("start", [-1, 0, 5])
    def test_silent_bug_13_indices_are_counted_from_the_start(self, start):
        space = spaces.Discrete(3, start=start)
        decoder = ActionDecoder(space)
        actions = decoder.decode(np.array([0, 1, 2, 1]))
        assert actions.tolist() == [start, start + 1, start + 2, start + 1]
        assert all(action in space for action in actions)
        assert (decoder.distribution, decoder.size, decoder.raw_shape) == ("categorical", 3, ())


def box(low, high, dtype=np.float32):
    return spaces.Box(np.array(low, dtype), np.array(high, dtype), dtype=dtype)


class TestBoxActions:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_raw_middle_and_ends_are_those_of_the_bounds(self, dtype):
        decoder = ActionDecoder(box([-2.0, 0.0, 10.0], [2.0, 1.0, 30.0], dtype))
        raw = np.array([[0, 0, 0], [-1, -1, -1], [1, 1, 1], [0.5, 0.5, 0.5]], dtype=np.float32)
        expected = [[0, 0.5, 20], [-2, 0, 10], [2, 1, 30], [1, 0.75, 25]]
        actions = decoder.decode(raw)
        assert actions.tolist() == expected
        assert actions.dtype == dtype

    def test_raw_actions_beyond_the_bounds_are_clipped_and_not_written_to(self):
        space = box([-2.0, 0.0], [2.0, 1.0])
        raw = np.array([[100.0, -100.0], [-1.5, 1.5]], dtype=np.float32)
        kept = raw.copy()
        assert ActionDecoder(space).decode(raw).tolist() == [[2.0, 0.0], [-2.0, 1.0]]
        assert np.array_equal(raw, kept)

    @pytest.mark.parametrize(("low", "high"), [(0.1, 0.7), (-1 / 3, 2 / 3), (-1e-3, 1e7)])
    def test_clipped_actions_are_always_inside_the_space(self, low, high):
        space = box([low], [high])
        raw = np.array([[-50.0], [-1.0], [0.0], [1.0], [50.0]], dtype=np.float32)
        assert all(action in space for action in ActionDecoder(space).decode(raw))

    def test_unbounded_actions_are_the_raw_ones(self):
        raw = np.array([[1e6, -3.25]], dtype=np.float32)
        actions = ActionDecoder(box([-INF, -INF], [INF, INF])).decode(raw)
        assert actions.tolist() == raw.tolist()

    def test_half_bounded_actions_are_raw_but_clipped(self):
        decoder = ActionDecoder(box([0.0, -INF], [INF, 5.0]))
        raw = np.array([[-3.0, 7.0], [3.0, -7.0]], dtype=np.float32)
        assert decoder.decode(raw).tolist() == [[0.0, 5.0], [3.0, -7.0]]

    def test_largest_finite_bounds_do_not_overflow(self):
        most = float(np.finfo(np.float32).max)
        actions = ActionDecoder(box([-most], [most])).decode(
            np.array([[0.0], [2.0], [-2.0]], dtype=np.float32)
        )
        assert actions.tolist() == [[0.0], [most], [-most]]

    def test_bounds_whose_distance_is_no_number_leave_the_raw_actions(self):
        most = float(np.finfo(np.float64).max)
        actions = ActionDecoder(box([-most], [most], np.float64)).decode(
            np.array([[0.0], [2.0], [-2.0]], dtype=np.float32)
        )
        assert actions.tolist() == [[0.0], [2.0], [-2.0]]

    def test_bounds_that_are_equal_leave_one_action(self):
        actions = ActionDecoder(box([3.0], [3.0])).decode(np.array([[-9.0], [9.0]], np.float32))
        assert actions.tolist() == [[3.0], [3.0]]

    @pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
    def test_actions_have_the_shape_of_the_space(self, shape):
        space = spaces.Box(-1, 1, shape, np.float32)
        decoder = ActionDecoder(space)
        raw = np.linspace(-0.9, 0.9, 4 * decoder.size, dtype=np.float32).reshape(4, -1)
        actions = decoder.decode(raw)
        assert actions.shape == (4, *shape)
        assert np.allclose(actions.reshape(4, -1), raw)
        assert (decoder.distribution, decoder.raw_shape) == ("gaussian", (decoder.size,))

    @pytest.mark.parametrize(
        "space",
        [
            spaces.Box(0, 255, (2,), np.uint8),
            spaces.Box(-1, 1, (0,)),
            spaces.MultiDiscrete([2, 3]),
            spaces.MultiBinary(4),
            spaces.Dict({"a": spaces.Discrete(2)}),
        ],
    )
    def test_refusal_names_the_space_and_what_is_supported(self, space):
        with pytest.raises(RequestError) as refusal:
            ActionDecoder(space)
        assert str(space) in str(refusal.value)
        assert "Discrete or Box" in str(refusal.value)


DESCRIBED = [
    spaces.Discrete(2),
    spaces.Discrete(7, start=-3),
    spaces.Box(-1, 1, (3,), np.float32),
    spaces.Box(-INF, INF, (2, 2), np.float64),
    box([0.1, -INF], [INF, 1 / 3]),
    box([0.1, -INF], [INF, 1 / 3], np.float64),
    spaces.Box(0, 255, (2, 3, 1), np.uint8),
    spaces.Box(-5, 9, (), np.int64),
    spaces.Box(-INF, INF, (2,), np.int64),
]


class TestDescriptions:
    @pytest.mark.parametrize("space", DESCRIBED, ids=str)
    def test_space_survives_being_plain_data(self, space):
        description = json.loads(json.dumps(describe_space(space)))
        rebuilt = space_from_description(description)
        assert rebuilt == space
        assert rebuilt.dtype == space.dtype

    def test_unsupported_space_is_refused(self):
        with pytest.raises(RequestError, match="not supported"):
            describe_space(spaces.MultiBinary(3))


class TestPolicySpec:
    def test_layer_widths_follow_the_spaces(self):
        spec = PolicySpec(
            environment_id="Any-v0",
            environment_kwargs={},
            observation_space=spaces.Discrete(6, start=2),
            action_space=spaces.Box(-1, 1, (2, 2), np.float32),
            hidden_sizes=(5, 3),
            activation="relu",
        )
        assert spec.actor_sizes == (6, 5, 3, 4)
        assert spec.critic_sizes == (6, 5, 3, 1)
        assert spec.distribution == "gaussian"


class Bandit(gymnasium.Env):
    """One step; the reward is the action as the environment got it."""

    observation_space = spaces.Box(0, 1, (1,), np.float32)
    action_space = spaces.Discrete(3, start=-1)
    received: ClassVar[list[int]] = []

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.received.append(int(action))
        assert self.action_space.contains(action)
        return np.zeros(1, np.float32), float(action), True, False, {}


def test_silent_bug_13_bandit_counted_from_minus_one_gets_its_own_actions(register, make_config):
    Bandit.received.clear()
    config = make_config(register(Bandit), hyper={"max_kl": 0.1}, n_envs=4, total_steps=64 * 12)
    events = list(train(config))
    assert set(Bandit.received[:64]) == {-1, 0, 1}
    returns = [one for event in events for one in getattr(event, "returns", ())]
    assert returns == [float(action) for action in Bandit.received]
    # the last batches mostly take the best action, which is 1 and not 2 or 0
    assert np.mean(Bandit.received[-64:]) > 0.6
