"""Whether a policy file's content is what `payload` writes, and the policy that it holds.

The content is taken apart in the order in which its parts depend on each other: nothing is built
from a part before that part has been checked.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces

from trpotui.errors import RequestError
from trpotui.policy_file.payload import (
    BOX,
    DISCRETE,
    ENVIRONMENT,
    FORMAT,
    FORMAT_VERSION,
    MOMENTS,
    NETWORK,
    PAYLOAD,
    SCORE,
    SPACES,
)
from trpotui.policy_file.values import (
    MAX_INTEGER,
    RefusedError,
    check_extent,
    check_fields,
    check_integer,
    check_number,
    check_plain,
    checked_array,
    foreign,
    malformed,
    shown,
)
from trpotui.rl.normalization import ObservationMoments
from trpotui.rl.policy import Float32, Layer, Policy, SavedPolicy, Score
from trpotui.rl.spaces import PolicySpec, describe_space, space_from_description

MAX_FEATURES = 250_000
MAX_LAYERS, MAX_WIDTH = 8, 4096  # as trpotui.config.HiddenSizes
MAX_RANK = 8
BOX_FLOATS = ("float16", "float32", "float64")
BOX_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
BOX_BOUNDS: dict[str, type] = {
    **dict.fromkeys(BOX_FLOATS, float),
    **dict.fromkeys(BOX_INTEGERS, int),
    "bool": bool,
}
"""The exact type of a Box's bounds by its dtype."""


def checked(content: object) -> SavedPolicy:
    """The policy that a file's content holds.

    Raises:
        RefusedError: anything in it is not exactly as `payload` makes it.
    """
    check_extent(content)
    fields = _checked_format(content)
    spec = _checked_spec(fields)
    gaussian = spec.distribution == "gaussian"
    actor, log_std = fields["actor"], None
    layers = _checked_layers(actor, "actor", spec.actor_sizes, log_std=gaussian)
    if gaussian:
        shape = spec.actor_sizes[-1:]
        log_std = checked_array(actor["log_std"], "actor.log_std", shape, torch.float32)
    policy = Policy(
        spec=spec,
        actor=layers,
        log_std=log_std,
        critic=_checked_layers(fields["critic"], "critic", spec.critic_sizes, log_std=False),
        moments=_checked_moments(fields["observation_moments"], spec.observation_size),
    )
    _check_provenance(fields)
    return SavedPolicy(
        policy=policy,
        algorithm=fields["algorithm"],
        config=fields["config"],
        seed=fields["seed"],
        steps=fields["steps"],
        updates=fields["updates"],
        score=_checked_score(fields["score"]),
        versions=fields["versions"],
        created=fields["created"],
    )


def _check_provenance(fields: dict[str, Any]) -> None:
    """Check what is only shown: where the policy comes from."""
    for name in ("seed", "steps", "updates"):
        check_integer(fields[name], name, least=0, most=MAX_INTEGER)
    check_plain(fields["config"], "config")
    for version in fields["versions"].values():
        if type(version) is not str:
            malformed("versions", "holds one that is no text")


def _checked_format(content: object) -> dict[str, Any]:
    """The content with the keys and types of this version of the format."""
    if type(content) is not dict or not _is(content.get("format"), FORMAT):
        foreign("it was saved by another program")
    version = content.get("format_version")
    if type(version) is int and version > FORMAT_VERSION:
        raise RefusedError("was written by a newer trpotui: update trpotui to open it")
    check_integer(version, "format_version", least=1, most=FORMAT_VERSION)
    return check_fields(content, PAYLOAD, "content")


def _is(value: object, text: str) -> bool:
    """Whether `value` is exactly this text; comparing a tensor would compare its elements."""
    return type(value) is str and value == text


def _checked_spec(fields: dict[str, Any]) -> PolicySpec:
    """What the policy is made for and of, with sizes that are bounded and fit together."""
    environment = check_fields(fields["environment"], ENVIRONMENT, "environment")
    check_plain(environment["kwargs"], "environment.kwargs")
    described = check_fields(fields["spaces"], SPACES, "spaces")
    network = check_fields(fields["network"], NETWORK, "network")
    if len(network["hidden_sizes"]) > MAX_LAYERS:
        malformed("network.hidden_sizes", f"has more than {MAX_LAYERS} layers")
    for width in network["hidden_sizes"]:
        check_integer(width, "network.hidden_sizes", least=1, most=MAX_WIDTH)
    spec = PolicySpec(
        environment_id=environment["id"],
        environment_kwargs=environment["kwargs"],
        observation_space=_checked_space(described["observation"], "spaces.observation"),
        action_space=_checked_space(described["action"], "spaces.action"),
        hidden_sizes=tuple(network["hidden_sizes"]),
        activation=_checked_activation(network["activation"]),
    )
    try:
        fitting = spec.distribution == network["distribution"]
    except RequestError as error:
        malformed("spaces.action", f"cannot be acted in: {shown(error)}")
    if not fitting:
        malformed("network.distribution", "does not fit its action space")
    return spec


