"""The one object through which a run is steered while it goes on, from any thread."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Self

from trpotui.errors import RequestError
from trpotui.rl.policy import Policy


class Interrupted(Exception):  # noqa: N818 - a signal, not an error
    """The run was asked to stop: the rollout or update under way is abandoned."""


@dataclass(frozen=True)
class Edit:
    """Hyperparameters that are changed while a run goes on."""

    update: int
    """Updates done when they are."""
    values: Mapping[str, object]
    """By name."""

    @classmethod
    def of(cls, stored: object) -> Self:
        """An edit as `live_edits` of config.json has it.

        Raises:
            RequestError: it is none.
        """
        match stored:
            case {"update": int(update), "values": dict(values)} if update >= 0:
                return cls(update, values)
        raise RequestError("what was changed while the run went on is damaged in its config.json")


class Control:
    """Stop, pause, resume, one more update, changed hyperparameters, a copy of the policy.

    Every method may be called from any thread. The trainer looks between updates; `stop` it also
    looks for inside rollouts, conjugate gradient and line search.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._stop = threading.Event()
        self._paused = False
        self._updates_allowed = 0
        self._changes: dict[str, object] = {}
        self._schedule: tuple[Edit, ...] = ()
        self._snapshots: list[Future[Policy]] = []
        self._ended = False

    def stop(self) -> None:
        """End the run; the update under way is abandoned and what was learned is saved."""
        with self._condition:
            self._stop.set()
            self._condition.notify_all()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def pause(self) -> None:
        """Hold the run before its next update."""
        with self._condition:
            self._paused = True

    def resume(self) -> None:
        """Go on after `pause`."""
        with self._condition:
            self._paused = False
            self._updates_allowed = 0
            self._condition.notify_all()

    @property
    def paused(self) -> bool:
        """Whether the run is held, or will be at the next update boundary."""
        with self._condition:
            return self._paused

    def allow_one_update(self) -> None:
        """Let a held run do one more update; a run that is not held does not need it."""
        with self._condition:
            if self._paused:
                self._updates_allowed += 1
                self._condition.notify_all()

    def change(self, values: Mapping[str, object]) -> None:
        """Change hyperparameters by name at the next update boundary."""
        with self._condition:
            self._changes.update(values)
            self._condition.notify_all()

    def schedule(self, edits: Iterable[Edit]) -> None:
        """Have edits made, each at its update, in the place of those scheduled before."""
        with self._condition:
            self._schedule = tuple(edits)

    def snapshot(self) -> Future[Policy]:
        """A copy of the policy, made at the next update boundary or while the run is held.

        The future is cancelled when the run ends first, or has ended already.
        """
        with self._condition:
            future: Future[Policy] = Future()
            if self._ended:
                future.cancel()
            else:
                self._snapshots.append(future)
                self._condition.notify_all()
            return future

    # what follows is for the trainer

    def raise_if_stopping(self) -> None:
        """Raise `Interrupted` when the run was asked to stop."""
        if self._stop.is_set():
            raise Interrupted

    def take_changes(self, update: int) -> list[Mapping[str, object]]:
        """The changes scheduled for when `update` updates are done, then those asked for.

        Each is handed out once.
        """
        with self._condition:
            taken = [edit.values for edit in self._schedule if edit.update == update]
            self._schedule = tuple(edit for edit in self._schedule if edit.update != update)
            if self._changes:
                taken.append(self._changes)
                self._changes = {}
            return taken

    def take_snapshot_requests(self) -> list[Future[Policy]]:
        """The futures that wait for a copy of the policy."""
        with self._condition:
            requests, self._snapshots = self._snapshots, []
            return requests

    def end(self) -> None:
        """Let go of whoever waits for a snapshot: the run is over."""
        with self._condition:
            self._ended = True
        for request in self.take_snapshot_requests():
            request.cancel()

    def wait_while_paused(self) -> bool:
        """Wait until the run may go on, or until something is asked of it.

        Returns:
            True when the next update may start, False when changes or snapshots are to be served
            first and this is to be called again.
        """
        with self._condition:
            while self._paused and not self._stop.is_set():
                if self._changes or self._snapshots:
                    return False
                if self._updates_allowed:
                    self._updates_allowed -= 1
                    return True
                self._condition.wait()
            return True
