"""Spaces in policy files: those that are supported come back, what a stranger wrote is checked."""

from __future__ import annotations

import copy
import io
import math
import time
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from policy_samples import saved_policy

from trpotui.errors import PolicyFileError
from trpotui.inspection import as_table, facts_of
from trpotui.policy_file import policy_bytes, read_policy, write_policy
from trpotui.policy_file.checks import checked
from trpotui.policy_file.payload import payload
from trpotui.policy_file.spaces import checked_space
from trpotui.policy_file.values import RefusedError
from trpotui.rl.spaces import describe_space

MULTI_DISCRETE = spaces.MultiDiscrete([[2, 3], [4, 1]], start=[[0, -1], [5, 0]])
NESTED = spaces.Dict(
    [
        ("z", spaces.Tuple([spaces.Box(-1, 1, (2,)), MULTI_DISCRETE])),
        ("a b", spaces.MultiBinary([2, 1])),
        ("", spaces.Discrete(3, start=-1, dtype=np.int8)),
    ]
)
SAVED = saved_policy(observation_space=NESTED, action_space=MULTI_DISCRETE, normalized=True)
OBSERVATION, ACTION = describe_space(NESTED), describe_space(MULTI_DISCRETE)


@pytest.mark.parametrize(
    "space",
    [
        MULTI_DISCRETE,
        spaces.MultiDiscrete([2, 3], dtype=np.uint8, start=[7, 0]),
        spaces.MultiDiscrete(4),
        spaces.MultiBinary(3),
        spaces.MultiBinary([3]),
        spaces.MultiBinary((2, 2)),
        spaces.Discrete(3, dtype=np.int32),
    ],
    ids=str,
)
def test_a_policy_that_sees_and_acts_in_a_space_survives_the_file(tmp_path, space):
    path = tmp_path / "policy.pt"
    saved = saved_policy(observation_space=space, action_space=space)
    write_policy(path, saved)
    read = read_policy(path).policy.spec
    assert (read.observation_space, read.action_space) == (space, space)
    assert read.action_space.dtype == space.dtype


def test_nested_spaces_survive_the_file_in_their_order(tmp_path):
    path = tmp_path / "policy.pt"
    write_policy(path, SAVED)
    read = read_policy(path)
    assert read.policy.spec == SAVED.policy.spec
    assert list(read.policy.spec.observation_space.spaces) == ["z", "a b", ""]
    NESTED.seed(0)
    observation = [NESTED.sample() for _ in range(3)]
    batch = {
        "z": tuple(np.stack([one["z"][i] for one in observation]) for i in range(2)),
        "a b": np.stack([one["a b"] for one in observation]),
        "": np.stack([one[""] for one in observation]),
    }
    inputs = SAVED.policy.network_inputs(batch)
    assert read.policy.network_inputs(batch).tobytes() == inputs.tobytes()


def test_what_a_file_holds_is_shown_part_by_part():
    shown = as_table(facts_of(SAVED))
    assert "parts={z={type=Tuple, parts=[{type=Box, shape=[2], dtype=float32, low=" in shown
    assert "}]}, a b={type=MultiBinary, shape=[2, 1], flat=no}, ={type=Discrete, n=3" in shown
    # keys that look like something else
    space = spaces.Dict({name: spaces.Discrete(2) for name in ("mean", "std", "episodes")})
    assert "std={type=Discrete" in as_table(facts_of(saved_policy(observation_space=space)))


