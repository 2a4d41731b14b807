"""Running mean and variance of observations: mergeable, in float64, frozen in a saved policy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
        """Moments of everything seen so far and of the rows [B, D] together (Chan et al. 1979)."""
        if observations.ndim != 2 or observations.shape[1] != len(self.mean):
            raise ValueError(
                f"expected observations [B, {len(self.mean)}], got {observations.shape}"
            )
        if len(observations) == 0:
            return self
        rows = observations.astype(np.float64)
        batch_mean, batch_variance, batch_count = rows.mean(0), rows.var(0), len(rows)
        total = self.count + batch_count
        delta = batch_mean - self.mean
        squares = (
            self.variance * self.count
            + batch_variance * batch_count
            + delta**2 * self.count * batch_count / total
        )
        return ObservationMoments(
            mean=self.mean + delta * batch_count / total,
            variance=squares / total,
            count=total,
            clip=self.clip,
        )

    def normalize(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardise and clip rows [N, D]; a feature that never varied is only centred."""
        deviation = np.sqrt(self.variance)
        deviation[deviation < 1e-8] = 1.0
        scaled = (observations - self.mean) / deviation
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32)
