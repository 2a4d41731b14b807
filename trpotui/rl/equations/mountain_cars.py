"""Gymnasium's MountainCar-v0 and MountainCarContinuous-v0: a car too weak for its hill.

Legend: N environments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trpotui.rl.equations.motion import Floats, Motion, bound, cosines, squares
from trpotui.rl.steps import Bools

if TYPE_CHECKING:
    from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv
    from gymnasium.envs.classic_control.mountain_car import MountainCarEnv


class _Car:
    """What both have in common.

    Args:
        car: whose constants hold for all copies.
        n_envs: N.
        dtype: of the state, which is position and velocity.
    """

    def __init__(
        self, car: MountainCarEnv | Continuous_MountainCarEnv, n_envs: int, dtype: type[np.floating]
    ) -> None:
        self.state: NDArray[Any] = np.zeros((2, n_envs), dtype=dtype)
        self._left, self._right, self._most_speed, self._goal, self._least_speed = (
            np.array(value, dtype=dtype)
            for value in (
                car.min_position,
                car.max_position,
                car.max_speed,
                car.goal_position,
                car.goal_velocity,
            )
        )

    def _slope(self) -> Floats:
        """Cosines [N] that gravity pulls with."""
        return cosines(3 * self.state[0])

    def _drive(self, acceleration: NDArray[Any]) -> Bools:
        """Move on by one step; whether the goal is reached [N]."""
        position, velocity = self.state
        velocity += acceleration
        bound(velocity, -self._most_speed, self._most_speed)
        position += velocity
        bound(position, self._left, self._right)
        velocity[(position == self._left) & (velocity < 0)] = 0
        reached: Bools = (position >= self._goal) & (velocity >= self._least_speed)
        return reached


class MountainCarEquations(_Car):
    """See `Equations`; the state is position and velocity.

    Args:
        car: whose constants hold for all copies.
        n_envs: N.
    """

    fewest = 2

    def __init__(self, car: MountainCarEnv, n_envs: int) -> None:
        super().__init__(car, n_envs, np.float64)
        self._gravity = np.array(-car.gravity)
        self._forces = np.array([(action - 1) * car.force for action in range(3)])
        self._rewards = np.full(n_envs, -1.0)
        self._rewards.flags.writeable = False  # handed out by every step

    def step(self, actions: NDArray[Any]) -> Motion:
        """See `Equations`."""
        reached = self._drive(self._forces.take(actions) + self._slope() * self._gravity)
        return Motion(self.state.T.astype(np.float32, order="C"), self._rewards, reached)


class ContinuousMountainCarEquations(_Car):
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
        super().__init__(car, n_envs, np.float32)
        self._weakest = np.array(car.min_action, dtype=np.float32)
        self._strongest = np.array(car.max_action, dtype=np.float32)
        self._power, self._steepness, self._cost = car.power, np.array(0.0025), np.array(0.1)

    def step(self, actions: NDArray[Any]) -> Motion:
        """See `Equations`."""
        action = actions[:, 0]
        force = action.copy()
        bound(force, self._weakest, self._strongest)
        slope = self._slope() * self._steepness
        acceleration = force * self._power - slope.astype(np.float32)
        bounded = force != action
        if np.count_nonzero(bounded):
            # there the force is not the action, of float32, but the bound, a number of Python's
            exact = force.astype(np.float64) * self._power - slope
            acceleration[bounded] = exact[bounded]
        reached = self._drive(acceleration)
        costs = squares(action.astype(np.float64)) * self._cost
        return Motion(self.state.T.copy(), np.where(reached, 100.0, 0.0) - costs, reached)
