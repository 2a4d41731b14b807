"""What a policy is made of: arrays, sizes and bounds, from its spaces and settings."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces
from network_samples import make_spec

from trpotui.rl.architecture import LOG_STD_MAX, LOG_STD_MIN

INF = float("inf")


def test_layer_widths_follow_the_spaces():
    spec = make_spec(
        observation_space=spaces.Discrete(6, start=2),
        action_space=spaces.Box(-1, 1, (2, 2), np.float32),
        hidden=(5, 3),
    )
    trunk = {"0.weight": (5, 6), "0.bias": (5,), "1.weight": (3, 5), "1.bias": (3,)}
    assert spec.actor_shapes == trunk | {"2.weight": (4, 3), "2.bias": (4,), "log_std": (4,)}
    assert spec.critic_shapes == trunk | {"2.weight": (1, 3), "2.bias": (1,)}
    assert spec.distribution == "gaussian"
    assert (spec.observation_size, spec.action_size, spec.output_size) == (6, 4, 4)


@pytest.mark.parametrize(
    ("exploration", "outputs", "log_std"),
    [("independent", 3, (3,)), ("state_dependent", 6, None), ("gsde", 3, (7, 3))],
)
def test_exploration_of_a_gaussian_policy_decides_where_log_sigma_comes_from(
    exploration, outputs, log_std
):
    shapes = make_spec(gaussian=True, hidden=(5, 7), exploration=exploration).actor_shapes
    assert shapes["2.weight"] == (outputs, 7)
    assert shapes.get("log_std") == log_std
    assert list(shapes)[-1] == ("2.bias" if log_std is None else "log_std")


def test_gsde_without_hidden_layers_sees_the_observation():
    spec = make_spec(inputs=4, gaussian=True, hidden=(), exploration="gsde")
    assert spec.actor_shapes["log_std"] == (4, 3)


@pytest.mark.parametrize("exploration", ["state_dependent", "gsde"])
def test_exploration_is_nothing_to_a_discrete_policy(exploration):
    assert make_spec(exploration=exploration).actor_shapes == make_spec().actor_shapes
    assert make_spec(exploration=exploration).output_bounds is None


def test_logits_are_bounded_and_means_are_not():
    low, high = make_spec(logit_clip=20.0).output_bounds
    assert (low.tolist(), high.tolist()) == ([-20.0] * 3, [20.0] * 3)
    assert make_spec(gaussian=True, logit_clip=20.0).output_bounds is None
    low, high = make_spec(gaussian=True, actions=2, exploration="state_dependent").output_bounds
    assert low.tolist() == [-INF, -INF, LOG_STD_MIN, LOG_STD_MIN]
    assert high.tolist() == [INF, INF, LOG_STD_MAX, LOG_STD_MAX]


def test_names_say_where_an_array_belongs_before_the_affine_layers_begin():
    image = spaces.Box(0, 255, (36, 36, 3), np.uint8)
    for changes in ({"network": "gru"}, {"observation_space": image, "network": "cnn"}):
        spec = make_spec(**changes)
        names = list(spec.actor_shapes)
        stage = list(spec.feature_shapes)
        assert names[: len(stage)] == stage
        assert names[len(stage) :] == ["0.weight", "0.bias", "1.weight", "1.bias"]
        assert spec.actor_shapes["0.weight"] == (7, spec.feature_size)
        assert list(spec.critic_shapes) == names


def test_images_are_kept_as_bytes():
    image = spaces.Box(0, 255, (36, 36, 3), np.uint8)
    assert make_spec(observation_space=image, network="cnn").row_dtype is np.uint8
    assert make_spec(observation_space=image).row_dtype is np.float32
