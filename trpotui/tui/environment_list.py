"""The environments that a person can choose from, and what is known of each."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from trpotui.config import RunConfig
from trpotui.errors import TrpotuiError

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

NEEDED = {"box2d": "Box2D", "mujoco": "mujoco", "phys2d": "jax", "tabular": "jax"}
"""What the groups of gymnasium's own environments import beyond what comes with it."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An environment that is registered."""

    id: str
    group: str
    """Where it comes from, e.g. `classic control`."""
    solved_at: float | None
    most_steps: int | None
    """After which an episode is cut off."""
    latest: bool
    """No later version of it is registered."""
    missing: str = ""
    """The package that it needs and that is not installed."""


def listed_environments() -> list[Listed]:
    """What is registered: the latest versions first, each as gymnasium lists them.

    An environment whose package is missing is in the list, with the name of that package; one that
    only tells of having been withdrawn is not.
    """
    import gymnasium  # noqa: PLC0415 - not before the first frame

    specs = [spec for spec in gymnasium.registry.values() if not _is_withdrawn(spec)]
    latest = {(spec.namespace, spec.name): spec.version for spec in _by_version(specs)}
    environments = [
        Listed(
            id=spec.id,
            group=_group(spec),
            solved_at=spec.reward_threshold,
            most_steps=spec.max_episode_steps,
            latest=latest[spec.namespace, spec.name] == spec.version,
            missing=_missing(spec),
        )
        for spec in specs
    ]
    return sorted(environments, key=lambda one: not one.latest)


def find_unsupported(
    environment_ids: Iterable[str], *, seconds: float, stop: Callable[[], bool]
) -> Iterator[tuple[str, str]]:
    """Make one environment after the other and yield each with what is against it, or nothing.

    Args:
        environment_ids: the likeliest choices first.
        seconds: after which no further one is made: some take long, and only a few are looked at.
        stop: whether nobody waits for the answer any more.
    """
    from trpotui.rl.trainer import check  # noqa: PLC0415 - imports torch

    until = time.monotonic() + seconds
    for environment_id in environment_ids:
        if stop() or time.monotonic() >= until:
            return
        try:
            check(RunConfig(environment_id=environment_id, device="cpu"))
        except TrpotuiError as error:
            yield environment_id, str(error)
        else:
            yield environment_id, ""


def _by_version(specs: Iterable[EnvSpec]) -> list[EnvSpec]:
    return sorted(specs, key=lambda spec: spec.version or 0)


def _is_withdrawn(spec: EnvSpec) -> bool:
    """Whether its entry point is one of gymnasium's functions that only raise."""
    return getattr(spec.entry_point, "__name__", "").startswith("_raise")


def _module(spec: EnvSpec) -> str:
    if isinstance(spec.entry_point, str):
        return spec.entry_point.partition(":")[0]
    return str(getattr(spec.entry_point, "__module__", ""))


def _group(spec: EnvSpec) -> str:
    own = re.match(r"gymnasium\.envs\.(\w+)", _module(spec))
    if own:
        return own.group(1).replace("_", " ")
    return spec.namespace or _module(spec).partition(".")[0]


def _missing(spec: EnvSpec) -> str:
    """The first package of those it needs that is not there; nothing is imported to see that."""
    module = _module(spec)
    own = re.match(r"gymnasium\.envs\.(\w+)", module)
    package = NEEDED.get(own.group(1), "") if own else module.partition(".")[0]
    if not package or package == "__main__":
        return ""
    try:
        return "" if find_spec(package) is not None else package
    except (ImportError, ValueError):
        return package
