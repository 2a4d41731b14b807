"""A comparison as JSON, as CSV, and as the table that a person reads."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math

from rich import box
from rich.console import Console
from rich.table import Table

from trpotui.comparison import Comparison, Row
from trpotui.policy_file import shown
from trpotui.statistics import Interval

CAPTION = (
    "IQM: mean of the middle half of the returns. P(> 1): probability that an episode's return is "
    "above one of policy 1, ties counted half. Second lines: 95 % bootstrap intervals."
)


def as_json(comparison: Comparison) -> str:
    """Every figure in one line of JSON, the return and length of each episode included."""
    policies = [
        {
            **dataclasses.asdict(row),
            "returns": policy.result.returns,
            "lengths": policy.result.lengths,
        }
        for row, policy in zip(comparison.rows, comparison.scored, strict=True)
    ]
    data = {
        "environment": comparison.environment_id,
        "episodes": comparison.episodes,
        "seed": comparison.seed,
        "stochastic": comparison.stochastic,
        "policies": policies,
    }
    return json.dumps(data, allow_nan=False)


def as_csv(comparison: Comparison) -> str:
    """A header and a line for each policy; the ends of an interval have columns of their own."""
    lines = [_cells(row) for row in comparison.rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _cells(row: Row) -> dict[str, object]:
    cells: dict[str, object] = {}
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        if field.name.endswith("_interval"):
            cells[f"{field.name}_low"], cells[f"{field.name}_high"] = value or (None, None)
        else:
            cells[field.name] = value
    return cells


def as_text(comparison: Comparison, *, width: int | None = None) -> str:
    """The table that a person reads.

    Args:
        comparison: of at least one policy.
        width: in columns; None is that of the terminal.
    """
    how = "sampled" if comparison.stochastic else "greedy"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("", "mean ± std", "median", "IQM", "P(> 1)", "length", "ep./s"):
        table.add_column(name, justify="right", overflow="fold")
    largest = max(abs(row.mean) for row in comparison.rows)
    decimals = min(4, max(0, 3 - math.floor(math.log10(largest)))) if largest else 4
    for number, row in enumerate(comparison.rows, start=1):
        table.add_row(str(number), *_figures(row, decimals))
    console = Console(width=width)
    with console.capture() as captured:
        console.print(
            f"{comparison.environment_id}: {comparison.episodes:,} {how} episodes of each policy, "
            f"seed {comparison.seed}",
            *(
                f"  {number}  {shown(row.policy, most=300)} ({shown(row.algorithm)})"
                for number, row in enumerate(comparison.rows, start=1)
            ),
            sep="\n",
            markup=False,
            highlight=False,
        )
        console.print(table)
        console.print(CAPTION, markup=False, highlight=False)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _figures(row: Row, decimals: int) -> list[str]:
    """A policy's cells, those with an interval in two lines."""

    def number(value: float) -> str:
        return f"{value:,.{decimals}f}"

    better = "-"
    if row.improvement is not None:
        better = f"{row.improvement:.3f}{_between(row.improvement_interval, 3)}"
    return [
        f"{number(row.mean)} ± {number(row.std)}{_between(row.mean_interval, decimals)}",
        number(row.median),
        number(row.interquartile_mean) + _between(row.interquartile_mean_interval, decimals),
        better,
        f"{row.mean_length:,.1f}",
        f"{row.episodes_per_second:,.0f}",
    ]


def _between(interval: Interval | None, decimals: int) -> str:
    if interval is None:
        return ""
    return f"\n{interval.low:,.{decimals}f} to {interval.high:,.{decimals}f}"
