"""What the program and its player window say to each other: one request, then a line per event.

The request goes to the window's stdin: two big-endian 64-bit lengths, a JSON header with the
options and the modules to import, and the bytes of `Policy.to_bytes`. The window answers on its
stdout with one JSON object per line. Its stdin stays open and silent: the end of it asks the window
to close.
"""

from __future__ import annotations

import dataclasses
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

WindowEvent = WindowReady | EpisodePlayed | PlaybackChanged | WindowClosed | WindowFailed

_EVENT_NAMES: Final[dict[type[Any], str]] = {
    WindowReady: "ready",
    EpisodePlayed: "episode",
    PlaybackChanged: "playback",
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


def encode_request(policy: Policy, options: PlayOptions) -> bytes:
    """What the parent writes to the window's stdin."""
    header = json.dumps([dataclasses.asdict(options), imported_modules()]).encode()
    body = policy.to_bytes()
    return _PREFIX.pack(len(header), len(body)) + header + body


def read_request(stream: BinaryIO) -> tuple[Policy, PlayOptions]:
    """Read a request from an unbuffered stream, up to its last byte and no further.

    What the person had imported in the parent is imported here too.

    Raises:
        RequestError: the stream ended before the request did, or a module cannot be imported.
    """
    header_length, body_length = _PREFIX.unpack(_read_exactly(stream, _PREFIX.size))
    values, modules = json.loads(_read_exactly(stream, header_length))
    body = _read_exactly(stream, body_length)
    import_modules(modules)
    return Policy.from_bytes(body), PlayOptions(**values)


def _read_exactly(stream: BinaryIO, count: int) -> bytes:
    chunks = []
    while count:
        chunk = stream.read(min(count, 1 << 20))
        if not chunk:
            raise RequestError("the player window got no complete request: use trpotui play")
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)
