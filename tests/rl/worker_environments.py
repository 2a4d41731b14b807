"""Environments that can be made in other processes: light to import, and wrong on demand."""

from __future__ import annotations

import os
import sys
import time

import gymnasium
import numpy as np
from gymnasium import spaces

RAISE, NAN, SHAPE, REWARD, FINAL, OUTSIDE, RESET = range(3, 10)
FAULTS = {
    RAISE: "step 3 raised RuntimeError: the simulator is gone",
    NAN: "step 3: observation.place is not finite",
    SHAPE: "step 3: observation.place has shape (3,), not (2,)",
    REWARD: "step 3: reward is not finite",
    FINAL: "step 3: observation.place is not finite",
    OUTSIDE: "step 3: observation.door is outside 0 to 2",
    RESET: "step 3 raised RuntimeError: no new episode",
}
"""Actions that make a step go wrong, to what is said when it is the third."""
HANG, EXIT = 10, 11
"""Actions that make a process never answer again, or end."""


class Maze(gymnasium.Env):
    """A walk by actions and by chance; what is seen of it has several parts."""

    observation_space = spaces.Dict(
        {
            "place": spaces.Box(-100, 100, (2,), np.float32),
            "door": spaces.Discrete(3),
            "more": spaces.Tuple((spaces.MultiBinary(2), spaces.Box(-100, 100, (1,), np.float64))),
        }
    )
    action_space = spaces.Discrete(12)

    def __init__(self) -> None:
        self._fault = -1

    def _observation(self):
        place = np.array([self._place, self._t], np.float32)
        if self._fault in {NAN, FINAL}:
            place[0] = np.nan
        return {
            "place": np.zeros(3, np.float32) if self._fault == SHAPE else place,
            "door": 7 if self._fault == OUTSIDE else self._t % 3,
            "more": (
                np.array([self._t % 2, 1], np.int8),
                np.array([self._place * 3], np.float64),
            ),
        }

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        if self._fault == RESET:
            self._fault = -1
            raise RuntimeError("no new episode")
        self._fault = -1
        self._t, self._place = 0, float(self.np_random.normal())
        return self._observation(), {}

    def step(self, action):
        self._t += 1
        self._fault = int(action)
        if action == RAISE:
            raise RuntimeError("the simulator is gone")
        if action == HANG:
            print("from now on it hangs")
            time.sleep(1000)
        if action == EXIT:
            os._exit(7)
        self._place += float(action) - 0.8 + 0.1 * float(self.np_random.normal())
        reward = np.nan if action == REWARD else -abs(self._place)
        terminated = self._place > 2.5 or action in {FINAL, RESET}
        return self._observation(), reward, terminated, self._t >= 9, {}


class Walk(Maze):
    """One of which no action goes wrong, and which says so again and again."""

    action_space = spaces.Discrete(3)

    def reset(self, **keywords):
        print("all is well")
        return super().reset(**keywords)


class Keeper(gymnasium.Env):
    """Shows the action before the last, which it does not copy; it never ends by itself."""

    observation_space = spaces.Box(-1, 1, (3,), np.float32)
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._kept = np.zeros(2, np.float32)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        observation = np.array([*self._kept, "torch" in sys.modules], np.float32)
        self._kept = action
        return observation, 0.0, False, False, {}


class Sticky(Keeper):
    """Cannot be closed."""

    def close(self):
        time.sleep(1000)
