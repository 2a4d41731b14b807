"""Policy files of version 1, and what version 2 says of networks that version 1 did not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from policy_samples import saved_policy

from tests.rl.network_samples import act, parameters_of, values_of
from trpotui.policy_file import policy_bytes, read_policy
from trpotui.policy_file.checks import checked
from trpotui.policy_file.payload import payload
from trpotui.policy_file.values import RefusedError

VERSION_1 = Path(__file__).parent / "policy_of_version_1.pt"
"""Pendulum, one hidden layer of 4, normalised; written by the program of that time."""
OBSERVATIONS = np.array([[0.1, 0.2, 0.3], [1.0, -1.0, 8.0], [-3.0, 0.5, -2.0]], np.float32)
# what that program made of these observations
PARAMETERS = [[-1.183754, -0.970968], [-0.6199002, -0.970968], [-2.1135819, -0.970968]]
VALUES = [2.0214846, -0.12734427, -2.3936210]
GREEDY = [[-2.0], [-1.2398003], [-2.0]]
SAMPLED = [[-1.5209846], [-2.0], [-2.0]]  # by a generator of seed 0
GSDE = {
    "observation_space": spaces.Box(-8, 8, (3,)),
    "action_space": spaces.Box(-2, 2, (1,)),
    "exploration": "gsde",
}
IMAGES = {
    "observation_space": spaces.Box(0, 255, (36, 36, 1), np.uint8),
    "hidden_sizes": (),
    "network": "cnn",
}
ADDED = ("network", "memory_size", "exploration", "sde_interval", "logit_clip")


def refusal(content) -> str:
    with pytest.raises(RefusedError) as caught:
        checked(content)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 250
    return message


def test_a_policy_of_version_1_acts_as_it_did():
    saved = read_policy(VERSION_1)
    policy = saved.policy
    assert (saved.steps, saved.score.mean, policy.spec.hidden_sizes) == (20_480, 487.5, (4,))
    assert (policy.spec.network, policy.spec.exploration) == ("mlp", "independent")
    close = {"rtol": 1e-5, "atol": 1e-6}
    inputs = policy.network_inputs(OBSERVATIONS)
    np.testing.assert_allclose(parameters_of(policy, inputs), PARAMETERS, **close)
    np.testing.assert_allclose(values_of(policy, OBSERVATIONS), VALUES, **close)
    np.testing.assert_allclose(act(policy, OBSERVATIONS), GREEDY, **close)
    sampled = act(policy, OBSERVATIONS, np.random.default_rng(0))
    np.testing.assert_allclose(sampled, SAMPLED, **close)


def test_a_policy_of_version_1_that_is_saved_again_is_the_same(tmp_path):
    first = read_policy(VERSION_1)
    path = tmp_path / "policy.pt"
    path.write_bytes(policy_bytes(first))
    second = read_policy(path)
    assert second.policy.to_bytes() == first.policy.to_bytes()
    assert (second.config, second.created) == (first.config, first.created)


@pytest.mark.parametrize("name", ADDED)
def test_version_1_says_nothing_that_only_version_2_can(name):
    content = payload(saved_policy())
    content["format_version"] = 1
    added = {key: content["network"].pop(key) for key in ADDED}
    assert checked(content).policy.spec == saved_policy().policy.spec
    content["network"][name] = added[name]
    assert refusal(content) == f"is damaged: its network has the unknown key '{name}'"


@pytest.mark.parametrize("name", ADDED)
def test_version_2_says_all_of_it(name):
    content = payload(saved_policy())
    del content["network"][name]
    assert refusal(content) == f"is damaged: its network lacks '{name}'"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("network", "transformer", "is none of mlp, cnn, gru, lstm"),
        ("network", "", "is none of"),
        ("exploration", "noisy", "is none of independent, state_dependent, gsde"),
        ("memory_size", 0, "is not a whole number from 1 to 4096"),
        ("memory_size", 10**30, "is not a whole number from 1 to 4096"),
        ("memory_size", True, "is of type bool"),
        ("sde_interval", 0, "is not a whole number"),
        ("sde_interval", 2**64, "is not a whole number"),
        ("logit_clip", -1.0, "is not a number >= 0"),
        ("logit_clip", float("nan"), "is not a number >= 0"),
        ("logit_clip", float("inf"), "is not a number >= 0"),
        ("logit_clip", 1, "is of type int"),
    ],
)
def test_what_is_no_network_is_refused(name, value, reason):
    content = payload(saved_policy(**GSDE))
    content["network"][name] = value
    message = refusal(content)
    assert message.startswith(f"is damaged: its network.{name} ")
    assert reason in message


@pytest.mark.parametrize("claimed", ["independent", "state_dependent"])
def test_arrays_of_another_exploration_are_refused(claimed):
    content = payload(saved_policy(**GSDE))
    content["network"]["exploration"] = claimed
    assert refusal(content).startswith("is damaged: its actor")


@pytest.mark.parametrize("claimed", ["mlp", "gru", "lstm"])
def test_arrays_of_another_network_are_refused(claimed):
    content = payload(saved_policy(**IMAGES))
    content["network"]["network"] = claimed
    assert refusal(content).startswith("is damaged: its actor does not hold just")


def test_a_network_that_looks_at_what_is_no_image_is_refused():
    content = payload(saved_policy())
    content["network"]["network"] = "cnn"
    assert refusal(content) == (
        "is damaged: its network.network looks at images, which its observations are not"
    )


def test_images_are_not_normalised():
    content = payload(saved_policy(**IMAGES))
    zeros = torch.zeros(36 * 36, dtype=torch.float64)
    content["observation_moments"] = {
        "mean": zeros,
        "variance": zeros.clone(),
        "count": 1.0,
        "clip": 10.0,
    }
    assert "observation_moments are there, though" in refusal(content)


@pytest.mark.parametrize("name", ["image.0.weight", "image.3.bias"])
def test_a_network_for_images_has_arrays_of_its_shapes(name):
    content = payload(saved_policy(**IMAGES))
    content["actor"][name] = torch.zeros(2)
    assert f"its actor.{name} has the shape" in refusal(content)


def test_a_policy_for_atari_is_read_again(tmp_path):
    atari = IMAGES | {"observation_space": spaces.Box(0, 255, (84, 84, 4), np.uint8)}
    saved = saved_policy(**atari)
    path = tmp_path / "policy.pt"
    path.write_bytes(policy_bytes(saved))
    assert read_policy(path).policy.to_bytes() == saved.policy.to_bytes()
