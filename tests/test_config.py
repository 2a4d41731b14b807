"""Every refusal of a configuration is one sentence: the key, its range, the nearest name."""

import dataclasses

import pytest

from trpotui.config import (
    RunConfig,
    SharedHyperparameters,
    build,
    describe_field,
    did_you_mean,
    field_names,
)
from trpotui.errors import RequestError
from trpotui.rl.algorithms.trpo import TrpoHyperparameters

CONFIGURATIONS = [RunConfig, SharedHyperparameters, TrpoHyperparameters]


def test_text_is_converted_to_the_type_of_the_field():
    built = build(
        TrpoHyperparameters,
        {
            "max_kl": "0.02",
            "cg_iterations": "7",
            "normalize_observations": "true",
            "hidden_sizes": "32, 16",
            "critic": "adam",
        },
        what="hyperparameter",
    )
    assert built.max_kl == 0.02
    assert built.cg_iterations == 7
    assert built.normalize_observations is True
    assert built.hidden_sizes == (32, 16)
    assert built.critic == "adam"


def test_no_hidden_layer_at_all_is_a_network_too():
    built = build(SharedHyperparameters, {"hidden_sizes": ""}, what="hyperparameter")
    assert built.hidden_sizes == ()


def test_an_unknown_name_is_refused_with_the_nearest_real_one():
    with pytest.raises(RequestError, match=r"unknown hyperparameter 'maxkl'; .*'max_kl'"):
        build(TrpoHyperparameters, {"maxkl": 1}, what="hyperparameter")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("max_kl", "0", "greater than 0"),
        ("max_kl", "-1", "greater than 0"),
        ("max_kl", "nan", "finite"),
        ("max_kl", "inf", "finite|less than or equal"),
        ("max_kl", "a lot", "valid number"),
        ("gamma", "1.01", "less than or equal to 1"),
        ("backtrack_factor", "1", "less than 1"),
        ("cg_iterations", "2.5", "valid integer"),
        ("hidden_sizes", "64,0", "greater than or equal to 1"),
        ("hidden_sizes", "64;64", "valid integer"),
        ("critic", "sgd", "'gauss_newton' or 'adam'"),
        ("normalize_observations", "perhaps", "valid boolean"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_key_and_the_reason(name, value, said):
    with pytest.raises(RequestError, match=said) as refusal:
        build(TrpoHyperparameters, {name: value}, what="hyperparameter")
    assert str(refusal.value).startswith(f"hyperparameter {name}=")
    assert "\n" not in str(refusal.value)


def test_the_range_of_a_field_is_part_of_its_refusal():
    with pytest.raises(RequestError, match=r"> 0, <= 10"):
        build(TrpoHyperparameters, {"max_kl": 11}, what="hyperparameter")


@pytest.mark.parametrize(
    ("name", "value"),
    [("device", "tpu"), ("device", "cuda:x"), ("seed", -1), ("total_steps", 0), ("n_envs", 0)],
)
def test_a_run_refuses_what_cannot_be(name, value):
    with pytest.raises(RequestError, match=f"setting {name}="):
        build(RunConfig, {name: value}, what="setting")


@pytest.mark.parametrize("cls", CONFIGURATIONS)
def test_every_field_explains_itself(cls):
    for name in field_names(cls):
        assert len(describe_field(cls, name)) > 10, name


@pytest.mark.parametrize("cls", CONFIGURATIONS)
def test_every_default_passes_its_own_validation(cls):
    instance = cls()
    values = {field.name: getattr(instance, field.name) for field in dataclasses.fields(cls)}
    assert build(cls, values, what="field") == instance


def test_a_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().seed = 3


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("CartPole-V1", "CartPole-v1"), ("cartpole", "CartPole-v1"), ("Pendlum-v1", "Pendulum-v1")],
)
def test_near_names_are_found_whatever_their_case(typed, meant):
    assert f"'{meant}'" in did_you_mean(typed, ["CartPole-v1", "Pendulum-v1", "Acrobot-v1"])


def test_nothing_is_suggested_where_nothing_is_near():
    assert did_you_mean("zzzz", ["CartPole-v1"]) == ""
