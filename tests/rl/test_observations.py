"""Observations of every space: encoded as gymnasium flattens them, taken apart and checked."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces.utils import flatdim, flatten
from gymnasium.vector.utils import concatenate, create_empty_array
from hypothesis import given, settings
from hypothesis import strategies as st

from trpotui.rl.observations import (
    UnfitObservationError,
    all_finite,
    batched,
    check_row,
    check_rows,
    checked,
    chosen,
    leaves_of,
    mapped,
    put,
    take,
)
from trpotui.rl.spaces import ObservationEncoder

shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)
starts = st.integers(-5, 5)


@st.composite
def boxes(draw):
    dtype = draw(
        st.sampled_from(["float16", "float32", "float64", "uint8", "int8", "int32", "bool"])
    )
    if dtype == "bool":
        return spaces.Box(0, 1, draw(shapes), np.bool_)
    low, high = draw(st.sampled_from([(0, 9), (-3, 3), (-np.inf, np.inf), (0, np.inf)]))
    if not dtype.startswith("float") or draw(st.booleans()):
        low, high = (0, 100)
    return spaces.Box(low, high, draw(shapes), np.dtype(dtype).type)


@st.composite
def multi_discretes(draw):
    shape = draw(shapes)
    size = int(np.prod(shape))
    counts = draw(st.lists(st.integers(1, 4), min_size=size, max_size=size))
    firsts = draw(st.lists(starts, min_size=size, max_size=size))
    dtype = draw(st.sampled_from([np.int64, np.int8]))
    return spaces.MultiDiscrete(
        np.reshape(counts, shape), dtype=dtype, start=np.reshape(firsts, shape)
    )


leaves = st.one_of(
    boxes(),
    st.builds(spaces.Discrete, st.integers(1, 5), start=starts),
    st.builds(spaces.Discrete, st.integers(1, 5), start=starts, dtype=st.just(np.int8)),
    multi_discretes(),
    st.builds(spaces.MultiBinary, shapes | st.integers(1, 4)),
)
keys = st.text("abc01 .", max_size=3)
any_space = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple)
        | st.dictionaries(keys, inner, min_size=1, max_size=3).map(spaces.Dict)
        | st.lists(st.tuples(keys, inner), min_size=1, max_size=3).map(spaces.Dict)
    ),
    max_leaves=6,
)


def sampled(space, count: int, seed: int):
    """Observations of `count` environments one by one, and together as gymnasium batches them."""
    space.seed(seed)
    singles = [space.sample() for _ in range(count)]
    return singles, concatenate(space, singles, create_empty_array(space, count))


@given(space=any_space, count=st.integers(1, 4), seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=200)
def test_rows_are_what_gymnasium_flattens(space, count, seed):
    singles, together = sampled(space, count, seed)
    encoder = ObservationEncoder(space)
    rows = encoder.encode(together)
    assert rows.dtype == np.float32
    assert rows.shape == (count, encoder.size) == (count, flatdim(space))
    for row, single in zip(rows, singles, strict=True):
        assert np.array_equal(row, flatten(space, single).astype(np.float32))


@given(space=any_space, seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=100)
def test_some_of_the_observations_are_encoded_as_among_all(space, seed):
    singles, together = sampled(space, 5, seed)
    encoder = ObservationEncoder(space)
    rows = encoder.encode(together)
    assert np.array_equal(encoder.encode(take(together, np.array([4, 1]))), rows[[4, 1]])
    assert np.array_equal(
        encoder.encode(take(together, rows[:, 0] == rows[0, 0])), rows[rows[:, 0] == rows[0, 0]]
    )
    for row, single in zip(rows, singles, strict=True):
        assert np.array_equal(encoder.encode(batched(single)), row[None])
    for index, row in enumerate(rows):
        assert np.array_equal(encoder.encode(batched(take(together, index))), row[None])


@given(space=any_space, seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=100)
def test_what_gymnasium_hands_out_is_fit(space, seed):
    singles, together = sampled(space, 3, seed)

    def fit(part, rows, name):
        return check_rows(part, rows, name, count=3)

    encoder = ObservationEncoder(space)
    rows = encoder.encode(checked(space, together, fit))
    assert np.array_equal(rows, encoder.encode(together))
    for single, row in zip(singles, rows, strict=True):
        assert np.array_equal(encoder.encode(batched(checked(space, single, check_row))), row[None])


@given(space=any_space, seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=50)
def test_rows_are_chosen_and_put(space, seed):
    _, first = sampled(space, 4, seed)
    singles, second = sampled(space, 4, seed + 1)
    encoder, mask = ObservationEncoder(space), np.array([True, False, False, True])
    before, other = encoder.encode(first), encoder.encode(second)
    expected = np.where(mask[:, None], before, other)
    assert np.array_equal(encoder.encode(chosen(mask, first, second)), expected)
    copied = mapped(np.copy, first)
    put(copied, 2, checked(space, singles[2], check_row))
    assert np.array_equal(encoder.encode(copied)[2], other[2])
    assert np.array_equal(encoder.encode(copied)[[0, 1, 3]], before[[0, 1, 3]])
    assert np.array_equal(encoder.encode(first), before)


def test_leaves_know_their_ways_and_columns():
    space = spaces.Dict(
        {
            "b": spaces.Tuple([spaces.Discrete(3), spaces.Box(0, 1, (2, 2))]),
            "a": spaces.MultiBinary(2),
        }
    )
    assert [(leaf.path, leaf.columns) for leaf in leaves_of(space)] == [
        (("a",), slice(0, 2)),
        (("b", 0), slice(2, 5)),
        (("b", 1), slice(5, 9)),
    ]


SPACE = spaces.Dict(
    {
        "camera": spaces.Tuple([spaces.Box(-1, 1, (2,), np.float64), spaces.Discrete(3, start=2)]),
        "keys": spaces.MultiDiscrete([[2, 3], [4, 1]], start=[[0, -1], [5, 0]]),
        "lamps": spaces.MultiBinary(2),
    }
)


def good():
    return {
        "camera": (np.zeros(2), 4),
        "keys": np.array([[1, 1], [8, 0]]),
        "lamps": np.array([0, 1], np.int8),
    }


FAULTS = [
    (("camera", 0), np.array([0.0, np.nan]), "observation.camera.0 is not finite"),
    (("camera", 0), np.array([-np.inf, 0.0]), "observation.camera.0 is not finite"),
    (("camera", 0), np.array([0.0, 1e300]), "observation.camera.0 is not finite"),
    (("camera", 0), np.zeros(3), "observation.camera.0 has shape (3,), not (2,)"),
    (("camera", 0), np.zeros((2, 1)), "observation.camera.0 has shape (2, 1), not (2,)"),
    (("camera", 1), 5, "observation.camera.1 is outside 2 to 4"),
    (("camera", 1), 1, "observation.camera.1 is outside 2 to 4"),
    (("camera", 1), 3.0, "observation.camera.1 has dtype float64, not int64"),
    (("keys",), np.array([[1, 1], [9, 0]]), "observation.keys is outside 5 to 8 at [1, 0]"),
    (("keys",), np.array([[1, -2], [5, 0]]), "observation.keys is outside -1 to 1 at [0, 1]"),
    (("keys",), np.array([[1.0, 1], [5, 0]]), "observation.keys has dtype float64, not int64"),
    (("lamps",), np.array([0, 2], np.int8), "observation.lamps is outside 0 to 1"),
    (("lamps",), np.array([-1, 0], np.int8), "observation.lamps is outside 0 to 1"),
]


def spoilt(observation, path, value):
    parts = observation
    if len(path) == 2:
        camera = list(parts["camera"])
        camera[path[1]] = value
        parts["camera"] = tuple(camera)
    else:
        parts[path[0]] = value
    return parts


@pytest.mark.parametrize(("path", "value", "sentence"), FAULTS)
def test_a_leaf_of_one_environment_is_named_with_what_is_the_matter(path, value, sentence):
    checked(SPACE, good(), check_row)
    with pytest.raises(UnfitObservationError) as fault:
        checked(SPACE, spoilt(good(), path, value), check_row)
    assert str(fault.value) == sentence


@pytest.mark.parametrize(("path", "value", "sentence"), FAULTS)
def test_a_leaf_of_several_environments_is_named_with_what_is_the_matter(path, value, sentence):
    def fit(space, rows, name):
        return check_rows(space, rows, name, count=2)

    fine = mapped(lambda leaf: np.stack([leaf, leaf]), checked(SPACE, good(), check_row))
    checked(SPACE, fine, fit)
    # one of two is at fault, or both where the shape is
    rows = np.stack([np.asarray(value)] * 2)
    first = take(fine, 0)["camera"][path[1]] if len(path) == 2 else take(fine, 0)[path[0]]
    if np.shape(first) == np.shape(value):
        rows[0] = first
    with pytest.raises(UnfitObservationError) as fault:
        checked(SPACE, spoilt(fine, path, rows), fit)
    assert str(fault.value) == sentence


@pytest.mark.parametrize(
    ("observation", "sentence"),
    [
        (np.zeros(3), "observation is no dict of camera, keys, lamps"),
        ({}, "observation is no dict of camera, keys, lamps"),
        (good() | {"more": 1}, "observation is no dict of camera, keys, lamps"),
        (good() | {"camera": {"0": 1}}, "observation.camera is no tuple of 2"),
        (good() | {"camera": (np.zeros(2),)}, "observation.camera is no tuple of 2"),
        (good() | {"camera": None}, "observation.camera is no tuple of 2"),
        (good() | {"lamps": None}, "observation.lamps has shape (), not (2,)"),
        (good() | {"lamps": "on"}, "observation.lamps has shape (), not (2,)"),
        (good() | {"lamps": ["on", "off"]}, "observation.lamps has dtype <U3, not int8"),
        (good() | {"lamps": [[1], [1, 2]]}, "observation.lamps is no array"),
        (good() | {"lamps": [10**30, 0]}, "observation.lamps has dtype object, not int8"),
    ],
)
def test_another_form_is_named(observation, sentence):
    with pytest.raises(UnfitObservationError) as fault:
        checked(SPACE, observation, check_row)
    assert str(fault.value) == sentence


def test_what_vector_environments_would_take_is_fit():
    lenient = {"camera": [[0.0, 1], np.int8(4)], "keys": [[1, 1], [8, 0]], "lamps": [True, False]}
    found = checked(SPACE, lenient, check_row)
    assert ObservationEncoder(SPACE).encode(batched(found))[0, :5].tolist() == [0, 1, 0, 0, 1]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([0, 1], "observation is list, no array"),
        (np.zeros(3, np.int64), "observation has shape (3,) for 2 environments"),
        (np.zeros((2, 1), np.int64), "observation has shape (1,), not ()"),
        (np.zeros(2, np.int32), "observation has dtype int32, not int64"),
    ],
)
def test_rows_must_be_exactly_of_their_space(rows, sentence):
    with pytest.raises(UnfitObservationError) as fault:
        check_rows(spaces.Discrete(3), rows, "observation", count=2)
    assert str(fault.value) == sentence


@pytest.mark.parametrize(
    ("values", "fit"),
    [
        (np.float32([3e38, -3e38, 3e38]), True),  # whose squares are not finite
        (np.float32([0.0, np.nan]), False),
        (np.float32([np.inf, -np.inf]), False),
        (np.float64([1e38, -3.4e38]), True),
        (np.float64([0.0, 3.5e38]), False),  # more than float32 holds
        (np.float64([1e200, 1e200]), False),
        (np.float64([-np.inf, 1.0]), False),
        (np.float16([6e4, 6e4]), True),
        (np.float16([np.nan]), False),
        (np.float32(np.nan), False),
        (np.float32([]), True),
        (np.int64([2**62]), True),
        (np.asfortranarray(np.full((3, 2), 3e38, np.float32)), True),
    ],
)
def test_what_float32_cannot_hold_is_not_finite(values, fit):
    assert all_finite(np.asarray(values)) is fit
