"""Optimisers on a flat vector against torch's."""

from __future__ import annotations

import math

import pytest
import torch

from trpotui.rl.optimizers import Adam, RmsProp, Sgd, has_overflowed, make_optimizer, shortened

pytestmark = pytest.mark.usefixtures("float64")


def gradients(count: int, *, seed: int = 0) -> list[torch.Tensor]:
    """Gradients of very different sizes, some entries zero."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.logspace(-8, 2, 11)
    rows = torch.randn(count, 11, generator=generator) * scales
    rows[torch.rand(count, 11, generator=generator) < 0.2] = 0.0
    return list(rows)


@pytest.mark.parametrize(
    "settings", [{}, {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-8}, {"epsilon": 1e-3}]
)
def test_steps_are_those_of_torch(settings):
    ours = torch.linspace(-1, 1, 11)
    theirs = torch.nn.Parameter(ours.clone())
    adam = Adam(ours, **settings)
    reference = torch.optim.Adam(
        [theirs],
        betas=(settings.get("beta1", 0.9), settings.get("beta2", 0.999)),
        eps=settings.get("epsilon", 1e-5),
    )
    for index, gradient in enumerate(gradients(50)):
        learning_rate = 1e-2 / (1 + index)  # annealed, as a run may ask for
        adam.step(gradient, learning_rate=learning_rate)
        reference.param_groups[0]["lr"] = learning_rate
        theirs.grad = gradient.clone()
        reference.step()
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-10, atol=1e-12)


def test_gradient_is_not_written_to():
    gradient = gradients(1)[0]
    before = gradient.clone()
    Adam(torch.zeros(11)).step(gradient, learning_rate=0.1)
    assert torch.equal(gradient, before)


def test_restored_optimizer_goes_on_as_if_nothing_had_happened():
    first = torch.zeros(11)
    adam = Adam(first)
    for gradient in gradients(20):
        adam.step(gradient, learning_rate=1e-2)
    second = first.clone()
    restored = Adam(second)
    restored.restore(adam.state())
    for gradient in gradients(20, seed=1):
        adam.step(gradient, learning_rate=1e-2)
        restored.step(gradient, learning_rate=1e-2)
        assert torch.equal(first, second)


@pytest.mark.parametrize("dropped", ["mean", "square", "steps"])
def test_silent_bug_14_every_part_of_the_state_matters(dropped):
    first = torch.zeros(11)
    adam = Adam(first)
    for gradient in gradients(20):
        adam.step(gradient, learning_rate=1e-2)
    second = first.clone()
    restored = Adam(second)
    restored.restore({**adam.state(), dropped: Adam(torch.zeros(11)).state()[dropped]})
    gradient = gradients(1, seed=1)[0]
    adam.step(gradient, learning_rate=1e-2)
    restored.step(gradient, learning_rate=1e-2)
    assert not torch.equal(first, second)


def test_silent_bug_14_state_that_was_taken_is_not_changed_by_later_steps():
    adam = Adam(torch.zeros(11))
    adam.step(gradients(1)[0], learning_rate=1e-2)
    state = adam.state()
    mean, square = state["mean"].clone(), state["square"].clone()
    adam.step(gradients(1, seed=1)[0], learning_rate=1e-2)
    assert torch.equal(state["mean"], mean)
    assert torch.equal(state["square"], square)
    assert state["steps"] == 1


@pytest.mark.parametrize("settings", [{}, {"decay": 0.9, "epsilon": 1e-8}])
def test_rmsprop_steps_are_those_of_torch(settings):
    ours = torch.linspace(-1, 1, 11)
    theirs = torch.nn.Parameter(ours.clone())
    rmsprop = RmsProp(ours, **settings)
    reference = torch.optim.RMSprop(
        [theirs], alpha=settings.get("decay", 0.99), eps=settings.get("epsilon", 1e-5)
    )
    for index, gradient in enumerate(gradients(50)):
        learning_rate = 1e-2 / (1 + index)
        rmsprop.step(gradient, learning_rate=learning_rate)
        reference.param_groups[0]["lr"] = learning_rate
        theirs.grad = gradient.clone()
        reference.step()
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-10, atol=1e-12)


def test_sgd_goes_against_the_gradient():
    parameters = torch.tensor([1.0, 2.0, 3.0])
    Sgd(parameters).step(torch.tensor([1.0, 0.0, -2.0]), learning_rate=0.1)
    assert parameters.tolist() == pytest.approx([0.9, 2.0, 3.2])


@pytest.mark.parametrize(("name", "kind"), [("adam", Adam), ("rmsprop", RmsProp), ("sgd", Sgd)])
def test_optimisers_by_name_restore_their_state(name, kind):
    first = torch.zeros(11)
    optimizer = make_optimizer(name, first)
    assert type(optimizer) is kind
    for gradient in gradients(10):
        optimizer.step(gradient, learning_rate=1e-2)
    second = first.clone()
    restored = make_optimizer(name, second)
    restored.restore(optimizer.state())
    for gradient in gradients(10, seed=1):
        optimizer.step(gradient, learning_rate=1e-2)
        restored.step(gradient, learning_rate=1e-2)
    assert torch.equal(first, second)


def test_long_vectors_are_shortened_and_others_left():
    vector = torch.tensor([3.0, 4.0])
    assert shortened(vector, 0.5).tolist() == pytest.approx([0.3, 0.4])
    assert shortened(vector, 5.0) is shortened(vector, 0.0) is vector
    assert shortened(torch.zeros(2), 0.5).tolist() == [0.0, 0.0]
    assert vector.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e200])
def test_second_moment_that_overflows_is_noticed(name, bad):
    optimizer = make_optimizer(name, torch.zeros(11))
    optimizer.step(gradients(1)[0], learning_rate=1e-2)
    assert not has_overflowed(optimizer)
    optimizer.step(torch.full((11,), bad), learning_rate=1e-2)
    assert has_overflowed(optimizer)
