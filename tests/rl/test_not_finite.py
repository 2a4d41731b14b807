"""No number that is not finite becomes a parameter: it is refused, counted, told, and enough."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from algorithm_samples import (
    BY_PASSES,
    NAMES,
    Push,
    critic_of,
    make_actor,
    make_algorithm,
    make_batch,
    nothing,
    same,
)
from network_samples import make_critic, make_spec

from trpotui.errors import RunError
from trpotui.events import Notice, RejectReason, UpdateFinished
from trpotui.rl import critic_fit, natural_gradient, value_function
from trpotui.rl.line_search import line_search, maximize_along
from trpotui.rl.networks import Actor, Critic
from trpotui.rl.optimizers import Adam
from trpotui.rl.refusals import MOST_IN_A_ROW
from trpotui.rl.surrogate import Surrogate
from trpotui.rl.trainer import train
from trpotui.rl.value_function import fit_adam, fit_gauss_newton

BAD = (math.nan, math.inf, -3e38)
"""The last one is finite, and its square is not."""


class Poison:
    """Puts a bad number into one element of the n-th product of a network, or from then on."""

    def __init__(self, monkeypatch, number: int, value: float, *, for_good: bool) -> None:
        self.products = 0
        self._number, self._value, self._for_good = number, value, for_good
        for network in (Actor, Critic):
            monkeypatch.setattr(network, "linearize", self._wrapped(network.linearize))

    def _wrapped(self, linearize):
        return lambda network, inputs: Poisoned(linearize(network, inputs), self)

    def __call__(self, product: torch.Tensor) -> torch.Tensor:
        self.products += 1
        if self.products == self._number or (self._for_good and self.products > self._number):
            product = product.clone()
            product.view(-1)[product.numel() // 2] = self._value
        return product


class Poisoned:
    """A network's linear model whose products are poisoned."""

    def __init__(self, linear, poison: Poison) -> None:
        self._linear, self._poison = linear, poison
        self.outputs = linear.outputs

    def jvp(self, tangent):
        return self._poison(self._linear.jvp(tangent))

    def vjp(self, cotangents):
        return self._poison(self._linear.vjp(cotangents))


def tensors_of(state):
    """All tensors and numbers of a nested state."""
    if isinstance(state, dict):
        return [tensor for part in state.values() for tensor in tensors_of(part)]
    return [torch.as_tensor(state)] if isinstance(state, torch.Tensor | float) else []


@pytest.mark.parametrize("critic", ["gauss_newton", "adam"])
@pytest.mark.parametrize("name", NAMES)
def test_poison_anywhere_in_an_update_enters_nothing(monkeypatch, name, critic):
    settings = {"critic_iterations": 3, "critic_epochs": 1, "critic_minibatches": 2}
    settings |= {"epochs": 2, "minibatches": 2} if name in BY_PASSES else {}
    settings |= {"cg_iterations": 3} if name in {"npg", "trpo", "trpo_penalty"} else {}
    refused = tried = 0
    for value, for_good in ((math.nan, True), (-3e38, False)):
        number, complete = 0, False
        while not complete:
            number += 1
            actor = make_actor("gaussian")
            algorithm = make_algorithm(name, actor, critic=critic, **settings)
            batch, before = make_batch(actor, 40), actor.parameters.clone()
            with monkeypatch.context() as patched:
                poison = Poison(patched, number, value, for_good=for_good)
                stats = algorithm.update(batch, nothing)
            complete = poison.products < number
            tried += not complete
            everything = [actor.parameters, critic_of(algorithm), *tensors_of(algorithm.state())]
            assert all(bool(torch.isfinite(tensor).all()) for tensor in everything)
            assert math.isfinite(stats.kl)
            if stats.reject_reason is not None:
                assert torch.equal(actor.parameters, before)
            bad_critic = stats.value_loss is not None and not math.isfinite(stats.value_loss)
            refused += bad_critic or stats.reject_reason is RejectReason.NOT_FINITE
    assert tried >= 6
    assert refused >= 2


@pytest.mark.parametrize("field", ["advantages", "targets"])
@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", NAMES)
def test_poisoned_sample_enters_nothing(name, field, value):
    actor = make_actor("gaussian")
    algorithm = make_algorithm(name, actor)
    batch = make_batch(actor, 40)
    poisoned = getattr(batch, field).clone()
    poisoned[7] = value
    before = actor.parameters.clone()
    stats = algorithm.update(dataclasses.replace(batch, **{field: poisoned}), nothing)
    for parameters in (actor.parameters, critic_of(algorithm)):
        assert bool(torch.isfinite(parameters).all())
    if field == "advantages" and not math.isfinite(value):
        assert stats.reject_reason is RejectReason.NOT_FINITE
        assert torch.equal(actor.parameters, before)
    if field == "targets":
        assert not math.isfinite(stats.value_loss)


# a number that neither KL nor loss shows, as one behind a unit that never fires


