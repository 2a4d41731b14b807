"""What is remembered of one moment of an episode."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trpotui.rl.observations import Observations, mapped

LARGEST_KEPT = 1024
"""Bytes of an observation, and of a distribution's parameters, that a moment still keeps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moment:
    """One state of an episode, and what was done there."""

    observation: Observations | None
    """What the policy saw; None where that is large, as pictures are."""
    parameters: NDArray[np.float32] | None
    """Of the distribution [K] of the action; None where there are many."""
    value: float
    """The critic's estimate of the return to come, in its own unit."""
    fingerprint: bytes
    """Of the observation."""
    action: Any = None
    """What was done then, as the environment was given it; None at the newest moment."""
    reward: float = 0.0
    """What that brought."""
    stochastic: bool = False
    """Whether that was sampled."""

    @classmethod
    def seen(
        cls,
        arrays: Sequence[NDArray[Any]],
        observation: Observations,
        parameters: NDArray[np.float32],
        value: float,
    ) -> Moment:
        """A moment at which nothing was done yet.

        Args:
            arrays: the observation's leaves.
            observation: copied if it is small.
            parameters: of the distribution [K].
            value: the critic's estimate.
        """
        small = sum(array.nbytes for array in arrays) <= LARGEST_KEPT
        return cls(
            observation=mapped(np.array, observation) if small else None,
            parameters=parameters if parameters.nbytes <= LARGEST_KEPT else None,
            value=value,
            fingerprint=fingerprint_of(arrays),
        )


def fingerprint_of(arrays: Sequence[NDArray[Any]]) -> bytes:
    """Of the leaves of an observation: other bytes, another fingerprint."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(array.tobytes())
    return digest.digest()
