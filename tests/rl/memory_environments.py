"""Environments that cannot be mastered without remembering what was seen."""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

DELAY = 10
"""Steps between the cue and the answer."""


class RepeatTheCue(gymnasium.Env):
    """The first observation is -1 or +1, the others say nothing; the last action must repeat it.

    Reward 1 for the right answer at step `DELAY`, else 0: chance is 0.5. All episodes are equally
    long, and what is observed at the last step is the same in all of them.
    """

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._t = 0
        self._cue = int(self.np_random.integers(2))
        return self._observation(), {}

    def step(self, action):
        last = self._t == DELAY
        reward = float(last and action == self._cue)
        self._t += 1
        return self._observation(), reward, last, False, {}

    def _observation(self):
        cue = 2.0 * self._cue - 1.0 if self._t == 0 else 0.0
        return np.array([cue, self._t == DELAY], np.float32)


class PositionsOfCartPole(CartPoleEnv):
    """CartPole that shows where cart and pole are, not how fast they move."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        bounds = self.observation_space.high[::2]
        self.observation_space = spaces.Box(-bounds, bounds, dtype=np.float32)

    def reset(self, **arguments):
        observation, info = super().reset(**arguments)
        return observation[::2], info

    def step(self, action):
        observation, *rest = super().step(action)
        return observation[::2], *rest
