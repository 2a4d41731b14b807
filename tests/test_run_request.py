"""From options and presets to a configuration, and back from its saved form."""

import dataclasses
import json
import shlex

import pytest

from trpotui import cli
from trpotui.config import RunConfig
from trpotui.errors import RequestError
from trpotui.presets import _files, load_preset, preset_names
from trpotui.run_request import RunRequest, command_for, config_from_dict, make_config

ALL_PRESETS = [
    (environment, name, algorithm)
    for content in _files()
    for environment in content["environments"]
    for name, table in content.items()
    if name != "environments"
    for algorithm in table
]


@pytest.mark.parametrize(("environment", "name", "algorithm"), ALL_PRESETS)
def test_every_preset_is_a_valid_configuration(environment, name, algorithm):
    config = make_config(RunRequest(environment_id=environment, algorithm=algorithm, preset=name))
    assert config.preset == name
    for key, value in load_preset(environment, algorithm, name)[1].items():
        holder = config if hasattr(config, key) else config.hyperparameters
        stored = getattr(holder, key)
        assert (list(stored) if isinstance(stored, tuple) else stored) == value, key


def test_the_tuned_preset_is_taken_where_there_is_one():
    assert make_config(RunRequest(environment_id="CartPole-v1")).preset == "tuned"
    assert make_config(RunRequest(environment_id="FrozenLake-v1")).preset == "default"


def test_what_was_asked_for_overrides_the_preset():
    config = make_config(
        RunRequest(n_envs=3, settings={"max_kl": "0.5", "rollout_steps": "7", "eval_every": "9"})
    )
    assert config.n_envs == 3
    assert config.hyperparameters.max_kl == 0.5
    assert config.hyperparameters.rollout_steps == 7
    assert config.eval_every == 9


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (RunRequest(algorithm="trop"), "unknown algorithm 'trop'; did you mean 'trpo'"),
        (RunRequest(preset="tunned"), "unknown preset 'tunned'.*'tuned'"),
        (RunRequest(settings={"max_lk": "1"}), "unknown hyperparameter 'max_lk'.*'max_kl'"),
        (RunRequest(settings={"device": "cpu"}), "use --device"),
        (RunRequest(settings={"max_kl": "-1"}), "max_kl=-1 is not valid"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(request_, said):
    with pytest.raises(RequestError, match=said):
        make_config(request_)


def test_a_configuration_survives_being_saved_as_json():
    config = make_config(
        RunRequest(environment_id="Pendulum-v1", environment_kwargs={"g": 9.81}, seed=7)
    )
    saved = json.loads(json.dumps(dataclasses.asdict(config)))
    assert config_from_dict(saved) == config


@pytest.mark.parametrize(
    "damage",
    [
        {"algorithm": "nothing"},
        {"hyperparameters": None},
        {"hyperparameters": {"max_kl": "wide"}},
        {"hyperparameters": {"unheard_of": 1}},
        {"seed": -4},
        {"unheard_of": 1},
    ],
)
def test_a_saved_configuration_is_checked_like_any_other(damage):
    saved = dataclasses.asdict(RunConfig()) | {
        "hyperparameters": dataclasses.asdict(make_config(RunRequest()).hyperparameters)
    }
    assert config_from_dict(saved)
    with pytest.raises(RequestError):
        config_from_dict(saved | damage)


def test_preset_names_begin_with_the_plain_defaults():
    assert preset_names("CartPole-v1", "trpo") == ["default", "tuned"]
    assert preset_names("NoSuch-v0", "trpo") == ["default"]


def test_a_configuration_is_read_beside_what_was_changed_while_it_ran():
    config = make_config(RunRequest(seed=7))
    saved = json.loads(json.dumps(dataclasses.asdict(config)))
    edits = [{"update": 3, "values": {"max_kl": 0.5}}]
    assert config_from_dict(saved | {"live_edits": edits}) == config


REQUESTS = [
    RunRequest(),
    RunRequest(environment_id="Pendulum-v1", device="cpu", seed=7, total_steps=5000, n_envs=3),
    RunRequest(preset="default", stop_when_solved=False),
    RunRequest(preset="default", stop_when_solved=True, settings={"stop_when_solved": "false"}),
    RunRequest(settings={"max_kl": "0.5", "hidden_sizes": (32, 16), "eval_every": 9}),
    RunRequest(settings={"hidden_sizes": (), "normalize_observations": False, "critic": "adam"}),
    RunRequest(settings={"max_kl": 1e-05, "total_steps": "70000", "checkpoint_seconds": 2.5}),
    RunRequest(
        environment_id="FrozenLake-v1",
        environment_kwargs={
            "map_name": "8x8",
            "is_slippery": False,
            "desc": ["SF", "HG"],
            "text": " two words; $HOME 'quoted' ",
            "number": "8",
            "word": "NaN",
            "nothing": None,
        },
    ),
]


def from_the_command_line(command: str, monkeypatch) -> RunConfig:
    """The configuration that `trpotui train` makes of a command, without training it."""
    program, *arguments = shlex.split(command)
    configs = []

    def only_this_far(config):
        configs.append(config)
        raise RequestError("far enough")

    monkeypatch.setattr("trpotui.rl.trainer.check", only_this_far)
    assert program == "trpotui"
    assert cli.run(arguments) == 2
    assert len(configs) == 1, "the command line refused it"
    return configs[0]


@pytest.mark.parametrize("request_", REQUESTS)
def test_the_command_for_a_request_makes_the_same_configuration(request_, monkeypatch):
    command = command_for(request_)
    assert from_the_command_line(command, monkeypatch) == make_config(request_)


def test_the_command_holds_only_what_makes_a_difference():
    assert command_for(RunRequest()) == "trpotui train --no-ui"
    tuned = make_config(RunRequest())
    same = RunRequest(
        preset="tuned",
        device="auto",
        seed=0,
        total_steps=tuned.total_steps,
        n_envs=tuned.n_envs,
        stop_when_solved=True,
        settings={
            "max_kl": str(tuned.hyperparameters.max_kl),
            "hidden_sizes": "64,64",
            "eval_every": tuned.eval_every,
        },
    )
    assert command_for(same) == "trpotui train --no-ui"
    other = RunRequest(environment_kwargs={"x": "a b"}, seed=3, preset="default", device="auto")
    assert command_for(other) == (
        "trpotui train --no-ui --env-set 'x=a b' --preset default --seed 3"
    )


def test_there_is_no_command_for_a_wrong_request():
    with pytest.raises(RequestError, match="unknown preset 'tunned'"):
        command_for(RunRequest(preset="tunned"))
