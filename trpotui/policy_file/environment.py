"""Whether the environment that a policy file names can be played in, without trusting the file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium import spaces

from trpotui.config import did_you_mean
from trpotui.errors import PolicyFileError, RequestError
from trpotui.policy_file.values import RefusedError, shown
from trpotui.rl.architecture import PolicySpec
from trpotui.rl.policy import SavedPolicy
from trpotui.rl.spaces import describe_space

_OURS = ("id", "render_mode", "disable_env_checker")
"""Arguments of `gymnasium.make` that the program decides, not a file."""
_ADAPTERS = ("GymV21Environment", "GymV26Environment")
"""Registered environments that make another one, which their keyword arguments name."""


def check_environment(saved: SavedPolicy, path: Path) -> None:
    """Make the environment that the policy was trained in, once, and compare its spaces.

    Args:
        saved: a policy that `read_policy` returned.
        path: the file it came from, for the message.

    Raises:
        PolicyFileError: the environment is not registered here, cannot be made, or has other
            spaces than the file says. Nothing is imported because the file names it.
    """
    spec = saved.policy.spec
    try:
        _check_name(spec.environment_id)
        _check_arguments(spec)
        _check_spaces(spec)
    except RefusedError as refusal:
        raise PolicyFileError(f"{shown(path, most=300)} {refusal}") from refusal.__cause__


def _check_name(environment_id: str) -> None:
    """An id that is registered already; `module:name` would make gymnasium import the module."""
    shown_id = shown(environment_id)
    if ":" in environment_id or environment_id.startswith(_ADAPTERS):
        raise RefusedError(f"is refused: its environment '{shown_id}' would import other code")
    if environment_id not in gymnasium.registry:
        namespace, slash, _ = shown_id.partition("/")
        package = f"; the package that provides '{namespace}/' is not installed" if slash else ""
        near = did_you_mean(shown_id, gymnasium.registry)
        hint = near or f"{package}; --import MODULE imports a module of yours that registers it"
        raise RefusedError(
            f"cannot be played: its environment '{shown_id}' is not registered{hint}"
        )


def _check_arguments(spec: PolicySpec) -> None:
    for name in spec.environment_kwargs:
        if name in _OURS or not name.isidentifier():
            raise RefusedError(f"is refused: it sets '{shown(name)}' of its environment")


def _check_spaces(spec: PolicySpec) -> None:
    observation, action = _real_spaces(spec)
    for kind, real, saved in (
        ("observations", observation, spec.observation_space),
        ("actions", action, spec.action_space),
    ):
        try:
            same = describe_space(real) == describe_space(saved)
        except RequestError:
            same = False
        if not same:
            raise RefusedError(
                f"cannot be played: its {kind} are {shown(saved)}, but those of "
                f"{shown(spec.environment_id)} are {shown(real)}"
            )


def _real_spaces(spec: PolicySpec) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    """The spaces for observations and for actions of the environment as it is made here."""
    try:
        with warnings.catch_warnings():
            # what gymnasium advises about the environment concerns who wrote it
            warnings.simplefilter("ignore")
            environment = gymnasium.make(spec.environment_id, **spec.environment_kwargs)
            try:
                return environment.observation_space, environment.action_space
            finally:
                environment.close()
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RefusedError(
            f"cannot be played: its environment {shown(spec.environment_id)} cannot be made: "
            f"{shown(reason, most=300)}"
        ) from error
