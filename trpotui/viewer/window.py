"""The pygame window of the child process: its display, its keys and its clock."""

from __future__ import annotations

import contextlib
import enum
import os
import sys
from collections.abc import Callable, Iterator
from threading import Event
from time import monotonic
from typing import Final, Literal

import pygame

from trpotui.episodes import EpisodePlayer, PlayOptions
from trpotui.rl.policy import Policy
from trpotui.viewer.canvas import Canvas
from trpotui.viewer.playback import Playback
from trpotui.viewer.protocol import WindowEvent, WindowReady, no_display

TICK = 1 / 60
"""Seconds between two looks at keys and clock: frames are drawn no faster than this."""

STEPPING_SHARE = 0.75
"""Share of a tick that stepping may take at high speed; the rest is for drawing."""

_UNSEEN_DRIVERS = {"dummy", "evdev", "kmsdrm", "offscreen"}
"""SDL falls back to these in silence: nobody, or only a person at the console, would see them."""


class Command(enum.Enum):
    """What a person can ask of the window."""

    QUIT = enum.auto()
    PAUSE = enum.auto()
    FASTER = enum.auto()
    SLOWER = enum.auto()
    NEXT = enum.auto()
    REDRAW = enum.auto()


KEYS: Final = {
    pygame.K_ESCAPE: Command.QUIT,
    pygame.K_q: Command.QUIT,
    pygame.K_SPACE: Command.PAUSE,
    pygame.K_RIGHT: Command.FASTER,
    pygame.K_UP: Command.FASTER,
    pygame.K_LEFT: Command.SLOWER,
    pygame.K_DOWN: Command.SLOWER,
    pygame.K_n: Command.NEXT,
    pygame.K_RIGHTBRACKET: Command.NEXT,
}


def play_in_window(
    policy: Policy,
    options: PlayOptions,
    *,
    tell: Callable[[WindowEvent], None],
    stop: Event,
) -> Literal["user", "finished", "parent"]:
    """Open the window, play the episodes and say who ended it.

    Args:
        policy: who plays.
        options: what is played.
        tell: called with every event but the last one.
        stop: set by the parent's wish to end.

    Raises:
        NoDisplayError: a window would be seen by nobody.
        RequestError: the environment cannot be made or has no picture.
        RunError: the environment or the policy failed.
    """
    open_display()
    player = EpisodePlayer(policy, options, render_mode="rgb_array")
    with contextlib.ExitStack() as cleanup:
        # in the opposite order: an environment whose closing hangs is ended as on a parent's wish
        for step in (pygame.quit, player.close, pygame.display.quit, stop.set):
            cleanup.callback(step)
        playback = Playback(player, episodes=options.episodes, speed=options.speed, report=tell)
        if stop.is_set():
            return "parent"
        canvas = _canvas(player)
        canvas.draw(player.frame(), playback)
        tell(WindowReady(driver=pygame.display.get_driver()))
        return _loop(canvas, player, playback, tell, stop)


def open_display() -> None:
    """Connect to the display, and refuse one on which nobody would see a window.

    Raises:
        NoDisplayError: as said.
    """
    wanted = os.environ.get("SDL_VIDEODRIVER", "")
    named = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if sys.platform.startswith("linux") and not wanted and not named:
        # left to itself, SDL would go on to draw on the console of a machine far away
        raise no_display("neither DISPLAY nor WAYLAND_DISPLAY is set")
    try:
        pygame.display.init()
    except pygame.error as error:
        raise no_display(str(error)) from error
    _refuse_unseen(wanted)


def _canvas(player: EpisodePlayer) -> Canvas:
    try:
        canvas = Canvas(player.environment_id, player.frame())
    except pygame.error as error:
        raise no_display(str(error)) from error
    _refuse_unseen(os.environ.get("SDL_VIDEODRIVER", ""))
    return canvas


def _refuse_unseen(wanted: str) -> None:
    driver = pygame.display.get_driver()
    asked_for = driver in wanted.split(",") and driver != "offscreen"
    if driver in _UNSEEN_DRIVERS and not asked_for:
        name = next((n for n in ("WAYLAND_DISPLAY", "DISPLAY") if os.environ.get(n)), "")
        reason = f"{name}={os.environ[name]} does not answer" if name else f"only SDL's {driver}"
        raise no_display(reason)


def commands() -> Iterator[Command]:
    """What the person asked for since the last call."""
    for event in pygame.event.get():
        if event.type == pygame.QUIT:
            yield Command.QUIT
        elif event.type == pygame.KEYDOWN and event.key in KEYS:
            yield KEYS[event.key]
        elif event.type in (pygame.VIDEORESIZE, pygame.WINDOWEXPOSED, pygame.WINDOWSIZECHANGED):
            yield Command.REDRAW


def _loop(
    canvas: Canvas,
    player: EpisodePlayer,
    playback: Playback,
    tell: Callable[[WindowEvent], None],
    stop: Event,
) -> Literal["user", "finished", "parent"]:
    before = monotonic()
    redraw = False
    while not stop.is_set():
        now = monotonic()
        for command in commands():
            if command is Command.QUIT:
                return "user"
            _obey(command, playback, tell)
            redraw = True
        moved = playback.advance(now - before, out_of_time=_after(now + TICK * STEPPING_SHARE))
        before = now
        if playback.finished:
            return "finished"
        if moved or redraw:
            canvas.draw(player.frame(), playback)
            redraw = False
        stop.wait(max(0.0, TICK - (monotonic() - now)))
    return "parent"


def _after(deadline: float) -> Callable[[], bool]:
    return lambda: monotonic() > deadline


def _obey(command: Command, playback: Playback, tell: Callable[[WindowEvent], None]) -> None:
    action = {
        Command.PAUSE: playback.pace.toggle_pause,
        Command.FASTER: playback.pace.faster,
        Command.SLOWER: playback.pace.slower,
        Command.NEXT: playback.next_episode,
    }.get(command)
    if action is not None:
        action()
        tell(playback.state())
