"""What the program and its player window say to each other: one request, then a line per event.

The request goes to the window's stdin: two big-endian 64-bit lengths, a JSON header with the
options, the titles and the modules to import, and the bytes of each `Policy.to_bytes`. The window
answers on its stdout with one JSON object per line. Its stdin stays open and silent: the end of it
asks the window to close.
"""

from __future__ import annotations

import dataclasses
import io
import json
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Literal

from trpotui.episodes import EpisodePlayed, PlayOptions
from trpotui.errors import (
    EnvironmentFaultError,
    NoDisplayError,
    RequestError,
    RunError,
    TrpotuiError,
)
from trpotui.imports import import_modules, imported_modules
from trpotui.rl.policy import Policy
from trpotui.viewing.contenders import Contender
from trpotui.viewing.returns import RewardUnits

FailureCode = Literal["no_display", "request", "environment", "run"]

_PREFIX: Final = struct.Struct("!QQ")
"""Length of the JSON header and length of the policy, in bytes."""

LONGEST_MESSAGE = 1000
"""Characters of an error message: a line must stay far below asyncio's limit of 64 KiB."""


def no_display(reason: str) -> NoDisplayError:
    """The refusal for a person, with what was found out about the display."""
    return NoDisplayError(
        f"there is no display to open a window on ({reason}): use --view none to play without one"
    )


@dataclass(frozen=True, kw_only=True)
class WindowReady:
    """The window is open and shows the first frame."""

    driver: str
    """SDL's name of what it draws on, e.g. x11, wayland, windows, cocoa or dummy."""


@dataclass(frozen=True, kw_only=True)
class PlaybackChanged:
    """The person pressed a key of the window: what it does now."""

    paused: bool
    speed: float
    episode: int
    step: int
    """Steps done of that episode."""
    stochastic: bool = False
    """Whether the steps to come are sampled."""
    overlay: bool = True
    """Whether the facts are shown beside the pictures."""
    full_screen: bool = False


@dataclass(frozen=True, kw_only=True)
class ScreenshotTaken:
    """A picture of the window was written."""

    path: str


@dataclass(frozen=True, kw_only=True)
class NoticeShown:
    """The window told the person something, e.g. that a screenshot could not be written."""

    message: str
    """One sentence."""


@dataclass(frozen=True, kw_only=True)
class WindowClosed:
    """The window is gone."""

    by: Literal["user", "finished", "parent"]
    """The person, the end of the last episode, or the program that had opened it."""


@dataclass(frozen=True, kw_only=True)
class WindowFailed:
    """The window could not open or not go on."""

    code: FailureCode
    message: str
    """One sentence for the person."""

    @classmethod
    def of(cls, error: TrpotuiError) -> WindowFailed:
        """The failure that tells the parent of an error."""
        codes = [code for code, kind in _ERRORS.items() if isinstance(error, kind)]
        return cls(code=codes[0] if codes else "run", message=str(error)[:LONGEST_MESSAGE])

    def error(self) -> TrpotuiError:
        """The exception that this failure is in the parent."""
        return _ERRORS[self.code](self.message)


_ERRORS: Final[dict[FailureCode, type[TrpotuiError]]] = {
    "no_display": NoDisplayError,  # before its base class
    "request": RequestError,
    "environment": EnvironmentFaultError,
    "run": RunError,
}

Happening = EpisodePlayed | PlaybackChanged | ScreenshotTaken | NoticeShown | WindowClosed
"""What the parent hears of a window that is open."""
WindowEvent = WindowReady | Happening | WindowFailed

_EVENT_NAMES: Final[dict[type[Any], str]] = {
    WindowReady: "ready",
    EpisodePlayed: "episode",
    PlaybackChanged: "playback",
    ScreenshotTaken: "screenshot",
    NoticeShown: "notice",
    WindowClosed: "closed",
    WindowFailed: "error",
}
_EVENT_TYPES: Final = {name: cls for cls, name in _EVENT_NAMES.items()}


def encode_event(event: WindowEvent) -> bytes:
    """One line of JSON, its newline included."""
    record = {"event": _EVENT_NAMES[type(event)], **dataclasses.asdict(event)}
    if isinstance(event, EpisodePlayed):
        record["return"] = record.pop("episode_return")
        record["finished"] = True
    return json.dumps(record, allow_nan=False).encode() + b"\n"


def decode_event(line: bytes) -> WindowEvent:
    """The inverse of `encode_event`.

    Raises:
        RunError: the line is not one that the window writes.
    """
    try:
        record = json.loads(line)
        cls = _EVENT_TYPES[record.pop("event")]
        if cls is EpisodePlayed:
            record["episode_return"] = record.pop("return")
            record.pop("finished")
        event: WindowEvent = cls(**record)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"the player window wrote an unknown line: {line[:80]!r}") from error
    return event


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowRequest:
    """What a window is to show."""

    contenders: tuple[Contender, ...]
    """From left to right."""
    options: PlayOptions
    screenshots: str = "."
    """The folder that they are written to."""


def encode_request(request: WindowRequest) -> bytes:
    """What the parent writes to the window's stdin."""
    bodies = [contender.policy.to_bytes() for contender in request.contenders]
    header = {
        "options": dataclasses.asdict(request.options),
        "screenshots": request.screenshots,
        "modules": imported_modules(),
        "contenders": [
            {
                "title": contender.title,
                "by_hand": contender.by_hand,
                "units": contender.units and dataclasses.asdict(contender.units),
                "bytes": len(body),
            }
            for contender, body in zip(request.contenders, bodies, strict=True)
        ],
    }
    encoded, body = json.dumps(header).encode(), b"".join(bodies)
    return _PREFIX.pack(len(encoded), len(body)) + encoded + body


def read_request(stream: BinaryIO) -> WindowRequest:
    """Read a request from an unbuffered stream, up to its last byte and no further.

    What the person had imported in the parent is imported here too.

    Raises:
        RequestError: the stream ended before the request did, or a module cannot be imported.
    """
    header_length, body_length = _PREFIX.unpack(_read_exactly(stream, _PREFIX.size))
    header = json.loads(_read_exactly(stream, header_length))
    body = io.BytesIO(_read_exactly(stream, body_length))
    import_modules(header["modules"])
    return WindowRequest(
        contenders=tuple(
            Contender(
                policy=Policy.from_bytes(body.read(values["bytes"])),
                title=values["title"],
                by_hand=values["by_hand"],
                units=None if values["units"] is None else RewardUnits(**values["units"]),
            )
            for values in header["contenders"]
        ),
        options=PlayOptions(**header["options"]),
        screenshots=header["screenshots"],
    )


def _read_exactly(stream: BinaryIO, count: int) -> bytes:
    chunks = []
    while count:
        chunk = stream.read(min(count, 1 << 20))
        if not chunk:
            raise RequestError("the player window got no complete request: use trpotui play")
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)
