"""How a run ended, as the end of its log says it; nothing else on disk does."""

from __future__ import annotations

import re
from pathlib import Path

from trpotui.past_runs.files import LOG, read_tail

MOST_LOG = 8192

# lines of trpotui.run_log, behind their time
STARTED = re.compile(r"\S+ training \S+ on ")
ENDED = re.compile(r"\S+ (solved|stopped|finished) after [\d,]+ steps")


def read_end(path: Path) -> str | None:
    """The word for how the run in a directory ended; None when it did not end by itself."""
    ended = None
    for line in read_tail(path / LOG, MOST_LOG).split("\n"):
        if STARTED.match(line):
            ended = None
        elif match := ENDED.match(line):
            ended = match[1]
    return ended
