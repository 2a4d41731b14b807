"""What is to be trained: the form of a run."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Button, Input, Select, Static

from trpotui.presets import preset_names
from trpotui.rl.algorithms import ALGORITHMS
from trpotui.tui.draft import NUMBERS, Draft
from trpotui.tui.form import setup_form
from trpotui.tui.messages import RunRequested, StopRequested
from trpotui.tui.widgets.fields import Choice, FormRow, PickerField
from trpotui.tui.widgets.text_field import TextField

if TYPE_CHECKING:
    from trpotui.tui.app import TrpotuiApp

DEVICES = ("auto", "cpu")
"""Devices that are always there."""


class DevicesFound(Message):
    """Torch was asked which devices there are."""

    def __init__(self, devices: tuple[str, ...]) -> None:
        super().__init__()
        self.devices = devices


class SetupPane(Vertical):
    """The form of a run; what was not touched follows the preset.

    Args:
        draft: what stands in it at first.
    """

    app: TrpotuiApp
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "app.focus_previous", "field above", show=False),
        Binding("down", "app.focus_next", "field below", show=False),
    ]

    def __init__(self, draft: Draft | None = None) -> None:
        super().__init__()
        self.border_title = "Setup"
        self.draft = Draft() if draft is None else draft
        self._devices: tuple[str, ...] = DEVICES
        self._start_when_loaded = False
        self._algorithm = Choice(sorted(ALGORITHMS), self.draft.algorithm)
        self._environment = PickerField()
        self._device = Choice(DEVICES, self.draft.device or DEVICES[0])
        self._preset = Choice((), self._defaults()["preset"])
        self._numbers = {
            name: TextField(getattr(self.draft, name), compact=True, id=name) for name in NUMBERS
        }

    def compose(self) -> ComposeResult:
        """A row for each choice, and what to do with them."""
        yield FormRow("algorithm", "Algorithm", self._algorithm)
        yield FormRow("environment_id", "Env", self._environment)
        yield Static("", id="environment-kwargs", markup=False)
        yield FormRow("device", "Device", self._device)
        for name, label in zip(NUMBERS, ("Seed", "Steps", "Envs"), strict=True):
            yield FormRow(name, label, self._numbers[name])
        yield FormRow("preset", "Preset", self._preset)
        yield FormRow("settings", "", Button("Hyperparameters…", compact=True, id="settings"))
        yield Button("Start", compact=True, id="start")

    def on_mount(self) -> None:
        """Follow the app: what it has loaded, and whether a run goes on."""
        self.watch(self.app, "core_loaded", self._on_core_loaded)
        self.watch(self.app, "status", self._show_status)
        self.fill(self.draft)

    # what the person wants

    def request_run(self) -> None:
        """Publish what the form asks for, as soon as it can be met; or say what is wrong."""
        if not self.accept():
            return
        if not self.app.core_loaded:
            self._start_when_loaded = True
            self._show_status()
            return
        self.screen.set_focus(None)
        self.post_message(RunRequested(self.draft.request()))

    def accept(self) -> bool:
        """Whether the form is right; if it is not, say so and go to the first field that is not."""
        for name, reason in self._problems().items():
            row = self._row(name)
            message = f"{row.label}: {reason}" if row.label else reason
            self.app.notify(
                message, title="The setup is not right yet", severity="error", markup=False
            )
            row.control.focus()
            return False
        return True

    def edit_hyperparameters(self) -> None:
        """Open the form of the hyperparameters."""
        from trpotui.tui.screens.hyperparameters import HyperparameterDialog  # noqa: PLC0415

        draft = self.draft

        def edited(settings: dict[str, object] | None) -> None:
            if settings is not None:
                self.fill(dataclasses.replace(self.draft, settings=settings))

        self.app.push_screen(
            HyperparameterDialog(lambda: setup_form(draft.base(), draft.settings)), edited
        )

    def focus_form(self) -> None:
        """Begin to fill the form in."""
        self._algorithm.focus()

    # what stands in the form

    def fill(self, draft: Draft) -> None:
        """Show another draft."""
        self.draft = draft
        for name, field in self._numbers.items():
            with self.prevent(Input.Changed):
                field.value = getattr(draft, name)
        self._show_draft()

    def _read(self) -> None:
        """Take over what stands in the controls."""
        automatic = dataclasses.replace(self.draft, preset="").defaults()["preset"]
        numbers: dict[str, Any] = {
            name: field.value.strip() for name, field in self._numbers.items()
        }
        preset, device = str(self._preset.value), str(self._device.value)
        draft = dataclasses.replace(
            self.draft,
            algorithm=str(self._algorithm.value),
            device="" if device == DEVICES[0] else device,
            preset="" if preset == automatic else preset,
            **numbers,
        )
        if draft != self.draft:
            self.draft = draft
            self._show_draft()

    def _show_draft(self) -> None:
        """Show all that follows from the draft."""
        draft, defaults = self.draft, self._defaults()
        self._algorithm.show(sorted(ALGORITHMS), draft.algorithm)
        self._environment.value = draft.environment_id
        kwargs = self.query_one("#environment-kwargs", Static)
        kwargs.update(draft.kwargs_text())
        kwargs.display = bool(draft.environment_kwargs)
        self._device.show(self._devices, draft.device or defaults["device"])
        for name, field in self._numbers.items():
            field.placeholder = defaults[name]
        self._preset.show(preset_names(draft.environment_id, draft.algorithm), defaults["preset"])
        changed = draft.changed(core_loaded=self.app.core_loaded)
        self.query_one("#settings", Button).label = (
            f"Hyperparameters: {changed} changed" if changed else "Hyperparameters…"
        )
        self._show_problems()

    def _defaults(self) -> dict[str, str]:
        return self.draft.defaults()

    def _problems(self) -> dict[str, str]:
        return self.draft.problems(core_loaded=self.app.core_loaded)

    def _show_problems(self) -> None:
        problems = self._problems()
        for row in self.query(FormRow):
            row.show_problem(problems.get(row.field, ""))

    def _row(self, name: str) -> FormRow:
        return next(row for row in self.query(FormRow) if row.field == name)

    # what happens

    def on_input_changed(self, event: Input.Changed) -> None:
        """Check what is typed, letter by letter."""
        event.stop()
        self._read()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go on to the next field."""
        event.stop()
        self.screen.focus_next()

    def on_select_changed(self, event: Select.Changed) -> None:
        """Take a choice over."""
        event.stop()
        self._read()

    def on_picker_field_opened(self, event: PickerField.Opened) -> None:
        """Let the person search the environments."""
        from trpotui.tui.screens.environment_picker import EnvironmentPicker  # noqa: PLC0415

        event.stop()

        def picked(environment_id: str | None) -> None:
            if environment_id is not None and environment_id != self.draft.environment_id:
                self._change_environment(environment_id)

        self.app.push_screen(EnvironmentPicker(self.draft.environment_id), picked)

    def _change_environment(self, environment_id: str) -> None:
        """Its keyword arguments and its presets go with an environment."""
        draft = dataclasses.replace(
            self.draft, environment_id=environment_id, environment_kwargs={}
        )
        if draft.preset not in preset_names(environment_id, draft.algorithm):
            draft = dataclasses.replace(draft, preset="")
        self.fill(draft)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Start, stop, or go to the hyperparameters."""
        event.stop()
        if event.button.id == "settings":
            self.edit_hyperparameters()
        elif self.app.busy:
            self.post_message(StopRequested())
        else:
            self.request_run()

    def _on_core_loaded(self, loaded: bool) -> None:
        if not loaded:
            return
        self._find_devices()
        self._show_draft()
        if self._start_when_loaded:
            self._start_when_loaded = False
            self._show_status()
            self.request_run()

    @work(thread=True, exit_on_error=False)
    def _find_devices(self) -> None:
        """Ask torch, in a thread: a driver may take its time to answer."""
        self.post_message(DevicesFound((*DEVICES, *accelerators())))

    def on_devices_found(self, event: DevicesFound) -> None:
        """Offer what was found."""
        event.stop()
        self._devices = event.devices
        self._show_draft()

    def _show_status(self) -> None:
        """Say what the button does now, and that the form is about the next run."""
        button = self.query_one("#start", Button)
        self.border_title = "Setup of the next run" if self.app.busy else "Setup"
        button.disabled = self.app.status == "stopping" or self._start_when_loaded
        if self._start_when_loaded:
            button.label, button.variant = "loading torch…", "default"
        elif self.app.status == "stopping":
            button.label, button.variant = "stopping…", "default"
        elif self.app.busy:
            button.label, button.variant = "■ Stop", "warning"
        else:
            button.label, button.variant = "▶ Start", "success"


def accelerators() -> tuple[str, ...]:
    """The devices beside the CPU that torch can use, as a configuration names them."""
    import torch  # noqa: PLC0415 - takes a second, in a thread

    count = torch.cuda.device_count()
    found = ["cuda"] if count == 1 else [f"cuda:{index}" for index in range(count)]
    if torch.backends.mps.is_available():
        found.append("mps")
    return tuple(found)
