"""A process that steps environments, as the program that started it sees it."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from trpotui.errors import RequestError
from trpotui.rl.observations import UnfitObservationError
from trpotui.rl.replay import RebuildError
from trpotui.rl.steps import RaisedElsewhereError, WorkerLostError
from trpotui.rl.worker_channel import Channel

DEATH_SECONDS = 2.0
"""From when a process closes its pipe to when it has ended."""
BOOT = "import sys; sys.path[:] = sys.argv[1:]; from trpotui.rl.worker_process import main; main()"
"""What a process runs: everything that can be imported here can be there."""
FAULTS = (
    WorkerLostError, UnfitObservationError, RaisedElsewhereError, RebuildError, RequestError
)  # fmt: skip
"""What an answer can be instead."""


class WorkerHandle:
    """One process and its environments.

    Args:
        name: how errors name it.
        rows: which environments.
        memory: file descriptor of the memory that all processes share.
    """

    def __init__(self, name: str, rows: range, memory: int) -> None:
        self._name = name
        self.rows = rows
        with ExitStack() as theirs, ExitStack() as ours:
            taken, outgoing = os.pipe()
            theirs.callback(os.close, taken)
            ours.callback(os.close, outgoing)
            incoming, given = os.pipe()
            theirs.callback(os.close, given)
            ours.callback(os.close, incoming)
            self._process = subprocess.Popen(
                [sys.executable, "-c", BOOT, *map(str, sys.path)],
                stdin=taken,
                stdout=given,
                stderr=where_errors_go(),
                pass_fds=(memory,),
                start_new_session=True,  # the terminal's Ctrl-C is for the program
            )
            ours.pop_all()  # they stay open
        self._channel = Channel(incoming, outgoing)

    def send(self, message: bytes, deadline: float) -> None:
        """Ask something; whether it arrives is seen when it is answered."""
        with suppress(BrokenPipeError, TimeoutError):
            self._channel.send(message, deadline=deadline)

    def answer(
        self,
        deadline: float | None,
        patience: str,
        interrupt: Callable[[], None] | None = None,
    ) -> Any:
        """What the process answers; None to a step that ended no episode.

        Args:
            deadline: in seconds of `time.monotonic`; None waits for ever.
            patience: how long that was, in words.
            interrupt: called again and again meanwhile; after what it raises nothing can be asked.

        Raises:
            WorkerLostError: it has died, or hangs.
            UnfitObservationError: an environment handed out unfit data.
            RaisedElsewhereError: an environment raised something.
            RebuildError: an episode could not begin once more.
            RequestError: it does not know what kind of environment to make.
        """
        try:
            message = self._channel.receive(deadline=deadline, interrupt=interrupt)
        except EOFError:
            raise WorkerLostError(f"{self._name} {self._how_it_ended()}") from None
        except TimeoutError:
            self._process.kill()
            raise WorkerLostError(f"{self._name} has not answered for {patience}") from None
        if not message:
            return None
        kind, content = pickle.loads(message)
        if kind == "done":
            return content
        raise _fault(kind, content)

    def let_go(self) -> None:
        """Have the process close its environments and end."""
        self._channel.close()

    def end(self, deadline: float) -> None:
        """Wait for its end until the deadline, and no longer."""
        try:
            self._process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            return "does not answer any more"
        if code >= 0:
            return f"ended with exit code {code}"
        if -code not in {*signal.Signals}:
            return f"was killed by signal {-code}"
        hint = ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
        return f"was killed by {signal.Signals(-code).name}{hint}"


def _fault(kind: str, content: Any) -> Exception:
    """What went wrong in a process, to be raised in this one."""
    if kind == "unfit":
        return UnfitObservationError(*content)
    if kind == "rebuild":
        return RebuildError(content)
    if kind == "not understood":
        return RequestError(
            f"a worker process cannot make the environment ({content}): name the modules that "
            "register it with --import, or use --env-workers 0"
        )
    name, text, traceback = content
    error = RaisedElsewhereError(name, text)
    error.add_note(f"in a worker process:\n{traceback}")
    return error


def where_errors_go() -> int:
    """Where this process's errors go; nowhere where that is no file, as in the app."""
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return subprocess.DEVNULL
    return descriptor if descriptor >= 0 else subprocess.DEVNULL
