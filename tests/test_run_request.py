"""From options and presets to a configuration, and back from its saved form."""

import dataclasses
import json

import pytest

from trpotui.config import RunConfig
from trpotui.errors import RequestError
from trpotui.presets import _files, load_preset, preset_names
from trpotui.run_request import RunRequest, config_from_dict, make_config

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
