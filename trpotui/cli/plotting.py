"""`trpotui plot`."""

from __future__ import annotations

import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from trpotui.cli.application import Debug, app
from trpotui.cli.files import check_output, write_output

SIZE = (100, 28)
"""Columns and rows of text in a file, or where no terminal sets a bound."""


class PlotKind(StrEnum):
    """What `plot` shows of the returns."""

    RETURNS = "returns"
    AVERAGE = "average"
    BAND = "band"


@app.command()
def plot(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The directory of a run.")],
    kind: Annotated[
        PlotKind,
        typer.Option(
            help="The returns as they are, their moving average, or that with a band of 1.2 "
            "standard deviations of the same window."
        ),
    ] = PlotKind.AVERAGE,
    window: Annotated[
        int, typer.Option(min=1, help="Values in the moving window, odd; it shrinks at both ends.")
    ] = 9,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.png|.txt",
            help="Write it here instead; a PNG takes pip install 'trpotui[plot]'.",
        ),
    ] = None,
    debug: Debug = False,
) -> int:  # fmt: skip
    """Plot the returns of a run, finished or not, in the terminal or to a file.

    Over episodes where each update has one; else over updates, of whose episodes it takes the mean.
    """
    if output is not None:
        check_output(output, "--output", suffixes=(".png", ".txt"))
    from trpotui.plots import make_plot
    from trpotui.terminal import Printer

    made = make_plot(run, kind.value, window=window)
    out = Printer(sys.stdout)
    if output is not None and output.suffix.lower() == ".png":
        from trpotui.plots.png import as_png

        write_output(output, as_png(made))
    else:
        from trpotui.plots.text import as_text

        width, height = SIZE
        if output is None and sys.stdout.isatty():
            columns, lines = shutil.get_terminal_size(SIZE)
            width, height = columns, min(lines - 1, height)
        text = as_text(made, width=width, height=height)
        if output is None:
            out.line(text)
            return 0
        write_output(output, f"{text}\n".encode())
    out.line(f"wrote {output}: {made.title}, {made.subtitle}")
    return 0
