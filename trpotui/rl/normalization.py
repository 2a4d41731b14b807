"""Running mean and variance of observations and of returns: mergeable, in float64, immutable.

Legend: T steps, N environments, B rows, D observation features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Float64 = NDArray[np.float64]

LEAST_DEVIATION = 1e-8
"""What varies less is taken not to vary, and nothing is divided by it."""


@dataclass(frozen=True, kw_only=True)
class ObservationMoments:
    """Mean and variance [D] of all observations seen so far, and what is done with them.

    Immutable: `merged` returns new moments, so a policy can hold the ones it acted with while the
    run goes on. Before the first observation, the mean is 0 and the variance 1.
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    count: float
    clip: float
    """Normalised observations are clipped to [-clip, clip] deviations."""

    @classmethod
    def initial(cls, size: int, *, clip: float) -> ObservationMoments:
        """Moments of no observation at all, for `size` features."""
        return cls(mean=np.zeros(size), variance=np.ones(size), count=0.0, clip=clip)

    def merged(self, observations: NDArray[np.float32]) -> ObservationMoments:
        """Moments of everything seen so far and of the rows [B, D] together."""
        if observations.ndim != 2 or observations.shape[1] != len(self.mean):
            raise ValueError(
                f"expected observations [B, {len(self.mean)}], got {observations.shape}"
            )
        mean, variance, count = _merged(self.mean, self.variance, self.count, observations)
        return ObservationMoments(mean=mean, variance=variance, count=count, clip=self.clip)

    def state(self) -> dict[str, Any]:
        """What a resumed run needs, as arrays [D] and a number."""
        return {"mean": self.mean, "variance": self.variance, "count": self.count}

    def restored(self, state: Mapping[str, Any]) -> ObservationMoments:
        """These moments with what `state` returned in their place."""
        return dataclasses.replace(self, **state)

    def normalize(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardise and clip rows [N, D]; a feature that never varied is only centred."""
        scaled = (observations - self.mean) / self._divisor
        # a step of a few environments is nothing but such trifles: np.clip alone takes as long
        np.minimum(scaled, self.clip, out=scaled)
        np.maximum(scaled, -self.clip, out=scaled)
        return scaled.astype(np.float32)

    @cached_property
    def _divisor(self) -> NDArray[np.float64]:
        deviation = np.sqrt(self.variance)
        deviation[deviation < LEAST_DEVIATION] = 1.0
        return deviation


@dataclass(frozen=True, kw_only=True)
class ReturnMoments:
    """How much discounted returns vary: the unit in which normalised rewards are counted.

    In every environment runs the sum of its episode's rewards so far, g_t = r_t + gamma g_{t-1},
    and rewards are divided by the standard deviation of all those sums. The mean is left where it
    is: taking it away would change what the best policy is, wherever the length of an episode
    depends on what is done. (The rule is that of OpenAI's baselines, `VecNormalize`.)
    """

    sums: Float64
    """g [N] of the episodes that go on."""
    mean: float = 0.0
    variance: float = 1.0
    count: float = 0.0

    @classmethod
    def initial(cls, n_envs: int) -> ReturnMoments:
        """Moments of no reward at all."""
        return cls(sums=np.zeros(n_envs))

    def merged(
        self, rewards: NDArray[np.float32], *, starts: Bools, valid: Bools, gamma: float
    ) -> ReturnMoments:
        """Moments of everything seen so far and of one more rollout together.

        Args:
            rewards: [T, N], following those seen before.
            starts: [T, N]; an episode begins at this row.
            valid: [T, N]; rows that count.
            gamma: discount per step.
        """
        if not rewards.shape == starts.shape == valid.shape == (len(rewards), len(self.sums)):
            raise ValueError(
                f"expected three arrays [T, {len(self.sums)}], got {rewards.shape}, "
                f"{starts.shape} and {valid.shape}"
            )
        sums, history = self.sums, np.empty(rewards.shape)
        for t, row in enumerate(rewards):
            sums = np.where(starts[t], 0.0, gamma * sums) + row
            history[t] = sums
        moments = _merged(
            np.array([self.mean]), np.array([self.variance]), self.count, history[valid][:, None]
        )
        return ReturnMoments(
            sums=sums, mean=float(moments[0][0]), variance=float(moments[1][0]), count=moments[2]
        )

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {
            "sums": self.sums.tolist(),
            "mean": self.mean,
            "variance": self.variance,
            "count": self.count,
        }

    def restored(self, state: Mapping[str, Any]) -> ReturnMoments:
        """These moments with what `state` returned in their place."""
        return dataclasses.replace(self, **{**state, "sums": np.array(state["sums"])})

    def normalize(self, rewards: NDArray[np.float32], *, clip: float) -> NDArray[np.float32]:
        """Rewards in deviations of the return, within [-clip, clip]; as they are if none varied."""
        deviation = self.variance**0.5
        scaled = rewards / (deviation if deviation >= LEAST_DEVIATION else 1.0)
        return np.clip(scaled, -clip, clip).astype(np.float32)


def _merged(
    mean: Float64, variance: Float64, count: float, rows: NDArray[np.floating[Any]]
) -> tuple[Float64, Float64, float]:
    """Mean and variance [D], and count, of `count` rows and of `rows` [B, D] (Chan et al. 1979)."""
    if len(rows) == 0:
        return mean, variance, count
    rows = rows.astype(np.float64)
    total = count + len(rows)
    delta = rows.mean(0) - mean
    squares = variance * count + rows.var(0) * len(rows) + delta**2 * count * len(rows) / total
    return mean + delta * len(rows) / total, squares / total, total
