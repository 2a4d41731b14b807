"""Returns and lengths of N episodes that go on, and of those that have ended.

Legend: N environments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


class EpisodeCounts:
    """Counts the episodes of N environments.

    Args:
        n_envs: N.
    """

    def __init__(self, n_envs: int) -> None:
        self._returns = np.zeros(n_envs)
        self._lengths = np.zeros(n_envs, dtype=np.int64)
        self._finished: tuple[list[float], list[int]] = ([], [])

    def clear(self) -> None:
        """Every environment begins an episode, and nothing has ended."""
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self._finished = ([], [])

    def add(self, rewards: NDArray[np.float64], *, ended: Bools, valid: Bools) -> None:
        """Take a step of all environments into account.

        Args:
            rewards: [N].
            ended: [N]; the episode ended with this step.
            valid: [N]; it was a step of an episode at all.
        """
        self._returns += rewards
        self._lengths += valid
        if ended.any():
            self._finished[0].extend(self._returns[ended].tolist())
            self._finished[1].extend(self._lengths[ended].tolist())
            self._returns[ended] = 0.0
            self._lengths[ended] = 0

    def take_finished(self) -> tuple[list[float], list[int]]:
        """Returns and lengths of the episodes that ended since the last call."""
        finished = self._finished
        self._finished = ([], [])
        return finished

    def state(self) -> dict[str, Any]:
        """What is counted of the open episodes."""
        return {"returns": self._returns.copy(), "lengths": self._lengths.copy()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; no episode has ended."""
        self._returns[:] = state["returns"]
        self._lengths[:] = state["lengths"]
        self._finished = ([], [])
