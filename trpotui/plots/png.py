"""A plot as a PNG image, drawn by matplotlib, which is an extra."""

from __future__ import annotations

import io
import warnings

from trpotui.errors import RequestError
from trpotui.plots import Plot, thinned

SIZE = (9.6, 5.4)
"""Inches."""
DOTS_PER_INCH = 100
COLOUR = "#0072b2"
"""Blue of Okabe and Ito, "Color universal design"."""


def as_png(plot: Plot) -> bytes:
    """The plot as an image of 960 x 540 points.

    Raises:
        RequestError: matplotlib is not installed.
    """
    try:
        import matplotlib.style  # noqa: PLC0415 - an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        raise RequestError(
            "a PNG needs matplotlib, which is not installed here: pip install 'trpotui[plot]', or "
            "name a file that ends in .txt"
        ) from None
    columns = int(SIZE[0] * DOTS_PER_INCH)
    # whatever a person's own settings of matplotlib ask for; letters that its font lacks are boxes
    with matplotlib.style.context("default"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure = Figure(figsize=SIZE, dpi=DOTS_PER_INCH, layout="constrained")
        axes = figure.add_subplot()
        if plot.low is not None and plot.high is not None:
            edges = [*thinned(plot.x, plot.low, columns), *thinned(plot.x, plot.high, columns)]
            axes.fill(
                edges[0] + edges[2][::-1], edges[1] + edges[3][::-1],
                color=COLOUR, alpha=0.25, linewidth=0,
            )  # fmt: skip
        axes.plot(*thinned(plot.x, plot.y, columns), color=COLOUR, linewidth=1.2)
        # names come from files: they must not be read as formulas
        figure.suptitle(plot.title, parse_math=False)
        axes.set_title(plot.subtitle, fontsize="small", parse_math=False)
        axes.set_xlabel(plot.x_label)
        axes.grid(alpha=0.3)
        image = io.BytesIO()
        figure.savefig(image, format="png")
    return image.getvalue()
