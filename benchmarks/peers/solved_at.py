"""When a run that cannot stop was solved, by the training episodes that it tells of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EPISODES = 100
"""The last ones, whose mean return must reach the threshold."""


def first_solved(
    at: NDArray[np.integer], returns: NDArray[np.floating], threshold: float
) -> int | None:
    """The step by which the last episodes' mean return first was the threshold; None if never.

    Args:
        at: steps of the run by the end of each episode, ascending.
        returns: of each.
        threshold: that counts as solved.
    """
    if len(returns) < EPISODES:
        return None
    means = np.convolve(returns, np.full(EPISODES, 1 / EPISODES), mode="valid")
    reached = np.nonzero(means >= threshold)[0]
    return int(at[reached[0] + EPISODES - 1]) if len(reached) else None
