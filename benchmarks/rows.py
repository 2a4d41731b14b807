"""The rows of the benchmarks: what several programs took for the same, beside an aim."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from figures import spread

FORMS = {"steps/s": ",.0f", "s": ",.2f", "ms": ",.2f"}
"""How figures of a unit are written."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing, measured of trpotui and of its peers in turn."""

    what: str
    unit: str
    """A key of `FORMS`; of steps/s more is better, of times less."""
    ours: Sequence[float] = ()
    peers: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By name; what was measured with ours[i] is at i."""
    aim: float | None = None
    """Times faster than the best peer; None where nobody asks for any."""
    notes: str = ""
    unmet: str = ""
    """Why the aim is not reached whatever the ratio; empty if that alone decides."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Programs that did not run, and why."""

    @property
    def best_peer(self) -> str | None:
        """The one with the best median; None where none was measured."""
        choose = max if self.unit == "steps/s" else min
        measured = {name: statistics.median(values) for name, values in self.peers.items()}
        return choose(measured, key=measured.__getitem__) if measured else None

    @property
    def ratios(self) -> list[float]:
        """How many times faster than the best peer, pair by pair; empty if either is missing."""
        if self.best_peer is None:
            return []
        pairs = zip(self.ours, self.peers[self.best_peer], strict=False)
        return [a / b if self.unit == "steps/s" else b / a for a, b in pairs]

    @property
    def reached(self) -> bool | None:
        """Whether the median ratio is the aim or more; None if that cannot be told.

        A peer that did not run might have been the best: without it nothing is reached.
        """
        if self.aim is None or not self.ratios:
            return None
        if self.unmet or statistics.median(self.ratios) < self.aim:
            return False
        return None if self.failed else True

    def plain(self) -> dict[str, Any]:
        """For JSON, with what follows from the figures."""
        return dataclasses.asdict(self) | {
            "best_peer": self.best_peer,
            "ratios": self.ratios,
            "reached": self.reached,
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Row:
        """The row of what `plain` returned."""
        return cls(**{one.name: plain[one.name] for one in dataclasses.fields(cls)})


def table(rows: Sequence[Row]) -> str:
    """Rows as markdown: medians, smallest and largest in brackets."""
    heads = ["what", "trpotui", "peers", "times faster than the best", "aim", "reached", "notes"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *map(_line, rows)])


def _line(row: Row) -> str:
    form = FORMS[row.unit]

    def cell(values: Sequence[float]) -> str:
        return f"{spread(values, form)} {row.unit}" if values else "not run"

    peers = [f"{name}: {cell(values)}" for name, values in row.peers.items()]
    failures = [f"{name}: {why}" for name, why in row.failed.items()]
    reached = {True: "yes", False: "no", None: "–"}[row.reached]
    cells = [
        row.what,
        cell(row.ours),
        "<br>".join(peers) or "not run",
        spread(row.ratios, ".2f") if row.ratios else "not run",
        "–" if row.aim is None else f"{row.aim:g}",
        reached,
        "; ".join(filter(None, [row.notes, row.unmet, *failures])),
    ]
    return "| " + " | ".join(text.replace("|", "/").replace("\n", " ") for text in cells) + " |"


def finish(rows: Sequence[Row], path: Path | None, **more: Any) -> None:
    """Print the table of a script, and write its figures to a file if one is given."""
    if rows:
        print(table(rows))
    if path is not None:
        content = {"rows": [row.plain() for row in rows], **more}
        path.write_text(json.dumps(content, indent=2) + "\n")
