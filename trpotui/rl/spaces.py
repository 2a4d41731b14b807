"""How observations become network inputs, and network outputs become actions.

Legend: N environments, D observation features, A components of an action.

Inside the program an observation is a float32 row [D], and an action is *raw*: an index counted
from 0 (Discrete), indices [A] counted from 0 (MultiDiscrete), bits [A] (MultiBinary), or a vector
[A] of float32 as the Gaussian drew it (Box). The raw action is what is stored and what has a
density; `ActionDecoder.decode` makes of it what the environment accepts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from trpotui.errors import RequestError
from trpotui.rl.observations import (
    MOST_FEATURES,
    SUPPORTED,
    Observations,
    feature_count,
    leaves_of,
    one_line,
)

MOST_PADDED_CHOICES = 8 * MOST_FEATURES
"""Components of a MultiDiscrete action times the most choices of one: they are padded to that."""

DistributionName = Literal["categorical", "multi_categorical", "bernoulli", "gaussian"]


class ObservationEncoder:
    """Flattens observations into float32 rows [N, D], with the layout of `gymnasium`'s `flatten`.

    Box and MultiBinary keep their numbers, Discrete and MultiDiscrete become one-hot, Tuple and
    Dict put their parts side by side.

    Raises:
        RequestError: the space is of another kind, has no elements, or has too many.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.space = space
        self._leaves = leaves_of(space)
        self.size: int = self._leaves[-1].columns.stop
        # column of a component's index 0, less that index: one-hot leaves only
        self._one_hot = {
            leaf.path: _first_columns(leaf.space, leaf.columns.start) for leaf in self._leaves
        }

    def encode(self, observations: Observations) -> NDArray[np.float32]:
        """Encode a batch of observations [N, *space.shape] as float32 rows [N, D]."""
        if isinstance(self.space, spaces.Box):
            values = np.asarray(observations, dtype=np.float32)
            return values.reshape(len(values), self.size)
        count = len(self._leaves[0].of(observations))
        rows = np.zeros((count, self.size), dtype=np.float32)
        for leaf in self._leaves:
            values = leaf.of(observations).reshape(count, -1)
            first_columns = self._one_hot[leaf.path]
            if first_columns is None:
                rows[:, leaf.columns] = values
            else:
                indices = values.astype(np.int64) + first_columns  # [N, A]
                rows[np.arange(count)[:, None], indices] = 1.0
        return rows


def _first_columns(space: spaces.Space[Any], start: int) -> NDArray[np.int64] | None:
    """Column of value 0 for each component [A] of a one-hot part; None of a part that is copied.

    Args:
        space: of the part.
        start: its first column.
    """
    if isinstance(space, spaces.Discrete):
        return np.array([start - int(space.start)])
    if isinstance(space, spaces.MultiDiscrete):
        counts = space.nvec.reshape(-1).astype(np.int64)
        return start + np.cumsum(counts) - counts - space.start.reshape(-1).astype(np.int64)
    return None


def _columns(choices: tuple[int, ...]) -> NDArray[np.int64] | None:
    counts = np.array(choices)[:, None]
    if (counts == counts[0]).all():
        return None
    each = np.arange(counts.max())  # [C]
    firsts = np.cumsum(counts)[:, None] - counts
    columns: NDArray[np.int64] = np.where(each < counts, firsts + each, counts.sum())
    return columns


