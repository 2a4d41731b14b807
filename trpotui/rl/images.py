"""Images as observations: what counts as one, and the arrays of the network that looks at them.

Legend: H rows and W columns of pixels, C channels, D = H * W * C observation features.

The network is that of Mnih et al. 2015 (Human-level control through deep reinforcement learning,
methods): three convolutions and an affine layer of 512 units, each followed by a ReLU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from trpotui.errors import RequestError
from trpotui.rl.observations import one_line

CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""Filters, side and stride of each convolution."""
UNITS = 512
"""F: of the affine layer behind them, what the network hands on."""
LEAST_SIDE = 36
"""Pixels; of fewer the last convolution would have none to look at."""
PREFIX = "image."
"""Of the names of the network's arrays."""


@dataclass(frozen=True)
class ImageLayout:
    """How the D features of an image lie."""

    height: int
    width: int
    channels: int
    channels_first: bool
    """[C, H, W] instead of [H, W, C]."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the network's arrays, in their order."""
        shapes: dict[str, tuple[int, ...]] = {}
        height, width, channels = self.height, self.width, self.channels
        for index, (filters, side, stride) in enumerate(CONVOLUTIONS):
            shapes[f"{PREFIX}{index}.weight"] = (filters, channels, side, side)
            shapes[f"{PREFIX}{index}.bias"] = (filters,)
            height, width = ((pixels - side) // stride + 1 for pixels in (height, width))
            channels = filters
        last = f"{PREFIX}{len(CONVOLUTIONS)}"
        shapes[f"{last}.weight"] = (UNITS, math.prod((channels, height, width)))
        shapes[f"{last}.bias"] = (UNITS,)
        return shapes


def image_layout(space: spaces.Space[Any]) -> ImageLayout:
    """The layout of a space of images.

    An image is a Box of uint8 with three sides: [H, W, C] or [C, H, W], with C (colours, or grey
    frames stacked) smaller than H and W. The smallest side tells the two apart.

    Raises:
        RequestError: the space is none of images, or of too small ones.
    """
    shape = space.shape or ()
    if isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(shape) == 3:
        channels = min(shape)
        channels_first = shape[0] == channels
        height, width = shape[1:] if channels_first else shape[:2]
        at_an_end = channels in {shape[0], shape[2]}
        if at_an_end and min(height, width) >= max(LEAST_SIDE, channels + 1):
            return ImageLayout(height, width, channels, channels_first)
    raise RequestError(
        f"network cnn cannot look at observation space {one_line(space)}: it takes images, a Box "
        f"of uint8 with three sides of which the smallest, first or last, is that of colours or "
        f"stacked frames, the others at least {LEAST_SIDE} pixels; network mlp takes any other"
    )
