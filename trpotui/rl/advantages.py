"""Advantages by several estimators, and how well a critic explains what it was given.

Legend: T steps, N environments. Everything is [T, N], float32 or float64.

Two flags tell the two ends of an episode apart: `terminated` takes the successor's value away,
`ended` (terminated, truncated, or the row before a gap) stops the sum from running into the next
episode. Truncation is `ended` without `terminated`, so the bootstrap value stays. The last row is
followed by nothing: what would come after it is what the critic says of its successor.

All estimators answer the same question, A(s_t, a_t) = Q(s_t, a_t) - V(s_t), and differ in how many
rewards they wait for before they believe the critic: one (`td`), n (`n_step`), all (`monte_carlo`),
or a geometric mixture of all those (`gae`). Fewer trust the critic more, and vary less.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Estimator = Literal["gae", "td", "n_step", "monte_carlo"]

FEW = 256
"""Environments up to which a call for each step costs more than the arithmetic."""


def estimate(
    estimator: Estimator,
    rewards: Floats,
    values: Floats,
    next_values: Floats,
    *,
    terminated: Bools,
    ended: Bools,
    gamma: float,
    lam: float,
    steps: int,
) -> Floats:
    """Advantages [T, N] by the estimator of that name.

    Args:
        estimator: `lam` is read by `gae` alone and `steps` by `n_step` alone.
        rewards: [T, N], and the others as `gae` has them.
    """
    experience = (rewards, values, next_values)
    if estimator == "td":
        return td(*experience, terminated=terminated, ended=ended, gamma=gamma)
    if estimator == "n_step":
        return n_step(*experience, terminated=terminated, ended=ended, gamma=gamma, steps=steps)
    if estimator == "monte_carlo":
        return monte_carlo(*experience, terminated=terminated, ended=ended, gamma=gamma)
    return gae(*experience, terminated=terminated, ended=ended, gamma=gamma, lam=lam)


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
    deltas = td(rewards, values, next_values, terminated=terminated, ended=ended, gamma=gamma)
    return _sums_from_behind(deltas, gamma * lam, ended)


def td(
    rewards: Floats,
    values: Floats,
    next_values: Floats,
    *,
    terminated: Bools,
    ended: Bools,
    gamma: float,
) -> Floats:
    """One reward, then the critic: the temporal difference (Sutton and Barto 2018, section 13.5).

        A_t = r_t + gamma (1 - terminated_t) V(s'_t) - V(s_t)

    Args and errors as in `gae`; where an episode ends otherwise makes no difference here.

    Returns:
        Advantages [T, N].
    """
    targets = _one_step_targets(
        rewards, values, next_values, terminated=terminated, ended=ended, gamma=gamma
    )
    advantages: Floats = targets - values
    return advantages


def n_step(
    rewards: Floats,
    values: Floats,
    next_values: Floats,
    *,
    terminated: Bools,
    ended: Bools,
    gamma: float,
    steps: int,
) -> Floats:
    """n rewards, then the critic (Mnih et al. 2016, section 4, equation of A3C).

        A_t = r_t + gamma r_{t+1} + ... + gamma^{m-1} r_{t+m-1} + gamma^m V(s'_{t+m-1}) - V(s_t)

    m is `steps`, or fewer where the episode or the rollout ends before; the value is that of the
    true successor of the last of these rows, and 0 where that row terminated. A3C itself counts
    back from the end of its rollout, so that only the first row of one waits for all n rewards;
    here every row does.

    Args and errors as in `gae`, and:
        steps: n, at least 1.

    Returns:
        Advantages [T, N].
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    one_step = _one_step_targets(
        rewards, values, next_values, terminated=terminated, ended=ended, gamma=gamma
    )
    targets = one_step
    for _ in range(min(steps, len(rewards)) - 1):
        # one reward more: r_t + gamma (the target of the row after, which waits for one less)
        longer = rewards[:-1] + gamma * targets[1:]
        targets = np.concatenate([np.where(ended[:-1], one_step[:-1], longer), one_step[-1:]])
    advantages: Floats = targets - values
    return advantages


def monte_carlo(
    rewards: Floats,
    values: Floats,
    next_values: Floats,
    *,
    terminated: Bools,
    ended: Bools,
    gamma: float,
) -> Floats:
    """The discounted return minus the value (Williams 1992, with the value as its baseline).

        A_t = r_t + gamma r_{t+1} + ... up to the end of the episode, - V(s_t)

    Where the episode is truncated, or the rollout ends inside it, the critic speaks for the rest:
    gamma^m V(s') after m rewards. `gae` with lam = 1 says the same, as a sum in which the values in
    between cancel. Args and errors as there.

    Returns:
        Advantages [T, N].
    """
    targets = _one_step_targets(
        rewards, values, next_values, terminated=terminated, ended=ended, gamma=gamma
    )
    received = np.where(ended, targets, rewards)
    received[-1:] = targets[-1:]
    advantages: Floats = _sums_from_behind(received, gamma, ended) - values
    return advantages


def _sums_from_behind(terms: Floats, factor: float, ended: Bools) -> Floats:
    """S_t = terms_t + factor (1 - ended_t) S_{t+1}, with S_T = 0.

    Of few environments in log2(T) operations along all steps: after the k-th, every sum holds the
    2^k terms from its own on (Hillis and Steele 1986). Of many, step by step.

    Args:
        terms: [T, N]; may be overwritten.
        factor: of what follows.
        ended: [T, N].

    Returns:
        Sums [T, N].
    """
    factors: Floats = np.asarray(factor, dtype=terms.dtype) * ~ended
    if terms.shape[1] > FEW:
        for t in range(len(terms) - 2, -1, -1):
            terms[t] += factors[t] * terms[t + 1]
        return terms
    reach = 1
    while reach < len(terms):
        terms[:-reach] += factors[:-reach] * terms[reach:]
        factors[:-reach] *= factors[reach:]
        reach *= 2
    return terms


def _one_step_targets(
    rewards: Floats,
    values: Floats,
    next_values: Floats,
    *,
    terminated: Bools,
    ended: Bools,
    gamma: float,
) -> Floats:
    """r_t + gamma (1 - terminated_t) V(s'_t), and a look at every shape."""
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
    targets: Floats = rewards + gamma * next_values * ~terminated
    return targets


def explained_variance(values: Floats, targets: Floats) -> float:
    """1 - Var(targets - values) / Var(targets); 1 is a perfect critic, 0 as good as a constant.

    Where the targets do not vary, or there are none, there is nothing to explain, and the answer
    is 0.
    """
    if not targets.size:
        return 0.0
    variance = float(np.var(targets, dtype=np.float64))
    if variance < 1e-12:
        return 0.0
    return 1.0 - float(np.var(targets - values, dtype=np.float64)) / variance


def standardize(advantages: Floats, *, noise: float) -> Floats:
    """Centre advantages [B] and divide them by their standard deviation.

    Left as they are when there is one sample only. Where they vary by no more than `noise`, in
    their own unit, dividing by their deviation would turn noise into steps of full size: they
    become zero.
    """
    if advantages.size < 2:
        return advantages
    deviation = float(advantages.std(dtype=np.float64))
    if deviation <= noise:
        return np.zeros_like(advantages)
    mean = float(advantages.mean(dtype=np.float64))
    standardized: Floats = (advantages - mean) / deviation
    return standardized


def without_noise(advantages: Floats, *, noise: float) -> Floats:
    """Advantages [B] as they are, or zero where their root mean square is no more than `noise`.

    A natural step is as long whatever the size of the advantages, so noise must be taken out of
    those that are not standardised as well. What counts is their size and not how they vary: where
    no critic is subtracted, all steps of an episode may have earned the same.
    """
    if advantages.size < 2:
        return advantages
    size = float(np.sqrt(np.square(advantages, dtype=np.float64).mean()))
    return np.zeros_like(advantages) if size <= noise else advantages
