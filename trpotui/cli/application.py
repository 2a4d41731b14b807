"""The command, its exit codes, and how failures are told."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

import trpotui
from trpotui.errors import RequestError, TrpotuiError
from trpotui.imports import import_modules

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


def _import_modules(names: list[str] | None) -> None:
    import_modules(names or ())


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

Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        callback=_import_modules,
        help="Import a module of yours that registers environments; repeatable.",
    ),
]
