"""What equations of motion have in common.

Legend: N environments, K numbers of a state.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trpotui.rl.steps import Bools

Floats = NDArray[np.float64]
Float32 = NDArray[np.float32]


class Motion(NamedTuple):
    """What a step of N environments brought, none of them begun anew yet."""

    observations: Float32
    """[N, D]"""
    rewards: Floats
    terminated: Bools


class Equations(Protocol):
    """The equations of N copies of an environment.

    They take up an episode after its first step, which is the environment's own: some environments
    compute that one in another precision than the rest.
    """

    fewest: int
    """Copies from which on this is quicker than to step one after another."""
    state: NDArray[Any]
    """[K, N], as the environments have it after a step; to be written into where one begins."""

    def step(self, actions: NDArray[Any]) -> Motion:
        """Move every copy by one action [N, ...] of the action space's dtype.

        Raises:
            IndexError: there is no such action; of whole numbers below zero there are some, counted
                from the end.
        """


def bound(numbers: NDArray[Any], lowest: NDArray[Any], highest: NDArray[Any]) -> None:
    """Keep numbers within bounds, in place; numpy's `clip` takes twice as long for few."""
    np.maximum(numbers, lowest, out=numbers)
    np.minimum(numbers, highest, out=numbers)


def cosines(numbers: NDArray[Any]) -> Floats:
    """Cosines [N] as Python's `math` takes them; numpy's may be other ones."""
    return np.array([math.cos(number) for number in numbers.tolist()])


def squares(numbers: NDArray[Any]) -> NDArray[Any]:
    """Squares of floating-point numbers, each as numpy takes that of a single one.

    That is the C library's `pow`, whose last bit is for one number in a thousand another than that
    of a product, which numpy takes for an array. Python's own float is squared by `pow` as well.
    """
    values = numbers.ravel()
    singles = values.tolist() if values.dtype == np.float64 else values
    return np.array([one**2 for one in singles], dtype=numbers.dtype).reshape(numbers.shape)
