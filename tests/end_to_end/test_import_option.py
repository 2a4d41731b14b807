"""`--import`: a person's own environments, and never because a file names a module."""

from __future__ import annotations

import os
import subprocess
import sys

import gymnasium
import pytest

from tests.end_to_end.conftest import Command
from trpotui import imports
from trpotui.policy_file import read_policy

MODULE = """
import gymnasium, numpy
from pathlib import Path

with Path(__file__).with_name("imported").open("a") as file:
    file.write("x")

class Lamp(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 60}
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), numpy.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return numpy.zeros(2, numpy.float32), {}

    def step(self, action):
        self.steps += 1
        return numpy.zeros(2, numpy.float32), float(action), False, self.steps == 5, {}

    def render(self):
        return numpy.full((40, 40, 3), 40 * self.steps, numpy.uint8)

gymnasium.register("mine/Lamp-v0", Lamp)
"""
TRAIN = ["train", "--no-ui", "--env", "mine/Lamp-v0", "--steps", "64", "--n-envs", "2"]
SMALL = ["--set", "rollout_steps=16", "--set", "hidden_sizes=4", "--run-dir", "r", "-o", "lamp.pt"]
NAME = "lamps_of_mine"


@pytest.fixture
def forgotten(monkeypatch):
    """What is imported in this process is forgotten after the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(imports, "_imported", [])

    def forget():
        sys.modules.pop(NAME, None)
        gymnasium.registry.pop("mine/Lamp-v0", None)

    yield forget
    forget()


@pytest.fixture
def lamps(tmp_path, forgotten):  # noqa: ARG001 - comes first
    """The command, in a folder with such a module."""
    (tmp_path / f"{NAME}.py").write_text(MODULE)
    return Command(tmp_path)


@pytest.fixture
def policy(lamps, forgotten):
    """Trained in the module's environment, which then is unknown again."""
    result = lamps(*TRAIN, *SMALL, "--import", NAME)
    assert result.returncode == 0, result.stderr
    forgotten()
    (lamps.folder / "imported").unlink()
    return lamps.folder / "lamp.pt"


@pytest.mark.usefixtures("policy")
@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("play", ["lamp.pt", "--view", "none", "--episodes", "1"]),
        ("eval", ["lamp.pt", "--episodes", "2"]),
        ("train", ["--no-ui", "--resume", "r", "--steps", "128"]),
    ],
)
def test_environment_of_a_module_is_there_only_when_the_module_is_named(lamps, command, arguments):
    refused = lamps(command, *arguments)
    assert refused.returncode == 2
    assert "mine/Lamp-v0" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not (lamps.folder / "imported").exists()
    assert NAME not in sys.modules
    allowed = lamps(command, *arguments, "--import", "json", "--import", NAME)
    assert allowed.returncode == 0, allowed.stderr
    assert (lamps.folder / "imported").read_text() == "x"


@pytest.mark.usefixtures("policy")
def test_refusal_says_how_to_name_it(lamps):
    assert "--import MODULE imports a module of yours that registers it" in (
        lamps("play", "lamp.pt", "--view", "none").stderr
    )


def test_inspect_needs_no_environment(lamps, policy):
    result = lamps("inspect", policy)
    assert (result.returncode, "mine/Lamp-v0" in result.stdout) == (0, True)
    assert not (lamps.folder / "imported").exists()
    assert read_policy(policy).policy.spec.environment_id == "mine/Lamp-v0"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module", "--import no_such_module failed: ModuleNotFoundError: No module named"),
        ("broken", "--import broken failed: ZeroDivisionError: division by zero"),
        ("not_python", "--import not_python failed: SyntaxError"),
        ("leaving", "--import leaving failed: SystemExit: 0"),
        ("broken.py", "takes the name of a module, such as my_envs, not 'broken.py'"),
        ("../broken", "takes the name of a module, such as my_envs, not '../broken'"),
        ("", "takes the name of a module, such as my_envs, not ''"),
        (".broken", "takes the name of a module, such as my_envs, not '.broken'"),
    ],
)
def test_module_that_cannot_be_imported_is_one_sentence(lamps, name, said):
    (lamps.folder / "broken.py").write_text("1 / 0")
    (lamps.folder / "not_python.py").write_text("def :")
    (lamps.folder / "leaving.py").write_text("raise SystemExit(0)")
    before = {path.name for path in lamps.folder.iterdir()} | {"__pycache__"}
    result = lamps("train", "--no-ui", "--import", name, "--run-dir", "r")
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert {path.name for path in lamps.folder.iterdir()} <= before


def test_file_here_does_not_take_the_place_of_a_library(lamps):
    (lamps.folder / "pygments.py").write_text("raise RuntimeError('the wrong one')")
    sys.modules.pop("pygments", None)
    result = lamps("eval", "missing.pt", "--import", "pygments")
    assert "missing.pt does not exist" in result.stderr


@pytest.mark.slow
def test_window_of_another_process_imports_it_too(lamps, policy):
    fast = ["--episodes", "1", "--speed", "16"]
    result = subprocess.run(
        # as the installed command does: nothing of this folder is on the path by itself
        [sys.executable, "-P", "-m", "trpotui", "play", policy, "--import", NAME, *fast],
        cwd=lamps.folder,
        env={**os.environ, "SDL_VIDEODRIVER": "dummy"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "episode 1 of 1: return " in result.stdout
    assert (lamps.folder / "imported").read_text() == "xx"  # here and there
