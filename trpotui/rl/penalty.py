"""Coefficients of a KL penalty: the one of the theory, and the one that is adapted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

LEAST, MOST = 1e-6, 1e12
"""Bounds of an adapted coefficient: one that was halved to 0 could never grow again."""


def _coefficient(value: object) -> object:
    """Refuse all but the names and numbers, in a sentence that knows of both."""
    text = str(value)
    try:
        if text in {"theory", "adaptive"} or 0.0 < float(text) <= MOST:
            return value
    except ValueError:
        pass
    raise PydanticCustomError("coefficient", "should be theory or adaptive or a number above 0")


Coefficient = Annotated[Literal["theory", "adaptive"] | float, BeforeValidator(_coefficient)]
"""C by name or in advantages per nat."""


def theory_penalty(largest_advantage: float, gamma: float) -> float:
    """C = 4 epsilon gamma / (1 - gamma)^2 (TRPO, theorem 1).

    With it eta(new) >= L(new) - C max D_KL(old || new), where eta is the expected discounted return
    and L sums advantages over discounted visits, of which there are 1 / (1 - gamma). For the mean
    over samples that this program maximises, 1 - gamma times this C would do; it is the paper's
    that is used, which bounds it all the more.

    Args:
        largest_advantage: epsilon, max |A| over states and actions.
        gamma: discount per step; at 1 there is no bound, and C is as good as infinite.
    """
    return min(4.0 * largest_advantage * gamma / max((1.0 - gamma) ** 2, 1e-12), MOST)


def adapted_penalty(penalty: float, *, kl: float, target_kl: float) -> float:
    """Half of it where the KL is below target / 1.5, twice where above 1.5 target (PPO, section 4).

    Args:
        penalty: advantages per nat.
        kl: what came of it, in nats.
        target_kl: what should have, in nats.
    """
    if kl < target_kl / 1.5:
        return max(penalty / 2.0, LEAST)
    if kl > 1.5 * target_kl:
        return min(penalty * 2.0, MOST)
    return penalty
