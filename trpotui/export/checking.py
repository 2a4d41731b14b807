"""Whether an exported file computes what the policy computes.

Legend: N environments, D observation features, S state features, A components of an action.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from trpotui.errors import RunError
from trpotui.export.forward import deviations
from trpotui.rl.observations import leaves_of
from trpotui.rl.policy import Policy
from trpotui.rl.spaces import ActionDecoder

Array = NDArray[Any]
Run = Callable[[Array, "Array | None"], list[Array]]
"""Rows [N, D], and the state [N, S] of a network with memory, to actions, outputs, and the state
after them. The outputs are the distribution parameters, or the first of them."""

OBSERVATIONS = 1000
TOLERANCE = 1e-5
"""Of a number below 1; above, relative to it."""
STEPS = 10
"""That a memory is carried along for; the observations are spread over them."""
WIDEST = 1e6
"""Width of a feature's bounds up to which observations are drawn from all of them."""


def check(policy: Policy, run: Run) -> float:
    """Compare an exported policy with the original on 1,000 observations.

    A choice may differ from the policy's only where the two are as likely, to within the tolerance:
    there rounding decides.

    Args:
        policy: the original, which acts as `play` and `eval` let it.
        run: the exported one.

    Returns:
        The largest difference of a number, relative where numbers are above 1.

    Raises:
        RunError: it is above 1e-5, or a choice, a shape or a type is another one.
    """
    rng = np.random.default_rng(0)
    n_envs = OBSERVATIONS // STEPS
    session = policy.session(n_envs)
    starts = np.ones(n_envs, dtype=np.bool_)
    worst = 0.0
    for _ in range(STEPS):
        rows = observations_for(policy, n_envs, rng)
        inputs = rows if policy.moments is None else policy.moments.normalize(rows)
        # the policy's own memory at every step: a sensitive one magnifies what rounding did before
        state = session.states["actor"]
        parameters = session.parameters(inputs, starts)
        raw = session.act(inputs, starts)
        actions, outputs, *after = run(rows, state)
        worst = max(
            worst,
            _difference("outputs", outputs, parameters[:, : outputs.shape[1]]),
            _actions_difference(policy.decoder, actions, raw, parameters),
        )
        remembered = session.states["actor"]
        if remembered is not None:
            worst = max(worst, _difference("memory", after[0], remembered))
        starts = np.zeros(n_envs, dtype=np.bool_)
    return worst


def observations_for(policy: Policy, count: int, rng: np.random.Generator) -> Array:
    """Observation rows [count, D] that a policy may meet: within bounds that are near, else normal.

    Args:
        policy: its moments are where rows are, when it has any.
        count: of the rows.
        rng: draws them.
    """
    low, high = _bounds(policy.spec.observation_space)
    moments = policy.moments
    mean, deviation = (0.0, 1.0) if moments is None else (moments.mean, deviations(moments))
    near = rng.standard_normal((count, len(low))) * 2 * deviation + mean
    with np.errstate(over="ignore", invalid="ignore"):
        bounded = high - low <= WIDEST
    within = rng.random((count, len(low))) * np.where(bounded, high - low, 0.0) + low
    rows: Array = np.where(bounded, within, np.clip(near, low, high)).astype(np.float32)
    return rows


def _bounds(space: spaces.Space[Any]) -> tuple[Array, Array]:
    """Lowest and highest features [D]; 0 and 1 where they stand for a choice or a bit."""
    lows, highs = [], []
    for leaf in leaves_of(space):
        size = leaf.columns.stop - leaf.columns.start
        low, high = np.zeros(size), np.ones(size)
        if isinstance(leaf.space, spaces.Box):
            low, high = leaf.space.low.reshape(-1), leaf.space.high.reshape(-1)
        lows.append(low.astype(np.float64))
        highs.append(high.astype(np.float64))
    return np.concatenate(lows), np.concatenate(highs)


def _actions_difference(
    decoder: ActionDecoder, actions: Array, raw: Array, parameters: Array
) -> float:
    """How far actions are from those of the policy; how much less likely, of choices."""
    expected = decoder.decode(raw)
    if actions.shape != expected.shape or actions.dtype != expected.dtype:
        raise RunError(
            f"actions are {actions.dtype} {list(actions.shape)} instead of "
            f"{expected.dtype} {list(expected.shape)}"
        )
    if decoder.distribution == "gaussian":
        # float16 cannot say it more finely than this
        tolerance = max(TOLERANCE, float(np.finfo(expected.dtype).eps))
        return _difference("actions", actions, expected, tolerance)
    chosen = actions.reshape(len(actions), -1).astype(np.int64) - decoder.start  # [N, A]
    best = raw.reshape(len(raw), -1)
    counts = np.array(decoder.choices)
    if ((chosen < 0) | (chosen >= counts)).any():
        raise RunError("an action is none that the environment has")
    if decoder.distribution == "bernoulli":
        # the logit is how much likelier the bit 1 is than 0
        wrong, right = chosen * parameters, best * parameters
    else:
        first = np.cumsum(counts) - counts
        wrong, right = (
            np.take_along_axis(parameters, first + index, axis=1) for index in (chosen, best)
        )
    return _difference("actions", wrong, right)


def _difference(what: str, found: Array, expected: Array, tolerance: float = TOLERANCE) -> float:
    """The largest difference, relative to numbers above 1."""
    if found.shape != expected.shape:
        raise RunError(f"{what} are {list(found.shape)} instead of {list(expected.shape)}")
    if found.size == 0:
        return 0.0
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    largest = float((np.abs(found - expected) / np.maximum(1.0, np.abs(expected))).max())
    if not largest <= tolerance:  # nor NaN
        raise RunError(f"{what} differ by {largest:.1e}, which is more than {tolerance:.1g}")
    return largest
