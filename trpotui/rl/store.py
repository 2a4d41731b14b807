"""Where a run keeps what must outlive it, and what happens when that place fails."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
import torch

import trpotui
from trpotui.events import Notice
from trpotui.rl.policy import SavedPolicy


class Store(Protocol):
    """Where a run keeps what must outlive it. Methods may raise OSError."""

    def append_metrics(self, row: Mapping[str, float | int | bool | str]) -> None:
        """Keep the metrics of one update."""

    def save_policy(self, saved: SavedPolicy, *, best: bool) -> None:
        """Keep the latest policy, and as the best one too if it is."""

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Keep everything needed to go on; the checkpoint before it stays as well."""


@runtime_checkable
class FilmStore(Store, Protocol):
    """A store that also keeps a few earlier policies, for whoever looks back at the run."""

    def save_film(self, new: Mapping[int, SavedPolicy], kept: Collection[int]) -> None:
        """Keep policies by their updates, and of those kept before only the updates `kept`."""


class Keeper:
    """Hands things to a store; a full disk becomes one notice, and the run goes on.

    Args:
        store: None keeps nothing, and never fails.
    """

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._failing: set[str] = set()  # what the last attempt to keep failed for
        self._notices: list[Notice] = []

    @property
    def keeps(self) -> bool:
        """Whether there is a store at all."""
        return self._store is not None

    def metrics(self, row: Mapping[str, float | int | bool | str]) -> bool:
        """Keep the metrics of one update."""
        return self._keep("metrics", lambda store: store.append_metrics(row))

    def policy(self, saved: SavedPolicy, *, best: bool) -> bool:
        """Keep the latest policy, and as the best one too if it is."""
        return self._keep("policy", lambda store: store.save_policy(saved, best=best))

    def checkpoint(self, state: Mapping[str, Any]) -> bool:
        """Keep everything needed to go on."""
        return self._keep("checkpoint", lambda store: store.save_checkpoint(state))

    def film(self, new: Mapping[int, SavedPolicy], kept: Collection[int]) -> bool:
        """Keep a few earlier policies, where the store takes them."""
        store = self._store
        if not isinstance(store, FilmStore):
            return True
        return self._keep("film", lambda _: store.save_film(new, kept))

    def notice(self, message: str) -> None:
        """Have something told to the person."""
        self._notices.append(Notice(message=message))

    def take_notices(self) -> list[Notice]:
        """What went wrong since the last call: once for each thing, and that it works again."""
        notices, self._notices = self._notices, []
        return notices

    def _keep(self, what: str, action: Callable[[Store], None]) -> bool:
        """Whether it was kept."""
        if self._store is None:
            return True
        try:
            action(self._store)
        except OSError as error:
            if what not in self._failing:
                message = f"the {what} could not be saved: {error}; the run goes on"
                self._notices.append(Notice(message=message))
            self._failing.add(what)
            return False
        if what in self._failing:
            self._notices.append(Notice(message=f"the {what} can be saved again"))
            self._failing.remove(what)
        return True


def versions() -> dict[str, str]:
    """What a policy was made with."""
    return {
        "trpotui": trpotui.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
    }
