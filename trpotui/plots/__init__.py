"""The returns of one run as a plot: raw, averaged, or averaged with a band of deviations.

What is plotted is made here; `as_text` and `as_png`, in modules of their own, draw it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trpotui.errors import RequestError
from trpotui.past_runs.files import UnreadableError, read_config, shown
from trpotui.past_runs.returns import Returns, read_returns
from trpotui.series import Series
from trpotui.smoothing import moving_average, moving_deviation

Kind = Literal["returns", "average", "band"]
Float64 = NDArray[np.float64]

DEVIATIONS = 1.2
"""Standard deviations from the middle of the band to either edge."""
HUGE = 1e100
"""Greater values are drawn here: a drawing library takes differences, which must not overflow."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A line of n points, with or without a band around it."""

    title: str
    """Which run it is of."""
    subtitle: str
    """What the line and the band are."""
    x_label: str
    x: Float64
    """[n], in ascending order."""
    y: Float64
    """[n]."""
    low: Float64 | None = None
    """[n]; the lower edge of the band."""
    high: Float64 | None = None


def make_plot(run: Path, kind: Kind, *, window: int) -> Plot:
    """A plot of the returns of the run in a directory.

    Each value is the mean return of the episodes that ended in an update; where every update has
    just one, it is the return of that episode, and the plot is over episodes and not over updates.

    Args:
        run: directory, which is only read; the run may still be going on.
        kind: the values as they are, their moving average, or that and a band of so many standard
            deviations within the same window.
        window: values in a full window, odd.

    Raises:
        RequestError: the window is even, the directory has no metrics, or no episode has ended.
    """
    if window < 1 or window % 2 == 0:
        raise RequestError(
            f"--window takes an odd number, as its middle is one value; not {window}"
        )
    try:
        returns = read_returns(run)
    except UnreadableError as error:
        raise RequestError(f"{run} cannot be plotted: {error}") from None
    if not returns.values:
        raise RequestError(f"{run} cannot be plotted: no episode has ended in it yet")
    values = np.clip(np.asarray(returns.values), -HUGE, HUGE)
    middle = values if kind == "returns" else moving_average(values, window)
    spread = DEVIATIONS * moving_deviation(values, window) if kind == "band" else None
    return Plot(
        title=_title(run),
        subtitle=_subtitle(returns, kind, window),
        x_label="episode" if returns.single else "update",
        x=np.asarray(returns.places),
        y=middle,
        low=None if spread is None else middle - spread,
        high=None if spread is None else middle + spread,
    )


def thinned(x: Float64, y: Float64, columns: int) -> tuple[list[float], list[float]]:
    """Points [n] as few as make the same line in so many columns, whose extremes are all there."""
    if len(x) <= 2 * columns:
        return x.tolist(), y.tolist()
    dots = as_series(x, y).dots(columns)
    return [at for at, _ in dots], [value for _, value in dots]


def as_series(x: Float64, y: Float64) -> Series:
    """Points [n] as a curve of bounded size."""
    series = Series()
    for at, value in zip(x.tolist(), y.tolist(), strict=True):
        series = series.appended(at, value)
    return series


def _subtitle(returns: Returns, kind: Kind, window: int) -> str:
    what = "return of each episode" if returns.single else "mean return of each update's episodes"
    if kind == "returns":
        return what
    average = f"{what}, moving average of {window}"
    if kind == "average":
        return average
    return f"{average} ± {DEVIATIONS} standard deviations of the same {window}"


def _title(run: Path) -> str:
    """What was trained on what, or the directory where the configuration does not say."""
    try:
        config = read_config(run)
        algorithm, environment = str(config["algorithm"]), str(config["environment_id"])
        title = f"{algorithm} on {environment}, seed {config['seed']}"
        preset = config.get("preset", "default")
        return shown(title if preset == "default" else f"{title}, preset {preset}")
    except (UnreadableError, KeyError):
        return shown(run.resolve().name)
