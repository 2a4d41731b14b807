"""The network of `images` in torch; it acts with the same function.

Legend: B images, H rows and W columns of pixels, C channels, D = H * W * C features, F units.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d

from trpotui.rl.images import CONVOLUTIONS, PREFIX, ImageLayout

AT_ONCE = 256
"""Images that are looked at together: the layers in between take far more memory than images."""


def convolve(named: Mapping[str, Tensor], layout: ImageLayout, rows: Tensor) -> Tensor:
    """What the network makes of images [B, F]; differentiable in its arrays.

    Args:
        named: its arrays, perhaps among others.
        layout: of the images.
        rows: [B, D] of bytes or floats between 0 and 255, scaled to 0 to 1 here.

    Raises:
        ValueError: `rows` are not [B, D].
    """
    size = layout.height * layout.width * layout.channels
    if rows.ndim != 2 or rows.shape[1] != size:
        raise ValueError(f"inputs must be [B, {size}], got {list(rows.shape)}")
    return torch.cat([_convolve(named, layout, part) for part in torch.split(rows, AT_ONCE)])


def convolve_arrays(
    arrays: Mapping[str, NDArray[np.float32]], layout: ImageLayout, rows: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The same in numpy's arrays, which torch looks at without a copy."""
    named = {
        name: torch.from_numpy(array) for name, array in arrays.items() if name.startswith(PREFIX)
    }
    with torch.no_grad():
        features: NDArray[np.float32] = convolve(named, layout, torch.from_numpy(rows)).numpy()
    return features


def _convolve(named: Mapping[str, Tensor], layout: ImageLayout, rows: Tensor) -> Tensor:
    sides = (layout.height, layout.width)
    if layout.channels_first:
        images = rows.reshape(-1, layout.channels, *sides)
    else:
        images = rows.reshape(-1, *sides, layout.channels).permute(0, 3, 1, 2)
    *convolutions, (weight, bias) = (
        (named[f"{PREFIX}{index}.weight"], named[f"{PREFIX}{index}.bias"])
        for index in range(len(CONVOLUTIONS) + 1)
    )
    hidden = images.to(weight.dtype) / 255.0  # (B, C, H, W)
    for (kernel, shift), (_, _, stride) in zip(convolutions, CONVOLUTIONS, strict=True):
        hidden = conv2d(hidden, kernel, shift, stride=stride).relu()
    return torch.addmm(bias, hidden.flatten(1), weight.T).relu()
