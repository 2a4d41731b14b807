"""Gradients of any function, beside those of `torch.func.vjp`."""

import pytest
import torch

from trpotui.rl.linearization import traced


def layers(parameters, features):
    weights, bias = parameters[:-3].view(3, -1), parameters[-3:]
    return torch.tanh(torch.addmm(bias, features, weights.T))


def of_the_first(parameters, features):
    del features
    return parameters[:6].view(2, 3).exp()


@pytest.mark.parametrize("function", [layers, of_the_first])
def test_outputs_and_gradients_are_those_of_torch_to_the_last_bit(function):
    generator = torch.Generator().manual_seed(0)
    at = torch.randn(18, generator=generator), torch.randn(7, 5, generator=generator)
    with torch.no_grad():  # as a learner has it
        outputs, gradients = traced(function, *at)
        expected_outputs, expected = torch.func.vjp(function, *at)
        assert torch.equal(outputs, expected_outputs)
        assert not outputs.requires_grad
        for _ in range(2):  # products may be asked for again and again
            cotangents = torch.randn(outputs.shape, generator=generator)
            for ours, theirs in zip(gradients(cotangents), expected(cotangents), strict=True):
                assert torch.equal(ours, theirs)
    assert not any(argument.requires_grad for argument in at)
