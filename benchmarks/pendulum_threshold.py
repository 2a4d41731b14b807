"""Gives Pendulum-v1 the reward threshold that Gymnasium leaves out: `trpotui train --import` it."""

from __future__ import annotations

from gymnasium.envs.registration import registry

THRESHOLD = -200.0

registry["Pendulum-v1"].reward_threshold = THRESHOLD
