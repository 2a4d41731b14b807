"""What is remembered from one sitting to the next, and that remembering never fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tui.setup_app import drive, started_run, until, write_into
from trpotui.run_request import RunRequest, make_config
from trpotui.tui.app import TrpotuiApp
from trpotui.tui.preferences import Preferences, default_path
from trpotui.tui.widgets.setup import SetupPane

SETUP = RunRequest(
    environment_id="Pendulum-v1",
    environment_kwargs={"g": 9.81},
    seed=3,
    total_steps=5000,
    stop_when_solved=False,
    settings={"max_kl": "0.5", "hidden_sizes": (32, 16), "normalize_observations": True},
)


def test_what_was_remembered_is_there_again(tmp_path):
    path = tmp_path / "not" / "yet" / "preferences.json"
    first = Preferences(path)
    assert (first.theme, first.setup) == (None, None)
    first.remember_theme("nord")
    first.remember_setup(SETUP)
    again = Preferences(path)
    assert again.theme == "nord"
    assert again.setup is not None
    assert make_config(again.setup) == make_config(SETUP)
    again.remember_theme("gruvbox")
    assert Preferences(path).setup == again.setup, "the rest went with the old theme"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        json.dumps({"theme": 7, "setup": "CartPole-v1"}).encode(),
        json.dumps({"theme": None, "setup": {"seed": "one"}}).encode(),
        json.dumps({"setup": {"environment_id": "CartPole-v1", "colour": "red"}}).encode(),
        json.dumps({"setup": {"settings": [1]}}).encode(),
        json.dumps({"window": {"width": 80}}).encode(),
    ],
)
def test_broken_and_foreign_files_are_ignored(tmp_path, content):
    path = tmp_path / "preferences.json"
    path.write_bytes(content)
    found = Preferences(path)
    assert (found.theme, found.setup) == (None, None)
    found.remember_theme("nord")
    assert Preferences(path).theme == "nord"


def test_good_theme_beside_a_broken_setup_is_kept(tmp_path):
    path = tmp_path / "preferences.json"
    path.write_text('{"theme": "nord", "setup": {"seed": []}}')
    assert Preferences(path).theme == "nord"


def test_what_cannot_be_written_is_forgotten_in_silence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    blocked = Preferences(tmp_path / "file" / "preferences.json")
    blocked.remember_theme("nord")
    blocked.remember_setup(SETUP)
    assert blocked.theme == "nord"
    odd = Preferences(tmp_path / "preferences.json")
    odd.remember_setup(RunRequest(environment_kwargs={"x": object()}))
    assert Preferences(tmp_path / "preferences.json").setup is None


def test_place_is_the_users_own_or_the_one_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TRPOTUI_CONFIG_DIR", str(tmp_path))
    assert default_path() == tmp_path / "preferences.json"
    Preferences().remember_theme("nord")
    assert Preferences(tmp_path / "preferences.json").theme == "nord"
    monkeypatch.delenv("TRPOTUI_CONFIG_DIR")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_path().name == "preferences.json"
    assert default_path().parent.name == "trpotui"


class TestInTheApp:
    @pytest.mark.slow
    def test_theme_and_setup_of_the_last_sitting(self, tmp_path):
        path: Path = tmp_path / "preferences.json"
        path.write_text('{"theme": "no-such-theme"}')

        async def first(pilot):
            assert pilot.app.theme == TrpotuiApp().theme
            pilot.app.theme = "nord"
            await write_into(pilot, "seed", "7")
            await pilot.press("escape", "s")
            await started_run(pilot)

        async def second(pilot):
            assert pilot.app.theme == "nord"
            assert pilot.app.screen.query_one(SetupPane).draft.request() == RunRequest(seed=7)
            pilot.app.theme = "gruvbox"
            await until(pilot, lambda: Preferences(path).theme == "gruvbox")

        drive(first, preferences=Preferences(path))
        drive(second, preferences=Preferences(path))

    def test_command_line_comes_before_what_was_remembered(self, tmp_path):
        preferences = Preferences(tmp_path / "preferences.json")
        preferences.remember_setup(SETUP)
        asked = RunRequest(environment_id="Acrobot-v1")
        assert TrpotuiApp(preferences=preferences, request=asked).request == asked
        assert TrpotuiApp(preferences=preferences).request == SETUP
        assert TrpotuiApp().request == RunRequest()
