"""Setting up a run: the form, the environments to choose from, the command that does the same."""

from __future__ import annotations

import shlex

import gymnasium
import pytest
import torch
from textual.widgets import Button, Input, OptionList, Static

from tests.tui.setup_app import drive, fill_in, reason, row, started_run, told, until, write_into
from tests.tui.setup_app import write as type_in
from trpotui.rl.algorithms import ALGORITHMS
from trpotui.run_request import RunRequest, make_config
from trpotui.tui.app import Status
from trpotui.tui.environment_list import find_unsupported, listed_environments
from trpotui.tui.screens.environment_picker import EnvironmentPicker
from trpotui.tui.screens.setup_dialog import SetupDialog
from trpotui.tui.widgets import setup
from trpotui.tui.widgets.setup import SetupPane, accelerators

PENDULUM = RunRequest(environment_id="Pendulum-v1")


class Poetry(gymnasium.Env):
    """Observes texts, which no policy here does."""

    observation_space = gymnasium.spaces.Text(9)
    action_space = gymnasium.spaces.Discrete(2)


@pytest.fixture
def _poetry(monkeypatch):
    """Poetry in the place of an environment that nobody has looked at."""
    spec = gymnasium.envs.registration.EnvSpec("Blackjack-v1", entry_point=Poetry)
    monkeypatch.setitem(gymnasium.registry, "Blackjack-v1", spec)
    monkeypatch.setattr(EnvironmentPicker, "unsupported", {})


def pane(pilot) -> SetupPane:
    return pilot.app.screen.query_one(SetupPane)


def placeholder(pilot, name: str) -> str:
    return pane(pilot).query_one(f"#{name}", Input).placeholder


def label(pilot, button: str) -> str:
    return str(pilot.app.screen.query_one(f"#{button}", Button).label)


class TestAsking:
    def test_untouched_form_asks_for_the_preset(self):
        async def test(pilot):
            pane(pilot).request_run()
            await until(pilot, lambda: pilot.app.asked == [RunRequest()])

        fill_in(test)

    def test_command_line_fills_it_in(self):
        request = RunRequest(
            environment_id="Pendulum-v1",
            environment_kwargs={"g": 9.81},
            seed=3,
            total_steps=5000,
            device="cpu",
            preset="default",
            settings={"max_kl": "0.5"},
        )

        async def test(pilot):
            assert pane(pilot).query_one("#seed", Input).value == "3"
            assert pane(pilot).query_one("#total_steps", Input).value == "5,000"
            assert pane(pilot).query_one("#n_envs", Input).value == ""
            kwargs = pane(pilot).query_one("#environment-kwargs", Static)
            assert (kwargs.display, kwargs.content) == (True, "g=9.81")
            assert label(pilot, "settings") == "Hyperparameters: 1 changed"
            pane(pilot).request_run()
            await until(pilot, lambda: pilot.app.asked == [request])

        fill_in(test, request)

    @pytest.mark.slow
    def test_filled_in_by_keys_alone(self):
        async def test(pilot):
            pane(pilot).focus_form()
            await pilot.press("down", "down", "right", "down", "7", "enter")
            await pilot.press("5", "space", "0", "0", "0")
            await pilot.press("up", "backspace", "8", "down", "down", "1", "2")
            await pilot.press("down", "left", "down", "down")
            assert pilot.app.focused.id == "start"
            await pilot.press("enter")
            await until(pilot, lambda: pilot.app.asked)
            assert pilot.app.focused is None, "the keys belong to the screen now"
            assert pilot.app.asked == [
                RunRequest(device="cpu", seed=8, total_steps=5000, n_envs=12, preset="default")
            ]

        fill_in(test)

    def test_button_says_what_it_does(self):
        async def test(pilot):
            app = pilot.app
            assert label(pilot, "start") == "▶ Start"
            await pilot.click("#start")
            await until(pilot, lambda: len(app.asked) == 1)
            app.status = Status.TRAINING
            await until(pilot, lambda: label(pilot, "start") == "■ Stop")
            assert pane(pilot).border_title == "Setup of the next run"
            # a button takes no click while it shows the one before
            await until(pilot, lambda: not pane(pilot).query_one("#start").has_class("-active"))
            await pilot.click("#start")
            await until(pilot, lambda: (len(app.asked), app.stops) == (1, 1))
            app.status = Status.STOPPING
            await until(pilot, lambda: label(pilot, "start") == "stopping…")
            assert pane(pilot).query_one("#start").disabled
            app.status = Status.FINISHED
            await until(pilot, lambda: label(pilot, "start") == "▶ Start")
            assert pane(pilot).border_title == "Setup"

        fill_in(test)

    def test_before_torch_is_loaded_the_start_waits_for_it(self):
        async def test(pilot):
            await pilot.click("#start")
            await until(pilot, lambda: label(pilot, "start") == "loading torch…")
            assert pane(pilot).query_one("#start").disabled
            assert pilot.app.asked == []
            pilot.app.core_loaded = True
            await until(pilot, lambda: pilot.app.asked == [RunRequest()])
            assert not pane(pilot).query_one("#start").disabled

        fill_in(test, core=False)


