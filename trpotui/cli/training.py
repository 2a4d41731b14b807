"""`trpotui train`."""

from __future__ import annotations

import gc
import json as jsonlib
import math
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trpotui.cli.application import Debug, Imports, app
from trpotui.cli.files import check_output
from trpotui.errors import RequestError

if TYPE_CHECKING:
    from trpotui.config import RunConfig
    from trpotui.episodes import PlayOptions
    from trpotui.headless import Reporting
    from trpotui.repetition import Repetition
    from trpotui.run_request import RunRequest
    from trpotui.viewer import PlayerWindow
    from trpotui.viewing.contenders import Contender

RUNS = Path("runs")
"""Where runs are kept unless --run-dir says otherwise."""


@app.command()
def train(
    algo: Annotated[
        str | None, typer.Option("--algo", "-a", help="Algorithm [default: trpo]")
    ] = None,
    env: Annotated[
        str | None,
        typer.Option("--env", "-e", help="Gymnasium environment [default: CartPole-v1]"),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="auto, cpu, cuda, cuda:N or mps [default: auto]"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed [default: 0]")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Environment steps [default: the preset's]")
    ] = None,
    n_envs: Annotated[
        int | None,
        typer.Option(help="Environments stepped together [default: the preset's]"),
    ] = None,
    env_workers: Annotated[
        int | None,
        typer.Option(help="Processes that step slow environments [default: 0, this one does]"),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Tuned hyperparameters by name [default: tuned where there is one]"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A hyperparameter, e.g. max_kl=0.02; repeatable."
        ),
    ] = None,
    env_settings: Annotated[
        list[str] | None,
        typer.Option(
            "--env-set",
            metavar="KEY=VALUE",
            help="A keyword argument of the environment, its value JSON or text; repeatable.",
        ),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(help="Directory of this run [default: runs/ENV/ALGO-sSEED-TIME]"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.pt", help="Also write the best policy here."),
    ] = None,
    stop_when_solved: Annotated[
        bool | None,
        typer.Option(
            "--stop-when-solved/--no-stop-when-solved",
            help="End at the environment's reward threshold [default: the preset's]",
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN_DIR", help="Go on with a run from its checkpoint.")
    ] = None,
    repeat: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN_DIR",
            help="Train a run again: its configuration, and its edits at the same updates.",
        ),
    ] = None,
    no_ui: Annotated[
        bool, typer.Option("--no-ui", help="Without the app, for servers and scripts.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Metrics on standard output, one JSON object a line.")
    ] = False,
    log_every: Annotated[
        int, typer.Option(min=1, help="Updates between lines, where there is no progress bar.")
    ] = 10,
    profile: Annotated[
        bool, typer.Option("--profile", help="Print at the end where the time went.")
    ] = False,
    imports: Imports = None,
    debug: Debug = False,
) -> int:
    """Train a policy, in the app or (--no-ui) without a screen."""
    if output is not None:
        check_output(output, "--output")
    asked = {
        "--algo": algo, "--env": env, "--device": device, "--seed": seed, "--n-envs": n_envs,
        "--preset": preset, "--set": settings, "--env-set": env_settings,
    }  # fmt: skip
    if resume is not None:
        _refuse(asked | {"--set": None, "--run-dir": run_dir, "--repeat": repeat},
                "cannot be used with --resume: a resumed run keeps its configuration")  # fmt: skip
    if repeat is not None:
        solved = "--stop-when-solved" if stop_when_solved else "--no-stop-when-solved"
        _refuse(asked | {"--steps": steps, "--env-workers": env_workers,
                         solved: stop_when_solved is not None},
                "cannot be used with --repeat: a repeated run keeps its configuration")  # fmt: skip
    if env_workers is not None:
        asked["--set"] = [*(settings or []), f"env_workers={env_workers}"]
    request = _request(asked, total_steps=steps, stop_when_solved=stop_when_solved)
    if not no_ui:
        headless = {"--quiet": quiet, "--json": json, "--run-dir": run_dir, "--profile": profile}
        _refuse(headless, "needs --no-ui")
        return _open_app(request, resume, repeat, output)
    reporting = _reporting(quiet=quiet, json=json, log_every=log_every, profile=profile)
    if resume is not None:
        return _resume(resume, request, output, reporting)
    if repeat is not None:
        return _repeat(repeat, run_dir, output, reporting)
    return _train(request, run_dir, output, reporting)


