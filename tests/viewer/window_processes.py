"""Starting the player window's process, with and without its parent's side, and watching it end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from trpotui.episodes import PlayOptions
from trpotui.rl.policy import Policy
from trpotui.viewer import PlayerWindow
from trpotui.viewer.protocol import WindowRequest, encode_request
from trpotui.viewing.contenders import Contender

PATIENCE = 60.0
"""Seconds for anything that must happen; a slow machine needs some, a failing test all."""

FAST = PlayOptions(episodes=3, seed=11, speed=16.0)
LONG = PlayOptions(episodes=1000)
T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(coroutine, 2 * PATIENCE))


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children() -> set[int]:
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for found in lists for pid in found.read_text().split()}


def request_of(policy: Policy, options: PlayOptions) -> WindowRequest:
    contender = Contender(policy=policy, title="a policy")
    return WindowRequest(contenders=(contender,), options=options)


async def collect(policy: Policy, options: PlayOptions) -> list[Any]:
    async with await PlayerWindow.open(policy, options) as window:
        return [event async for event in window.events()]


@contextlib.contextmanager
def bare_window(
    policy: Policy, options: PlayOptions, *command: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The process alone, with its request written and its stdin still open."""
    process = subprocess.Popen(
        [sys.executable, *(command or ("-m", "trpotui.viewer"))],
        # what is told to the C library alone, as drawing without a display is, does not count
        env=dict(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdin is not None
        process.stdin.write(encode_request(request_of(policy, options)))
        process.stdin.flush()
        try:
            yield process
        finally:
            process.kill()


def next_line(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the process ended without a word"
    record: dict[str, Any] = json.loads(line)
    return record
