"""The app with policies to play and a run that hands out its policy, for tests of watching."""

from __future__ import annotations

import asyncio
import dataclasses
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
from trpotui.tui.session import TrainingSession

PATIENCE = 20.0
"""Seconds after which what should have happened counts as never happening."""


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


def learning_run(session: TrainingSession) -> Iterator[Event]:
    """Five updates, then copies of the policy for whoever asks, until it is stopped."""
    policy = random_policy("CartPole-v1")
    yield from scripted_run.training(5)
    session.control.pause()
    while not session.control.stopping:
        session.control.wait_while_paused()
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
