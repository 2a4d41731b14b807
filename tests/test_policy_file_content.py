"""What the content of a policy file must be: every key, type, size and number of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from policy_samples import saved_policy

from trpotui.errors import PolicyFileError
from trpotui.policy_file import read_policy
from trpotui.policy_file.checks import checked
from trpotui.policy_file.payload import payload
from trpotui.policy_file.values import RefusedError

CATEGORICAL = saved_policy(observation_space=spaces.Discrete(5), environment_kwargs={"a": 1})
GAUSSIAN = saved_policy(
    observation_space=spaces.Box(-8, 8, (3,)),
    action_space=spaces.Box(-2, 2, (1,)),
    normalized=True,
)


def content_of(saved=GAUSSIAN) -> dict[str, Any]:
    return payload(saved)


def refusal(content) -> str:
    with pytest.raises(RefusedError) as caught:
        checked(content)
    return str(caught.value)


def set_at(content: dict[str, Any], dotted: str, value: object) -> dict[str, Any]:
    *parents, last = dotted.split("/")
    inner = content
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return content


def dicts_of(content: dict[str, Any], name: str = "") -> list[str]:
    """The places of all dicts with fixed keys, the outermost as an empty name."""
    free = ("config", "versions", "kwargs")
    places = [name]
    for key, value in content.items():
        if isinstance(value, dict) and key not in free:
            places += dicts_of(value, f"{name}/{key}" if name else key)
    return places


def at(content: dict[str, Any], place: str) -> Any:
    for key in place.split("/") if place else ():
        content = content[key]
    return content


def name_of(value: object) -> str:
    if value is GAUSSIAN or value is CATEGORICAL:
        return "gaussian" if value is GAUSSIAN else "categorical"
    return value[:30] if isinstance(value, str) else type(value).__name__


PLACES = [
    (saved, place) for saved in (GAUSSIAN, CATEGORICAL) for place in dicts_of(content_of(saved))
]
KEYS = [(saved, place, key) for saved, place in PLACES for key in at(content_of(saved), place)]


def test_the_places_are_all_there():
    names = {place for _, place in PLACES}
    assert {"", "spaces/action", "network", "actor", "observation_moments", "score"} <= names
    assert len(KEYS) == 58 + 49


@pytest.mark.parametrize(("saved", "place", "key"), KEYS, ids=name_of)
def test_a_missing_key_is_refused(saved, place, key):
    content = content_of(saved)
    del at(content, place)[key]
    assert refusal(content)


@pytest.mark.parametrize(("saved", "place"), PLACES, ids=name_of)
def test_an_additional_key_is_refused(saved, place):
    content = content_of(saved)
    at(content, place)["[extra]\x1b"] = 1
    assert "\x1b" not in refusal(content)
    content = content_of(saved)
    at(content, place)["[extra]"] = 1
    assert refusal(content).startswith("is damaged: its ")
    assert "[" not in refusal(content)


class Text(str):
    """Not exactly a str."""

    __slots__ = ()


class Dict(dict):
    """Not exactly a dict."""


@pytest.mark.parametrize(("saved", "place", "key"), KEYS, ids=name_of)
def test_a_value_of_another_type_is_refused(saved, place, key):
    real = at(content_of(saved), place)[key]
    others = [True, 1, 1.0, "x", Text("x"), b"x", [], (), {}, Dict(), None, 1j, np.float64(1)]
    others += [torch.zeros(2), object(), np.zeros(2)]
    optional = key in ("score", "observation_moments")
    tried = 0
    for other in others:
        if type(other) is type(real) or (optional and other is None):
            continue
        tried += 1
        content = content_of(saved)
        at(content, place)[key] = other
        assert refusal(content)
    assert tried >= 14


def test_another_format_is_of_another_program():
    content = set_at(content_of(), "format", "trpotui-checkpoint")
    assert refusal(content) == "is not a policy file: it was saved by another program"


def test_more_layers_than_a_configuration_may_have():
    content = content_of(saved_policy(hidden_sizes=(2,) * 9))
    assert "network.hidden_sizes has more than 8 layers" in refusal(content)


@pytest.mark.parametrize("content", [None, [], "text", 3, torch.zeros(2), (), {}, Dict()])
def test_content_that_is_something_else_is_of_another_program(content):
    assert refusal(content) == "is not a policy file: it was saved by another program"


def test_a_newer_version_says_what_to_do():
    content = set_at(content_of(), "format_version", 3)
    content["something new"] = 1
    assert refusal(content) == "was written by a newer trpotui: update trpotui to open it"


CHANGES: list[tuple[str, object]] = [
    ("format_version", 0),
    ("seed", -1),
    ("seed", 2**64),
    ("steps", -1),
    ("updates", -1),
    ("updates", 10**5000),
    ("network/hidden_sizes", [8] * 9),
    ("network/hidden_sizes", [8, 0]),
    ("network/hidden_sizes", [8, 4097]),
    ("network/hidden_sizes", [8, True]),
    ("network/hidden_sizes", [8, 8.0]),
    ("network/hidden_sizes", [8]),
    ("network/hidden_sizes", [8, 9]),
    ("network/activation", "gelu"),
    ("network/distribution", "categorical"),
    ("spaces/observation/type", "Dict"),
    ("spaces/observation/shape", [4]),
    ("spaces/observation/shape", [-3]),
    ("spaces/observation/shape", [0]),
    ("spaces/observation/shape", [True, 3]),
    ("spaces/observation/shape", [3.0]),
    ("spaces/observation/shape", [1] * 8 + [3]),
    ("spaces/observation/shape", [250_000, 250_000]),
    ("spaces/observation/shape", []),
    ("spaces/observation/dtype", "object"),
    ("spaces/observation/dtype", "float128"),
    ("spaces/observation/dtype", "no such type"),
    ("spaces/observation/dtype", "V3"),
    ("spaces/observation/low", [0.0] * 2),
    ("spaces/observation/low", [0.0, 0.0, 0]),
    ("spaces/observation/low", [0.0, 0.0, None]),
    ("spaces/observation/low", [0.0, 0.0, math.nan]),
    ("spaces/observation/low", [0.0, 0.0, 9.0]),
    ("spaces/observation/low", [0.0, 0.0, -1e300]),
    ("spaces/observation/low", [0.0, 0.0, 0.1]),
    ("spaces/observation/high", [8.0, 8.0, 1e300]),
    ("observation_moments/count", -1.0),
    ("observation_moments/count", math.nan),
    ("observation_moments/count", math.inf),
    ("observation_moments/clip", 0.0),
    ("observation_moments/clip", -1.0),
    ("observation_moments/clip", math.inf),
    ("observation_moments/mean", torch.zeros(3)),
    ("observation_moments/mean", torch.zeros(4, dtype=torch.float64)),
    ("observation_moments/mean", torch.full((3,), math.nan, dtype=torch.float64)),
    ("observation_moments/variance", torch.tensor([1, -1e-300, 1], dtype=torch.float64)),
    ("observation_moments/variance", torch.full((3,), math.inf, dtype=torch.float64)),
    ("actor/log_std", torch.zeros(2)),
    ("actor/log_std", torch.zeros(1, dtype=torch.float64)),
    ("actor/log_std", torch.full((1,), -math.inf)),
    ("actor/0.weight", torch.zeros(3, 8)),
    ("actor/2.bias", torch.full((1,), math.nan)),
    ("critic/2.weight", torch.zeros(2, 8)),
    ("critic/0.bias", torch.zeros(8, dtype=torch.float64)),
    ("score/episodes", 0),
    ("score/mean", math.nan),
    ("score/mean", -math.inf),
    ("score/std", -0.5),
    ("versions/torch", 2),
    ("versions/torch", None),
    ("created", "2026\x1b[31m"),
    ("created", "2026\u202e"),
    ("created", "\ud800"),
    ("algorithm", "x" * 10_001),
    ("environment/id", "Cart\0Pole"),
    ("environment/kwargs", {"x": 1j}),
    ("environment/kwargs", {1: "x"}),
    ("environment/kwargs", {"x": [math.inf]}),
    ("environment/kwargs", {"x": torch.zeros(1)}),
    ("config", {"x": (1, 2)}),
    ("config", {"x": {"y": math.nan}}),
    ("config", {"x": 2**64}),
    ("config", {"x": {1}}),
    ("config", {"x\x07": 1}),
    ("config", {"x": ["a" * 9_999] * 101}),
    ("config", {"x": Text("x")}),
]


@pytest.mark.parametrize(("place", "value"), CHANGES, ids=name_of)
def test_a_value_out_of_its_range_is_refused_in_one_line(place, value):
    reason = refusal(set_at(content_of(), place, value))
    assert reason.isprintable()
    assert len(reason) < 250


def test_the_reason_names_the_place():
    content = set_at(content_of(), "score/std", -0.5)
    assert refusal(content) == "is damaged: its score.std is not a number >= 0"
    content = set_at(content_of(), "spaces/observation/low", [0.0, 0.0, 0.1])
    assert refusal(content) == (
        "is damaged: its spaces.observation has a type or bounds that do not fit the rest of it"
    )


@pytest.mark.parametrize("count", [0, -1, 250_001, 2**70])
def test_a_discrete_space_has_a_bounded_number_of_elements(count):
    content = set_at(content_of(CATEGORICAL), "spaces/observation/n", count)
    assert "spaces.observation.n is not a whole number from 1 to 250000" in refusal(content)


@pytest.mark.parametrize(
    ("saved", "other", "key"), [(CATEGORICAL, "Box", "shape"), (GAUSSIAN, "Discrete", "n")]
)
def test_a_space_has_the_keys_of_its_type(saved, other, key):
    content = set_at(content_of(saved), "spaces/observation/type", other)
    assert refusal(content) == f"is damaged: its spaces.observation lacks '{key}'"


@pytest.mark.parametrize("start", [2**63, -(2**63)])
def test_a_discrete_space_starts_at_what_an_index_can_be(start):
    content = set_at(content_of(CATEGORICAL), "spaces/action/start", start)
    assert "spaces.action.start" in refusal(content)


@pytest.mark.parametrize(
    ("dtype", "high"),
    [
        ("uint8", 256),
        ("int8", 128),
        ("int64", 2**63),
        ("uint64", 10**400),
        ("uint8", 1.0),
        ("int64", math.inf),
        ("int32", True),
        ("bool", 1),
        ("float64", 1),
    ],
)
def test_bounds_that_a_dtype_cannot_have(dtype, high):
    low = {"bool": False, "float64": 0.0}.get(dtype, 0)
    box = {"type": "Box", "shape": [3], "dtype": dtype, "low": [low] * 3, "high": [high] * 3}
    content = set_at(content_of(), "spaces/observation", box)
    assert refusal(content).startswith("is damaged: its spaces.observation ")


def test_an_action_space_that_no_policy_acts_in():
    content = content_of()
    box = {"type": "Box", "shape": [1], "dtype": "int8", "low": [0], "high": [1]}
    assert "its spaces.action cannot be acted in" in refusal(set_at(content, "spaces/action", box))


def test_a_categorical_policy_has_no_log_std():
    content = content_of(CATEGORICAL)
    content["actor"]["log_std"] = torch.zeros(2)
    assert "actor does not hold just 0.weight, 0.bias, 1.weight," in refusal(content)


def test_a_critic_has_no_log_std():
    content = content_of()
    content["critic"]["log_std"] = torch.zeros(1)
    assert "critic does not hold just" in refusal(content)


def test_checking_changes_nothing_and_shares_nothing():
    content = content_of()
    before = copy.deepcopy(content)
    policy = checked(content).policy
    content["actor"]["0.bias"].zero_()
    assert np.array_equal(policy.actor["0.bias"], before["actor"]["0.bias"].numpy())
    assert policy.actor["0.bias"].any()


def with_content(path, change: Callable[[dict[str, Any]], object]):
    content = content_of()
    change(content)
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content.pop("seed"), "its content lacks 'seed'"),
        (lambda content: content.update(seed=True), "its content.seed is of type bool"),
        (
            lambda content: content["observation_moments"]["variance"].neg_(),
            "its observation_moments.variance is negative",
        ),
    ],
)
def test_the_checks_are_those_of_reading_a_file(tmp_path, change, reason):
    path = with_content(tmp_path / "policy.pt", change)
    with pytest.raises(PolicyFileError) as caught:
        read_policy(path)
    assert str(caught.value) == f"{path} is damaged: {reason}"