def _request(
    asked: dict[str, Any], *, total_steps: int | None, stop_when_solved: bool | None
) -> RunRequest:
    """What the options ask for."""
    from trpotui.run_request import RunRequest

    environment_settings = _pairs(asked["--env-set"], "--env-set")
    return RunRequest(
        algorithm="trpo" if asked["--algo"] is None else asked["--algo"],
        environment_id="CartPole-v1" if asked["--env"] is None else asked["--env"],
        environment_kwargs={k: _json_or_text(v) for k, v in environment_settings.items()},
        device=asked["--device"],
        seed=asked["--seed"],
        total_steps=total_steps,
        n_envs=asked["--n-envs"],
        preset=asked["--preset"],
        stop_when_solved=stop_when_solved,
        settings=_pairs(asked["--set"], "--set"),
    )


def _train(
    request: RunRequest, run_dir: Path | None, output: Path | None, reporting: Reporting
) -> int:
    """A new run without a screen."""
    from trpotui.run_request import make_config

    return _begin(make_config(request), None, run_dir, output, reporting)


def _repeat(path: Path, run_dir: Path | None, output: Path | None, reporting: Reporting) -> int:
    """An earlier run once more, in a directory of its own."""
    from trpotui.repetition import repetition_of

    repetition = repetition_of(path)
    return _begin(repetition.config, repetition, run_dir, output, reporting)


def _begin(
    config: RunConfig,
    repetition: Repetition | None,
    run_dir: Path | None,
    output: Path | None,
    reporting: Reporting,
) -> int:
    from trpotui.headless import run_headless
    from trpotui.rl.trainer import check
    from trpotui.run_directory import RunDirectory

    check(config)
    path = run_dir or RunDirectory.default_path(RUNS, config, datetime.now(UTC))
    repeats = None if repetition is None else repetition.stored()
    with RunDirectory.create(path, config, command=sys.argv, repeats=repeats) as directory:
        return run_headless(config, directory, output=output, reporting=reporting)


def _resume(path: Path, request: RunRequest, output: Path | None, reporting: Reporting) -> int:
    """Go on with a run; only its length, and whether being solved ends it, may change."""
    from trpotui.headless import run_headless
    from trpotui.recorded_run import resume
    from trpotui.run_directory import RunDirectory

    with RunDirectory.open(path) as directory:
        resumption = resume(
            directory,
            total_steps=request.total_steps,
            stop_when_solved=request.stop_when_solved,
            settings=request.settings,
        )
        if resumption.notice:
            print(resumption.notice, file=sys.stderr)
        return run_headless(
            resumption.config,
            directory,
            output=output,
            reporting=reporting,
            resume_from=resumption.state,
        )


def _open_app(
    request: RunRequest, resume: Path | None, repeat: Path | None, output: Path | None
) -> int:
    """The app on this terminal, set up as asked for; its exit code."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise RequestError("there is no terminal to draw on: add --no-ui to train without the app")
    gc.disable()  # until the core is loaded: nothing that is imported is garbage
    from trpotui.run_request import RunRequest
    from trpotui.tui.app import TrpotuiApp
    from trpotui.tui.preferences import Preferences

    application = TrpotuiApp(
        runs=RUNS,
        output=output,
        open_window=_window,
        request=None if request == RunRequest() else request,
        preferences=Preferences(),
        resume=resume,
        repeat=repeat,
    )
    application.run()
    return application.return_code or 0


@asynccontextmanager
async def _window(shown: Contender, options: PlayOptions) -> AsyncIterator[PlayerWindow]:
    """A window on a policy, for the app, which does not know of windows."""
    from trpotui.viewer import PlayerWindow

    async with await PlayerWindow.open([shown], options) as window:
        yield window


def _refuse(options: Mapping[str, object], why: str) -> None:
    for name, value in options.items():
        if value is not None and value is not False and value != []:
            raise RequestError(f"{name} {why}")


def _reporting(**options: Any) -> Reporting:
    from trpotui.headless import Reporting

    return Reporting(**options)


def _pairs(items: Sequence[str] | None, option: str) -> dict[str, str]:
    """KEY=VALUE arguments as a dictionary."""
    pairs = {}
    for item in items or ():
        key, separator, value = item.partition("=")
        if not separator or not re.fullmatch(r"\w+", key.strip()):
            raise RequestError(f"{option} takes KEY=VALUE, not '{item}'")
        pairs[key.strip()] = value.strip()
    return pairs


def _json_or_text(text: str) -> Any:
    try:
        value = jsonlib.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, float) and not math.isfinite(value) else value
