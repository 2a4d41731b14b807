"""Policy files of networks with memory: every array and size of them."""

from __future__ import annotations

import pytest
import torch
from policy_samples import saved_policy

from trpotui.policy_file import read_policy, write_policy
from trpotui.policy_file.checks import checked
from trpotui.policy_file.payload import payload
from trpotui.policy_file.values import RefusedError

SAVED = {kind: saved_policy(network=kind, memory_size=5) for kind in ("gru", "lstm")}
GATES = {"gru": 3, "lstm": 4}

pytestmark = pytest.mark.parametrize("kind", SAVED)


def refusal(content) -> str:
    with pytest.raises(RefusedError) as caught:
        checked(content)
    return str(caught.value)


def test_what_is_written_is_read_bit_for_bit(kind, tmp_path):
    write_policy(tmp_path / "policy.pt", SAVED[kind])
    policy, expected = read_policy(tmp_path / "policy.pt").policy, SAVED[kind].policy
    assert policy.spec == expected.spec
    for ours, theirs in ((policy.actor, expected.actor), (policy.critic, expected.critic)):
        assert list(ours) == list(theirs)
        for name in ours:
            assert ours[name].tobytes() == theirs[name].tobytes()


@pytest.mark.parametrize("network", ["actor", "critic"])
@pytest.mark.parametrize("name", ["input.weight", "input.bias", "recurrent.weight"])
def test_an_array_of_the_cell_that_is_absent_or_of_another_shape(kind, network, name):
    name = f"memory.{name}"
    content = payload(SAVED[kind])
    array = content[network].pop(name)
    assert refusal(content).startswith(f"is damaged: its {network} does not hold just")
    content[network] = payload(SAVED[kind])[network] | {name: array[None].clone()}
    assert f"its {network}.{name} has the shape" in refusal(content)
    content[network][name] = array[:-1].clone()
    assert f"its {network}.{name} has the shape" in refusal(content)
    content[network][name] = torch.full_like(array, torch.nan)
    assert f"its {network}.{name} holds a number that is not finite" in refusal(content)


def test_another_cell_than_the_file_says(kind):
    other = "lstm" if kind == "gru" else "gru"
    content = payload(SAVED[kind])
    content["network"]["network"] = other
    expected = (GATES[other] * 5, 4)
    assert f"actor.memory.input.weight has the shape ({GATES[kind] * 5}, 4) instead of" in (
        said := refusal(content)
    )
    assert str(expected) in said
    content["network"]["network"] = "mlp"
    assert "its actor does not hold just 0.weight" in refusal(content)


@pytest.mark.parametrize("size", [0, -1, 4097, 2**62, True, 5.0, "5"])
def test_a_size_out_of_range_or_of_another_type(kind, size):
    content = payload(SAVED[kind])
    content["network"]["memory_size"] = size
    assert "network.memory_size" in refusal(content)


@pytest.mark.parametrize("size", [1, 6, 4096])
def test_a_size_that_is_not_that_of_the_arrays(kind, size):
    content = payload(SAVED[kind])
    content["network"]["memory_size"] = size
    assert "actor.memory.input.weight has the shape" in refusal(content)
