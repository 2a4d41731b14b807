"""One environment for playing in, made with a sentence where that fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from trpotui.errors import RequestError


def make_environment(
    environment_id: str, keywords: Mapping[str, Any], render_mode: str | None = None
) -> gym.Env[Any, Any]:
    """Make an environment.

    Args:
        environment_id: as it is registered.
        keywords: for its constructor.
        render_mode: likewise; None leaves it out, since not every constructor knows the word.

    Raises:
        RequestError: it is not registered, or its constructor raised.
    """
    keywords = dict(keywords) if render_mode is None else {**keywords, "render_mode": render_mode}
    try:
        # the checker would only repeat, more slowly, what a player refuses with a sentence
        environment: gym.Env[Any, Any] = gym.make(
            environment_id, disable_env_checker=True, **keywords
        )
    except gym.error.UnregisteredEnv as error:
        raise RequestError(
            f"the environment {environment_id} is not known to gymnasium{because(error)}"
        ) from error
    except Exception as error:
        raise RequestError(
            f"the environment {environment_id} could not be made: "
            f"{type(error).__name__}{because(error)}"
        ) from error
    return environment


def refuse_other_spaces(
    environment: gym.Env[Any, Any],
    observation_space: gym.Space[Any],
    action_space: gym.Space[Any],
) -> None:
    """Close an environment that is not the one that a policy was made for.

    Raises:
        RequestError: a space is another one.
    """
    for kind, declared, expected in (
        ("observation", environment.observation_space, observation_space),
        ("action", environment.action_space, action_space),
    ):
        if declared != expected:
            environment.close()
            name = environment.spec.id if environment.spec else type(environment).__name__
            raise RequestError(
                f"the policy is for another {name}: the {kind} space is {declared}, "
                f"the policy's {expected}"
            )


def because(error: Exception) -> str:
    """The exception's own words on one line, after a colon; empty when it has none."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    return f": {text if len(text) <= 200 else text[:197] + '...'}" if text else ""
