"""Action distributions against torch.distributions, autograd, dense matrices and sampling."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions
from torch.autograd.functional import hessian

from trpotui.rl.distributions import Categorical, DiagGaussian

pytestmark = pytest.mark.usefixtures("float64")

CASES = ["categorical-1", "categorical-2", "categorical-5", "gaussian-1", "gaussian-3"]


class Case:
    """A distribution, random parameters for it, and torch's own version of it."""

    def __init__(self, name: str) -> None:
        kind, size = name.split("-")
        self.size = int(size)
        self.gaussian = kind == "gaussian"
        self.ours = DiagGaussian(self.size) if self.gaussian else Categorical(self.size)

    def parameters(self, batch: int, seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(batch, self.ours.parameter_count, generator=generator)

    def torch(self, parameters: torch.Tensor):
        if not self.gaussian:
            return distributions.Categorical(logits=parameters)
        mean, log_std = parameters.chunk(2, dim=1)
        return distributions.Independent(distributions.Normal(mean, log_std.exp()), 1)

    def actions(self, parameters: torch.Tensor, seed: int) -> torch.Tensor:
        return self.ours.sample(parameters, torch.Generator().manual_seed(seed))


@pytest.fixture(params=CASES)
def case(request) -> Case:
    return Case(request.param)


def test_log_probabilities_are_those_of_torch(case):
    parameters = case.parameters(50, 0)
    actions = case.actions(parameters, 1)
    log_prob = case.ours.log_prob(parameters, actions)
    assert log_prob.shape == (50,)
    torch.testing.assert_close(log_prob, case.torch(parameters).log_prob(actions))


def test_entropies_are_those_of_torch(case):
    parameters = case.parameters(50, 2)
    torch.testing.assert_close(case.ours.entropy(parameters), case.torch(parameters).entropy())


def test_kl_is_that_of_torch_with_old_first(case):
    old, new = case.parameters(50, 3), case.parameters(50, 4)
    expected = distributions.kl_divergence(case.torch(old), case.torch(new))
    torch.testing.assert_close(case.ours.kl(old=old, new=new), expected)


def test_kl_is_never_negative(case):
    for seed in range(20):
        old = case.parameters(100, seed)
        new = old + 10.0 ** -(seed % 7) * case.parameters(100, 100 + seed)
        # of the order of the rounding of the terms that cancel
        assert float(case.ours.kl(old=old, new=new).min()) >= -1e-14


def test_kl_and_its_gradient_are_zero_at_the_old_parameters(case):
    old = case.parameters(20, 5)
    new = old.clone().requires_grad_()
    kl = case.ours.kl(old=old, new=new)
    (gradient,) = torch.autograd.grad(kl.sum(), new)
    assert torch.equal(kl, torch.zeros(20))
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", ["categorical-5", "gaussian-3"])
def test_kl_is_the_mean_log_ratio_under_the_old_policy_in_both_directions(name):
    case = Case(name)
    first, second = case.parameters(1, 8), case.parameters(1, 9)
    count = 200_000
    exact = {}
    for direction, (old, new) in {"there": (first, second), "back": (second, first)}.items():
        old_rows, new_rows = old.expand(count, -1), new.expand(count, -1)
        actions = case.actions(old_rows, 10)
        ratios = case.ours.log_prob(old_rows, actions) - case.ours.log_prob(new_rows, actions)
        exact[direction] = float(case.ours.kl(old=old, new=new))
        error = 5 * float(ratios.std()) / math.sqrt(count)
        assert abs(float(ratios.mean()) - exact[direction]) < error
        assert error < 0.1 * exact[direction], "the sample says nothing"
    assert abs(exact["there"] - exact["back"]) > 0.1 * exact["there"]


@pytest.mark.parametrize("name", ["gaussian-1", "gaussian-3"])
def test_small_gaussian_kl_keeps_its_digits(name):
    case = Case(name)
    old = case.parameters(10, 11)
    change = 1e-7 * case.parameters(10, 12)
    quadratic = 0.5 * (change * case.ours.fisher_product(old, change)).sum(dim=1)
    torch.testing.assert_close(
        case.ours.kl(old=old, new=old + change), quadratic, rtol=1e-5, atol=0
    )


def test_silent_bug_01_kl_sums_over_action_dimensions():
    # eight Gaussians with sigma 1 whose means move by 0.1: 8 * 0.1^2 / 2
    old, new = torch.zeros(1, 16), torch.zeros(1, 16)
    new[:, :8] = 0.1
    gaussian = DiagGaussian(8)
    assert float(gaussian.kl(old=old, new=new)) == pytest.approx(0.04, rel=1e-12)


def test_silent_bug_01_log_probability_and_entropy_sum_over_action_dimensions():
    parameters, gaussian = torch.zeros(1, 16), DiagGaussian(8)
    log_prob = float(gaussian.log_prob(parameters, torch.ones(1, 8)))
    assert log_prob == pytest.approx(-8 * (0.5 + 0.5 * math.log(2 * math.pi)))
    assert float(gaussian.entropy(parameters)) == pytest.approx(
        8 * 0.5 * math.log(2 * math.pi * math.e)
    )


def test_score_is_the_gradient_of_the_log_probability(case):
    parameters = case.parameters(30, 13).requires_grad_()
    actions = case.actions(parameters.detach(), 14)
    (expected,) = torch.autograd.grad(case.ours.log_prob(parameters, actions).sum(), parameters)
    torch.testing.assert_close(case.ours.score(parameters.detach(), actions), expected)


def dense_fisher(case: Case, parameters: torch.Tensor) -> torch.Tensor:
    """The matrix of `fisher_product` at one sample [1, K]: its products with unit vectors."""
    identity = torch.eye(case.ours.parameter_count)
    return torch.stack([case.ours.fisher_product(parameters, row[None])[0] for row in identity])


def test_silent_bug_02_fisher_product_is_the_hessian_of_the_kl(case):
    for seed in range(5):
        old = case.parameters(1, seed)
        dense = hessian(lambda new, old=old: case.ours.kl(old=old, new=new[None]).sum(), old[0])
        torch.testing.assert_close(dense_fisher(case, old), dense, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("categorical")])
