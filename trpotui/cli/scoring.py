"""`trpotui eval`."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trpotui.cli.application import Debug, Imports, app
from trpotui.cli.files import check_output, write_output
from trpotui.cli.policies import Json, Seed, Stochastic

if TYPE_CHECKING:
    from trpotui.comparison import Comparison
    from trpotui.rl.policy import SavedPolicy

WIDE = 200
"""Columns of a table where no terminal sets a bound."""


@app.command(name="eval")
def evaluate(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE.pt", help="A saved policy, or several of one environment."),
    ],
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to score.")] = 100,
    seed: Seed = 0,
    stochastic: Stochastic = False,
    json: Json = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.json|.csv", help="Also write every figure to a file."
        ),
    ] = None,
    imports: Imports = None,
    debug: Debug = False,
) -> int:
    """Score a policy over fixed seeds, or several on the same ones.

    One policy: n, mean, std, min and max. Several of one environment: a table with mean, median,
    interquartile mean (IQM), the probability of an episode that is better than the first policy's,
    lengths and speed, with 95 % bootstrap intervals.
    """
    if output is not None:
        check_output(output, "--output", suffixes=(".json", ".csv"), inputs=files)
    from trpotui.policy_file import read_playable

    policies = [(str(file), read_playable(file)) for file in files]

    from trpotui.comparison import compare
    from trpotui.comparison.reports import as_csv, as_json, as_text
    from trpotui.progress_bar import progress_bar
    from trpotui.terminal import Printer

    bar = progress_bar("episodes", len(policies) * episodes)
    with _threads([saved for _, saved in policies], episodes), bar as report:
        comparison = compare(
            policies, episodes=episodes, seed=seed, stochastic=stochastic, progress=report
        )
    _tell_unfinished(comparison)
    out = Printer(sys.stdout)
    if len(policies) == 1:
        score = _score_as_json if json else _score_in_a_line
        out.line(score(comparison))
    else:
        width = None if sys.stdout.isatty() else WIDE
        out.line(as_json(comparison) if json else as_text(comparison, width=width))
    if output is not None:
        as_csv_wanted = output.suffix.lower() == ".csv"
        text = as_csv(comparison) if as_csv_wanted else f"{as_json(comparison)}\n"
        write_output(output, text.encode(errors="surrogateescape"))  # as names of files
    return 0


def _threads(policies: Sequence[SavedPolicy], episodes: int) -> AbstractContextManager[None]:
    """As many threads as training takes for so much arithmetic, where torch does it: for images."""
    widths = [
        max(saved.policy.spec.hidden_sizes, default=1)
        for saved in policies
        if saved.policy.spec.network == "cnn"
    ]
    if not widths:
        return nullcontext()  # without importing torch

    from trpotui.comparison import MOST_ENVIRONMENTS
    from trpotui.rl.devices import threads
    from trpotui.rl.images import UNITS

    return threads(0, batch=min(episodes, MOST_ENVIRONMENTS), width=max(UNITS, *widths))


def _tell_unfinished(comparison: Comparison) -> None:
    from trpotui.rl.evaluation import LONGEST_EPISODE
    from trpotui.terminal import Printer

    err = Printer(sys.stderr)
    for policy in comparison.scored:
        name = "" if len(comparison.scored) == 1 else f"{policy.name}: "
        if policy.result.unfinished:
            err.line(
                f"{name}{policy.result.unfinished} episodes did not end within "
                f"{LONGEST_EPISODE:,} steps and count as far as they came"
            )


def _score_as_json(comparison: Comparison) -> str:
    returns = comparison.scored[0].result.returns
    return jsonlib.dumps({**_summary(comparison), "returns": returns})


def _score_in_a_line(comparison: Comparison) -> str:
    return "{}, {episodes} episodes: {mean:.2f} ± {std:.2f} (min {min:.2f}, max {max:.2f})".format(
        comparison.environment_id, **_summary(comparison)
    )


def _summary(comparison: Comparison) -> dict[str, float]:
    """The score of a single policy, without intervals: those take longer than the episodes."""
    result = comparison.scored[0].result
    score = result.score
    return {
        "episodes": score.episodes,
        "mean": score.mean,
        "std": score.std,
        "min": min(result.returns),
        "max": max(result.returns),
    }
