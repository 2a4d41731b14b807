"""The form of the hyperparameters: before a run, and while one goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.reactive import reactive
from textual.widgets import Input, Static

from tests.tui.setup_app import (
    STYLES,
    Test,
    drive,
    fill_in,
    reason,
    row,
    started_run,
    told,
    until,
    write_into,
)
from tests.tui.setup_app import write as type_in
from trpotui.config import FIXED_WHILE_RUNNING, field_names
from trpotui.errors import RequestError
from trpotui.events import UpdateFinished
from trpotui.recorded_run import recorded_run
from trpotui.rl.algorithms.trpo import TrpoHyperparameters
from trpotui.rl.control import Control
from trpotui.run_directory import RunDirectory
from trpotui.run_request import RunRequest, make_config
from trpotui.tui.form import Form, Group, meaning
from trpotui.tui.messages import ChangeRequested
from trpotui.tui.screens.hyperparameters import HyperparameterDialog
from trpotui.tui.session import TrainingSession, resumed_run
from trpotui.tui.widgets.fields import Choice, FieldRow
from trpotui.tui.widgets.setup import SetupPane

OPEN = object()
"""In the place of an answer, while there is none."""


def small_form(**values: object) -> Form:
    """Three fields of three kinds in two groups."""
    groups = (
        Group("TRPO", TrpoHyperparameters, ("max_kl",)),
        Group("Networks", TrpoHyperparameters, ("hidden_sizes", "activation")),
    )
    base = {"max_kl": 0.02, "hidden_sizes": (64, 64), "activation": "tanh"}
    return Form(title="Settings", base_name="tuned", base=base, groups=groups, values=values)


class DialogApp(App[None]):
    """One dialog and its answer."""

    CSS_PATH = [STYLES / "trpotui.tcss", STYLES / "styles/setup.tcss"]  # noqa: RUF012
    core_loaded: reactive[bool] = reactive(False)

    def __init__(self, make_form: Callable[[], Form]) -> None:
        super().__init__()
        self.answer: Any = OPEN
        self._dialog = HyperparameterDialog, make_form

    def on_mount(self) -> None:
        dialog, make_form = self._dialog

        def answered(answer: Any) -> None:
            self.answer = answer

        self.push_screen(dialog(make_form), answered)


def ask(test: Test, make_form: Callable[[], Form] = small_form, *, core: bool = True) -> None:
    """Run `test` on a dialog of three fields."""

    async def main() -> None:
        app = DialogApp(make_form)
        async with app.run_test(size=(80, 24)) as pilot:
            app.core_loaded = core
            if core:
                await until(
                    pilot,
                    lambda: said(pilot, "loading").startswith("✗") or pilot.app.focused is not None,
                )
            await test(pilot)

    asyncio.run(main())


def rows(pilot) -> dict[str, FieldRow]:
    return {one.field: one for one in pilot.app.screen.query(FieldRow)}


async def opened(pilot) -> None:
    """Wait for the rows, and for the first focus, which would take the next one away."""
    await until(pilot, lambda: rows(pilot) and pilot.app.focused is not None)


def shown(pilot, field: str) -> list[str]:
    """The words of a row: sign and name, value, remark."""
    line = row(pilot, field)
    parts = [str(one.content).strip() for one in line.query(".field-name, .field-remark")]
    return [parts[0], line.text, parts[1]]


def said(pilot, name: str) -> str:
    return "".join(str(one.content) for one in pilot.app.screen.query(f"#{name}").results(Static))


LOADING = "loading torch; the hyperparameters are here in a moment …"


class TestDialog:
    def test_changed_is_told_from_the_base_and_taken_back(self):
        async def test(pilot):
            assert said(pilot, "changed-count") == "nothing changed"
            assert shown(pilot, "max_kl") == ["max_kl", "0.02", "> 0, ≤ 10"]
            await write_into(pilot, "max_kl", "0.5")
            await until(pilot, lambda: shown(pilot, "max_kl") == ["• max_kl", "0.5", "tuned: 0.02"])
            help_ = f"max_kl · {meaning(TrpoHyperparameters, 'max_kl')} (> 0, ≤ 10)"
            assert said(pilot, "field-help") == help_
            await write_into(pilot, "hidden_sizes", "32, 16")
            await pilot.press("down", "right")
            await until(pilot, lambda: said(pilot, "changed-count") == "• 3 changed")
            assert shown(pilot, "activation") == ["• activation", "relu", "tuned: tanh"]
            await pilot.press("ctrl+r")
            await until(pilot, lambda: said(pilot, "changed-count") == "• 2 changed")
            assert row(pilot, "activation").text == "tanh"
            await pilot.click(row(pilot, "hidden_sizes").query_one(".field-name"))
            await until(pilot, lambda: said(pilot, "changed-count") == "• 1 changed")
            assert row(pilot, "hidden_sizes").text == "64,64"
            await pilot.press("ctrl+t")
            await until(pilot, lambda: said(pilot, "changed-count") == "nothing changed")
            assert shown(pilot, "max_kl") == ["max_kl", "0.02", "> 0, ≤ 10"]
            await pilot.press("ctrl+s")
            await until(pilot, lambda: pilot.app.answer == {})

        ask(test)

    def test_answers_what_differs_by_value(self):
        async def test(pilot):
            assert shown(pilot, "max_kl") == ["• max_kl", "0.050", "tuned: 0.02"]
            assert shown(pilot, "activation") == ["activation", "tanh", ""]
            await write_into(pilot, "hidden_sizes", "32, 16")
            await pilot.press("enter")
            await until(pilot, lambda: pilot.app.answer is not OPEN)
            assert pilot.app.answer == {"max_kl": 0.05, "hidden_sizes": (32, 16)}

        # as text from the command line, and a value that is the base's
        ask(test, lambda: small_form(max_kl="0.050", activation="tanh"))

    def test_wrong_is_marked_at_once_and_cannot_be_applied(self):
        async def test(pilot):
            await write_into(pilot, "max_kl", "11")
            await until(
                pilot, lambda: reason(pilot, "max_kl") == "✗ should be less than or equal to 10"
            )
            assert row(pilot, "max_kl").styles.border_left[0] == "outer"
            assert said(pilot, "changed-count") == "✗ 1 wrong   • 1 changed"
            pilot.app.screen.query_one("#filter", Input).value = "layer"
            await until(pilot, lambda: not row(pilot, "max_kl").display)
            await pilot.press("ctrl+s")
            await until(pilot, lambda: told(pilot))
            assert told(pilot) == ["max_kl: should be less than or equal to 10"]
            await until(pilot, lambda: pilot.app.focused is row(pilot, "max_kl").control)
            assert row(pilot, "max_kl").display, "the filter hides what is wrong"
            assert pilot.app.answer is OPEN
            await pilot.press("escape")
            await until(pilot, lambda: pilot.app.answer is None)

        ask(test)

    def test_filter_finds_names_and_meanings(self):
        async def test(pilot):
            assert pilot.app.focused.id == "filter"
            await type_in(pilot, "delta KL")
            await until(
                pilot, lambda: [n for n, one in rows(pilot).items() if one.display] == ["max_kl"]
            )
            headings = pilot.app.screen.query(".form-heading").results(Static)
            assert [str(one.content) for one in headings if one.display] == ["TRPO"]
            await pilot.press("enter")
            await until(pilot, lambda: pilot.app.focused is row(pilot, "max_kl").control)

        ask(test)

    def test_by_mouse(self):
        async def test(pilot):
            await pilot.click("#reset")
            await until(pilot, lambda: said(pilot, "changed-count") == "nothing changed")
            await pilot.click("#apply")
            await until(pilot, lambda: pilot.app.answer == {})

        ask(test, lambda: small_form(max_kl=0.5))

    def test_before_torch_is_loaded_it_says_so(self):
        async def test(pilot):
            await pilot.press("ctrl+s")
            assert said(pilot, "loading") == LOADING
            pilot.app.core_loaded = True
            await until(pilot, lambda: rows(pilot))
            assert pilot.app.answer is OPEN

        ask(test, core=False)

    def test_without_a_form_it_says_what_is_wrong(self):
        def refuse() -> Form:
            raise RequestError("unknown algorithm 'trop'")

        async def test(pilot):
            assert said(pilot, "loading") == "✗ unknown algorithm 'trop'"
            await pilot.press("ctrl+s")
            assert pilot.app.answer is OPEN
            await pilot.press("escape")
            await until(pilot, lambda: pilot.app.answer is None)

        ask(test, refuse)


class TestSetup:
    def test_every_setting_has_a_row_and_what_is_applied_is_asked_for(self):
        async def test(pilot):
            await pilot.click("#settings")
            await opened(pilot)
            found = rows(pilot)
            assert set(field_names(TrpoHyperparameters)) | {"eval_every"} <= set(found)
            for name in ("activation", "critic", "normalize_observations", "stop_when_solved"):
                assert isinstance(found[name].control, Choice), name
            base = make_config(RunRequest())
            assert found["max_kl"].text == str(base.hyperparameters.max_kl)
            await write_into(pilot, "eval_every", "1,000")
            await pilot.press("enter")
            await until(pilot, lambda: pilot.app.screen.query(SetupPane))
            button = pilot.app.screen.query_one("#settings")
            await until(pilot, lambda: str(button.label) == "Hyperparameters: 1 changed")
            pilot.app.screen.query_one(SetupPane).request_run()
            await until(pilot, lambda: pilot.app.asked)
            assert pilot.app.asked == [RunRequest(settings={"eval_every": 1000})]

        fill_in(test)


class TestLiveEdit:
    def test_what_may_change_is_changed_in_the_run(self):
        async def test(pilot):
            await pilot.press("s")
            session = await started_run(pilot)
            session.changed = {"gamma": 0.5, "max_kl": 0.3}
            await pilot.press("e")
            await opened(pilot)
            offered = {*field_names(TrpoHyperparameters), "total_steps"} - {*FIXED_WHILE_RUNNING}
            assert set(rows(pilot)) == offered
            await until(pilot, lambda: pilot.app.focused is row(pilot, "total_steps").control)
            # a resumed run may not be as its configuration began
            assert shown(pilot, "gamma") == ["gamma", "0.5", "≥ 0, ≤ 1"]
            await write_into(pilot, "total_steps", "200,000")
            await write_into(pilot, "max_kl", "0.5")
            await pilot.press("enter")
            await until(pilot, lambda: pilot.app.state.changed)
            assert pilot.app.state.changed == {"total_steps": 200_000, "max_kl": 0.5}
            assert pilot.app.state.total_steps == 200_000
            # the next time the form begins where the run is now
            await pilot.press("e")
            await opened(pilot)
            assert shown(pilot, "max_kl") == ["max_kl", "0.5", "> 0, ≤ 10"]
            assert row(pilot, "total_steps").text == "200,000"
            await pilot.press("ctrl+s")
            await until(pilot, lambda: not isinstance(pilot.app.screen, HyperparameterDialog))
            assert session.control.take_changes(0) == [], "nothing differed"

        drive(test)

    def test_resumed_run_knows_what_was_changed_before(self, tmp_path):
        request = RunRequest(total_steps=64, n_envs=2, settings={"rollout_steps": 16})
        control = Control()
        control.change({"max_kl": 0.5, "total_steps": 32})
        with RunDirectory.create(tmp_path / "run", make_config(request)) as directory:
            list(recorded_run(make_config(request), directory, control))
        longer = resumed_run(tmp_path / "run", request=RunRequest(total_steps=96))
        session = TrainingSession(make_config(request), Control(), longer)
        session.run()
        assert session.changed == {"max_kl": 0.5}
        assert session.config.total_steps == 96
        updates = [event.max_kl for event in session.take() if isinstance(event, UpdateFinished)]
        assert updates == [0.5, 0.5]

    def test_without_a_run_it_is_the_next_ones_that_are_edited(self):
        async def test(pilot):
            await pilot.press("e")
            await opened(pilot)
            assert "rollout_steps" in rows(pilot)
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(pilot.app.screen, HyperparameterDialog))
            pilot.app.screen.post_message(ChangeRequested({"gamma": 0.5}))
            await until(pilot, lambda: "The run has ended: nothing was changed." in told(pilot))

        drive(test)
