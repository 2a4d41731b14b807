"""The content of a policy file: the tables are the format, `payload` fills them.

`checks` reads the same tables to take a stranger's content apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from trpotui.policy_file.values import Fields
from trpotui.rl.acting import Arrays
from trpotui.rl.normalization import ObservationMoments
from trpotui.rl.policy import SavedPolicy, Score
from trpotui.rl.spaces import describe_space

FORMAT, FORMAT_VERSION = "trpotui-policy", 2

_DICT, _LIST, _TEXT, _INT, _FLOAT = (dict,), (list,), (str,), (int,), (float,)
_OPTIONAL, _TENSOR = (dict, type(None)), (torch.Tensor,)
PAYLOAD: Fields = {
    "format": _TEXT,
    "format_version": _INT,
    "algorithm": _TEXT,
    "environment": _DICT,
    "spaces": _DICT,
    "network": _DICT,
    "actor": _DICT,
    "critic": _DICT,
    "observation_moments": _OPTIONAL,
    "config": _DICT,
    "seed": _INT,
    "steps": _INT,
    "updates": _INT,
    "score": _OPTIONAL,
    "versions": _DICT,
    "created": _TEXT,
}
ENVIRONMENT: Fields = {"id": _TEXT, "kwargs": _DICT}
SPACES: Fields = {"observation": _DICT, "action": _DICT}
DISCRETE: Fields = {"type": _TEXT, "n": _INT, "start": _INT}
"""And a `dtype`, where it is not int64."""
MULTI_DISCRETE: Fields = {
    "type": _TEXT,
    "shape": _LIST,
    "dtype": _TEXT,
    "nvec": _LIST,
    "start": _LIST,
}
MULTI_BINARY: Fields = {"type": _TEXT, "shape": _LIST, "flat": (bool,)}
BOX: Fields = {"type": _TEXT, "shape": _LIST, "dtype": _TEXT, "low": _LIST, "high": _LIST}
TUPLE: Fields = {"type": _TEXT, "parts": _LIST}
DICT: Fields = {"type": _TEXT, "parts": _DICT}
NETWORK_1: Fields = {"hidden_sizes": _LIST, "activation": _TEXT, "distribution": _TEXT}
"""Of version 1 of the format, which knew one kind of network."""
NETWORK: Fields = {
    **NETWORK_1,
    "network": _TEXT,
    "memory_size": _INT,
    "exploration": _TEXT,
    "sde_interval": _INT,
    "logit_clip": _FLOAT,
}
MOMENTS: Fields = {"mean": _TENSOR, "variance": _TENSOR, "count": _FLOAT, "clip": _FLOAT}
SCORE: Fields = {"episodes": _INT, "mean": _FLOAT, "std": _FLOAT}


def payload(saved: SavedPolicy) -> dict[str, Any]:
    """The content of the file of `saved`: plain dicts, lists, texts, numbers and tensors."""
    policy, spec = saved.policy, saved.policy.spec
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "algorithm": saved.algorithm,
        "environment": {"id": spec.environment_id, "kwargs": _plain(spec.environment_kwargs)},
        "spaces": {
            "observation": describe_space(spec.observation_space),
            "action": describe_space(spec.action_space),
        },
        "network": {
            "hidden_sizes": list(spec.hidden_sizes),
            "activation": spec.activation,
            "distribution": spec.distribution,
            "network": spec.network,
            "memory_size": spec.memory_size,
            "exploration": spec.exploration,
            "sde_interval": spec.sde_interval,
            "logit_clip": float(spec.logit_clip),
        },
        "actor": _tensors(policy.actor),
        "critic": _tensors(policy.critic),
        "observation_moments": _moments_payload(policy.moments),
        "config": _plain(saved.config),
        "seed": saved.seed,
        "steps": saved.steps,
        "updates": saved.updates,
        "score": _score_payload(saved.score),
        "versions": dict(saved.versions),
        "created": saved.created,
    }


def _tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    # copies: a view of the flat parameter vector would take all of it into the file
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def _moments_payload(moments: ObservationMoments | None) -> dict[str, Any] | None:
    if moments is None:
        return None
    return {
        "mean": torch.from_numpy(moments.mean.copy()),
        "variance": torch.from_numpy(moments.variance.copy()),
        "count": float(moments.count),
        "clip": float(moments.clip),
    }


def _score_payload(score: Score | None) -> dict[str, Any] | None:
    if score is None:
        return None
    return {"episodes": score.episodes, "mean": float(score.mean), "std": float(score.std)}


def _plain(value: object) -> object:
    """`value` with dicts and lists in the place of other mappings and of tuples."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
