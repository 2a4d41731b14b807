"""Gymnasium's MountainCar-v0 and MountainCarContinuous-v0: a car too weak for its hill.

Legend: N environments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv
from gymnasium.envs.classic_control.mountain_car import MountainCarEnv
from numpy.typing import NDArray

from trpotui.rl.equations.motion import Float32, Floats, Motion, bound, cosines, squares


class MountainCarEquations:
    """See `Equations`; the state is position and velocity.

    Args:
        car: whose constants hold for all copies.
        n_envs: N.
    """

    fewest = 2

    def __init__(self, car: MountainCarEnv, n_envs: int) -> None:
        self.state: Floats = np.zeros((2, n_envs))
        self._left, self._right = np.array(car.min_position), np.array(car.max_position)
        self._most_speed, self._gravity = np.array(car.max_speed), np.array(-car.gravity)
        self._goal, self._least_speed = np.array(car.goal_position), np.array(car.goal_velocity)
        self._forces = np.array([(action - 1) * car.force for action in range(3)])
        self._rewards = np.full(n_envs, -1.0)
        self._rewards.flags.writeable = False  # handed out by every step

    def step(self, actions: NDArray[Any]) -> Motion:
        """See `Equations`."""
        position, velocity = self.state
        velocity += self._forces.take(actions) + cosines(3 * position) * self._gravity
        bound(velocity, -self._most_speed, self._most_speed)
        position += velocity
        bound(position, self._left, self._right)
        velocity[(position == self._left) & (velocity < 0)] = 0
        terminated = (position >= self._goal) & (velocity >= self._least_speed)
        return Motion(self.state.T.astype(np.float32, order="C"), self._rewards, terminated)


class ContinuousMountainCarEquations:
    """See `Equations`; the state is position and velocity, in float32.

    Args:
        car: whose constants hold for all copies.
        n_envs: N.

    Raises:
        ValueError: no speed of the car's is that of the goal.
    """

    fewest = 12

    def __init__(self, car: Continuous_MountainCarEnv, n_envs: int) -> None:
        if not 0 <= car.goal_velocity <= car.max_speed:
            raise ValueError("beyond its bounds the precision decides whether a speed is enough")
        self.state: Float32 = np.zeros((2, n_envs), dtype=np.float32)
        self._weakest, self._strongest = _float32(car.min_action), _float32(car.max_action)
        self._left, self._right = _float32(car.min_position), _float32(car.max_position)
        self._most_speed, self._power = _float32(car.max_speed), car.power
        self._goal, self._least_speed = _float32(car.goal_position), _float32(car.goal_velocity)
        self._three, self._steepness, self._cost = _float32(3), np.array(0.0025), np.array(0.1)

    def step(self, actions: NDArray[Any]) -> Motion:
        """See `Equations`."""
        position, velocity = self.state
        action = actions[:, 0]
        force = action.copy()
        bound(force, self._weakest, self._strongest)
        slope = cosines(self._three * position) * self._steepness
        push = force * self._power - slope.astype(np.float32)
        bounded = force != action
        if np.count_nonzero(bounded):
            # there the force is not the action, of float32, but the bound, a number of Python's
            exact = force.astype(np.float64) * self._power - slope
            push[bounded] = exact[bounded]
        velocity += push
        bound(velocity, -self._most_speed, self._most_speed)
        position += velocity
        bound(position, self._left, self._right)
        velocity[(position == self._left) & (velocity < 0)] = 0
        terminated = (position >= self._goal) & (velocity >= self._least_speed)
        costs = squares(action.astype(np.float64)) * self._cost
        return Motion(self.state.T.copy(), np.where(terminated, 100.0, 0.0) - costs, terminated)


def _float32(number: float) -> NDArray[np.float32]:
    return np.array(number, dtype=np.float32)
