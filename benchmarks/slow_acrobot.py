"""Acrobot of a class of its own, whose equations trpotui does not know: stepped one by one."""

from __future__ import annotations

import gymnasium
from gymnasium.envs.classic_control.acrobot import AcrobotEnv

ID = "SlowAcrobot-v1"


class SlowAcrobot(AcrobotEnv):
    """As any environment of a person's own would be stepped."""


gymnasium.register(ID, entry_point=f"{__name__}:SlowAcrobot", max_episode_steps=500)
