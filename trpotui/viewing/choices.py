"""What a policy thinks of the actions at one moment, as plain numbers for whoever draws them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trpotui.rl.policy import Policy


@dataclass(frozen=True, kw_only=True)
class Probabilities:
    """What a categorical policy thinks of each action."""

    values: tuple[float, ...]
    first: int
    """The environment's number of the first action."""


@dataclass(frozen=True)
class Choices:
    """What a policy of several discrete components thinks of each one's choices."""

    parts: tuple[Probabilities, ...]


@dataclass(frozen=True, kw_only=True)
class Normal:
    """What a Gaussian policy thinks of each action dimension, in the environment's units."""

    means: tuple[float, ...]
    """Before they are clipped to the bounds."""
    sigmas: tuple[float, ...]
    lows: tuple[float, ...]
    """Bounds; infinite where there are none."""
    highs: tuple[float, ...]


def _probabilities(logits: NDArray[np.float32], first: int) -> Probabilities:
    import numpy as np  # noqa: PLC0415 - the screen is there before numpy is

    with np.errstate(all="ignore"):  # a diverged policy has what is not finite
        weights = np.exp(logits - logits.max())
        probabilities = weights / weights.sum()
    return Probabilities(values=tuple(probabilities.tolist()), first=first)


Choice = Probabilities | Choices | Normal


def choice_of(policy: Policy, parameters: NDArray[np.float32]) -> Choice:
    """What the policy would do, from the parameters [K] of its action distribution."""
    import numpy as np  # noqa: PLC0415 - the screen is there before numpy is

    space, decoder = policy.spec.action_space, policy.decoder
    if decoder.distribution != "gaussian":
        if decoder.distribution == "bernoulli":  # a bit is a choice with the logits 0 and log-odds
            parameters = np.stack([np.zeros_like(parameters), parameters], axis=1).reshape(-1)
        firsts = np.resize(getattr(space, "start", 0), len(decoder.choices)).tolist()
        logits = np.split(parameters, np.cumsum(decoder.choices)[:-1])
        parts = tuple(_probabilities(*part) for part in zip(logits, firsts, strict=True))
        return parts[0] if decoder.distribution == "categorical" else Choices(parts)
    means, log_sigmas = np.split(parameters.astype(np.float64), 2)
    low, high = (
        np.asarray(bound, dtype=np.float64).reshape(-1)
        for bound in (space.low, space.high)  # type: ignore[attr-defined]
    )
    # a raw 0 is the middle of the bounds and a raw 1 the upper one; see ActionDecoder
    bounded = np.isfinite(low) & np.isfinite(high) & (high > low)
    with np.errstate(all="ignore"):
        scale = np.where(bounded, (high - low) / 2, 1.0)
        middle = np.where(bounded, (high + low) / 2, 0.0)
        sigmas = np.exp(log_sigmas) * scale
    return Normal(
        means=tuple((means * scale + middle).tolist()),
        sigmas=tuple(sigmas.tolist()),
        lows=tuple(low.tolist()),
        highs=tuple(high.tolist()),
    )
