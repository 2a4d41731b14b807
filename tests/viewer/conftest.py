"""Displays for the player window: none, a dead one, SDL's dummy, and a real X server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from viewer_policies import random_policy

from trpotui import imports
from trpotui.rl.policy import Policy


@pytest.fixture(autouse=True)
def nothing_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window imports what a person had imported, but not what another test had."""
    monkeypatch.setattr(imports, "_imported", [])


@pytest.fixture
def cartpole() -> Policy:
    return random_policy("CartPole-v1")


def set_display(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    set_display(monkeypatch)


@pytest.fixture
def dead_display(monkeypatch: pytest.MonkeyPatch) -> None:
    set_display(monkeypatch, DISPLAY=":64999")


@pytest.fixture
def dummy_display(monkeypatch: pytest.MonkeyPatch) -> None:
    set_display(monkeypatch, SDL_VIDEODRIVER="dummy")


@pytest.fixture(scope="session")
def x_server() -> Iterator[str]:
    """The name of a display with nothing on it, e.g. ":1"."""
    for command in ("Xvfb", "xdotool"):
        if shutil.which(command) is None:
            pytest.fail(f"{command} is absent: install the Debian packages xvfb and xdotool")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1024x768x24", "-noreset"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()  # ends with the server if that cannot start
        if not number:
            pytest.fail(f"Xvfb did not start: exit code {server.wait()}")
        yield f":{number}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def x_display(x_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    set_display(monkeypatch, DISPLAY=x_server)
    return x_server