def refusal(description: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        checked_space(description, "spaces.observation")
    reason = str(caught.value)
    assert reason.startswith("is damaged: its spaces.observation")
    assert reason.isprintable()
    assert "[" not in reason
    assert len(reason) < 400
    return reason


def at(description: Any, place: str) -> Any:
    for key in place.split("/") if place else ():
        description = description[int(key) if type(description) is list else key]
    return description


def changed(place: str, key: str, value: object) -> dict[str, Any]:
    description = copy.deepcopy(OBSERVATION)
    at(description, place)[key] = value
    return description


PLACES = ["", "parts/z", "parts/z/parts/0", "parts/z/parts/1", "parts/a b", "parts/"]
FIELDS = [(place, key) for place in PLACES for key in at(OBSERVATION, place)]


def test_the_places_are_all_there():
    kinds = [at(OBSERVATION, place)["type"] for place in PLACES]
    assert kinds == ["Dict", "Tuple", "Box", "MultiDiscrete", "MultiBinary", "Discrete"]
    assert len(FIELDS) == 2 + 2 + 5 + 5 + 3 + 4
    assert checked_space(copy.deepcopy(OBSERVATION), "spaces.observation") == NESTED


@pytest.mark.parametrize(("place", "key"), FIELDS)
def test_a_missing_key_is_refused(place, key):
    description = copy.deepcopy(OBSERVATION)
    del at(description, place)[key]
    if key == "dtype" and place == "parts/":  # then it is int64, which is another space
        assert checked_space(description, "spaces.observation") != NESTED
    else:
        refusal(description)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("key", ["more", "[red]", "dtype"])
def test_an_additional_key_is_refused(place, key):
    if key not in at(OBSERVATION, place):
        assert "has the unknown key" in refusal(changed(place, key, "int64"))


@pytest.mark.parametrize(("place", "key"), FIELDS)
def test_a_value_of_another_type_is_refused(place, key):
    class Text(str):
        __slots__ = ()

    real = at(OBSERVATION, place)[key]
    others = [True, 1, 1.0, "x", Text("Box"), b"x", [], (), {}, None, 1j, np.float64(1), object()]
    others += [torch.zeros(2), np.zeros(2), [None], [[]], [{}], {"a": None}, {1: {}}, {"a": []}]
    tried = 0
    for other in others:
        if type(other) is type(real) and type(real) in (bool, int):
            continue
        if type(other) is list and not other and (place, key) == ("parts/a b", "shape"):
            continue  # of a single bit
        tried += 1
        refusal(changed(place, key, other))
    assert tried >= 20


@pytest.mark.parametrize(
    ("place", "key", "value", "said"),
    [
        ("", "type", "Text", "is none of Box, Discrete, MultiDiscrete, MultiBinary, Tuple, Dict"),
        ("", "parts", {}, "is empty"),
        ("parts/z", "parts", [], ".z is empty"),
        ("parts/z", "type", "Dict", ".z.parts is of type list"),
        ("", "type", "Tuple", ".parts is of type dict"),
        ("parts/z/parts/1", "nvec", [2, 3, 4, 0], ".z.1.nvec is not a whole number"),
        ("parts/z/parts/1", "nvec", [2, 3, 4, -1], ".z.1.nvec is not a whole number"),
        ("parts/z/parts/1", "nvec", [2, 3, 4, 2**70], ".z.1.nvec is not a whole number"),
        ("parts/z/parts/1", "nvec", [2, 3, 4, True], ".z.1.nvec is not a whole number"),
        ("parts/z/parts/1", "nvec", [2, 3, 4, 1.0], ".z.1.nvec is not a whole number"),
        ("parts/z/parts/1", "nvec", [250_000] * 4, "number of features is not a whole number"),
        ("parts/z/parts/1", "nvec", [2, 3, 4], "describes no space"),
        ("parts/z/parts/1", "nvec", [2, 3, 4, 1, 1], "describes no space"),
        ("parts/z/parts/1", "nvec", [], "number of features is not a whole number"),
        ("parts/z/parts/1", "start", [0, -1, 5], "describes no space"),
        ("parts/z/parts/1", "start", [0, -1, 5, 2**63], ".z.1.start is not a whole number"),
        ("parts/z/parts/1", "start", [0, -1, 5, None], ".z.1.start is not a whole number"),
        ("parts/z/parts/1", "dtype", "uint8", "describes no space"),  # start -1
        ("parts/z/parts/1", "dtype", "float32", ".z.1.dtype is not one that is supported"),
        ("parts/z/parts/1", "dtype", "object", ".z.1.dtype is not one that is supported"),
        ("parts/z/parts/1", "shape", [4, 0], ".z.1.shape is not a whole number"),
        ("parts/z/parts/1", "shape", [4, -1], ".z.1.shape is not a whole number"),
        ("parts/z/parts/1", "shape", [2, 3], "describes no space"),
        ("parts/z/parts/1", "shape", [1] * 8 + [4], "has more than 8 sides"),
        ("parts/z/parts/1", "shape", [250_000, 250_000], ".z.1.shape's product is not"),
        ("parts/a b", "shape", [250_000, 250_000], ".a b.shape's product is not"),
        ("parts/a b", "shape", [250_000], "number of features is not a whole number from 1 to 249"),
        ("parts/a b", "shape", [2.0, 1], ".a b.shape is not a whole number"),
        ("parts/a b", "shape", [True], ".a b.shape is not a whole number"),
        ("parts/a b", "flat", True, "has a type or bounds that do not fit"),
        ("parts/", "dtype", "int64", "has a type or bounds that do not fit"),  # never written
        ("parts/", "dtype", "uint8", "describes no space"),  # start -1
        ("parts/", "dtype", "bool", ".dtype is not one that is supported"),
        ("parts/", "n", 200, "describes no space"),  # more than an int8 holds
        ("parts/z/parts/0", "low", [0.0, 0.0, 0.0], "describes no space"),
        ("parts/z/parts/0", "low", [0.0, math.nan], "describes no space"),
        ("parts/z/parts/0", "low", [0.0, 0], ".z.0 has a bound that is no float"),
    ],
)
def test_a_value_out_of_its_range_is_refused(place, key, value, said):
    assert said in refusal(changed(place, key, value))


@pytest.mark.parametrize("key", ["line\nbreak", "tab\t", 1, None, ("a",), b"a"])
def test_keys_of_a_dict_are_plain_texts(key):
    assert refusal({"type": "Dict", "parts": {key: ACTION}})


def nested(levels: int, kind: str) -> dict[str, Any]:
    description: dict[str, Any] = {"type": "Discrete", "n": 2, "start": 0}
    for _ in range(levels):
        parts = [description] if kind == "Tuple" else {"x": description}
        description = {"type": kind, "parts": parts}
    return description


@pytest.mark.parametrize("kind", ["Tuple", "Dict"])
def test_nesting_is_bounded(kind):
    checked_space(nested(8, kind), "spaces.observation")
    for levels in (9, 20, 200):
        assert "is nested more than 8 deep" in refusal(nested(levels, kind))
    content = payload(SAVED)
    content["spaces"]["observation"] = nested(5_000, kind)
    with pytest.raises(RefusedError, match="nested too deeply"):
        checked(content)


def test_a_space_that_contains_itself():
    inner: dict[str, Any] = {"type": "Tuple", "parts": []}
    inner["parts"].append(inner)
    assert "is nested more than 8 deep" in refusal(inner)
    content = payload(SAVED)
    content["spaces"]["observation"] = inner
    with pytest.raises(RefusedError, match="nested too deeply"):
        checked(content)


def test_numbers_of_parts_and_of_features_are_bounded():
    one = {"type": "Discrete", "n": 1, "start": 0}
    assert len(checked_space({"type": "Tuple", "parts": [one] * 1000}, "x").spaces) == 1000
    assert "describes no space" in refusal({"type": "Tuple", "parts": [one] * 1001})
    large = {"type": "Discrete", "n": 100_000, "start": 0}
    assert "number of features" in refusal({"type": "Tuple", "parts": [large] * 3})
    doubled: dict[str, Any] = one
    for _ in range(8):  # the same parts eight times over: 16 million in all
        doubled = {"type": "Tuple", "parts": [doubled] * 8}
    began = time.thread_time()
    assert refusal(doubled)
    assert time.thread_time() - began < 10


def test_components_of_an_action_are_bounded_together():
    saved = payload(SAVED)
    many = spaces.MultiDiscrete([1] * 100_000 + [100_000])  # padded, it would be 10^10 choices
    saved["spaces"]["action"] = describe_space(many)
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError, match="cannot be acted in: action space Multi"):
            checked(saved)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "space", [spaces.Tuple([spaces.Discrete(2)]), spaces.Dict({"a": spaces.Discrete(2)})], ids=str
)
def test_an_action_space_that_no_policy_acts_in(space):
    content = payload(SAVED)
    content["spaces"]["action"] = describe_space(space)
    with pytest.raises(RefusedError, match=r"its spaces\.action cannot be acted in: action space"):
        checked(content)


