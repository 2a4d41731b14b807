"""An earlier run, to be trained again: its configuration, and what was changed while it went on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trpotui.config import (
    FIRST_TOTAL_STEPS,
    FIXED_WHILE_RUNNING,
    LIVE_EDITS,
    NOT_EXACT,
    REPEATS,
    RunConfig,
    build,
)
from trpotui.errors import RequestError
from trpotui.past_runs.files import UnreadableError, read_config
from trpotui.rl.control import Edit
from trpotui.run_request import config_from_dict


@dataclasses.dataclass(frozen=True)
class Repetition:
    """What it takes to repeat a run exactly, on the same machine and the same versions."""

    path: Path
    config: RunConfig
    """As the run began."""
    edits: tuple[Edit, ...]
    """What was changed while it went on, oldest first."""
    resumed_after: int | None
    """Updates after which it was first resumed without going on as if nothing had happened: so far
    the two can be the same. None if there is no such place."""

    def stored(self) -> dict[str, Any]:
        """As `RunDirectory.create` takes it."""
        return {
            "run": str(self.path),
            "edits": [{"update": e.update, "values": dict(e.values)} for e in self.edits],
            "resumed_after": self.resumed_after,
        }


def repetition_of(path: Path) -> Repetition:
    """The run in a directory, which may still go on.

    Raises:
        RequestError: it is damaged, or not of this version.
    """
    try:
        stored = read_config(path)
    except UnreadableError as error:
        raise RequestError(f"{path} cannot be repeated: {error}") from None
    total = stored.get(FIRST_TOTAL_STEPS, stored.get("total_steps"))
    try:
        config = config_from_dict({**stored, "total_steps": total})
        edits = _edits(stored)
        _check(config, edits)
    except RequestError as error:
        raise RequestError(f"{path} cannot be repeated: {error}") from None
    return Repetition(path, config, edits, _resumed_after(stored))


def _edits(stored: Mapping[str, Any]) -> tuple[Edit, ...]:
    """Those that were made, and those that a run which was stopped early was still to make."""
    made = _listed(stored.get(LIVE_EDITS))
    repeats = stored.get(REPEATS)
    planned = _listed(repeats.get("edits") if isinstance(repeats, dict) else None)
    edits = [*made, *(edit for edit in planned if edit not in made)]
    return tuple(sorted(edits, key=lambda edit: edit.update))


def _listed(stored: object) -> list[Edit]:
    if stored is None:
        return []
    return [Edit.of(one) for one in stored] if isinstance(stored, Sequence) else [Edit.of(stored)]


def _check(config: RunConfig, edits: Sequence[Edit]) -> None:
    """Refuse what could not be changed, before anything is trained."""
    hyperparameters = config.hyperparameters
    for edit in edits:
        values = dict(edit.values)
        length = {name: values.pop(name) for name in ("total_steps",) if name in values}
        build(RunConfig, length, what="changed setting")
        if fixed := [name for name in values if name in FIXED_WHILE_RUNNING]:
            raise RequestError(f"{fixed[0]} cannot be changed while a run goes on")
        hyperparameters = build(
            type(hyperparameters),
            {**dataclasses.asdict(hyperparameters), **values},
            what="changed hyperparameter",
        )


def _resumed_after(stored: Mapping[str, Any]) -> int | None:
    discontinuities = stored.get(NOT_EXACT)
    known = discontinuities if isinstance(discontinuities, list) else []
    after = [one["update"] for one in known if isinstance(one, dict) and "update" in one]
    return min((update for update in after if isinstance(update, int)), default=None)
