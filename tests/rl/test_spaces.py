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

    def test_silent_bug_13_components_are_counted_from_their_own_starts(self):
        encoder = ObservationEncoder(spaces.MultiDiscrete([2, 3, 1], start=[-1, 7, 0]))
        rows = encoder.encode(np.array([[-1, 9, 0], [0, 7, 0], [0, 8, 0]]))
        assert rows.tolist() == [[1, 0, 0, 0, 1, 1], [0, 1, 1, 0, 0, 1], [0, 1, 0, 1, 0, 1]]

    def test_narrow_integers_do_not_overflow(self):
        encoder = ObservationEncoder(spaces.Discrete(100, start=-128, dtype=np.int8))
        assert encoder.encode(np.array([-128, -29], np.int8)).argmax(axis=1).tolist() == [0, 99]
        several = spaces.MultiDiscrete([100, 100], dtype=np.int8, start=[-128, 28])
        rows = ObservationEncoder(several).encode(np.array([[-29, 127]], np.int8))
        assert np.flatnonzero(rows[0]).tolist() == [99, 199]

    def test_parts_lie_side_by_side_in_the_order_of_the_space(self):
        space = spaces.Dict(
            [
                ("z", spaces.Discrete(2, start=3)),
                ("a", spaces.Tuple([spaces.Box(-9, 9, (2,)), spaces.MultiBinary(1)])),
            ]
        )
        rows = ObservationEncoder(space).encode(
            # the order of a dict that an environment hands out means nothing
            {
                "a": (np.array([[1.5, 2.5], [-1, -2]], np.float32), np.array([[1], [0]], np.int8)),
                "z": np.array([4, 3]),
            }
        )
        assert rows.tolist() == [[0, 1, 1.5, 2.5, 1], [1, 0, -1, -2, 0]]

    def test_encoding_writes_to_nothing_that_it_was_given(self):
        space = spaces.Tuple([spaces.Box(-9, 9, (2,)), spaces.MultiDiscrete([2, 2], start=[5, 5])])
        given = (np.ones((3, 2), np.float32), np.full((3, 2), 5))
        ObservationEncoder(space).encode(given)
        assert (given[0] == 1).all()
        assert (given[1] == 5).all()


