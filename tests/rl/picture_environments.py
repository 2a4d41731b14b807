"""Environments whose observations are pictures, and which a policy must look at to do well."""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium import spaces

SIDE = 36


class BrightSide(gymnasium.Env):
    """One half of a dark noisy picture is bright: pushing to its side is 1, to the other -1.

    Args:
        channels_first: [C, H, W] instead of [H, W, C].
        length: steps of an episode, which ends by truncation if it is longer than one step.
    """

    def __init__(self, *, channels_first: bool = False, length: int = 1) -> None:
        self._length = length
        self._channels_first = channels_first
        shape = (2, SIDE, SIDE) if channels_first else (SIDE, SIDE, 2)
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.action_space = spaces.Discrete(2)

    def _observation(self):
        self._side = int(self.np_random.integers(2))
        picture = self.np_random.integers(60, size=(SIDE, SIDE, 2), dtype=np.uint8)
        half = slice(SIDE // 2) if self._side == 0 else slice(SIDE // 2, None)
        picture[:, half] += 120
        return picture.transpose(2, 0, 1).copy() if self._channels_first else picture

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._t = 0
        return self._observation(), {}

    def step(self, action):
        reward = 1.0 if action == self._side else -1.0
        self._t += 1
        over = self._t >= self._length
        cut = over and self._length > 1
        return self._observation(), reward, over and not cut, cut, {}
