"""The keys of the player window, and the card that lists them."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Final

import pygame

from trpotui.viewing.by_hand import HandControl


class Command(enum.Enum):
    """What a person can ask of the window."""

    QUIT = enum.auto()
    PAUSE = enum.auto()
    STEP = enum.auto()
    BACK = enum.auto()
    FASTER = enum.auto()
    SLOWER = enum.auto()
    RESTART = enum.auto()
    NEXT = enum.auto()
    SAMPLING = enum.auto()
    OVERLAY = enum.auto()
    FULL_SCREEN = enum.auto()
    SCREENSHOT = enum.auto()
    HELP = enum.auto()
    REDRAW = enum.auto()


REPEATED: Final = {Command.STEP, Command.BACK, Command.FASTER, Command.SLOWER}
"""Commands that a held key gives again and again."""

FIRST_REPEAT, NEXT_REPEAT = 350, 40
"""Milliseconds for which a key is held until it repeats, and then again."""

_BY_CHARACTER: Final = {
    ".": Command.STEP,
    ",": Command.BACK,
    "+": Command.FASTER,
    "=": Command.FASTER,
    "-": Command.SLOWER,
    "]": Command.NEXT,
    "?": Command.HELP,
    "/": Command.HELP,  # SDL tells of the character late, and pygame then of the key without shift
    "q": Command.QUIT,
    "r": Command.RESTART,
    "n": Command.NEXT,
    "g": Command.SAMPLING,
    "o": Command.OVERLAY,
    "f": Command.FULL_SCREEN,
    "s": Command.SCREENSHOT,
    "h": Command.HELP,
}
"""Characters, so that they are where the person's keyboard says that they are."""

_BY_KEY: Final = {
    pygame.K_ESCAPE: Command.QUIT,
    pygame.K_SPACE: Command.PAUSE,
    pygame.K_RIGHT: Command.FASTER,
    pygame.K_UP: Command.FASTER,
    pygame.K_LEFT: Command.SLOWER,
    pygame.K_DOWN: Command.SLOWER,
    pygame.K_KP_PLUS: Command.FASTER,
    pygame.K_KP_MINUS: Command.SLOWER,
    pygame.K_F11: Command.FULL_SCREEN,
    pygame.K_F1: Command.HELP,
}

CARD: Final = (
    ("space", "pause, go on"),
    (".  ,", "one step forward, one back"),
    ("+  −", "faster, slower (0.1× to 16×)"),
    ("r  n", "restart, next seed"),
    ("g", "greedy or sampled from here on"),
    ("o", "facts on or off"),
    ("f  F11", "full screen"),
    ("s", "screenshot"),
    ("h  ?", "this card"),
    ("q  Esc", "quit"),
)
"""Keys and what they do; the arrows change the speed too, unless a person plays with them."""


class Keyboard:
    """Turns what happens at the keyboard into commands, and into a person's play.

    Args:
        hand: takes the keys that it knows; None where nobody plays.
    """

    def __init__(self, hand: HandControl | None = None) -> None:
        self._hand = hand
        self._held: set[int] = set()
        pygame.key.set_repeat(FIRST_REPEAT, NEXT_REPEAT)

    def commands(self) -> Iterator[Command]:
        """What the person asked for since the last call."""
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                yield Command.QUIT
            elif event.type == pygame.KEYDOWN:
                yield from self._pressed(event)
            elif event.type == pygame.KEYUP:
                self._held.discard(event.key)
                if self._hand is not None:
                    self._hand.release(pygame.key.name(event.key))
            elif event.type in (pygame.VIDEORESIZE, pygame.WINDOWEXPOSED, pygame.WINDOWSIZECHANGED):
                yield Command.REDRAW

    def _pressed(self, event: pygame.event.Event) -> Iterator[Command]:
        again = event.key in self._held
        self._held.add(event.key)
        name = pygame.key.name(event.key)
        if self._hand is not None and self._hand.knows(name):
            if not again:
                self._hand.press(name)
            return
        character = event.unicode.lower() or name
        command = _BY_CHARACTER.get(character) or _BY_KEY.get(event.key)
        if command is not None and (not again or command in REPEATED):
            yield command
