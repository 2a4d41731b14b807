"""The return that really followed a step, in the unit of the environment's rewards.

A critic counts as its run did: with a discount, and with rewards that may have been shifted and
scaled before learning. Only so can its estimate be held against what came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RewardUnits:
    """How a policy's critic counts rewards."""

    gamma: float
    """Discount per step."""
    shift: float = 0.0
    """Added to every reward."""
    scale: float = 1.0
    """What the sum is multiplied by then."""
    normalized: bool = False
    """Whether it is divided once more, by a deviation that policies do not keep."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> RewardUnits | None:
        """Those of the run whose configuration a policy file holds; None where it does not say."""
        values = config.get("hyperparameters")
        if not isinstance(values, Mapping) or "gamma" not in values:
            return None
        return cls(
            gamma=float(values["gamma"]),
            shift=float(values.get("reward_shift", 0.0)),
            scale=float(values.get("reward_scale", 1.0)),
            normalized=bool(values.get("normalize_rewards", False)),
        )

    @property
    def known(self) -> bool:
        """Whether an estimate can be turned into the environment's unit."""
        return not self.normalized and self.scale > 0

    def estimate(self, value: float) -> float:
        """The critic's estimate in the environment's unit, if that is known."""
        return value / self.scale if self.known else value


@dataclass(frozen=True, kw_only=True)
class Followed:
    """The discounted return that followed a moment, in the environment's unit."""

    rewards: float
    """Of the rewards that came."""
    beyond: float
    """What the critic expected beyond a time limit, discounted to this moment; 0 of an episode that
    ended by itself."""

    @property
    def total(self) -> float:
        """What the critic's estimate is to be compared with."""
        return self.rewards + self.beyond


def returns_that_followed(
    rewards: Sequence[float], units: RewardUnits, *, beyond: float
) -> tuple[Followed, ...]:
    """What followed each of the T + 1 moments of an episode.

        G_t = r_t + gamma G_{t+1},  G_T = 0

    Args:
        rewards: [T], the environment's own.
        units: of the critic.
        beyond: the critic's estimate, in its own unit, at the end of an episode that was cut short;
            0 of one that ended by itself.
    """
    came, tail = 0.0, units.estimate(beyond)
    followed = [Followed(rewards=came, beyond=tail)]
    for reward in reversed(rewards):
        came = reward + units.shift + units.gamma * came
        tail *= units.gamma
        followed.append(Followed(rewards=came, beyond=tail))
    return tuple(reversed(followed))