def _checked_activation(name: str) -> Literal["tanh", "relu"]:
    if name == "tanh":
        return "tanh"
    if name != "relu":
        malformed("network.activation", "is neither tanh nor relu")
    return "relu"


def _checked_space(description: dict[str, Any], name: str) -> spaces.Space[Any]:
    """The space that a description stands for, whose own description is the same again."""
    if "n" in description:
        check_fields(description, DISCRETE, name)
        check_integer(description["n"], f"{name}.n", least=1, most=MAX_FEATURES)
        check_integer(description["start"], f"{name}.start", least=-(2**62), most=2**62)
    else:
        _check_box(check_fields(description, BOX, name), name)
    try:
        with np.errstate(all="ignore"):
            space = space_from_description(description)
    except (LookupError, ValueError, TypeError, OverflowError) as error:
        raise RefusedError(f"is damaged: its {name} describes no space") from error
    if describe_space(space) != description:
        malformed(name, "has a type or bounds that do not fit the rest of it")
    return space


def _check_box(description: dict[str, Any], name: str) -> None:
    """Check a Box's description, so that rebuilding it takes no more than its bounds do."""
    shape, dtype = description["shape"], description["dtype"]
    if dtype not in BOX_BOUNDS:
        malformed(f"{name}.dtype", "is not one that is supported")
    if len(shape) > MAX_RANK:
        malformed(f"{name}.shape", f"has more than {MAX_RANK} sides")
    for side in shape:
        check_integer(side, f"{name}.shape", least=1, most=MAX_FEATURES)
    size = math.prod(shape)
    check_integer(size, f"{name}.shape's product", least=1, most=MAX_FEATURES)
    for bounds in (description["low"], description["high"]):
        if not all(type(bound) is BOX_BOUNDS[dtype] for bound in bounds):
            malformed(name, f"has a bound that is no {BOX_BOUNDS[dtype].__name__}")


def _checked_layers(
    tensors: dict[str, Any], name: str, sizes: tuple[int, ...], *, log_std: bool
) -> tuple[Layer, ...]:
    """The affine layers between consecutive sizes, weights [out, in] and biases [out]."""
    count = len(sizes) - 1
    names = {f"{index}.{part}" for index in range(count) for part in ("weight", "bias")}
    if tensors.keys() != names | ({"log_std"} if log_std else set()):
        also = " and a log_std" if log_std else ""
        malformed(name, f"does not hold just weight and bias of {count} layers{also}")

    def array(index: int, part: str, shape: tuple[int, ...]) -> Float32:
        key = f"{index}.{part}"
        return checked_array(tensors[key], f"{name}.{key}", shape, torch.float32)

    return tuple(
        (array(index, "weight", (outputs, inputs)), array(index, "bias", (outputs,)))
        for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes))
    )


def _checked_moments(moments: dict[str, Any] | None, size: int) -> ObservationMoments | None:
    """Observation moments [D] that can be divided by."""
    if moments is None:
        return None
    name = "observation_moments"
    check_fields(moments, MOMENTS, name)
    mean = checked_array(moments["mean"], f"{name}.mean", (size,), torch.float64)
    variance = checked_array(moments["variance"], f"{name}.variance", (size,), torch.float64)
    if (variance < 0).any():
        malformed(f"{name}.variance", "is negative")
    check_number(moments["count"], f"{name}.count", least=0)
    check_number(moments["clip"], f"{name}.clip", least=math.ulp(0.0))
    return ObservationMoments(
        mean=mean, variance=variance, count=moments["count"], clip=moments["clip"]
    )


def _checked_score(score: dict[str, Any] | None) -> Score | None:
    if score is None:
        return None
    check_fields(score, SCORE, "score")
    check_integer(score["episodes"], "score.episodes", least=1, most=MAX_INTEGER)
    check_number(score["mean"], "score.mean")
    check_number(score["std"], "score.std", least=0)
    return Score(episodes=score["episodes"], mean=score["mean"], std=score["std"])