class TestWrongValues:
    def test_marked_at_once_and_start_refuses_with_the_reason(self):
        async def test(pilot):
            await write_into(pilot, "total_steps", "1")
            assert reason(pilot, "total_steps") == ""
            await type_in(pilot, "x")
            assert reason(pilot, "total_steps") == "✗ should be a valid integer"
            assert row(pilot, "total_steps").styles.border_left[0] == "outer"
            pilot.app.set_focus(None)
            pane(pilot).request_run()
            await pilot.pause()
            assert pilot.app.asked == []
            assert told(pilot) == ["The setup is not right yet Steps: should be a valid integer"]
            assert pilot.app.focused.id == "total_steps"
            await pilot.press("end", "backspace")
            assert reason(pilot, "total_steps") == ""
            pane(pilot).request_run()
            await until(pilot, lambda: pilot.app.asked == [RunRequest(total_steps=1)])

        fill_in(test)

    def test_what_the_command_line_got_wrong_is_shown_and_marked(self):
        request = RunRequest(algorithm="trop", device="gpu", environment_id="CartPol-v1")

        async def test(pilot):
            shown = {field: reason(pilot, field) for field in ("algorithm", "device")}
            assert shown["algorithm"] == f"✗ there are: {', '.join(sorted(ALGORITHMS))}"
            assert "is not known" in shown["device"]
            assert "did you mean 'CartPole-v1'" in reason(pilot, "environment_id")
            assert row(pilot, "algorithm").control.value == "trop"
            assert row(pilot, "device").control.value == "gpu"
            pane(pilot).request_run()
            await pilot.pause()
            assert pilot.app.asked == []

        fill_in(test, request)

    def test_unknown_preset_is_left_by_choosing_another(self):
        async def test(pilot):
            assert "unknown preset 'tunned'" in reason(pilot, "preset")
            row(pilot, "preset").control.focus()
            await pilot.press("left")
            await until(pilot, lambda: reason(pilot, "preset") == "")
            assert pane(pilot).draft.request() == RunRequest()  # tuned is what it gets anyway

        fill_in(test, RunRequest(preset="tunned"))

    def test_wrong_hyperparameters_are_marked_once_they_can_be_known(self):
        async def test(pilot):
            assert reason(pilot, "settings") == ""
            pilot.app.core_loaded = True
            await until(pilot, lambda: "hyperparameter 'max_lk'" in reason(pilot, "settings"))

        fill_in(test, RunRequest(settings={"max_lk": "1"}), core=False)


class TestFollowing:
    def test_placeholders_are_what_would_be_used(self):
        async def test(pilot):
            assert (placeholder(pilot, "total_steps"), placeholder(pilot, "n_envs")) == (
                "60,000",
                "8",
            )
            row(pilot, "preset").control.focus()
            await pilot.press("left")  # from tuned to default
            config = make_config(RunRequest(environment_id="Pendulum-v1", preset="default"))
            steps = f"{config.total_steps:,}"
            await until(pilot, lambda: placeholder(pilot, "total_steps") == steps)
            assert placeholder(pilot, "n_envs") == str(config.n_envs)
            assert make_config(pane(pilot).draft.request()) == config

        fill_in(test, PENDULUM)

    def test_another_environment_brings_its_own_presets(self, monkeypatch):
        tables = {"Pendulum-v1": {"fast": {"trpo": {"n_envs": 2}}}}
        monkeypatch.setattr("trpotui.presets._tables", lambda name: tables.get(name, {}))
        request = RunRequest(
            environment_id="Pendulum-v1", environment_kwargs={"g": 9.81}, preset="fast", seed=4
        )

        async def test(pilot):
            assert placeholder(pilot, "n_envs") == "2"
            row(pilot, "environment_id").control.focus()
            await pilot.press("enter")
            await type_in(pilot, "taxi")
            await pilot.press("enter")
            await until(pilot, lambda: pilot.app.screen.query(SetupPane))
            await until(pilot, lambda: not pane(pilot).query_one("#environment-kwargs").display)
            assert row(pilot, "preset").control.value == "default"
            assert pane(pilot).draft.request() == RunRequest(environment_id="Taxi-v4", seed=4)

        fill_in(test, request)