@pytest.mark.parametrize(
    ("space", "distribution"),
    [(spaces.Discrete(10), "categorical"), (spaces.MultiBinary(10), "bernoulli")],
    ids=str,
)
def test_a_distribution_that_does_not_fit_the_actions(space, distribution):
    content = payload(SAVED)
    content["spaces"]["action"] = describe_space(space)
    with pytest.raises(RefusedError, match=r"its network\.distribution does not fit"):
        checked(content)
    content["network"]["distribution"] = distribution
    assert checked(content).policy.decoder.size == 10  # as many outputs as the MultiDiscrete has


def test_pickles_changed_anywhere_are_read_or_refused_and_nothing_else(tmp_path):
    path = tmp_path / "policy.pt"
    with zipfile.ZipFile(io.BytesIO(policy_bytes(SAVED))) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    pickled = entries["archive/data.pkl"]
    began = pickled.index(b"spaces")
    described = range(began, pickled.index(b"network", began))
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.permutation(described)[:150]:
        broken = bytearray(pickled)
        broken[position] = rng.integers(256)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            for name, content in (entries | {"archive/data.pkl": bytes(broken)}).items():
                file.writestr(name, content)
        path.write_bytes(buffer.getvalue())
        try:
            read_policy(path)
        except PolicyFileError:
            refused += 1
    assert 75 < refused < 150
