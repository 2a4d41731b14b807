"""Drawing raw actions in numpy from the outputs of an actor.

Legend: N environments, K outputs, A components of an action, C most choices of a component.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from trpotui.rl.spaces import ActionDecoder

Float32 = NDArray[np.float32]

SURE = 700.0
"""Larger differences of two logits count as this one: e to the power of 710 would overflow."""
FEW = 8
"""Logits that are drawn from one by one: numpy's calls would cost more than the arithmetic."""


def sample(decoder: ActionDecoder, outputs: Float32, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw raw actions [N] or [N, A] for outputs [N, K] of a discrete policy."""
    match decoder.distribution:
        case "categorical":
            return sample_categorical(outputs, rng)
        case "multi_categorical":
            logits = _by_component(decoder, outputs)
            rows = logits.reshape(-1, logits.shape[2])  # [N, A, C] -> [N * A, C]
            drawn = sample_categorical(rows, rng).reshape(logits.shape[:2])
            # rounding must not produce a choice that a component lacks either
            return drawn if decoder.columns is None else np.minimum(drawn, decoder.last_choices)
        case "bernoulli":
            # in float64, and by tanh, which does not overflow as exp(-logits) does
            probabilities = 0.5 + 0.5 * np.tanh(0.5 * outputs.astype(np.float64))
            return (rng.random(outputs.shape) < probabilities).astype(np.int64)
    raise ValueError(f"{decoder.distribution} actions are not drawn from outputs alone")


def mode(decoder: ActionDecoder, outputs: Float32) -> NDArray[np.int64]:
    """The likeliest raw actions [N] or [N, A] for outputs [N, K] of a discrete policy."""
    likeliest: NDArray[np.int64]
    match decoder.distribution:
        case "categorical":
            likeliest = outputs.argmax(axis=1)
        case "multi_categorical":
            likeliest = _by_component(decoder, outputs).argmax(axis=2)
        case "bernoulli":
            likeliest = (outputs > 0).astype(np.int64)
        case _:
            raise ValueError(f"the mode of {decoder.distribution} actions is no choice")
    return likeliest


def sample_categorical(logits: Float32, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw one index per row of logits [N, K] by inverting the cumulative distribution."""
    if logits.size <= FEW:
        return np.array([_sample_one(row, rng) for row in logits.tolist()])
    if logits.shape[1] == 2:
        return _sample_of_two(logits, rng)
    weights = logits - np.maximum.reduce(logits, axis=1, keepdims=True)
    np.exp(weights, out=weights)
    cumulative = np.add.accumulate(weights, axis=1, dtype=np.float64)
    thresholds = rng.random((len(logits), 1)) * cumulative[:, -1:]
    # the last column is left out: rounding must not produce an index past the end
    beyond = cumulative[:, :-1] <= thresholds
    indices: NDArray[np.int64] = np.add.reduce(beyond, axis=1, dtype=np.int64)
    return indices


def _sample_of_two(logits: Float32, rng: np.random.Generator) -> NDArray[np.int64]:
    """The same for two choices: the second where r <= u (1 + r), r the odds of the first."""
    odds = np.subtract(logits[:, 0], logits[:, 1], dtype=np.float64)
    np.minimum(odds, SURE, out=odds)
    np.exp(odds, out=odds)
    thresholds = rng.random(len(logits))
    thresholds *= odds + 1.0
    return np.less_equal(odds, thresholds).astype(np.int64)


def _sample_one(logits: list[float], rng: np.random.Generator) -> int:
    """The same for one row."""
    largest = max(logits)
    cumulative = list(accumulate(math.exp(logit - largest) for logit in logits))
    return bisect_right(cumulative, rng.random() * cumulative[-1], hi=len(cumulative) - 1)


def _by_component(decoder: ActionDecoder, outputs: Float32) -> Float32:
    """Logits [N, A, C] of outputs [N, K]; minus infinity for choices that a component lacks."""
    if decoder.columns is None:
        return outputs.reshape(len(outputs), len(decoder.choices), -1)
    absent = np.full((len(outputs), 1), -np.inf, dtype=np.float32)
    logits: Float32 = np.concatenate([outputs, absent], axis=1)[:, decoder.columns]
    return logits
