"""The player window's process: `python -m trpotui.viewer`, started by `trpotui play` and the app.

It ends when its stdin does, when it is told to by SIGTERM or SIGINT, and when the process that
started it is gone, so that no window is ever left behind.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable

from trpotui.errors import RequestError, TrpotuiError
from trpotui.signals import set_on_signals
from trpotui.viewer.protocol import (
    LONGEST_MESSAGE,
    WindowClosed,
    WindowEvent,
    WindowFailed,
    WindowRequest,
    encode_event,
    read_request,
)

GRACE = 1.5
"""Seconds between the wish to end and the hard end of an environment that does not come back."""

PARENT_CHECK = 1.0
"""Seconds between two looks whether the parent still lives."""


def main() -> int:
    """Play one request; 0 when the window was closed, 1 when it failed and said why."""
    stop = threading.Event()
    requests, replies = _own_pipes()

    def tell(event: WindowEvent) -> None:
        replies.write(encode_event(event))

    try:
        return _serve(requests, tell, stop)
    except BrokenPipeError:
        return 0  # nobody is left to be told
    except KeyboardInterrupt:
        return 0  # before the window was there
    finally:
        stop.set()


def _serve(requests: io.FileIO, tell: Callable[[WindowEvent], None], stop: threading.Event) -> int:
    try:
        request = _request(requests)
        _end_with_parent(requests, stop)
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        os.environ.setdefault("SDL_AUDIODRIVER", "dummy")  # some environments open the sound card
        os.environ["SDL_VIDEO_X11_WMCLASS"] = "trpotui"
        os.environ["SDL_VIDEO_WAYLAND_WMCLASS"] = "trpotui"
        # here, not above: stdout must be ours, and a failing import is told like any failure
        from trpotui.viewer.window import play_in_window  # noqa: PLC0415

        tell(WindowClosed(by=play_in_window(request, tell=tell, stop=stop)))
    except BrokenPipeError:
        raise
    except TrpotuiError as error:
        traceback.print_exc()
        tell(WindowFailed.of(error))
        return 1
    except Exception as error:  # noqa: BLE001 - the parent must hear of whatever it is
        traceback.print_exc()
        message = f"the player window failed: {type(error).__name__}: {error}"
        tell(WindowFailed(code="run", message=message.replace("\n", " ")[:LONGEST_MESSAGE]))
        return 1
    return 0


def _request(requests: io.FileIO) -> WindowRequest:
    if requests.isatty():
        raise RequestError("this process is started by trpotui: use trpotui play")
    return read_request(requests)


def _own_pipes() -> tuple[io.FileIO, io.FileIO]:
    """Take stdin and stdout for the protocol, so that what an environment prints goes to stderr."""
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return io.FileIO(requests, "r"), io.FileIO(replies, "w")


def _end_with_parent(requests: io.FileIO, stop: threading.Event) -> None:
    """Set `stop` on SIGTERM, SIGINT, the end of stdin or of the parent; see to it that it works."""
    parent = os.getppid()
    set_on_signals(stop, [signal.SIGTERM, signal.SIGINT])

    def watch_stdin() -> None:
        with contextlib.suppress(OSError):
            while requests.read(4096):
                pass
        stop.set()

    def watch_parent() -> None:
        # a pipe inherited by the parent's own forked workers would outlive it
        while not stop.wait(PARENT_CHECK):
            if os.getppid() != parent:
                stop.set()
        time.sleep(GRACE)
        os._exit(1)

    for target in (watch_stdin, watch_parent):
        threading.Thread(target=target, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
