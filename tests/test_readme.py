"""The README's examples do what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from tests.policy_samples import saved_policy
from trpotui import cli
from trpotui.events import EpisodesFinished, UpdateFinished
from trpotui.export import to_arrays
from trpotui.export.checking import observations_for
from trpotui.rl import algorithms
from trpotui.rl.trainer import train
from trpotui.run_request import RunRequest, make_config

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def block_with(text: str) -> str:
    """The one example in Python that holds `text`."""
    (block,) = (block for block in BLOCKS if text in block)
    return block


EXAMPLE = block_with("np.load")
ALGORITHM, LINE = block_with("class Awr:"), block_with('"awr":')
ALONE = """
import sys
for name in ("trpotui", "torch", "gymnasium", "onnx"):
    sys.modules[name] = None
exec(sys.argv[1])
np.save("actions.npy", act(np.load("rows.npy")))
"""


def test_example_for_numpy_is_as_short_as_promised():
    assert sum(bool(line.strip()) for line in EXAMPLE.splitlines()) <= 20


@pytest.mark.parametrize(
    "what",
    [
        {"normalized": True},
        {"activation": "relu", "action_space": spaces.Discrete(3, start=5)},
        {"action_space": spaces.MultiDiscrete([2, 4], start=[-1, 3])},
        {"action_space": spaces.MultiBinary((2, 2))},
        {
            "normalized": True,
            "action_space": spaces.Box(np.float32([-1, 0]), np.float32([1, 9])),
            "exploration": "state_dependent",
        },
    ],
    ids=["discrete", "relu", "multi-discrete", "bits", "box"],
)
def test_example_runs_a_policy_with_numpy_alone(tmp_path, what):
    saved = saved_policy(**what)
    policy = saved.policy
    rows = observations_for(policy, 200, np.random.default_rng(0))
    (tmp_path / "cartpole.npz").write_bytes(to_arrays(saved).data)
    np.save(tmp_path / "rows.npy", rows)
    subprocess.run([sys.executable, "-c", ALONE, EXAMPLE], cwd=tmp_path, check=True)
    inputs = rows if policy.moments is None else policy.moments.normalize(rows)
    raw = policy.session(len(rows)).act(inputs, np.ones(len(rows), dtype=np.bool_))
    expected = policy.decoder.decode(raw)
    actions = np.load(tmp_path / "actions.npy")
    assert actions.dtype == expected.dtype
    np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture
def awr(tmp_path, monkeypatch):
    """The algorithm of the README, in the one file and the one line that it says."""
    (tmp_path / "awr.py").write_text(ALGORITHM, encoding="utf-8")
    ((name, place),) = eval(f"{{{LINE}}}").items()
    monkeypatch.setattr(algorithms, "__path__", [*algorithms.__path__, str(tmp_path)])
    monkeypatch.setitem(algorithms.ALGORITHMS, name, place)
    yield
    sys.modules.pop("trpotui.rl.algorithms.awr", None)
    vars(algorithms).pop("awr", None)


class Lever(gymnasium.Env):
    """One of three levers pays, for one step."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), float(action == 1), True, False, {}


@pytest.fixture
def lever():
    gymnasium.register("ReadmeLever-v0", entry_point=Lever)
    yield "ReadmeLever-v0"
    gymnasium.registry.pop("ReadmeLever-v0")


def returns_of_updates(environment_id, *, seed, updates, **settings):
    """Mean training return of each update; so many of 8 environments."""
    steps = settings["rollout_steps"]
    request = RunRequest(
        algorithm="awr",
        environment_id=environment_id,
        seed=seed,
        n_envs=8,
        total_steps=8 * steps * updates,
        settings={"eval_every": 0} | settings,
    )
    events = list(train(make_config(request)))
    assert sum(isinstance(event, UpdateFinished) for event in events) == updates
    return [np.mean(event.returns) for event in events if isinstance(event, EpisodesFinished)]


def test_example_of_an_algorithm_is_as_short_as_promised():
    assert len(ALGORITHM.splitlines()) < 60
    assert len(LINE.splitlines()) == 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.usefixtures("awr")
def test_example_of_an_algorithm_finds_the_lever_that_pays(lever, seed):
    settings = {"rollout_steps": 16, "learning_rate": 0.02}
    returns = returns_of_updates(lever, seed=seed, updates=25, **settings)
    assert returns[0] < 0.6  # a third by chance
    assert np.mean(returns[-3:]) > 0.9


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("awr")
def test_example_of_an_algorithm_learns_cartpole(seed):
    returns = returns_of_updates("CartPole-v1", seed=seed, updates=10, rollout_steps=128)
    assert returns[-1] > 3 * returns[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--algo", "arw"], "unknown algorithm 'arw'; did you mean 'awr'? (there are: a2c, awr, "),
        (
            ["--algo", "awr", "--set", "temperatur=2"],
            "unknown hyperparameter 'temperatur' of awr; did you mean 'temperature'",
        ),
        (
            ["--algo", "awr", "--set", "epochs=0"],
            "epochs=0 is not valid: should be greater than or equal to 1 (passes over each batch",
        ),
    ],
)
@pytest.mark.usefixtures("awr")
def test_example_of_an_algorithm_is_known_to_the_command_line(capsys, arguments, said):
    assert cli.run(["train", "--no-ui", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("awr")
def test_example_of_an_algorithm_trains_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = ["--steps", "2048", "--n-envs", "8", "--set", "eval_every=0"]
    arguments = ["train", "--no-ui", "--quiet", "--algo", "awr", *short, "-o", "policy.pt"]
    assert cli.run([*arguments, "--set", "temperature=0.5"]) == 0
    assert cli.run(["inspect", "policy.pt"]) == 0