class TestDevices:
    @pytest.mark.parametrize(
        ("count", "mps", "found"),
        [(0, False, ()), (1, False, ("cuda",)), (2, True, ("cuda:0", "cuda:1", "mps"))],
    )
    def test_what_torch_finds(self, monkeypatch, count, mps, found):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        assert accelerators() == found

    def test_they_are_offered_and_a_named_one_stays(self, monkeypatch):
        monkeypatch.setattr(setup, "accelerators", lambda: ("cuda:0", "cuda:1"))

        async def test(pilot):
            device = row(pilot, "device").control
            await until(pilot, lambda: len(device._options) == 5)
            offered = [text for text, _ in device._options]
            assert offered == ["auto", "cpu", "cuda:0", "cuda:1", "cuda:7"]
            assert device.value == "cuda:7"
            device.focus()
            await pilot.press("enter", "up", "up", "enter")  # in the list that opens
            await until(pilot, lambda: pane(pilot).draft.device == "cuda:0")

        fill_in(test, RunRequest(device="cuda:7"))


class TestEnvironments:
    def test_searched_typed_or_left(self):
        async def chosen(pilot, *keys: str, text: str) -> str:
            row(pilot, "environment_id").control.focus()
            await pilot.press("enter")
            await type_in(pilot, text)
            await pilot.press(*keys)
            await until(pilot, lambda: pilot.app.screen.query(SetupPane))
            await pilot.pause()
            return pane(pilot).draft.environment_id

        async def test(pilot):
            assert await chosen(pilot, "escape", text="taxi") == "CartPole-v1"
            assert await chosen(pilot, "enter", text="mcarcont") == "MountainCarContinuous-v0"
            # a match is highlighted, and below all matches stands what was typed
            assert await chosen(pilot, "up", "enter", text="Taxi") == "Taxi"
            assert await chosen(pilot, "enter", text="my/Thing-v3") == "my/Thing-v3"
            assert "unknown environment 'my/Thing-v3'" in reason(pilot, "environment_id")

        fill_in(test)

    def test_by_mouse_with_threshold_and_limit_beside_the_name(self):
        async def test(pilot):
            await pilot.click("PickerField")
            await until(pilot, lambda: pilot.app.screen.query_one(OptionList).option_count)
            found = pilot.app.screen.query_one(OptionList)
            line = found.get_option("CartPole-v1").prompt
            assert line.plain.split() == ["CartPole-v1", "classic", "control", "475", "500"]
            assert found.get_option_at_index(1).id == "MountainCar-v0"
            await pilot.click(OptionList, offset=(3, 1))
            await until(pilot, lambda: pilot.app.screen.query(SetupPane))
            await until(pilot, lambda: pane(pilot).draft.environment_id == "MountainCar-v0")

        fill_in(test)

    @pytest.mark.usefixtures("_poetry")
    def test_unsupported_ones_are_marked_with_the_reason(self):
        async def test(pilot):
            await pilot.click("PickerField")
            await until(pilot, lambda: EnvironmentPicker.unsupported.get("Blackjack-v1"))
            await pilot.app.workers.wait_for_complete()
            await type_in(pilot, "blackj")
            found = pilot.app.screen.query_one(OptionList)
            assert found.get_option("Blackjack-v1").prompt.plain.startswith("✗ Blackjack-v1")
            detail = pilot.app.screen.query_one("#environment-detail", Static)
            assert "observation space Text" in str(detail.content)
            assert EnvironmentPicker.unsupported["CartPole-v1"] == ""

        fill_in(test)

    def test_before_gymnasium_is_loaded_an_id_can_be_typed(self):
        async def test(pilot):
            await pilot.click("PickerField")
            await type_in(pilot, "Taxi-v4")
            await pilot.press("enter")
            await until(pilot, lambda: pilot.app.screen.query(SetupPane))
            await until(pilot, lambda: pane(pilot).draft.environment_id == "Taxi-v4")

        fill_in(test, core=False)

    def test_latest_versions_come_first_and_withdrawn_ones_not_at_all(self):
        listed = {one.id: one for one in listed_environments()}
        assert listed["CartPole-v1"].latest
        assert not listed["CartPole-v0"].latest
        order = [one.latest for one in listed.values()]
        assert order == sorted(order, reverse=True)
        assert "Ant-v2" in gymnasium.registry
        assert "Ant-v2" not in listed

    def test_missing_packages_are_named_and_nothing_is_imported(self, monkeypatch):
        absent = {"mujoco", "no_such_package"}
        monkeypatch.setattr(
            "trpotui.tui.environment_list.find_spec", lambda name: None if name in absent else True
        )
        gymnasium.register("Elsewhere-v0", entry_point="no_such_package.envs:Elsewhere")
        try:
            listed = {one.id: one for one in listed_environments()}
        finally:
            gymnasium.registry.pop("Elsewhere-v0")
        assert listed["Ant-v5"].missing == "mujoco"
        assert listed["Elsewhere-v0"].missing == "no_such_package"
        assert listed["Elsewhere-v0"].group == "no_such_package"
        assert listed["LunarLander-v3"].missing == ""
        assert listed["CartPole-v1"].missing == ""

    @pytest.mark.usefixtures("_poetry")
    def test_looking_for_support_ends_when_nobody_waits_or_time_is_up(self):
        ids = ["CartPole-v1", "Blackjack-v1", "NoSuch-v0", "Taxi-v4"]
        found = dict(find_unsupported(ids, seconds=60, stop=lambda: False))
        assert list(found) == ids
        assert found["CartPole-v1"] == found["Taxi-v4"] == ""
        assert "observation space" in found["Blackjack-v1"]
        assert "unknown environment" in found["NoSuch-v0"]
        assert list(find_unsupported(ids, seconds=0, stop=lambda: False)) == []
        asked = iter([False, False, True])
        assert len(list(find_unsupported(ids, seconds=60, stop=lambda: next(asked)))) == 2


