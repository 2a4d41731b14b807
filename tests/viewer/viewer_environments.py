"""An environment that does one thing wrong, to be made as `viewer_environments:Faulty-v0`."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

FAULTY_STEP = 3
"""The step that goes wrong; episodes are twice as long."""

OBSERVATIONS: dict[str, Any] = {
    "nan observation": np.array([0, np.nan, 0, 0], dtype=np.float32),
    "huge observation": np.array([0, 1e300, 0, 0]),
    "wrong shape": np.zeros(3, dtype=np.float32),
    "text observation": ["a", "b", "c", "d"],
}
REWARDS: dict[str, Any] = {"infinite reward": float("inf"), "no reward": None}


class Faulty(gym.Env[Any, Any]):
    """Ends after twice FAULTY_STEP steps of reward 1 unless its fault comes first.

    Its picture is as grey as it has done steps.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 - gymnasium's form
    observation_space = spaces.Box(-1, 1, (4,), np.float32)
    action_space = spaces.Discrete(2, start=5)

    def __init__(
        self, render_mode: str | None = None, fault: str = "", open_file: str = ""
    ) -> None:
        self.render_mode = render_mode
        self.fault = fault
        self.open_file = open_file
        self.steps = 0
        self.resets = 0

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        self.resets += 1
        second = self.fault == "raises in the second reset" and self.resets == 2
        if second or self.fault == "raises in reset":
            raise ValueError("no\nluck")
        if self.fault == "hangs in reset":
            time.sleep(3600)
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        assert action in (5, 6), "the action is decoded"
        self.steps += 1
        now = self.steps == FAULTY_STEP
        if now and self.fault == "raises in step":
            raise ZeroDivisionError("division by zero")
        if now and self.fault == "hangs in step":
            time.sleep(3600)
        if now and self.fault == "short answer":
            return np.zeros(4, dtype=np.float32), 1.0
        if self.fault == "talks":
            print("hello from an environment")
        observation = OBSERVATIONS.get(self.fault) if now else None
        if observation is None:
            observation = self._observation()
        reward = REWARDS[self.fault] if now and self.fault in REWARDS else 1.0
        ends = self.steps == 2 * FAULTY_STEP and self.fault != "endless"
        return observation, reward, ends, False, {}

    def _observation(self) -> Any:
        late = self.fault == "not quite the same" and self.steps == FAULTY_STEP
        changed = 0.01 * self.resets if late or self.fault == "never the same" else 0.0
        return np.full(4, changed, dtype=np.float32)

    def render(self) -> Any:
        if self.fault == "no picture":
            return None
        return np.full((40, 60, 3), self.steps % 256, dtype=np.uint8)

    def close(self) -> None:
        if self.open_file:
            with open(self.open_file, "a") as file:  # noqa: PTH123
                file.write("closed\n")
        if self.fault == "raises in close":
            raise ValueError("too late")


gym.register("Faulty-v0", entry_point="viewer_environments:Faulty")
FAULTY = "viewer_environments:Faulty-v0"
