"""Fitting the critic: Gauss-Newton against the ridge solution, Adam, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import network_samples
import pytest
import torch
from network_samples import make_spec

from trpotui.rl import value_function
from trpotui.rl.networks import Critic
from trpotui.rl.optimizers import Adam
from trpotui.rl.sequences import shuffled
from trpotui.rl.value_function import clipped_errors, fit_adam, fit_gauss_newton


def make_critic(*, inputs=3, hidden=(8,), seed=0) -> Critic:
    return network_samples.make_critic(make_spec(inputs=inputs, hidden=hidden), seed=seed)


def problem(count: int, *, seed: int = 0, scale: float = 1.0):
    """Inputs, and targets that a small network can learn."""
    inputs = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    targets = scale * (torch.sin(inputs[:, 0]) + inputs[:, 1] * inputs[:, 2] - 0.5)
    return inputs, targets


def loss(critic: Critic, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    return float((critic(inputs)[:, 0] - targets).square().mean())


def adam_fit(critic, inputs, targets, *, optimizer=None, **settings):
    values = {"learning_rate": 1e-2, "epochs": 20, "minibatches": 4} | settings
    generator = torch.Generator().manual_seed(0)
    orders = [shuffled(inputs, generator) for _ in range(values.pop("epochs"))]
    return fit_adam(
        critic,
        optimizer or Adam(critic.parameters),
        inputs,
        targets,
        orders=orders,
        **values,
    )


@pytest.mark.usefixtures("float64")
class TestGaussNewton:
    @pytest.mark.parametrize("damping", [1e-3, 0.1, 10.0])
    @pytest.mark.parametrize("count", [2, 50])
    def test_linear_critic_takes_the_damped_least_squares_step(self, damping, count):
        critic = make_critic(hidden=())
        inputs, targets = problem(count)
        old = critic.parameters.clone()
        fit_gauss_newton(critic, inputs, targets, iterations=50, damping=damping)
        # V = Z w with Z = [inputs, 1]: minimise |Z w - y|^2 / 2B + damping |w - w_old|^2 / 2
        z = torch.cat([inputs, torch.ones(count, 1)], dim=1)
        matrix = z.T @ z / count + damping * torch.eye(4)
        expected = torch.linalg.solve(matrix, z.T @ targets / count + damping * old)
        torch.testing.assert_close(critic.parameters, expected, rtol=1e-8, atol=1e-10)

    def test_curvature_of_a_part_and_gradient_of_the_whole(self):
        critic = make_critic(hidden=())
        inputs, targets = problem(50)
        old, part = critic.parameters.clone(), inputs[::3]
        fit_gauss_newton(
            critic, inputs, targets, iterations=50, damping=1e-2, curvature_inputs=part
        )
        z, few = (torch.cat([rows, torch.ones(len(rows), 1)], dim=1) for rows in (inputs, part))
        downhill = z.T @ (targets - z @ old) / 50
        step = torch.linalg.solve(few.T @ few / len(few) + 1e-2 * torch.eye(4), downhill)
        torch.testing.assert_close(critic.parameters, old + step, rtol=1e-8, atol=1e-10)

    def test_linear_critic_without_noise_is_solved_by_repeated_steps(self):
        critic = make_critic(hidden=())
        inputs = problem(40)[0]
        targets = inputs @ torch.tensor([1.0, -2.0, 3.0]) + 5.0
        for _ in range(60):
            fit_gauss_newton(critic, inputs, targets, iterations=20, damping=0.1)
        torch.testing.assert_close(
            critic.parameters, torch.tensor([1.0, -2.0, 3.0, 5.0]), rtol=1e-6, atol=1e-6
        )

    def test_reported_loss_is_that_of_the_critic(self):
        critic = make_critic()
        inputs, targets = problem(60)
        reported = fit_gauss_newton(critic, inputs, targets, iterations=10, damping=0.1)
        assert reported == pytest.approx(loss(critic, inputs, targets), rel=1e-12)

    def test_step_depends_on_the_unit_of_linear_targets_only_as_the_unit(self):
        # there is no learning rate that would have to know the scale
        inputs, targets = problem(40)
        steps = []
        for scale in (1.0, 1000.0):
            critic = make_critic(hidden=())
            critic.parameters.zero_()
            fit_gauss_newton(critic, inputs, scale * targets, iterations=20, damping=0.1)
            steps.append(critic.parameters / scale)
        torch.testing.assert_close(*steps)


class TestGaussNewtonSafety:
    @pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_loss_never_rises(self, scale, seed):
        critic = make_critic(hidden=(16, 16), seed=seed)
        inputs, targets = problem(64, seed=seed, scale=scale)
        losses = [loss(critic, inputs, targets)]
        for _ in range(15):
            fit_gauss_newton(critic, inputs, targets, iterations=10, damping=0.1)
            losses.append(loss(critic, inputs, targets))
        assert all(after <= before for before, after in pairwise(losses))
        assert losses[-1] < 0.9 * losses[0]

    def test_perfect_critic_stays_bit_for_bit(self):
        critic = make_critic()
        inputs = problem(30)[0]
        before = critic.parameters.clone()
        targets = critic(inputs)[:, 0].clone()
        assert fit_gauss_newton(critic, inputs, targets, iterations=10, damping=0.1) == 0.0
        assert torch.equal(critic.parameters, before)

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_targets_that_no_step_can_approach_leave_the_critic_bit_for_bit(self, bad):
        critic = make_critic()
        inputs, targets = problem(30)
        targets[3] = bad
        before = critic.parameters.clone()
        fit_gauss_newton(critic, inputs, targets, iterations=10, damping=0.1)
        assert torch.equal(critic.parameters, before)

    def test_step_that_would_raise_the_loss_is_shortened_or_refused(self):
        # A saturated unit: the linear model is wrong almost everywhere along the full step.
        critic = make_critic(inputs=1, hidden=(1,))
        critic.parameters.copy_(torch.tensor([6.0, 0.0, 10.0, 0.0]))  # V = 10 tanh(6 s)
        inputs = torch.tensor([[0.3], [-0.3]])
        targets = torch.tensor([-10.0, 10.0])
        before = loss(critic, inputs, targets)
        after = fit_gauss_newton(critic, inputs, targets, iterations=10, damping=1e-6)
        assert after <= before
        assert after == pytest.approx(loss(critic, inputs, targets))

    def test_step_that_only_raises_the_loss_leaves_the_critic_bit_for_bit(self, monkeypatch):
        solve = value_function.conjugate_gradient

        def uphill(*args, **settings):
            solution = solve(*args, **settings)
            return dataclasses.replace(solution, x=-solution.x)

        monkeypatch.setattr(value_function, "conjugate_gradient", uphill)
        critic = make_critic()
        inputs, targets = problem(30)
        before, old_loss = critic.parameters.clone(), loss(critic, inputs, targets)
        kept = fit_gauss_newton(critic, inputs, targets, iterations=10, damping=0.1)
        assert torch.equal(critic.parameters, before)
        assert kept == pytest.approx(old_loss)

    def test_interrupt_leaves_the_critic_bit_for_bit(self):
        critic = make_critic()
        inputs, targets = problem(30)
        before = critic.parameters.clone()

        def interrupt():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit_gauss_newton(
                critic, inputs, targets, iterations=10, damping=0.1, interrupt=interrupt
            )
        assert torch.equal(critic.parameters, before)

    def test_interrupt_is_asked_before_every_product(self):
        calls = []
        inputs, targets = problem(64)
        fit_gauss_newton(
            make_critic(),
            inputs,
            targets,
            iterations=7,
            damping=0.1,
            interrupt=lambda: calls.append(1),
        )
        assert len(calls) == 7


class TestAdam:
    @pytest.mark.parametrize("minibatches", [1, 4, 7])
    def test_fits(self, minibatches):
        critic = make_critic(hidden=(16,))
        inputs, targets = problem(64)
        before = loss(critic, inputs, targets)
        after = adam_fit(critic, inputs, targets, epochs=150, minibatches=minibatches)
        assert after < 0.1 * before
        assert after == pytest.approx(loss(critic, inputs, targets))

    def test_one_whole_batch_pass_is_one_step_of_the_mean_gradient(self):
        critic = make_critic()
        inputs, targets = problem(20)
        flat = critic.parameters.clone().requires_grad_()
        weight, bias, head, offset = (
            flat[:24].view(8, 3),
            flat[24:32],
            flat[32:40].view(1, 8),
            flat[40:],
        )
        values = (torch.tanh(inputs @ weight.T + bias) @ head.T + offset)[:, 0]
        (gradient,) = torch.autograd.grad(0.5 * (values - targets).square().mean(), flat)
        expected = flat.detach().clone()
        Adam(expected).step(gradient, learning_rate=1e-2)
        adam_fit(critic, inputs, targets, epochs=1, minibatches=1)
        torch.testing.assert_close(critic.parameters, expected, rtol=1e-4, atol=1e-6)

    def test_each_pass_sees_every_sample_once(self, monkeypatch):
        critic = make_critic()
        inputs, targets = problem(10)
        seen = []
        linearize = critic.linearize
        monkeypatch.setattr(
            critic, "linearize", lambda rows: seen.append(rows.clone()) or linearize(rows)
        )
        adam_fit(critic, inputs, targets, epochs=2, minibatches=3)
        assert len(seen) == 6
        for rows in (torch.cat(seen[:3]), torch.cat(seen[3:])):
            assert torch.equal(rows[rows[:, 0].argsort()], inputs[inputs[:, 0].argsort()])
        assert not torch.equal(torch.cat(seen[:3]), torch.cat(seen[3:]))

    def test_more_minibatches_than_samples_are_survived(self):
        critic = make_critic()
        inputs, targets = problem(3)
        assert math.isfinite(adam_fit(critic, inputs, targets, minibatches=10))

    def test_interrupt_is_asked_before_every_pass(self):
        calls = []
        inputs, targets = problem(8)
        adam_fit(make_critic(), inputs, targets, epochs=5, interrupt=lambda: calls.append(1))
        assert len(calls) == 5


class TestDetailsOfAdam:
    @pytest.mark.parametrize(
        ("value", "target", "old", "expected"),
        [
            (1.1, 3.0, 1.0, -1.9),  # within 0.2 of the old value: the error
            (1.5, 3.0, 1.0, 0.0),  # beyond it, towards the target: no more of that
            (1.5, 0.0, 1.0, 1.5),  # beyond it, away from the target: back
            (0.5, 0.0, 1.0, 0.0),
            (0.5, 3.0, 1.0, -2.5),
            (1.5, 1.3, 1.0, 0.2),  # past the target, and further from it than the clipped value
        ],
    )
    def test_clipped_errors_by_hand(self, value, target, old, expected):
        ours = clipped_errors(*(torch.tensor([x]) for x in (value, target, old)), 0.2)
        assert ours.tolist() == pytest.approx([expected], abs=1e-6)

    def test_clipped_errors_are_the_gradient_of_the_larger_loss(self):
        generator = torch.Generator().manual_seed(0)
        values, targets, old = torch.randn(3, 200, generator=generator)
        values.requires_grad_()
        clipped = old + (values - old).clamp(-0.3, 0.3)
        losses = torch.maximum((values - targets).square(), (clipped - targets).square()) / 2
        (expected,) = torch.autograd.grad(losses.sum(), values)
        # within the range both losses are the same one, of which torch takes half twice
        torch.testing.assert_close(clipped_errors(values.detach(), targets, old, 0.3), expected)

    def test_values_stop_where_they_are_clipped(self):
        inputs, targets = problem(64, scale=20.0)
        ends = []
        for clip in (0.0, 0.5):
            critic = make_critic()
            old = critic(inputs)[:, 0]
            adam_fit(critic, inputs, targets, epochs=200, value_clip=clip, old_values=old.clone())
            ends.append(float((critic(inputs)[:, 0] - old).abs().median()))
        assert ends[0] > 5.0
        assert ends[1] < 1.5

    def test_gradient_norm_is_bounded(self):
        inputs, targets = problem(64, scale=1e4)
        critic = make_critic()
        adam = Adam(critic.parameters)
        adam_fit(
            critic, inputs, targets, optimizer=adam, epochs=1, minibatches=1, max_grad_norm=0.5
        )
        gradient = adam.state()["mean"] / 0.1
        assert float(gradient.norm()) == pytest.approx(0.5, rel=1e-4)

    @pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
    def test_silent_bug_04_fit_that_overflows_is_undone_bit_for_bit(self, bad):
        inputs, targets = problem(64)
        critic = make_critic()
        adam = Adam(critic.parameters)
        adam_fit(critic, inputs, targets, optimizer=adam)
        before, state = critic.parameters.clone(), adam.state()
        adam_fit(critic, inputs, torch.where(torch.arange(64) == 5, bad, targets), optimizer=adam)
        assert torch.equal(critic.parameters, before)
        assert torch.equal(adam.state()["square"], state["square"])
        assert adam.state()["steps"] == state["steps"]

    def test_silent_bug_04_fit_that_spoils_the_optimiser_is_undone_too(self):
        """The loss is finite, and so is the critic; Adam's steps would be zero ever after."""
        inputs, targets = problem(64)
        critic = network_samples.make_critic(make_spec(inputs=3, activation="relu"))
        adam = Adam(critic.parameters)
        before = critic.parameters.clone()
        adam_fit(critic, 1e10 * inputs, 1e18 * targets, optimizer=adam, epochs=1, minibatches=1)
        assert torch.equal(critic.parameters, before)
        assert adam.state()["steps"] == 0


