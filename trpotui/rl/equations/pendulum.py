"""Gymnasium's Pendulum-v1: a rod that is to be swung up and held.

Legend: N environments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trpotui.rl.equations.motion import Floats, Motion, bound, squares
from trpotui.rl.steps import constant

if TYPE_CHECKING:
    from gymnasium.envs.classic_control.pendulum import PendulumEnv


class PendulumEquations:
    """See `Equations`; the state is angle and angular velocity.

    Args:
        pendulum: whose constants hold for all copies.
        n_envs: N.
    """

    fewest = 3

    def __init__(self, pendulum: PendulumEnv, n_envs: int) -> None:
        self.state: Floats = np.zeros((2, n_envs))
        self._most_torque = np.array(pendulum.max_torque, dtype=np.float32)
        self._most_speed = np.array(float(pendulum.max_speed))
        self._dt = pendulum.dt
        g, m, length = pendulum.g, pendulum.m, pendulum.l
        self._of_gravity, self._of_torque = 3 * g / (2 * length), 3.0 / (m * length**2)
        self._never = constant(n_envs, False)

    def step(self, actions: NDArray[Any]) -> Motion:
        """See `Equations`; the torque keeps the actions' precision."""
        angle, velocity = self.state
        torque = actions[:, 0].copy()
        bound(torque, -self._most_torque, self._most_torque)
        from_upright = (angle + np.pi) % (2 * np.pi) - np.pi
        upright, slow = squares(np.array([from_upright, velocity]))
        costs = upright + 0.1 * slow + 0.001 * squares(torque)
        velocity += (self._of_gravity * np.sin(angle) + self._of_torque * torque) * self._dt
        bound(velocity, -self._most_speed, self._most_speed)
        angle += velocity * self._dt
        rows = np.empty((len(torque), 3), dtype=np.float32)
        rows[:, 0], rows[:, 1], rows[:, 2] = np.cos(angle), np.sin(angle), velocity
        return Motion(rows, -costs, self._never)
