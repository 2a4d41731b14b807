"""What the end of a run's log says: how the run ended, and its last evaluation.

A run that reaches its last step is evaluated once more after its last row of metrics was written;
only the log and the policy know of that.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

from trpotui.past_runs.files import LOG, read_tail

MOST_LOG = 8192

# the lines of trpotui.recorded_run.describe, behind their time
STARTED = re.compile(r"\S+ training \S+ on ")
EVALUATED = re.compile(r"\S+ evaluation after update (\d{1,15}): (-?[\d.]{1,30}) ± ([\d.]{1,30}) ")
ENDED = re.compile(r"\S+ ended after [\d,]+ steps: (.+)")


class LogEnd(NamedTuple):
    """Of the last start of a run, as far as the end of the log reaches back."""

    ended: str | None
    """Why it ended; None when it did not say."""
    evaluation: tuple[int, float, float] | None
    """Update, mean and standard deviation of the last evaluation."""


def read_log_end(path: Path) -> LogEnd:
    """The end of the log in a run's directory; empty when there is none."""
    ended, evaluation = None, None
    for line in read_tail(path / LOG, MOST_LOG).split("\n"):
        if STARTED.match(line):
            ended = None
        elif match := ENDED.match(line):
            ended = match[1].strip()
        elif match := EVALUATED.match(line):
            evaluation = _evaluation(*match.groups())
    return LogEnd(ended, evaluation)


def _evaluation(update: str, mean: str, std: str) -> tuple[int, float, float] | None:
    try:
        values = int(update), float(mean), float(std)
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None