class TestRefusals:
    @pytest.mark.parametrize("batch", [1, 2, 7])
    def test_silent_bug_09_targets_in_a_column_are_refused(self, batch):
        critic = make_critic()
        inputs, targets = problem(batch)
        before = critic.parameters.clone()
        with pytest.raises(ValueError, match="targets must be"):
            fit_gauss_newton(critic, inputs, targets[:, None], iterations=10, damping=0.1)
        with pytest.raises(ValueError, match="targets must be"):
            adam_fit(critic, inputs, targets[:, None])
        assert torch.equal(critic.parameters, before)

    def test_targets_of_another_length_are_refused(self):
        inputs, targets = problem(5)
        with pytest.raises(ValueError, match="targets must be"):
            fit_gauss_newton(make_critic(), inputs, targets[:1], iterations=10, damping=0.1)
        with pytest.raises(ValueError, match="targets must be"):
            adam_fit(make_critic(), inputs, targets[:1])

    @pytest.mark.parametrize("batch", [2, 7])
    def test_silent_bug_09_each_target_belongs_to_its_input(self, batch):
        inputs, targets = problem(batch)
        fitted = []
        for order in (torch.arange(batch), torch.arange(batch).flip(0)):
            critic = make_critic()
            fit_gauss_newton(critic, inputs, targets[order], iterations=10, damping=0.1)
            fitted.append(critic.parameters)
        assert not torch.allclose(*fitted, rtol=1e-3)