class ActionDecoder:
    """Turns raw actions into the environment's own.

    Discrete and MultiDiscrete: index + start. MultiBinary: the bits. Box: where both bounds are
    finite a raw 0 is the middle and a raw -1 or +1 the bounds, so that a policy starts with the
    same exploration whatever the unit of the action; the result is clipped to the bounds.

    Raises:
        RequestError: the space is of another kind, has no elements, or has too many.
    """

    distribution: DistributionName
    size: int
    """Network outputs: a logit for each choice, for each bit, or a mean for each dimension."""
    choices: tuple[int, ...] = ()
    """Numbers of choices, component by component; none of a Box."""
    raw_shape: tuple[int, ...]
    """Shape of one raw action: () for an index, (A,) for a vector."""
    raw_dtype: type[np.int64] | type[np.float32] = np.int64
    """Of raw actions: whole numbers, or the Gaussian's floats."""
    start: Any = 0
    """The first choice, or those of each component [A]."""
    scale: NDArray[np.float64]
    """Of a Box [A]: what a raw action is multiplied by, in the unit of the action."""
    offset: NDArray[np.float64]
    """What is added then [A]; the sum is kept within `low` and `high`."""
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    columns: NDArray[np.int64] | None = None
    """The output for each choice of each component [A, C], one past the last where a component has
    fewer than C choices. None where all have the same number, so that they lie in a row."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.space = space
        self.size = feature_count(space)
        if self.size > MOST_FEATURES:
            raise self._refusal(f"it has more than {MOST_FEATURES:,} choices; ")
        self._shape: tuple[int, ...] = space.shape or ()
        self.raw_shape = (self.size,)
        if not self.size:
            raise self._refusal()
        if isinstance(space, spaces.Discrete):
            self.distribution, self.raw_shape = "categorical", ()
            self.choices = (self.size,)
            self.start = int(space.start)
        elif isinstance(space, spaces.MultiDiscrete):
            self.distribution = "multi_categorical"
            self.choices = tuple(space.nvec.reshape(-1).tolist())
            self.raw_shape = (len(self.choices),)
            self.start = space.start.reshape(-1).astype(np.int64)
            if len(self.choices) * max(self.choices) > MOST_PADDED_CHOICES:
                raise self._refusal("its components are too many for the largest of them; ")
            self.columns = _columns(self.choices)
            self.last_choices = np.array(self.choices) - 1
        elif isinstance(space, spaces.MultiBinary):
            self.distribution = "bernoulli"
            self.choices = (2,) * self.size
        elif isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
            self.distribution, self.raw_dtype = "gaussian", np.float32
            self._measure(space)
        else:
            raise self._refusal()

    def _refusal(self, why: str = "") -> RequestError:
        return RequestError(
            f"action space {one_line(self.space)} is not supported: {why}{SUPPORTED}"
        )

    def _measure(self, space: spaces.Box) -> None:
        """Scale and offset [A] of a Box from its bounds."""
        self.low = space.low.reshape(-1).astype(np.float64)
        self.high = space.high.reshape(-1).astype(np.float64)
        bounded = np.isfinite(self.low) & np.isfinite(self.high)
        with np.errstate(invalid="ignore", over="ignore"):
            half_width = (self.high - self.low) / 2
            middle = self.low + half_width
        bounded &= np.isfinite(half_width) & (half_width > 0)
        self.scale = np.where(bounded, half_width, 1.0)
        self.offset = np.where(bounded, middle, 0.0)

    def decode(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Decode raw actions [N] or [N, A] into environment actions [N, *space.shape]."""
        if self.distribution == "gaussian":
            actions = np.clip(raw * self.scale + self.offset, self.low, self.high)
        else:
            actions = raw + self.start
        decoded: NDArray[Any] = actions.astype(self.space.dtype, copy=False)
        return decoded.reshape(-1, *self._shape)  # [N, A] -> [N, *shape]


def describe_space(space: spaces.Space[Any]) -> dict[str, Any]:
    """A supported space as plain data; `space_from_description` is the inverse.

    Raises:
        RequestError: the space is not supported.
    """
    match space:
        case spaces.Discrete():
            described = {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
            # left out where it is the usual one: policies of earlier versions do not have it
            return described if space.dtype == np.int64 else described | {"dtype": str(space.dtype)}
        case spaces.MultiDiscrete():
            return {
                "type": "MultiDiscrete",
                "shape": list(space.nvec.shape),
                "dtype": str(space.dtype),
                "nvec": space.nvec.reshape(-1).tolist(),
                "start": space.start.reshape(-1).tolist(),
            }
        case spaces.MultiBinary():
            # 3 and (3,) have the same elements, but gymnasium does not hold them for equal
            return {
                "type": "MultiBinary",
                "shape": list(space.shape),
                "flat": isinstance(space.n, int),
            }
        case spaces.Box():
            return {
                "type": "Box",
                "shape": [int(side) for side in space.shape],
                "dtype": str(space.dtype),
                "low": space.low.reshape(-1).tolist(),
                "high": space.high.reshape(-1).tolist(),
            }
        case spaces.Tuple():
            return {"type": "Tuple", "parts": [describe_space(part) for part in space.spaces]}
        case spaces.Dict():
            parts = {key: describe_space(part) for key, part in space.spaces.items()}
            return {"type": "Dict", "parts": parts}
    raise RequestError(f"space {one_line(space)} is not supported: {SUPPORTED}")


def space_from_description(description: Mapping[str, Any]) -> spaces.Space[Any]:
    """Rebuild a space from `describe_space`'s output, whose form the caller has checked."""
    kind = description["type"]
    if kind == "Dict":
        parts = description["parts"].items()
        # as pairs: a mapping would be sorted
        return spaces.Dict([(key, space_from_description(part)) for key, part in parts])
    if kind == "Tuple":
        return spaces.Tuple([space_from_description(part) for part in description["parts"]])
    if kind == "Discrete":
        options = {"dtype": description["dtype"]} if "dtype" in description else {}
        return spaces.Discrete(description["n"], start=description["start"], **options)
    shape = tuple(description["shape"])
    if kind == "MultiBinary":
        return spaces.MultiBinary(shape[0] if description["flat"] else shape)
    dtype = np.dtype(description["dtype"])

    def array(name: str) -> NDArray[Any]:
        return np.array(description[name], dtype=dtype).reshape(shape)

    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(array("nvec"), dtype=dtype.type, start=array("start"))
    return spaces.Box(array("low"), array("high"), shape=shape, dtype=dtype.type)