def unseen_step(value: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(3), torch.tensor([0.1, 0.1, value])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_line_search_refuses_a_step_that_only_the_parameters_show(value):
    parameters, step = unseen_step(value)
    search = line_search(
        parameters, step, lambda: (0.001, 1.0), max_kl=0.01, backtrack_factor=0.5, max_backtracks=3
    )
    assert not search.accepted
    assert search.reject_reason is RejectReason.NOT_FINITE
    assert len(search.tries) == 4
    assert torch.equal(parameters, torch.zeros(3))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_maximum_is_not_where_the_parameters_are_not_finite(value):
    parameters, step = unseen_step(value)
    fraction = maximize_along(parameters, step, lambda: 1.0, backtrack_factor=0.5, max_backtracks=3)
    assert fraction == 0.0
    assert torch.equal(parameters, torch.zeros(3))


def test_curvature_that_is_not_finite_is_told_as_that():
    direction = natural_gradient.natural_direction(
        torch.tensor([1e19, 1.0]),
        lambda v: v * torch.tensor([1e-30, 1.0]),
        iterations=2,
        damping=0.0,
    )
    assert direction.reject_reason is RejectReason.NOT_FINITE
    assert not direction.x.any()


@pytest.fixture
def critic():
    spec = make_spec(inputs=2, hidden=(3,), actions=2, gaussian=False)
    return make_critic(dataclasses.replace(spec, activation="relu"))


def test_critic_is_kept_when_only_its_parameters_show_what_is_wrong(critic, monkeypatch):
    inputs, targets = torch.rand(8, 2), torch.rand(8)
    before = critic.parameters.clone()
    unseen = torch.zeros_like(before)
    unseen[critic.parameters.numel() // 2] = math.inf
    solution = natural_gradient.Solution(unseen, unseen, (1.0,), 1)
    monkeypatch.setattr(value_function, "conjugate_gradient", lambda *_, **__: solution)
    loss = fit_gauss_newton(critic, inputs, targets, iterations=5, damping=0.1)
    assert math.isnan(loss)
    assert torch.equal(critic.parameters, before)


def test_adam_critic_with_a_unit_at_minus_infinity_is_put_back(critic):
    """Such a unit never fires again: the loss stays finite, and only the parameters show it."""
    optimizer = Adam(critic.parameters)
    before, state = critic.parameters.clone(), optimizer.state()
    step = optimizer.step

    def stepped(gradient, *, learning_rate):
        step(gradient, learning_rate=learning_rate)
        critic.named["0.bias"][0] = -math.inf

    optimizer.step = stepped
    inputs, targets = torch.rand(8, 2), torch.rand(8)
    loss = fit_adam(
        critic,
        optimizer,
        inputs,
        targets,
        learning_rate=1e-3,
        minibatches=1,
        orders=[torch.arange(8)],
    )
    assert math.isnan(loss)
    assert torch.equal(critic.parameters, before)
    assert same(optimizer.state(), state)


# a run


class Shelf:
    """Keeps what a run saves."""

    def __init__(self) -> None:
        self.rows, self.policies, self.checkpoints = [], [], []

    def append_metrics(self, row):
        self.rows.append(row)

    def save_policy(self, saved, *, best):
        self.policies.append((saved, best))

    def save_checkpoint(self, state):
        self.checkpoints.append(state)


def poison_updates(monkeypatch, bad: range) -> None:
    """Let the gradient of the updates with these numbers, from 1, be NaN."""
    gradient, calls = Surrogate.gradient, []

    def poisoned(surrogate):
        calls.append(1)
        return gradient(surrogate) * (math.nan if len(calls) in bad else 1.0)

    monkeypatch.setattr(Surrogate, "gradient", poisoned)


@pytest.fixture
def config(register, make_config):
    return make_config(register(Push), total_steps=32 * 30)


def told(events) -> list[str]:
    notices = [event.message for event in events if isinstance(event, Notice)]
    return [message for message in notices if "NaN or infinite" in message]


def test_run_stops_after_ten_refusals_in_a_row_with_its_last_good_policy(config, monkeypatch):
    poison_updates(monkeypatch, range(4, 100))
    shelf, events = Shelf(), []
    run = train(config, store=shelf)
    with pytest.raises(RunError, match="10 updates in a row would have made the policy NaN") as end:
        events.extend(run)  # which keeps those before the end
    assert "\n" not in str(end.value)
    updates = [event for event in events if isinstance(event, UpdateFinished)]
    assert [update.update for update in updates] == list(range(1, 14))
    reasons = [update.reject_reason for update in updates]
    assert reasons[:3] == [None] * 3
    assert set(reasons[3:]) == {RejectReason.NOT_FINITE}
    messages = told(events)
    assert len(messages) == MOST_IN_A_ROW - 1
    assert messages[0].startswith("update 4 would have made the policy NaN or infinite")
    assert "(2 in a row, 2 in all; the run stops at 10 in a row)" in messages[1]
    assert len(shelf.rows) == 13
    last, _ = shelf.policies[-1]
    assert last.updates == 13
    assert all(np.isfinite(array).all() for array in last.policy.actor.values())
    monkeypatch.undo()
    good = shelf_of(config, 3).policies[-1][0].policy.actor
    assert all(np.array_equal(good[name], last.policy.actor[name]) for name in good)


def shelf_of(config, updates: int) -> Shelf:
    """What a run of so many updates leaves."""
    shelf = Shelf()
    list(train(dataclasses.replace(config, total_steps=32 * updates), store=shelf))
    return shelf


def test_nine_refusals_in_a_row_do_not_stop_a_run(config, monkeypatch):
    bad = [*range(3, 12), *range(13, 22)]
    poison_updates(monkeypatch, bad)
    events = list(train(config, store=Shelf()))
    assert len(told(events)) == 18
    assert "(9 in a row, 18 in all;" in told(events)[-1]


def test_critic_that_is_refused_counts_as_well(config, monkeypatch):
    monkeypatch.setattr(critic_fit.CriticFit, "__call__", lambda *_: math.nan)
    with pytest.raises(RunError, match="10 updates in a row would have made the critic NaN"):
        list(train(config, store=Shelf()))
