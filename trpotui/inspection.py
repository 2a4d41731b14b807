"""What a policy file holds, for people and for scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from trpotui.policy_file import shown
from trpotui.rl.acting import Arrays
from trpotui.rl.policy import SavedPolicy
from trpotui.rl.spaces import describe_space

MOST_ITEMS = 16
"""Of a list that people are shown."""


def facts_of(saved: SavedPolicy) -> dict[str, Any]:
    """What a policy file holds, as plain data."""
    policy, spec = saved.policy, saved.policy.spec
    score = saved.score

    def count(arrays: Arrays) -> int:
        return sum(array.size for array in arrays.values())

    return {
        "environment": spec.environment_id,
        "environment arguments": dict(spec.environment_kwargs),
        "algorithm": saved.algorithm,
        "score when saved": None
        if score is None
        else {"mean": score.mean, "std": score.std, "episodes": score.episodes},
        "steps trained": saved.steps,
        "updates": saved.updates,
        "seed": saved.seed,
        "observations": describe_space(spec.observation_space),
        "actions": describe_space(spec.action_space),
        "distribution": spec.distribution,
        "network": spec.network,
        "memory cells": spec.memory_size if spec.has_memory else None,
        "hidden layers": list(spec.hidden_sizes),
        "activation": spec.activation,
        "actor parameters": count(policy.actor),
        "critic parameters": count(policy.critic),
        "observations normalised": policy.moments is not None,
        "created": saved.created,
        "versions": dict(saved.versions),
        "configuration": dict(saved.config),
    }


def as_json(facts: Mapping[str, Any]) -> str:
    """Facts as JSON, which has no infinity: a bound that is none is null."""
    return json.dumps(_bounded(facts), allow_nan=False)


def _bounded(value: Any) -> Any:
    match value:
        case Mapping():
            return {name: _bounded(one) for name, one in value.items()}
        case list() | tuple():
            return [_bounded(one) for one in value]
        case float() if not math.isfinite(value):
            return None
    return value


def as_table(facts: Mapping[str, Any]) -> str:
    """Facts as lines of two columns."""
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {_readable(value)}" for name, value in facts.items())


def _readable(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:g}"
        case {"mean": float(mean), "std": float(std), "episodes": int(episodes)}:
            return f"{mean:.2f} ± {std:.2f} over {episodes} episodes"
        case dict() | list() if not value:
            return "none"
        case dict():
            return ", ".join(f"{shown(key)}={_inner(item)}" for key, item in value.items())
        case list() if len(value) > MOST_ITEMS:  # the bounds of every pixel of an image
            first = ", ".join(_inner(item) for item in value[:MOST_ITEMS])
            return f"[{first}, … {len(value):,} in all]"
        case list():
            return "[" + ", ".join(_inner(item) for item in value) + "]"
        case _:
            return shown(str(value))


def _inner(value: Any) -> str:
    """As `_readable`, with braces that show where a part of something else ends."""
    return f"{{{_readable(value)}}}" if isinstance(value, dict) and value else _readable(value)
