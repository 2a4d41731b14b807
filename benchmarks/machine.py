"""What a measurement was made on and with: for the tables, so that figures can be compared."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

OWN = ("trpotui", "torch", "numpy", "gymnasium")
ROOT = Path(__file__).parent.parent
ASK = (
    "import json, platform; from importlib import metadata\n"
    "found = {one.metadata['Name'].lower(): one.version for one in metadata.distributions()}\n"
    "print(json.dumps({'python': platform.python_version(), **{n: found[n] for n in %s "
    "if n in found}}))"
)


def cpu_model() -> str:
    """As the operating system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cores() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def commit() -> str:
    """Of the working tree, with a mark where it differs; empty outside of a repository."""

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
            )
        except (OSError, subprocess.CalledProcessError):
            return ""
        return done.stdout.strip()

    changed = "" if not git("status", "--porcelain", "--", "trpotui") else " with changes"
    return git("rev-parse", "--short", "HEAD") + changed


def own_versions() -> dict[str, str]:
    """Of what trpotui runs on."""
    versions = {name: metadata.version(name) for name in OWN}
    return {"python": platform.python_version(), **versions, "commit": commit()}


def versions_of(python: str, names: Sequence[str]) -> dict[str, str]:
    """Of packages that another interpreter has; empty where it cannot be asked."""
    try:
        done = subprocess.run(
            [python, "-c", ASK % repr(list(names))], check=True, capture_output=True, text=True
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return {}
    return dict(found)


def load() -> float:
    """Mean number of busy processes over the last minute; NaN where that is not told."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def facts() -> dict[str, Any]:
    """Machine and versions, for JSON."""
    return {"cpu": cpu_model(), "cores": cores(), "load": load(), "versions": own_versions()}


def describe(facts_of: Mapping[str, Any] | None = None) -> str:
    """Machine and versions, in a line."""
    known = facts_of or facts()
    versions = ", ".join(f"{name} {version}" for name, version in known["versions"].items())
    return f"{known['cores']} cores of {known['cpu']}; {versions}."
