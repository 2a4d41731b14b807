"""The command line. Nothing heavy is imported here: `trpotui --help` must not wait for torch."""

from __future__ import annotations

import json as jsonlib
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import trpotui
from trpotui.errors import RequestError, TrpotuiError

if TYPE_CHECKING:
    from trpotui.episodes import EpisodePlayed, PlayOptions
    from trpotui.headless import Reporting
    from trpotui.rl.policy import SavedPolicy

app = typer.Typer(
    help="Train, watch and replay trust-region policies (TRPO and its family).",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_debug = False


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; failures are one sentence on standard error."""
    global _debug  # noqa: PLW0603 - set by --debug, which every command has
    _debug = False
    try:
        code = app(list(arguments), prog_name="trpotui", standalone_mode=False)
    except TrpotuiError as error:
        _complain(str(error))
        return 2 if isinstance(error, RequestError) else 1
    except typer.TyperException as error:  # unknown options, missing arguments
        _complain(error.format_message())
        return error.exit_code
    except typer.Abort:
        return 130
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # whoever read our output has left; python would complain once more while it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last place that can make it a sentence
        _complain(f"unexpected {type(error).__name__}: {error} (--debug shows where)")
        return 1
    return code if isinstance(code, int) else 0


def _complain(message: str) -> None:
    if _debug:
        traceback.print_exc()
    text = " ".join(message.split())
    print(f"trpotui: {text}", file=sys.stderr)


def _set_debug(value: bool) -> None:
    global _debug  # noqa: PLW0603
    _debug |= value


def _print_version(value: bool) -> None:
    if value:
        print(f"trpotui {trpotui.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_set_debug, help="Show a traceback when something fails."),
]
PolicyPath = Annotated[Path, typer.Argument(metavar="FILE.pt", help="A saved policy.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the first episode.")]
Stochastic = Annotated[
    bool, typer.Option("--stochastic", help="Sample actions instead of taking the likeliest.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
            help="End at the environment's reward threshold [default: stop-when-solved]",
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN_DIR", help="Go on with a run from its checkpoint.")
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
    debug: Debug = False,
) -> int:
    """Train a policy."""
    if not no_ui:
        raise RequestError("the app is not part of this version: add --no-ui to train without it")
    from trpotui.headless import Reporting, run_headless
    from trpotui.rl.trainer import check
    from trpotui.run_directory import RunDirectory

    if output is not None:
        _check_output(output)
    reporting = Reporting(quiet=quiet, json=json, log_every=log_every)
    if resume is not None:
        fixed = {
            "--algo": algo, "--env": env, "--device": device, "--seed": seed, "--n-envs": n_envs,
            "--preset": preset, "--set": settings, "--env-set": env_settings,
            "--run-dir": run_dir,
        }  # fmt: skip
        _refuse_with_resume(fixed)
        return _resume(resume, steps, stop_when_solved, output, reporting)

    from trpotui.run_request import RunRequest, make_config

    config = make_config(
        RunRequest(
            algorithm=algo or "trpo",
            environment_id=env or "CartPole-v1",
            environment_kwargs={
                key: _json_or_text(value)
                for key, value in _pairs(env_settings, "--env-set").items()
            },
            device=device,
            seed=seed,
            total_steps=steps,
            n_envs=n_envs,
            preset=preset,
            stop_when_solved=stop_when_solved,
            settings=_pairs(settings, "--set"),
        )
    )
    check(config)
    path = run_dir or RunDirectory.default_path(Path("runs"), config, datetime.now(UTC))
    with RunDirectory.create(path, config, command=sys.argv) as directory:
        return run_headless(config, directory, output=output, reporting=reporting)


def _resume(
    path: Path,
    steps: int | None,
    stop_when_solved: bool | None,
    output: Path | None,
    reporting: Reporting,
) -> int:
    """Go on with a run; only its length, and whether being solved ends it, may change."""
    from trpotui.headless import run_headless
    from trpotui.recorded_run import resume
    from trpotui.run_directory import RunDirectory

    with RunDirectory.open(path) as directory:
        resumption = resume(directory, total_steps=steps, stop_when_solved=stop_when_solved)
        if resumption.notice:
            print(resumption.notice, file=sys.stderr)
        return run_headless(
            resumption.config,
            directory,
            output=output,
            reporting=reporting,
            resume_from=resumption.state,
        )


class View(StrEnum):
    """How `play` shows the episodes."""

    WINDOW = "window"
    NONE = "none"


@app.command()
def play(
    file: PolicyPath,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to play.")] = 3,
    seed: Seed = 0,
    stochastic: Stochastic = False,
    view: Annotated[
        View, typer.Option(help="A pygame window, or none for the returns alone.")
    ] = View.WINDOW,
    speed: Annotated[
        float, typer.Option(help="1 is the environment's own pace; 0.25 to 16.")
    ] = 1.0,
    debug: Debug = False,
) -> int:
    """Play evaluation episodes of a policy, in a window."""
    import asyncio

    from trpotui.config import build
    from trpotui.episodes import PlayOptions, play_without_window

    saved = _read_policy(file)
    values = {"episodes": episodes, "seed": seed, "stochastic": stochastic, "speed": speed}
    options = build(PlayOptions, values, what="option")
    returns: list[float] = []

    def show(episode: EpisodePlayed) -> None:
        returns.append(episode.episode_return)
        print(
            f"episode {episode.episode} of {episodes}: return {episode.episode_return:.1f}, "
            f"{episode.length} steps (seed {episode.seed})",
            flush=True,
        )

    if view is View.WINDOW:
        asyncio.run(_play_in_window(saved, options, show))
    else:
        for episode in play_without_window(saved.policy, options):
            show(episode)
    if returns:
        print(f"mean {sum(returns) / len(returns):.1f} over {len(returns)} episodes")
    else:
        print("no episode was finished")
    return 0


async def _play_in_window(
    saved: SavedPolicy, options: PlayOptions, show: Callable[[EpisodePlayed], None]
) -> None:
    """Report the episodes of a window until it is closed; SIGTERM and SIGHUP close it too."""
    import asyncio
    import signal

    from trpotui.episodes import EpisodePlayed
    from trpotui.viewer import PlayerWindow

    task = asyncio.current_task()
    assert task is not None
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        task.cancel()

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            number = getattr(signal, name)
            asyncio.get_running_loop().add_signal_handler(number, stop, int(number))
    try:
        async with await PlayerWindow.open(saved.policy, options) as window:
            async for event in window.events():
                if isinstance(event, EpisodePlayed):
                    show(event)
    except asyncio.CancelledError:
        if not received:
            raise
        raise typer.Exit(128 + received[0]) from None


@app.command(name="eval")
def evaluate(
    file: PolicyPath,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to score.")] = 100,
    seed: Seed = 0,
    stochastic: Stochastic = False,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Score a policy: n, mean, std, min and max over fixed seeds."""
    from trpotui.rl.environments import make_environments
    from trpotui.rl.evaluation import evaluate as score_episodes

    saved = _read_policy(file)
    spec = saved.policy.spec
    environments = make_environments(
        spec.environment_id, spec.environment_kwargs, n_envs=min(episodes, 100)
    )
    try:
        result = score_episodes(
            saved.policy, environments, episodes=episodes, seed=seed, stochastic=stochastic
        )
    finally:
        environments.close()
    score = result.score
    summary = {
        "episodes": score.episodes,
        "mean": score.mean,
        "std": score.std,
        "min": min(result.returns),
        "max": max(result.returns),
    }
    if json:
        print(jsonlib.dumps({**summary, "returns": result.returns}))
    else:
        print(
            f"{spec.environment_id}, {score.episodes} episodes: {score.mean:.2f} ± "
            f"{score.std:.2f} (min {summary['min']:.2f}, max {summary['max']:.2f})"
        )
    return 0


@app.command()
def inspect(file: PolicyPath, json: Json = False, debug: Debug = False) -> int:
    """Show what a policy file holds and where it came from; nothing is run."""
    from trpotui.inspection import as_table, facts_of
    from trpotui.policy_file import read_policy

    facts = facts_of(read_policy(file))
    print(jsonlib.dumps(facts) if json else as_table(facts))
    return 0


def _read_policy(file: Path) -> SavedPolicy:
    """A checked policy whose environment is here and is the one it was made for."""
    from trpotui.policy_file import check_environment, read_policy

    saved = read_policy(file)
    check_environment(saved, file)
    return saved


def _check_output(path: Path) -> None:
    """Refuse an output that cannot be written before hours of training, not after."""
    if path.is_dir():
        raise RequestError(f"{path} is a directory: name a file for --output")
    if not path.absolute().parent.is_dir():
        raise RequestError(f"the directory of --output {path} does not exist")
    if not os.access(path.absolute().parent, os.W_OK):
        raise RequestError(f"the directory of --output {path} cannot be written")


def _refuse_with_resume(options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value:
            raise RequestError(
                f"{name} cannot be used with --resume: a resumed run keeps its configuration"
            )


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
