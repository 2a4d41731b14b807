"""The app with policies to play and a run that hands out its policy, for tests of watching."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests import scripted_run
from tests.policy_samples import saved_policy
from tests.viewer.viewer_policies import random_policy
from trpotui.events import Event, RunFinished, StopReason
from trpotui.policy_file import write_policy
from trpotui.rl.policy import Policy
from trpotui.tui.app import TrpotuiApp
from trpotui.tui.policy_sources import NamedPolicy
from trpotui.tui.scenes import Scene
from trpotui.tui.session import TrainingSession
from trpotui.viewing.choices import Probabilities
from trpotui.viewing.facts import Facts

PATIENCE = 60.0
"""Seconds after which what should have happened counts as never happening."""
WAITING = threading.Event()
"""For nothing."""


class ScriptedSource:
    """Hands out what it is told to, and counts how often it was asked."""

    def __init__(self, *policies: NamedPolicy) -> None:
        self.waiting = list(policies)
        self.asked = 0

    def ask(self) -> None:
        self.asked += 1

    def take(self) -> NamedPolicy | None:
        return self.waiting.pop(0) if self.waiting else None


def cartpole(name: str = "sample") -> NamedPolicy:
    return NamedPolicy(random_policy("CartPole-v1"), name)


def save(path: Path, policy: Policy | None = None, **changes: Any) -> Path:
    """A policy file that can be played."""
    path.parent.mkdir(parents=True, exist_ok=True)
    policy = policy or random_policy("CartPole-v1")
    write_policy(path, dataclasses.replace(saved_policy(), policy=policy, **changes))
    return path


def facts_of(**changes: Any) -> Facts:
    """What is said of a moment of CartPole, unless told otherwise."""
    values = {
        "environment_id": "CartPole-v1",
        "seed": 2,
        "episode": 3,
        "step": 127,
        "reward": 1.0,
        "total": 127.0,
        "last_action": "left",
        "observation": (("cart position", 0.25), ("pole angle", -0.0125)),
        "choice": Probabilities(values=(0.25, 0.75), first=0),
        "action_names": (),
        "value": 12.5,
        "value_known": True,
        "followed": None,
        "mode": "greedy",
        "ended": False,
    }
    return Facts(**{**values, **changes})


def scene_of(
    *,
    name: str = "sample",
    returns: tuple[float, ...] = (500.0, 412.0),
    same_policy: bool = True,
    frame: Any = None,
    episodes: int | None = None,
    **changes: Any,
) -> Scene:
    """A moment of an episode as it is shown."""
    return Scene(
        facts=facts_of(**changes),
        frame=frame,
        name=name,
        returns=returns,
        same_policy=same_policy,
        episodes=episodes,
    )


def learning_run(session: TrainingSession) -> Iterator[Event]:
    """Five updates, then copies of the policy for whoever asks, until it is stopped."""
    policy = random_policy("CartPole-v1")
    yield from scripted_run.training(5)
    session.control.pause()
    while not session.control.stopping:
        if session.control.wait_while_paused():
            WAITING.wait(0.005)  # what does nothing takes no time from the app
        for request in session.control.take_snapshot_requests():
            request.set_result(policy)
    yield RunFinished(
        reason=StopReason.STOPPED,
        update=5,
        steps=5 * scripted_run.STEPS_PER_UPDATE,
        episodes=0,
        seconds=0.1,
        best_mean=None,
        best_std=None,
        best_episodes=None,
    )


def drive(
    test: Callable[[Pilot[int], TrpotuiApp], Awaitable[None]],
    *,
    size: tuple[int, int] = (100, 30),
    mode: str = "play",
    **arguments: Any,
) -> None:
    """Run `test` on an app that begins with the screen of a mode, and stop its run afterwards."""

    async def main() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TrpotuiApp, "DEFAULT_MODE", mode)
            app = TrpotuiApp(source=learning_run, **arguments)
        # this module has imported the core
        app.load_core = lambda: setattr(app, "core_loaded", True)  # type: ignore[method-assign]
        async with app.run_test(size=size, notifications=True) as pilot:
            try:
                await test(pilot, app)
            finally:
                app.stop_run()
                await until(pilot, lambda: not app.busy)

    asyncio.run(main())


async def until(pilot: Pilot[Any], condition: Callable[[], object]) -> None:
    """Let the app work until `condition` holds."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert pilot.app._exception is None
        assert time.monotonic() < give_up, "it never happened"
        await pilot.pause(0.01)
