"""Where a run goes unless the person says otherwise."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from trpotui.config import RunConfig


def default_path(root: Path, config: RunConfig, now: datetime) -> Path:
    """`root/<env>/<algo>-s<seed>-<UTC time>`, with a number at its end if that is taken."""
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{_as_file_name(config.algorithm)}-s{config.seed}-{stamp}"
    path = first = root / _as_file_name(config.environment_id) / name
    number = 1
    while path.exists():
        number += 1
        path = first.with_name(f"{name}-{number}")
    return path


def _as_file_name(name: str) -> str:
    """`name` with a hyphen in place of what cannot be part of a file's name everywhere."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "run"
