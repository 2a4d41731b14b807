"""What the numbers of well-known environments mean: observations and actions by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from trpotui.rl.observations import Observations, feature_count

MOST_NAMED = 64
"""Numbers of an observation that are listed; more are a picture or the like."""

_OBSERVATIONS = {
    "CartPole": ("cart position", "cart speed", "pole angle", "pole speed"),
    "Pendulum": ("cos angle", "sin angle", "angular speed"),
    "Acrobot": ("cos angle 1", "sin angle 1", "cos angle 2", "sin angle 2", "speed 1", "speed 2"),
    "MountainCar": ("position", "speed"),
    "MountainCarContinuous": ("position", "speed"),
    "LunarLander": ("x", "y", "speed x", "speed y", "angle", "turning", "left leg", "right leg"),
}
_OBSERVATIONS["LunarLanderContinuous"] = _OBSERVATIONS["LunarLander"]

_ACTIONS = {
    "CartPole": ("left", "right"),
    "Pendulum": ("torque",),
    "Acrobot": ("torque −1", "none", "torque +1"),
    "MountainCar": ("left", "none", "right"),
    "MountainCarContinuous": ("force",),
    "LunarLander": ("none", "left jet", "main jet", "right jet"),
    "FrozenLake": ("left", "down", "right", "up"),
    "CliffWalking": ("up", "right", "down", "left"),
    "Taxi": ("down", "up", "right", "left", "pick up", "drop off"),
    "Blackjack": ("stick", "hit"),
}


def base_name(environment_id: str) -> str:
    """An environment's name without its namespace and version: `CartPole` of `CartPole-v1`."""
    name = environment_id.rpartition(":")[2].rpartition("/")[2]
    stem, _, version = name.rpartition("-v")
    return stem if stem and version.isdigit() else name


def observation_values(
    environment_id: str, space: spaces.Space[Any], observation: Observations
) -> tuple[tuple[str, float], ...]:
    """Names and numbers of an observation; none of one that is large or has parts."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return ()
    if feature_count(space) > MOST_NAMED and not isinstance(space, spaces.Discrete):
        return ()
    values = np.asarray(observation, dtype=np.float64).reshape(-1).tolist()
    names = _OBSERVATIONS.get(base_name(environment_id), ())
    if len(names) != len(values):
        names = ("state",) if len(values) == 1 else tuple(f"x{i}" for i in range(len(values)))
    return tuple(zip(names, values, strict=True))


def action_names(environment_id: str, space: spaces.Space[Any]) -> tuple[str, ...]:
    """A name for each choice of a Discrete action, or for each dimension of a Box; else none."""
    named = _ACTIONS.get(base_name(environment_id), ())
    if isinstance(space, spaces.Discrete):
        count = int(space.n)
        return (
            named
            if len(named) == count
            else tuple(f"action {space.start + i}" for i in range(count))
        )
    if isinstance(space, spaces.Box):
        count = int(np.prod(space.shape, dtype=int))
        return named if len(named) == count else tuple(f"a{i}" for i in range(count))
    return ()


def action_label(action: Any, environment_id: str, space: spaces.Space[Any]) -> str:
    """An action in a few letters, as the environment was given it; empty of none."""
    if action is None:
        return ""
    if isinstance(space, spaces.Discrete):
        return action_names(environment_id, space)[int(action) - int(space.start)]
    values = np.asarray(action).reshape(-1)
    shown = " ".join(f"{value:.3g}" for value in values[:3].tolist())
    return shown if len(values) <= 3 else f"{shown} …"