class TestRefusedObservations:
    @pytest.mark.parametrize(
        ("space", "part"),
        [
            (spaces.Text(5), None),
            (spaces.Sequence(spaces.Discrete(2)), None),
            (spaces.Graph(spaces.Box(0, 1, (2,)), None), None),
            (spaces.OneOf([spaces.Discrete(2), spaces.Discrete(3)]), None),
            (spaces.Box(0, 1, (0,)), None),
            (spaces.MultiDiscrete(np.zeros(0, np.int64)), None),
            (spaces.Dict({}), "it is empty"),
            (spaces.Tuple([]), "it is empty"),
            (spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Text(5)}), "its part b is Text("),
            (
                spaces.Tuple([spaces.Discrete(2), spaces.Dict({"x": spaces.Box(0, 1, (3, 0))})]),
                "its part 1.x is Box(",
            ),
            (spaces.Dict({"a": spaces.Dict({"b": spaces.Tuple([])})}), "its part a.b is empty"),
            (spaces.Dict({1: spaces.Discrete(2)}), "the key 1, which is no plain text"),
            (spaces.Dict({"\x1b[1m": spaces.Discrete(2)}), "which is no plain text"),
            (spaces.Box(0, 1, (250_001,)), "it has more than 250,000 features"),
            (spaces.Discrete(10**12), "it has more than 250,000 features"),
            (spaces.MultiDiscrete([2**62, 2**62, 2**62]), "it has more than 250,000 features"),
            (spaces.Tuple([spaces.Discrete(200_000)] * 2), "it has more than 250,000 features"),
            (spaces.Tuple([spaces.Discrete(2)] * 1001), "it has more than 1,000 parts"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_the_sentence_names_the_space_and_what_is_supported(self, space, part):
        with pytest.raises(RequestError) as refusal:
            ObservationEncoder(space)
        sentence = str(refusal.value)
        assert " ".join(str(space).split())[:250] in sentence
        assert sentence.isprintable()
        assert len(sentence) < 650
        assert sentence.endswith(
            "observations may be Box, Discrete, MultiDiscrete, MultiBinary, or a Tuple or Dict of "
            "these; actions Discrete, MultiDiscrete, MultiBinary, or Box of floats"
        )
        assert (part or "is not supported: observations may be") in sentence

    @pytest.mark.parametrize(("levels", "supported"), [(1, True), (8, True), (9, False)])
    def test_nesting_is_bounded(self, levels, supported):
        space = spaces.Discrete(2)
        for level in range(levels):
            space = spaces.Dict({"a": space}) if level % 2 else spaces.Tuple([space])
        if supported:
            assert ObservationEncoder(space).size == 2
        else:
            with pytest.raises(RequestError, match="nested more than 8 deep"):
                ObservationEncoder(space)


class TestDiscreteActions:
    @pytest.mark.parametrize("start", [-1, 0, 5])
    def test_silent_bug_13_indices_are_counted_from_the_start(self, start):
        space = spaces.Discrete(3, start=start)
        decoder = ActionDecoder(space)
        actions = decoder.decode(np.array([0, 1, 2, 1]))
        assert actions.tolist() == [start, start + 1, start + 2, start + 1]
        assert all(action in space for action in actions)
        assert (decoder.distribution, decoder.size, decoder.raw_shape) == ("categorical", 3, ())
        assert (decoder.choices, decoder.raw_dtype) == ((3,), np.int64)

    def test_actions_are_of_the_dtype_of_the_space(self):
        space = spaces.Discrete(200, start=50, dtype=np.uint8)
        actions = ActionDecoder(space).decode(np.array([0, 199]))
        assert actions.tolist() == [50, 249]
        assert all(action in space for action in actions)


class TestSeveralDiscreteActions:
    @pytest.mark.parametrize("dtype", [np.int64, np.int8])
    def test_silent_bug_13_components_are_counted_from_their_own_starts(self, dtype):
        space = spaces.MultiDiscrete([[2, 3], [1, 4]], dtype=dtype, start=[[-1, 5], [0, 100]])
        decoder = ActionDecoder(space)
        actions = decoder.decode(np.array([[0, 0, 0, 0], [1, 2, 0, 3]]))
        assert actions.tolist() == [[[-1, 5], [0, 100]], [[0, 7], [0, 103]]]
        assert all(action in space for action in actions)
        assert (decoder.distribution, decoder.size) == ("multi_categorical", 10)
        assert decoder.choices == (2, 3, 1, 4)
        assert (decoder.raw_shape, decoder.raw_dtype) == ((4,), np.int64)

    @pytest.mark.parametrize("shape", [3, (3,), (2, 2), (1, 1, 2)])
    def test_bits_have_the_shape_of_the_space(self, shape):
        space = spaces.MultiBinary(shape)
        decoder = ActionDecoder(space)
        raw = np.arange(5 * decoder.size).reshape(5, -1) % 2
        actions = decoder.decode(raw)
        assert actions.shape == (5, *space.shape)
        assert actions.dtype == np.int8
        assert np.array_equal(actions.reshape(5, -1), raw)
        assert (decoder.distribution, decoder.choices) == ("bernoulli", (2,) * decoder.size)
        assert (decoder.raw_shape, decoder.raw_dtype) == ((decoder.size,), np.int64)

    def test_raw_actions_are_not_written_to(self):
        raw = np.array([[1, 1], [0, 1]])
        ActionDecoder(spaces.MultiDiscrete([2, 2], start=[4, 5])).decode(raw)
        ActionDecoder(spaces.MultiBinary(2)).decode(raw)
        assert raw.tolist() == [[1, 1], [0, 1]]


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
        assert (decoder.choices, decoder.raw_dtype) == ((), np.float32)


@pytest.mark.parametrize(
    ("space", "why"),
    [
        (spaces.Box(0, 255, (2,), np.uint8), ""),
        (spaces.Box(-5, 5, (2,), np.int64), ""),
        (spaces.Box(-1, 1, (0,)), ""),
        (spaces.Dict({"a": spaces.Discrete(2)}), ""),
        (spaces.Tuple([spaces.Discrete(2)]), ""),
        (spaces.Text(5), ""),
        (spaces.Sequence(spaces.Discrete(2)), ""),
        (spaces.MultiDiscrete(np.zeros(0, np.int64)), ""),
        (spaces.Discrete(250_001), "it has more than 250,000 choices; "),
        (spaces.Box(-1, 1, (250_001,)), "it has more than 250,000 choices; "),
        (spaces.MultiDiscrete([1] * 1000 + [9_000]), "its components are too many for the largest"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refused_actions_are_named_with_what_is_supported(space, why):
    with pytest.raises(RequestError) as refusal:
        ActionDecoder(space)
    sentence = str(refusal.value)
    shown = " ".join(str(space).split())[:250]
    assert sentence.startswith(f"action space {shown}")
    assert f"is not supported: {why or 'observations may be'}" in sentence
    assert sentence.endswith("; actions Discrete, MultiDiscrete, MultiBinary, or Box of floats")
    assert sentence.isprintable()


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
    spaces.Discrete(7, start=-3, dtype=np.int8),
    spaces.MultiDiscrete([2, 3, 4]),
    spaces.MultiDiscrete([[2, 3], [4, 1]], start=[[0, -1], [5, 0]]),
    spaces.MultiDiscrete([2, 3], dtype=np.uint8, start=[100, 0]),
    spaces.MultiDiscrete(5),
    spaces.MultiBinary(3),
    spaces.MultiBinary([3]),
    spaces.MultiBinary((2, 2)),
    spaces.Tuple([spaces.Discrete(2), spaces.MultiBinary(2)]),
    spaces.Dict({"a": spaces.Discrete(2), "type": spaces.Box(-1, 1, (2,)), "": spaces.Discrete(1)}),
    spaces.Tuple([spaces.Dict({"x": spaces.Tuple([spaces.Box(0, 1, (1,))])}), spaces.Discrete(3)]),
]


class TestDescriptions:
    @pytest.mark.parametrize("space", DESCRIBED, ids=str)
    def test_space_survives_being_plain_data(self, space):
        description = json.loads(json.dumps(describe_space(space)))
        rebuilt = space_from_description(description)
        assert rebuilt == space
        assert rebuilt.dtype == space.dtype

    def test_order_of_the_parts_of_a_dict_survives(self):
        space = spaces.Dict([("z", spaces.Discrete(2)), ("a", spaces.Discrete(3))])
        rebuilt = space_from_description(json.loads(json.dumps(describe_space(space))))
        assert list(rebuilt.spaces) == ["z", "a"]
        nested = space_from_description(describe_space(spaces.Tuple([space])))
        assert list(nested[0].spaces) == ["z", "a"]

    def test_description_of_a_discrete_space_is_that_of_earlier_versions(self):
        assert describe_space(spaces.Discrete(4, start=-1)) == {
            "type": "Discrete",
            "n": 4,
            "start": -1,
        }

    @pytest.mark.parametrize(
        "space",
        [spaces.Text(3), spaces.Tuple([spaces.Text(3)]), spaces.Dict({"a": spaces.Text(3)})],
        ids=str,
    )
    def test_unsupported_space_is_refused(self, space):
        with pytest.raises(RequestError, match=r"Text.*is not supported: observations may be"):
            describe_space(space)


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
