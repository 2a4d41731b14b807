"""Advantages, returns and how well a critic explains them.

Legend: T steps, N environments. Everything is [T, N], float32 or float64.

Two flags tell the two ends of an episode apart: `terminated` takes the successor's value away,
`ended` (terminated, truncated, or the row before a gap) stops the sum from running into the next
episode. Truncation is `ended` without `terminated`, so the bootstrap value stays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]


def gae(
    rewards: Floats,
    values: Floats,
    next_values: Floats,
    *,
    terminated: Bools,
    ended: Bools,
    gamma: float,
    lam: float,
) -> Floats:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16).

        delta_t = r_t + gamma (1 - terminated_t) V(s'_t) - V(s_t)
        A_t     = delta_t + gamma lam (1 - ended_t) A_{t+1}

    `lam` 0 gives the one-step advantage, 1 the discounted return minus V.

    Args:
        rewards: [T, N].
        values: V(s_t) [T, N].
        next_values: V(s'_t) [T, N] of the true successor, not of the next episode's first state.
        terminated: [T, N].
        ended: [T, N]; true wherever `terminated` is.
        gamma: discount per step, in [0, 1].
        lam: decay, in [0, 1].

    Returns:
        Advantages [T, N].

    Raises:
        ValueError: the arrays are not all [T, N].
    """
    if rewards.ndim != 2:
        raise ValueError(f"rewards must be [T, N], got {rewards.shape}")
    for name, array in (
        ("values", values),
        ("next_values", next_values),
        ("terminated", terminated),
        ("ended", ended),
    ):
        if array.shape != rewards.shape:
            raise ValueError(f"{name} must be {rewards.shape} like rewards, got {array.shape}")
    advantages: Floats = rewards + gamma * next_values * ~terminated - values
    carry = (gamma * lam) * ~ended
    for t in range(len(rewards) - 2, -1, -1):
        advantages[t] += carry[t] * advantages[t + 1]
    return advantages


def discounted_returns(
    rewards: Floats, next_values: Floats, *, terminated: Bools, ended: Bools, gamma: float
) -> Floats:
    """Discounted returns [T, N], bootstrapped where an episode or the rollout is cut off.

    R_t = r_t + gamma (1 - terminated_t) V(s'_t) at an end, else r_t + gamma R_{t+1}: the
    advantages of `gae` with lam = 1 and a critic that is zero inside the episode.
    """
    cut = ended.copy()
    cut[-1] = True
    bootstrap = np.where(cut, next_values, 0.0).astype(rewards.dtype)
    zeros = np.zeros_like(rewards)
    return gae(rewards, zeros, bootstrap, terminated=terminated, ended=ended, gamma=gamma, lam=1.0)


def explained_variance(values: Floats, targets: Floats) -> float:
    """1 - Var(targets - values) / Var(targets); 1 is a perfect critic, 0 as good as a constant.

    Where the targets do not vary there is nothing to explain, and the answer is 0.
    """
    variance = float(np.var(targets, dtype=np.float64))
    if variance < 1e-12:
        return 0.0
    return 1.0 - float(np.var(targets - values, dtype=np.float64)) / variance


def standardize(advantages: Floats, *, scale: float) -> Floats:
    """Centre advantages [B] and divide them by their standard deviation.

    Left as they are when there is one sample only. When their spread is rounding noise beside
    `scale` (the size of the values they are differences of) they carry no signal, and dividing by
    it would turn noise into full-sized steps: they become zero.
    """
    if advantages.size < 2:
        return advantages
    deviation = float(advantages.std(dtype=np.float64))
    if deviation <= 1e-5 * scale:
        return np.zeros_like(advantages)
    mean = float(advantages.mean(dtype=np.float64))
    standardized: Floats = (advantages - mean) / deviation
    return standardized
