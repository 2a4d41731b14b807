"""What is to be seen of a policy at one moment of an episode: plain numbers and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trpotui.errors import TrpotuiError

if TYPE_CHECKING:
    from trpotui.tui.frames import Frame
    from trpotui.viewing.facts import Facts


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """What is to be seen of an episode at one moment."""

    facts: Facts
    frame: Frame | None
    """None where the environment has no picture."""
    name: str
    """Which policy it is."""
    returns: tuple[float, ...]
    """Of the episodes that have ended, the oldest first."""
    same_policy: bool
    """Whether one policy made all of `returns` in one way, so that their mean says something."""
    episodes: int | None = None
    """How many are to be played; None where there is no end to it."""
    notice: str = ""
    """A sentence about what could not be done."""


@dataclass(frozen=True)
class Trouble:
    """Playing has ended because it cannot go on."""

    message: str
    """One sentence."""
    error: TrpotuiError | None = None
    """What that tells of."""


@dataclass(frozen=True)
class Over:
    """Playing has ended after as many episodes as were asked for."""
