"""Where the policies that are played come from: a file, or a run that goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from trpotui.errors import RunError

if TYPE_CHECKING:
    from trpotui.rl.policy import Policy, SavedPolicy
    from trpotui.tui.session import TrainingSession
    from trpotui.viewing.returns import RewardUnits


class NamedPolicy(NamedTuple):
    """A policy, and how a person knows it."""

    policy: Policy
    name: str
    units: RewardUnits | None = None
    """How its critic counts rewards, where that is known."""


class PolicySource(Protocol):
    """Hands out a policy, and newer ones as there are. One thread uses it."""

    def ask(self) -> None:
        """Have a newer policy made, if there can be one; returns at once."""

    def take(self) -> NamedPolicy | None:
        """The newest policy that has come since the last call; returns at once.

        Raises:
            TrpotuiError: there is none, and there will be none.
        """


class FileSource:
    """The policy in a file, checked and for an environment that is here.

    Args:
        path: the file.
        name: what to call it.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._taken = False

    def ask(self) -> None:
        """Nothing newer will come."""

    def take(self) -> NamedPolicy | None:
        """The policy, once.

        Raises:
            PolicyFileError: the file is no policy, or its environment is not here.
        """
        from trpotui.policy_file import read_playable  # noqa: PLC0415 - torch

        if self._taken:
            return None
        self._taken = True
        return named(read_playable(self._path), self._name)


class RunSource:
    """Copies of the policy of a run that goes on; its best one after it has ended.

    Args:
        session: the run.
        goes_on: whether it still does.
    """

    def __init__(self, session: TrainingSession, goes_on: Callable[[], bool]) -> None:
        self._session = session
        self._goes_on = goes_on
        self._asked: Future[Policy] | None = None
        self._arrived: NamedPolicy | None = None
        self._any = False
        self._over = False

    def ask(self) -> None:
        """Have the policy copied at the next update boundary."""
        if (self._asked is None or self._asked.done()) and self._goes_on():
            self._asked = self._session.control.snapshot()
            self._asked.add_done_callback(self._note)

    def take(self) -> NamedPolicy | None:
        """The copy that was asked for, when it has come; once the best policy of an ended run.

        Raises:
            TrpotuiError: the run has ended without leaving a policy.
        """
        newest, self._arrived = self._arrived, None
        if not self._over and not self._goes_on():
            self._over = True
            newest = self._best() or newest
            if newest is None and not self._any:
                raise RunError("the run has ended and kept no policy")
        self._any |= newest is not None
        return newest

    def _note(self, answer: Future[Policy]) -> None:
        """Called in the run's thread, which is between two updates, so that the number is exact."""
        if not answer.cancelled():
            self._arrived = NamedPolicy(answer.result(), f"update {self._session.update:,}")

    def _best(self) -> NamedPolicy | None:
        from trpotui.policy_file import read_policy  # noqa: PLC0415 - imports torch
        from trpotui.run_directory import BEST, POLICY  # noqa: PLC0415 - likewise

        for file in (BEST, POLICY):
            if self._session.directory is not None and (self._session.directory / file).is_file():
                saved = read_policy(self._session.directory / file)
                word = "best" if file == BEST else "last"
                return named(saved, f"{word} of the run, update {saved.updates:,}")
        return None


class GivenSource:
    """A policy that is there already.

    Args:
        policy: the one.
    """

    def __init__(self, policy: NamedPolicy) -> None:
        self._policy: NamedPolicy | None = policy

    def ask(self) -> None:
        """Nothing newer will come."""

    def take(self) -> NamedPolicy | None:
        """The policy, once."""
        policy, self._policy = self._policy, None
        return policy


def named(saved: SavedPolicy, name: str) -> NamedPolicy:
    """The policy of a file under a name."""
    from trpotui.viewing.returns import RewardUnits  # noqa: PLC0415 - when needed

    return NamedPolicy(saved.policy, name, RewardUnits.of(saved.config))
