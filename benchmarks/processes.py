"""Processes that measure something, in turn, and what they print last: a line with JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PEERS = HERE / "peers"
OURS = [sys.executable, str(HERE / "ours.py")]
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LONGEST = 600.0
"""Seconds after which a process is taken for stuck."""

Measurement = Mapping[str, Any]


class MeasurementError(Exception):
    """A process that was to measure something did not."""


def setting_options(settings: Iterable[str]) -> list[str]:
    """Settings KEY=VALUE as options of trpotui, or of `ours.py`."""
    return [part for one in settings for part in ("--set", one)]


def measured(command: Sequence[str], *, threads: int = 1) -> dict[str, Any]:
    """Run a process and return the JSON object that it prints last.

    Args:
        command: program and arguments.
        threads: of the pools of torch and numpy, where a program does not choose itself; 0 leaves
            the choice to them.

    Raises:
        MeasurementError: it failed, hung, or printed none; the last line of its errors says why.
    """
    variables = dict.fromkeys(POOLS, str(threads)) if threads else {}
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            env={**os.environ, **variables},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeasurementError(str(error)) from None
    if done.returncode:
        told = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise MeasurementError(told[-1])
    try:
        result = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise MeasurementError("it printed no JSON") from None
    if not isinstance(result, dict):
        raise MeasurementError("it printed no JSON object")
    return result


def threaded(name: str, count: int) -> str:
    """What a program is called with so many torch threads."""
    return name if count == 1 else f"{name}, {count or 'its own number of'} threads"


def with_threads(
    commands: Mapping[str, Sequence[str]], counts: Iterable[int]
) -> dict[str, Callable[[int], Measurement]]:
    """What measures each program with each number of torch threads, by `threaded`.

    Args:
        commands: by the program's name; they take `--torch-threads`.
        counts: of threads; 0 leaves the number to the program.
    """

    def runner(command: Sequence[str], count: int) -> Callable[[int], Measurement]:
        return lambda _: measured([*command, "--torch-threads", str(count)], threads=count)

    return {
        threaded(name, count): runner(command, count)
        for count in counts
        for name, command in commands.items()
    }


def peers_beside(count: int, names: Iterable[str], counts: Iterable[int]) -> list[str]:
    """The peers that ours with so many threads is held against: with as many, and with one.

    Args:
        count: of our threads.
        names: of the peers.
        counts: of threads that were measured.
    """
    chosen = [one for one in counts if one in (1, count)]
    return [threaded(name, one) for name in names for one in chosen]


def in_turn(
    programs: Mapping[str, Callable[[int], Measurement]], rounds: int
) -> tuple[dict[str, list[Measurement]], dict[str, str]]:
    """Let every program measure once a round, so that a machine that slows down slows all.

    Args:
        programs: name to what measures; given the number of the round.
        rounds: how many.

    Returns:
        What each measured, and why those failed that did: they are left out from then on, with all
        that they had measured.
    """
    results: dict[str, list[Measurement]] = {name: [] for name in programs}
    failed: dict[str, str] = {}
    for index in range(rounds):
        for name, measure in programs.items():
            if name in failed:
                continue
            try:
                results[name].append(measure(index))
            except MeasurementError as error:
                failed[name] = f"failed: {error}"
                del results[name]
                print(f"{name} failed: {error}", file=sys.stderr)
            else:
                print(f"round {index + 1}: {name} {_short(results[name][-1])}", file=sys.stderr)
    return results, failed


def values(results: Mapping[str, list[Measurement]], name: str, key: str) -> list[float]:
    """A figure of every round of a program; empty for one that failed or was not run."""
    return [float(one[key]) for one in results.get(name, [])]


def _short(result: Measurement) -> str:
    return json.dumps({key: value for key, value in result.items() if not isinstance(value, list)})
