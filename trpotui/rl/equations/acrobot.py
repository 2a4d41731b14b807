"""Gymnasium's Acrobot-v1: two links, of which the joint between them is driven.

Legend: N environments; a, b angles of the two links, va, vb their velocities.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trpotui.rl.equations.motion import Floats, Motion, bound, squares

if TYPE_CHECKING:
    from gymnasium.envs.classic_control.acrobot import AcrobotEnv


class AcrobotEquations:
    """See `Equations`; the state is a, b, va, vb.

    Args:
        acrobot: whose constants hold for all copies.
        n_envs: N.

    Raises:
        ValueError: it has noise, or other equations than those of the book.
    """

    fewest = 4

    def __init__(self, acrobot: AcrobotEnv, n_envs: int) -> None:
        if acrobot.torque_noise_max > 0 or acrobot.book_or_nips == "nips":
            raise ValueError("only the equations of the book, without noise, are known")
        self.state = np.zeros((4, n_envs))
        self._torques = np.array(acrobot.AVAIL_TORQUE, dtype=np.float64)
        self._dt, self._half_dt = np.array(acrobot.dt), np.array(acrobot.dt / 2.0)
        self._sixth_dt = np.array(acrobot.dt / 6.0)
        self._limits = np.array([[acrobot.MAX_VEL_1], [acrobot.MAX_VEL_2]])
        m1, m2 = acrobot.LINK_MASS_1, acrobot.LINK_MASS_2
        l1, c1, c2 = acrobot.LINK_LENGTH_1, acrobot.LINK_COM_POS_1, acrobot.LINK_COM_POS_2
        g = 9.8
        # as arrays, which numpy takes in less time than Python's numbers
        self._m2, self._inertia = np.array(m2), np.array(acrobot.LINK_MOI)
        self._m1_c1_squared = np.array(m1 * c1**2)
        self._lengths_squared, self._c2_squared = np.array(l1**2 + c2**2), np.array(c2**2)
        self._l1_c2, self._twice_l1_c2 = np.array(l1 * c2), np.array(2 * l1 * c2)
        self._m2_l1_c2, self._twice_m2_l1_c2 = np.array(m2 * l1 * c2), np.array(2 * m2 * l1 * c2)
        self._weight_1, self._weight_2 = np.array((m1 * c1 + m2 * l1) * g), np.array(m2 * c2 * g)
        self._inertia_2 = np.array(m2 * c2**2 + acrobot.LINK_MOI)
        self._quarter_turn, self._two = np.array(math.pi / 2.0), np.array(2.0)

    def step(self, actions: NDArray[Any]) -> Motion:
        """See `Equations`: one step of the classic Runge-Kutta method."""
        state, torque, two = self.state, self._torques.take(actions), self._two
        k1 = self._derivatives(state, torque)
        k2 = self._derivatives(state + self._half_dt * k1, torque)
        k3 = self._derivatives(state + self._half_dt * k2, torque)
        k4 = self._derivatives(state + self._dt * k3, torque)
        state += self._sixth_dt * (k1 + two * k2 + two * k3 + k4)
        angles, velocities = state[:2], state[2:]
        _wrap(angles)
        bound(velocities, -self._limits, self._limits)
        cosines, sines = np.cos(angles), np.sin(angles)
        rows = np.empty((len(torque), 6), dtype=np.float32)
        rows[:, 0], rows[:, 2] = cosines
        rows[:, 1], rows[:, 3] = sines
        rows[:, 4:] = velocities.T
        terminated = -cosines[0] - np.cos(state[1] + state[0]) > 1.0
        return Motion(rows, np.where(terminated, 0.0, -1.0), terminated)

    def _derivatives(self, state: Floats, torque: Floats) -> Floats:
        """Derivatives [4, N] of a state [4, N] by time (Sutton & Barto 1998, section 11.3)."""
        a, b, va, vb = state
        cosine_b, cosine_ab, cosine_a = np.cos(
            np.array([b, a + b - self._quarter_turn, a - self._quarter_turn])
        )
        sine_b = np.sin(b)
        d1 = (
            self._m1_c1_squared
            + self._m2 * (self._lengths_squared + self._twice_l1_c2 * cosine_b)
            + self._inertia
            + self._inertia
        )
        d2 = self._m2 * (self._c2_squared + self._l1_c2 * cosine_b) + self._inertia
        va_squared, vb_squared, d2_squared = squares(np.array([va, vb, d2]))
        phi2 = self._weight_2 * cosine_ab
        phi1 = (
            -(self._m2_l1_c2 * vb_squared * sine_b)
            - self._twice_m2_l1_c2 * vb * va * sine_b
            + self._weight_1 * cosine_a
            + phi2
        )
        derivatives = np.empty_like(state)
        derivatives[:2] = state[2:]
        acceleration_b = derivatives[3] = (
            torque + d2 / d1 * phi1 - self._m2_l1_c2 * va_squared * sine_b - phi2
        ) / (self._inertia_2 - d2_squared / d1)
        derivatives[2] = -(d2 * acceleration_b + phi1) / d1
        return derivatives


def _wrap(angles: Floats) -> None:
    """Bring angles within -pi and pi, by as many whole turns as that takes."""
    while (beyond := angles > math.pi).any():
        np.subtract(angles, 2 * math.pi, angles, where=beyond)
    while (beyond := angles < -math.pi).any():
        np.add(angles, 2 * math.pi, angles, where=beyond)