def test_silent_bug_02_categorical_fisher_is_the_mean_outer_product_of_scores(name):
    case = Case(name)
    parameters = case.parameters(1, 15)
    rows = parameters.expand(case.size, -1)
    scores = case.ours.score(rows, torch.arange(case.size))
    weights = torch.softmax(parameters[0], dim=0)
    torch.testing.assert_close(
        dense_fisher(case, parameters), scores.T @ (weights[:, None] * scores)
    )


@pytest.mark.parametrize("name", ["gaussian-1", "gaussian-3"])
def test_silent_bug_02_gaussian_fisher_is_the_mean_outer_product_of_scores(name):
    case = Case(name)
    parameters = case.parameters(1, 16)
    count = 200_000
    rows = parameters.expand(count, -1)
    scores = case.ours.score(rows, case.actions(rows, 17))
    expected = dense_fisher(case, parameters)
    scale = expected.diagonal().sqrt()
    error = (scores.T @ scores / count - expected) / (scale[:, None] * scale[None, :])
    assert float(error.abs().max()) < 0.03


def test_fisher_matrix_is_symmetric_and_has_no_negative_eigenvalue(case):
    for seed in range(5):
        dense = dense_fisher(case, case.parameters(1, 20 + seed))
        torch.testing.assert_close(dense, dense.T)
        assert float(torch.linalg.eigvalsh(dense).min()) > -1e-12


def test_fisher_products_of_a_batch_are_those_of_its_samples(case):
    parameters, tangents = case.parameters(6, 30), case.parameters(6, 31)
    together = case.ours.fisher_product(parameters, tangents)
    for row in range(6):
        alone = case.ours.fisher_product(parameters[row : row + 1], tangents[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone)


def test_categorical_samples_have_the_probabilities_of_the_policy():
    case = Case("categorical-5")
    parameters = case.parameters(1, 32)
    count = 100_000
    drawn = case.actions(parameters.expand(count, -1), 33)
    probabilities = torch.softmax(parameters[0], dim=0)
    frequencies = torch.bincount(drawn, minlength=5) / count
    error = (probabilities * (1 - probabilities) / count).sqrt()
    assert bool(((frequencies - probabilities).abs() < 5 * error).all())


def test_gaussian_samples_have_the_moments_of_the_policy():
    case = Case("gaussian-3")
    parameters = case.parameters(1, 34)
    count = 100_000
    mean, std = parameters[0, :3], parameters[0, 3:].exp()
    noise = (case.actions(parameters.expand(count, -1), 35) - mean) / std
    assert float(noise.mean(dim=0).abs().max()) < 5 / math.sqrt(count)
    assert float((noise.var(dim=0) - 1).abs().max()) < 5 * math.sqrt(2 / count)
    correlation = noise.T @ noise / count - torch.diag(noise.square().mean(dim=0))
    assert float(correlation.abs().max()) < 5 / math.sqrt(count)


def test_same_generator_state_draws_the_same_actions(case):
    parameters = case.parameters(40, 36)
    first, again = case.actions(parameters, 37), case.actions(parameters, 37)
    assert torch.equal(first, again)
    if case.ours.parameter_count > 1:
        assert not torch.equal(first, case.actions(parameters, 38))


@pytest.mark.parametrize("name", ["categorical-5", "gaussian-3"])
def test_mode_has_the_highest_probability(name):
    case = Case(name)
    parameters = case.parameters(40, 39)
    mode = case.ours.mode(parameters)
    highest = case.ours.log_prob(parameters, mode)
    for seed in range(10):
        assert bool(
            (highest >= case.ours.log_prob(parameters, case.actions(parameters, seed))).all()
        )


def test_extreme_logits_stay_finite():
    parameters = torch.tensor([[1e4, -1e4, 0.0]])
    categorical = Categorical(3)
    log_prob = categorical.log_prob(parameters, torch.tensor([0]))
    assert float(log_prob) == 0.0
    assert float(categorical.entropy(parameters)) == 0.0
    moved = categorical.kl(old=parameters, new=parameters / 2)
    assert bool(torch.isfinite(moved).all())


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_silent_bug_09_column_of_actions_is_refused(batch):
    categorical, gaussian = Categorical(3), DiagGaussian(1)
    indices = torch.zeros(batch, dtype=torch.int64)
    with pytest.raises(ValueError, match="actions must be"):
        categorical.log_prob(torch.zeros(batch, 3), indices[:, None])
    with pytest.raises(ValueError, match="actions must be"):
        categorical.score(torch.zeros(batch, 3), indices[:, None])
    with pytest.raises(ValueError, match="actions must be"):
        gaussian.log_prob(torch.zeros(batch, 2), torch.zeros(batch))
    with pytest.raises(ValueError, match="actions must be"):
        gaussian.score(torch.zeros(batch, 2), torch.zeros(batch, 2))


def test_actions_of_another_batch_size_are_refused(case):
    parameters = case.parameters(3, 40)
    actions = case.actions(parameters, 41)
    with pytest.raises(ValueError, match="actions must be"):
        case.ours.log_prob(parameters, actions[:1])
