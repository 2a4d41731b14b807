"""The parent's side of the player window: start it, hear its events, never leave it behind.

The window lives in a process of its own: SDL wants the main thread, and an environment that hangs
or crashes must not take the program with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from trpotui.episodes import PlayOptions
from trpotui.errors import RunError, TrpotuiError
from trpotui.rl.policy import Policy
from trpotui.viewer.protocol import (
    Happening,
    WindowClosed,
    WindowEvent,
    WindowFailed,
    WindowReady,
    WindowRequest,
    decode_event,
    encode_request,
)
from trpotui.viewing.contenders import Contender, check_contenders

GRACE = 2.0
"""Seconds that the window has to end by itself, and then again after SIGTERM."""

STDERR_KEPT = 16_384
"""Bytes of the window's last stderr that a failure carries as its note."""


class PlayerWindow:
    """A window that plays policies, as an asynchronous context manager.

        async with await PlayerWindow.open(policy, options) as window:
            async for event in window.events():
                ...

    Leaving the block, by whatever way, ends the process.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.driver = ""
        """SDL's name of what the window is drawn on."""
        self._process = process
        self._events: asyncio.Queue[WindowEvent | None] = asyncio.Queue()
        self._closing = False
        self._ended = False
        self._stderr = b""
        self._tasks = [
            asyncio.create_task(self._keep_stderr()),
            asyncio.create_task(self._read_events()),
        ]

    @classmethod
    async def open(
        cls,
        shown: Policy | Sequence[Contender],
        options: PlayOptions,
        *,
        screenshots: Path | None = None,
    ) -> Self:
        """Start the process and wait until its window is on the screen.

        Args:
            shown: a policy, or those who play side by side on the same seeds.
            options: what is played.
            screenshots: the folder for pictures that the person takes; the current one by default.

        Raises:
            NoDisplayError: there is no display.
            RequestError: the environment cannot be made, or has no picture.
            RunError: the environment failed at once, or the process could not start.
        """
        if isinstance(shown, Policy):
            shown = (Contender(policy=shown, title=shown.spec.environment_id),)
        request = encode_request(
            WindowRequest(
                contenders=check_contenders(shown),
                options=options,
                screenshots=str((screenshots or Path()).absolute()),
            )
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "trpotui.viewer"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=_child_environment(),
                # Ctrl-C in the terminal reaches the parent alone, which then closes the window
                start_new_session=True,
            )
        except OSError as error:
            raise RunError(f"the player window could not be started: {error}") from error
        window = cls(process)
        try:
            await window._send(request)
            await window._until_ready()
        except BaseException:
            await window.close()
            raise
        return window

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    async def events(self) -> AsyncIterator[Happening]:
        """What happens in the window, until it is closed; the last event is `WindowClosed`.

        Raises:
            RunError: the environment or the policy failed, or the process died.
            RequestError: the environment stopped giving pictures.
        """
        while (event := await self._next()) is not None:
            if not isinstance(event, WindowReady):
                yield event

    async def close(self) -> None:
        """End the process: by closing its stdin, then with SIGTERM, then with SIGKILL."""
        self._closing = True
        assert self._process.stdin is not None
        if not self._process.stdin.transport.is_closing():
            # unlike close, abort does not wait for a request that is not being read
            self._process.stdin.transport.abort()
        try:
            if not await self._ended_within(GRACE):
                with contextlib.suppress(ProcessLookupError):
                    self._process.terminate()
                await self._ended_within(GRACE)
        finally:
            self._kill()
            await self._process.wait()
            await asyncio.wait(self._tasks, timeout=GRACE)
            for task in self._tasks:
                task.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _until_ready(self) -> None:
        event = await self._next()
        if not isinstance(event, WindowReady):
            raise RunError("the player window was closed before it was open")
        self.driver = event.driver

    async def _send(self, request: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            # a process that ended early has said why on its stdout
            self._process.stdin.write(request)
            await self._process.stdin.drain()

    async def _next(self) -> WindowReady | Happening | None:
        """The next event, or None after the last one."""
        if self._ended:
            return None
        event = await self._events.get()
        if event is None or isinstance(event, WindowClosed | WindowFailed):
            self._ended = True
        if isinstance(event, WindowFailed):
            raise self._error(event)
        return event

    def _error(self, failure: WindowFailed) -> TrpotuiError:
        error = failure.error()
        if self._stderr:
            error.add_note("the player window's stderr:\n" + self._stderr_text())
        return error

    def _stderr_text(self) -> str:
        return self._stderr.decode(errors="replace").strip()

    async def _read_events(self) -> None:
        """Queue every event; at the end of stdout queue how it ended, then None."""
        assert self._process.stdout is not None
        event: WindowEvent | None = None
        try:
            while line := await self._process.stdout.readline():
                event = decode_event(line)
                if isinstance(event, WindowFailed):
                    await asyncio.wait([self._tasks[0]], timeout=GRACE)  # for its note
                self._events.put_nowait(event)
        except (TrpotuiError, ValueError) as error:  # ValueError: a line without end
            event = WindowFailed(code="run", message=str(error))
            self._events.put_nowait(event)
            self._kill()
        if not isinstance(event, WindowClosed | WindowFailed):
            code = await self._process.wait()
            await asyncio.wait([self._tasks[0]], timeout=GRACE)
            if not self._closing:
                self._events.put_nowait(WindowFailed(code="run", message=self._death(code)))
        self._events.put_nowait(None)

    def _death(self, code: int) -> str:
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        last = self._stderr_text().rpartition("\n")[2]
        return f"the player window ended unexpectedly ({how})" + (f": {last}" if last else "")

    async def _keep_stderr(self) -> None:
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(4096):
            self._stderr = (self._stderr + chunk)[-STDERR_KEPT:]

    async def _ended_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _kill(self) -> None:
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if os.name == "posix":
                os.killpg(self._process.pid, signal.SIGKILL)  # its environment's workers too
            else:
                self._process.kill()


def _child_environment() -> dict[str, str]:
    """The environment variables, with an import path that finds what this process finds.

    The path is handed over whole, with `-P`, so that an environment's module which was found here
    is found there, and nothing is imported from the current directory that is not imported here.
    """
    entries = [path or os.getcwd() for path in sys.path]  # noqa: PTH109 - a string is wanted
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entries)}
