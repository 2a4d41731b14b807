"""The pygame window of the child process: its display, its clock, and what its keys do."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Literal

import pygame

from trpotui.errors import RunError
from trpotui.viewer.canvas import Canvas
from trpotui.viewer.keys import Command, Keyboard
from trpotui.viewer.playback import Playback
from trpotui.viewer.protocol import (
    NoticeShown,
    ScreenshotTaken,
    WindowEvent,
    WindowReady,
    WindowRequest,
    no_display,
)
from trpotui.viewer.screenshots import write_screenshot
from trpotui.viewer.tiles import Tile
from trpotui.viewing.by_hand import HandControl
from trpotui.viewing.contenders import Contender
from trpotui.viewing.facts import facts_of
from trpotui.viewing.rewind import RewindablePlayer

TICK = 1 / 60
"""Seconds between two looks at the keys: frames are drawn no faster than this."""

STEPPING_SHARE = 0.75
"""Share of a tick that stepping may take at high speed; the rest is for drawing."""

MESSAGE_SECONDS = 4.0
"""For which a message is shown."""

_UNSEEN_DRIVERS = {"dummy", "evdev", "kmsdrm", "offscreen"}
"""SDL falls back to these in silence: nobody, or only a person at the console, would see them."""

Tell = Callable[[WindowEvent], None]


def play_in_window(
    request: WindowRequest, *, tell: Tell, stop: Event
) -> Literal["user", "finished", "parent"]:
    """Open the window, play the episodes and say who ended it.

    Args:
        request: what is played.
        tell: called with every event but the last one.
        stop: set by the parent's wish to end.

    Raises:
        NoDisplayError: a window would be seen by nobody.
        RequestError: an environment cannot be made, has no picture, or no keys to play it by hand.
        RunError: an environment or a policy failed.
    """
    open_display()
    with contextlib.ExitStack() as cleanup:
        # in the opposite order: an environment whose closing hangs is ended as on a parent's wish
        cleanup.callback(pygame.quit)
        players: list[RewindablePlayer] = []
        for contender in request.contenders:
            players.append(contender.player(request.options, "rgb_array"))
            cleanup.callback(players[-1].close)
        cleanup.callback(pygame.display.quit)
        cleanup.callback(stop.set)
        playback = _playback(request, players, tell)
        if stop.is_set():
            return "parent"
        window = _Window(request, players, playback, tell)
        tell(WindowReady(driver=pygame.display.get_driver()))
        return window.run(stop)


def _playback(request: WindowRequest, players: list[RewindablePlayer], tell: Tell) -> Playback:
    options = request.options
    hand, place = None, 0
    for index, contender in enumerate(request.contenders):
        if contender.by_hand:
            space, place = contender.policy.spec.action_space, index
            name = players[index].environment_id
            hand = HandControl(name, space, fps=players[index].fps * options.speed)
    return Playback(
        players,
        episodes=options.episodes,
        speed=options.speed,
        report=tell,
        hand=hand,
        hand_place=place,
    )


class _Window:
    """The open window.

    Args:
        request: what is played.
        players: one for each contender.
        playback: which steps them.
        tell: called with every event.
    """

    def __init__(
        self,
        request: WindowRequest,
        players: list[RewindablePlayer],
        playback: Playback,
        tell: Tell,
    ) -> None:
        self._players = players
        self._contenders = request.contenders
        self._folder = Path(request.screenshots)
        self._playback = playback
        self._tell = tell
        self._message, self._message_until = "", 0.0
        self._canvas = self._open_canvas()
        self._keyboard = Keyboard(playback.hand)
        if playback.hand is not None:
            self._say("press one of your keys to begin", seconds=60.0)
        self._draw()

    def run(self, stop: Event) -> Literal["user", "finished", "parent"]:
        """Play until somebody ends it, and say who."""
        playback, before = self._playback, monotonic()
        while not stop.is_set():
            now = monotonic()
            redraw = False
            for command in self._keyboard.commands():
                if command is Command.QUIT:
                    return "user"
                self._obey(command)
                redraw = True
            if playback.heed_hand():
                self._say("")
                self._tell_state()
            moved = playback.advance(now - before, out_of_time=_after(now + TICK * STEPPING_SHARE))
            before = now
            if playback.finished:
                return "finished"
            if self._message and now > self._message_until:
                self._message, redraw = "", True
            if moved or redraw:
                self._draw()
            stop.wait(max(0.0, self._rest() - (monotonic() - now)))
        return "parent"

    def _rest(self) -> float:
        """Seconds until there is something to do: at most a tick, and a step at its very time."""
        next_step = self._playback.until_next_step()
        together = self._playback.together
        slow = together.fps * self._playback.pace.speed * TICK < 1
        return min(TICK, next_step) if slow else TICK

    def _obey(self, command: Command) -> None:
        playback, canvas = self._playback, self._canvas
        change: dict[Command, Callable[[], object]] = {
            Command.PAUSE: playback.pace.toggle_pause,
            Command.FASTER: playback.pace.faster,
            Command.SLOWER: playback.pace.slower,
            Command.RESTART: playback.restart,
            Command.NEXT: playback.next_episode,
            Command.SAMPLING: playback.toggle_sampling,
            Command.OVERLAY: playback.toggle_overlay,
            Command.FULL_SCREEN: canvas.toggle_full_screen,
            Command.STEP: lambda: self._say(playback.step()),
            Command.BACK: lambda: self._say(playback.back()),
        }
        if command in change:
            change[command]()
            self._tell_state()
        elif command is Command.SCREENSHOT:
            self._take_screenshot()
        elif command is Command.HELP:
            canvas.shows_card = not canvas.shows_card

    def _tell_state(self) -> None:
        self._tell(self._playback.state(full_screen=self._canvas.full_screen))

    def _say(self, message: str, *, seconds: float = MESSAGE_SECONDS) -> None:
        """Show a message, or take the last one away."""
        self._message, self._message_until = message, monotonic() + seconds

    def _take_screenshot(self) -> None:
        self._draw()  # what a key before this one has changed
        try:
            path = write_screenshot(
                self._folder,
                self._canvas.png(),
                environment_id=self._players[0].environment_id,
                seed=self._players[0].seed,
                step=self._playback.together.steps,
            )
        except RunError as error:
            self._say(str(error))
            self._tell(NoticeShown(message=str(error)))
        else:
            self._say(f"written: {path.name}")
            self._tell(ScreenshotTaken(path=str(path)))

    def _open_canvas(self) -> Canvas:
        title = self._players[0].environment_id
        try:
            canvas = Canvas(title, self._tiles())
        except pygame.error as error:
            raise no_display(str(error)) from error
        _refuse_unseen(os.environ.get("SDL_VIDEODRIVER", ""))
        return canvas

    def _tiles(self) -> list[Tile]:
        hand = self._playback.hand
        return [
            _tile(player, contender, hand.legend if hand is not None and contender.by_hand else "")
            for player, contender in zip(self._players, self._contenders, strict=True)
        ]

    def _draw(self) -> None:
        self._canvas.draw(self._tiles(), self._playback, self._message)


def _tile(player: RewindablePlayer, contender: Contender, legend: str) -> Tile:
    return Tile(
        frame=player.frame(),
        title=f"{contender.title}   {legend}" if legend else contender.title,
        facts=facts_of(player, by_hand=contender.by_hand),
    )


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


def _refuse_unseen(wanted: str) -> None:
    driver = pygame.display.get_driver()
    asked_for = driver in wanted.split(",") and driver != "offscreen"
    if driver in _UNSEEN_DRIVERS and not asked_for:
        name = next((n for n in ("WAYLAND_DISPLAY", "DISPLAY") if os.environ.get(n)), "")
        reason = f"{name}={os.environ[name]} does not answer" if name else f"only SDL's {driver}"
        raise no_display(reason)


def _after(deadline: float) -> Callable[[], bool]:
    return lambda: monotonic() > deadline
