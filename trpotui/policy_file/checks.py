"""Whether a policy file's content is what `payload` writes, and the policy that it holds.

The content is taken apart in the order in which its parts depend on each other: nothing is built
from a part before that part has been checked.
"""

from __future__ import annotations

import math
from typing import Any, get_args

import torch

from trpotui.errors import RequestError
from trpotui.policy_file.payload import (
    ENVIRONMENT,
    FORMAT,
    FORMAT_VERSION,
    MOMENTS,
    NETWORK,
    NETWORK_1,
    PAYLOAD,
    SCORE,
    SPACES,
)
from trpotui.policy_file.spaces import checked_space
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
from trpotui.rl.acting import Float32
from trpotui.rl.architecture import Exploration, NetworkKind, PolicySpec, Shapes
from trpotui.rl.images import image_layout
from trpotui.rl.normalization import ObservationMoments
from trpotui.rl.policy import Policy, SavedPolicy, Score

MAX_LAYERS, MAX_WIDTH = 8, 4096  # as trpotui.config.HiddenSizes
VERSION_1_NETWORK = {
    "network": "mlp",
    "memory_size": 64,
    "exploration": "independent",
    "sde_interval": 1,
    "logit_clip": 0.0,
}
"""What version 1 of the format did not say, because there was no choice."""


def checked(content: object) -> SavedPolicy:
    """The policy that a file's content holds.

    Raises:
        RefusedError: anything in it is not exactly as `payload` makes it.
    """
    check_extent(content)
    fields = _checked_format(content)
    spec = _checked_spec(fields)
    policy = Policy(
        spec=spec,
        actor=_checked_arrays(fields["actor"], "actor", spec.actor_shapes),
        critic=_checked_arrays(fields["critic"], "critic", spec.critic_shapes),
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
    network = _checked_network(fields)
    spec = PolicySpec(
        environment_id=environment["id"],
        environment_kwargs=environment["kwargs"],
        observation_space=checked_space(described["observation"], "spaces.observation"),
        action_space=checked_space(described["action"], "spaces.action"),
        hidden_sizes=tuple(network["hidden_sizes"]),
        activation=network["activation"],
        network=network["network"],
        memory_size=network["memory_size"],
        exploration=network["exploration"],
        sde_interval=network["sde_interval"],
        logit_clip=network["logit_clip"],
    )
    try:
        fitting = spec.distribution == network["distribution"]
    except RequestError as error:
        malformed("spaces.action", f"cannot be acted in: {shown(error)}")
    if spec.network == "cnn":
        _check_images(spec, fields["observation_moments"])
    if not fitting:
        malformed("network.distribution", "does not fit its action space")
    return spec


def _check_images(spec: PolicySpec, moments: object) -> None:
    """A convolutional network looks at images, as they are."""
    try:
        image_layout(spec.observation_space)
    except RequestError:
        malformed("network.network", "looks at images, which its observations are not")
    if moments is not None:
        malformed("observation_moments", "are there, though the network looks at images")


def _checked_network(fields: dict[str, Any]) -> dict[str, Any]:
    """What the networks are made of, with the sizes bounded."""
    if fields["format_version"] == 1:
        network = {**check_fields(fields["network"], NETWORK_1, "network"), **VERSION_1_NETWORK}
    else:
        network = check_fields(fields["network"], NETWORK, "network")
    if len(network["hidden_sizes"]) > MAX_LAYERS:
        malformed("network.hidden_sizes", f"has more than {MAX_LAYERS} layers")
    for width in network["hidden_sizes"]:
        check_integer(width, "network.hidden_sizes", least=1, most=MAX_WIDTH)
    check_integer(network["memory_size"], "network.memory_size", least=1, most=MAX_WIDTH)
    check_integer(network["sde_interval"], "network.sde_interval", least=1, most=MAX_INTEGER)
    check_number(network["logit_clip"], "network.logit_clip", least=0)
    for name, kinds in (
        ("activation", ("tanh", "relu")),
        ("network", get_args(NetworkKind)),
        ("exploration", get_args(Exploration)),
    ):
        if network[name] not in kinds:
            malformed(f"network.{name}", f"is none of {', '.join(kinds)}")
    return network


def _checked_arrays(tensors: dict[str, Any], name: str, shapes: Shapes) -> dict[str, Float32]:
    """The arrays of a network, which are those of its architecture and no others."""
    if tensors.keys() != shapes.keys():
        malformed(name, f"does not hold just {', '.join(shapes)}")
    return {
        part: checked_array(tensors[part], f"{name}.{part}", shape, torch.float32)
        for part, shape in shapes.items()
    }


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
