"""The setup of a run as a person is writing it: text that may still be wrong, and what it asks for.

Until the core is loaded only what needs no algorithm is checked.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from trpotui.config import RunConfig
from trpotui.errors import RequestError
from trpotui.presets import load_preset
from trpotui.rl.algorithms import ALGORITHMS
from trpotui.run_request import RunRequest, make_config
from trpotui.tui.form import differs, parse, setup_form, text_of

NUMBERS = ("seed", "total_steps", "n_envs")
"""Fields of the setup that are whole numbers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draft:
    """What stands in the setup; empty text leaves the choice to the preset or the default."""

    algorithm: str = RunRequest.algorithm
    environment_id: str = RunRequest.environment_id
    environment_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    device: str = ""
    seed: str = ""
    total_steps: str = ""
    n_envs: str = ""
    preset: str = ""
    settings: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """Hyperparameters that differ from the preset, and fields of the run without a place here."""

    @classmethod
    def of(cls, request: RunRequest) -> Draft:
        """What stands in the setup when `request` was asked for on the command line."""
        settings = dict(request.settings)
        if request.stop_when_solved is not None:
            settings["stop_when_solved"] = request.stop_when_solved
        numbers = {}
        for name in NUMBERS:
            setting = settings.pop(name, None) if name != "seed" else None
            asked = getattr(request, name)
            value = setting if asked is None else asked
            numbers[name] = "" if value is None else text_of(value)
        return cls(
            algorithm=request.algorithm,
            environment_id=request.environment_id,
            environment_kwargs=request.environment_kwargs,
            device=request.device or "",
            preset=request.preset or "",
            settings=settings,
            **numbers,
        )

    def request(self) -> RunRequest:
        """What the setup asks for.

        Raises:
            RequestError: a field is wrong.
        """
        for name, reason in self.problems().items():
            raise RequestError(f"{name}: {reason}")
        settings = dict(self.settings)
        solved = settings.pop("stop_when_solved", None)
        numbers = {
            name: parse(RunConfig, name, text) if (text := getattr(self, name)) else None
            for name in NUMBERS
        }
        return RunRequest(
            algorithm=self.algorithm,
            environment_id=self.environment_id,
            environment_kwargs=self.environment_kwargs,
            device=self.device or None,
            preset=self.preset or None,
            stop_when_solved=None
            if solved is None
            else parse(RunConfig, "stop_when_solved", solved),
            settings=settings,
            **numbers,
        )

    def base(self) -> RunConfig:
        """The run without what was changed by hand.

        Raises:
            RequestError: the algorithm or the preset does not exist.
        """
        return make_config(
            RunRequest(
                algorithm=self.algorithm,
                environment_id=self.environment_id,
                preset=self.preset or None,
            )
        )

    def problems(self, *, core_loaded: bool = False) -> dict[str, str]:
        """What is wrong, by the name of the field, in the order of the form.

        Args:
            core_loaded: whether environment and hyperparameters can be looked at without importing
                anything.
        """
        found = {}
        if self.algorithm not in ALGORITHMS:
            found["algorithm"] = f"there are: {', '.join(sorted(ALGORITHMS))}"
        if core_loaded and (reason := _environment_problem(self.environment_id)):
            found["environment_id"] = reason
        for name in ("device", *NUMBERS):
            if text := getattr(self, name):
                try:
                    parse(RunConfig, name, text)
                except RequestError as error:
                    found[name] = str(error)
        if "algorithm" not in found:
            try:
                load_preset(self.environment_id, self.algorithm, self.preset or None)
            except RequestError as error:
                found["preset"] = str(error)
        if core_loaded and not found and (reason := self._settings_problem()):
            found["settings"] = reason
        return found

    def _settings_problem(self) -> str:
        """What is wrong with the hyperparameters, or with all of it taken together."""
        try:
            make_config(self.request())
        except RequestError as error:
            return str(error)
        return ""

    def defaults(self) -> dict[str, str]:
        """What the empty fields stand for, as far as that is known without the core."""
        try:
            preset, values = load_preset(self.environment_id, self.algorithm, self.preset or None)
        except RequestError:
            preset, values = self.preset, {}
        run = RunConfig()
        numbers = {name: text_of(values.get(name, getattr(run, name))) for name in NUMBERS}
        return {"preset": preset, "device": run.device, **numbers}

    def changed(self, *, core_loaded: bool) -> int:
        """How many settings differ from the preset's."""
        if core_loaded:
            try:
                form = setup_form(self.base(), self.settings)
            except RequestError:
                return len(self.settings)
            return sum(
                name not in form.base or differs(form, name, value)
                for name, value in self.settings.items()
            )
        return len(self.settings)

    def kwargs_text(self) -> str:
        """The environment's keyword arguments, in one line."""
        return ", ".join(
            f"{name}={json.dumps(value, default=str)}"
            for name, value in self.environment_kwargs.items()
        )


def _environment_problem(environment_id: str) -> str:
    from trpotui.rl.environments import registered_spec  # noqa: PLC0415 - imports gymnasium

    try:
        registered_spec(environment_id)
    except RequestError as error:
        return str(error)
    return ""