class TestInTheApp:
    def test_keys_of_the_screen(self):
        request = RunRequest(
            environment_id="Pendulum-v1", environment_kwargs={"g": 9.5}, settings={"max_kl": "0.5"}
        )

        async def test(pilot):
            assert pilot.app.focused is None, "a field would take the keys of the screen"
            await pilot.press("c")
            await until(pilot, lambda: told(pilot))
            command = pilot.app.clipboard
            assert shlex.split(command) == [
                *("trpotui", "train", "--no-ui", "--env", "Pendulum-v1"),
                *("--env-set", "g=9.5", "--set", "max_kl=0.5"),
            ]
            assert told(pilot) == [f"Copied to the clipboard {command}"]
            await pilot.press("n")
            assert pilot.app.focused is row(pilot, "algorithm").control
            await write_into(pilot, "seed", "x")
            await pilot.press("escape", "c")
            await until(pilot, lambda: len(told(pilot)) == 2)
            assert pilot.app.clipboard == command
            assert "Seed: should be a valid integer" in told(pilot)[-1]
            await pilot.press("backspace", "escape", "s")
            assert (await started_run(pilot)).config == make_config(request)
            await pilot.click("#start")
            await until(pilot, lambda: not pilot.app.busy)

        drive(test, request=request)

    @pytest.mark.slow
    def test_on_a_narrow_terminal_it_is_a_dialog(self):
        async def test(pilot):
            app = pilot.app
            assert not pane(pilot).display
            await pilot.press("n", "down", "down", "down")
            assert isinstance(app.screen, SetupDialog)
            assert app.screen.region.contains_region(pane(pilot).region)
            assert pane(pilot).region.height < 24
            await type_in(pilot, "1x")
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(app.screen, SetupDialog))
            await pilot.press("n")
            await until(pilot, lambda: isinstance(app.screen, SetupDialog))
            # what was filled in is kept, and refused as long as it is wrong
            assert reason(pilot, "seed") == "✗ should be a valid integer"
            await pilot.press("ctrl+s")
            await pilot.pause()
            assert isinstance(app.screen, SetupDialog)
            assert app.session is None
            await pilot.press("end", "backspace", "ctrl+s")
            assert (await started_run(pilot)).config == make_config(RunRequest(seed=1))
            assert not isinstance(app.screen, SetupDialog)
            await pilot.press("n")
            await until(pilot, lambda: isinstance(app.screen, SetupDialog))
            await pilot.pause()
            await pilot.click("#start")
            await until(pilot, lambda: not app.busy)

        drive(test, size=(80, 24))

    @pytest.mark.slow
    def test_no_size_breaks_it(self):
        async def test(pilot):
            await pilot.press("n")
            for size in [(1, 1), (31, 6)]:
                await pilot.resize_terminal(*size)
                await pilot.pause()
            await pilot.press("escape", "e")
            for size in [(1, 1), (40, 10)]:
                await pilot.resize_terminal(*size)
                await pilot.pause()
            await pilot.press("escape", "s")
            await started_run(pilot)

        drive(test)
