"""Action distributions against torch.distributions, autograd, dense matrices and sampling."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import distributions
from torch.autograd.functional import hessian

from trpotui.rl.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    MultiCategorical,
    distribution_for,
)
from trpotui.rl.spaces import ActionDecoder

pytestmark = pytest.mark.usefixtures("float64")

DISCRETE = [
    "categorical-1",
    "categorical-2",
    "categorical-5",
    "multi-3",
    "multi-3-3",
    "multi-2-4-1-3",
    "multi-1-1",
    "bernoulli-1",
    "bernoulli-4",
]
CASES = [*DISCRETE, "gaussian-1", "gaussian-3"]
SEVERAL = ["categorical-5", "multi-2-4-1-3", "multi-3-3", "bernoulli-4", "gaussian-3"]
"""One or two of each family, with several choices or dimensions."""


class Joint:
    """Torch's distributions of independent components that differ in size: sums over them."""

    def __init__(self, parts: list) -> None:
        self.parts = parts

    def log_prob(self, actions: torch.Tensor) -> torch.Tensor:
        return sum(part.log_prob(actions[:, i]) for i, part in enumerate(self.parts))

    def entropy(self) -> torch.Tensor:
        return sum(part.entropy() for part in self.parts)

    def kl_to(self, other: Joint) -> torch.Tensor:
        pairs = zip(self.parts, other.parts, strict=True)
        return sum(distributions.kl_divergence(p, q) for p, q in pairs)


class Case:
    """A distribution, random parameters for it, and torch's own version of it."""

    def __init__(self, name: str) -> None:
        self.kind, *sizes = name.split("-")
        self.sizes = [int(size) for size in sizes]
        self.size = self.sizes[0]
        if self.kind == "multi":
            self.ours = MultiCategorical(self.sizes)
        else:
            families = {"categorical": Categorical, "gaussian": DiagGaussian}
            self.ours = families.get(self.kind, Bernoulli)(self.size)

    def parameters(self, batch: int, seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(batch, self.ours.parameter_count, generator=generator)

    def torch(self, parameters: torch.Tensor):
        if self.kind == "categorical":
            return distributions.Categorical(logits=parameters)
        if self.kind == "multi":
            logits = parameters.split(self.sizes, dim=1)
            return Joint([distributions.Categorical(logits=part) for part in logits])
        if self.kind == "bernoulli":
            return distributions.Independent(distributions.Bernoulli(logits=parameters), 1)
        mean, log_std = parameters.chunk(2, dim=1)
        return distributions.Independent(distributions.Normal(mean, log_std.exp()), 1)

    def torch_log_prob(self, parameters: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        given = actions.to(parameters.dtype) if self.kind == "bernoulli" else actions
        return self.torch(parameters).log_prob(given)

    def torch_kl(self, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        old, new = self.torch(old), self.torch(new)
        return old.kl_to(new) if self.kind == "multi" else distributions.kl_divergence(old, new)

    def all_actions(self) -> torch.Tensor:
        """Every action of a discrete family, one a row."""
        if self.kind == "categorical":
            return torch.arange(self.size)
        choices = self.sizes if self.kind == "multi" else [2] * self.size
        return torch.tensor(list(itertools.product(*map(range, choices))))

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
    torch.testing.assert_close(log_prob, case.torch_log_prob(parameters, actions))


def test_entropies_are_those_of_torch(case):
    parameters = case.parameters(50, 2)
    torch.testing.assert_close(case.ours.entropy(parameters), case.torch(parameters).entropy())


def test_kl_is_that_of_torch_with_old_first(case):
    old, new = case.parameters(50, 3), case.parameters(50, 4)
    torch.testing.assert_close(case.ours.kl(old=old, new=new), case.torch_kl(old, new))


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


@pytest.mark.parametrize("name", SEVERAL)
def test_kl_is_the_mean_log_ratio_under_the_old_policy_in_both_directions(name):
    case = Case(name)
    first, second = 0.3 * case.parameters(1, 8), 1.5 * case.parameters(1, 9)
    count = 200_000
    exact, errors = {}, []
    for direction, (old, new) in {"there": (first, second), "back": (second, first)}.items():
        old_rows, new_rows = old.expand(count, -1), new.expand(count, -1)
        actions = case.actions(old_rows, 10)
        ratios = case.ours.log_prob(old_rows, actions) - case.ours.log_prob(new_rows, actions)
        exact[direction] = float(case.ours.kl(old=old, new=new))
        errors.append(5 * float(ratios.std()) / math.sqrt(count))
        assert abs(float(ratios.mean()) - exact[direction]) < errors[-1]
        assert errors[-1] < 0.1 * exact[direction], "the sample says nothing"
    assert abs(exact["there"] - exact["back"]) > 2 * max(errors), "the directions look the same"


@pytest.mark.parametrize("name", ["gaussian-1", "gaussian-3"])
def test_small_gaussian_kl_keeps_its_digits(name):
    case = Case(name)
    old = case.parameters(10, 11)
    change = 1e-7 * case.parameters(10, 12)
    quadratic = 0.5 * (change * case.ours.fisher(old)(change)).sum(dim=1)
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


def test_entropy_slopes_are_the_gradient_of_the_entropy(case):
    for scale in (1.0, 20.0):
        parameters = (scale * case.parameters(30, 13)).requires_grad_()
        (expected,) = torch.autograd.grad(case.ours.entropy(parameters).sum(), parameters)
        torch.testing.assert_close(case.ours.entropy_slopes(parameters.detach()), expected)


def dense_fisher(case: Case, parameters: torch.Tensor) -> torch.Tensor:
    """The matrix of `fisher` at one sample [1, K]: its products with unit vectors."""
    identity = torch.eye(case.ours.parameter_count)
    return torch.stack([case.ours.fisher(parameters)(row[None])[0] for row in identity])


def test_silent_bug_02_fisher_product_is_the_hessian_of_the_kl(case):
    for seed in range(5):
        old = case.parameters(1, seed)
        dense = hessian(lambda new, old=old: case.ours.kl(old=old, new=new[None]).sum(), old[0])
        torch.testing.assert_close(dense_fisher(case, old), dense, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("name", DISCRETE)
def test_silent_bug_02_discrete_fisher_is_the_mean_outer_product_of_scores(name):
    case = Case(name)
    parameters, actions = case.parameters(1, 15), case.all_actions()
    rows = parameters.expand(len(actions), -1)
    scores = case.ours.score(rows, actions)
    weights = case.torch_log_prob(rows, actions).exp()
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
    together = case.ours.fisher(parameters)(tangents)
    for row in range(6):
        alone = case.ours.fisher(parameters[row : row + 1])(tangents[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone)


@pytest.mark.parametrize("choices", [2, 3, 5])
def test_products_of_differences_make_the_fisher_matrix(choices):
    case = Case(f"categorical-{choices}")
    parameters, tangents = case.parameters(6, 32), case.parameters(6, 33)
    matrix, fisher = case.ours.differences(parameters)
    assert matrix.shape == (choices - 1, choices)
    products = fisher(tangents @ matrix.T) @ matrix
    torch.testing.assert_close(products, case.ours.fisher(parameters)(tangents))


@pytest.mark.parametrize("name", ["categorical-1", "multi-3-3", "bernoulli-4", "gaussian-3"])
def test_others_have_no_differences(name):
    case = Case(name)
    assert case.ours.differences(case.parameters(6, 32)) is None


def test_a_choice_of_two_keeps_a_curvature_that_is_almost_none():
    logits = torch.tensor([[0.0, 30.0], [-300.0, 0.0]])
    products = Categorical(2).differences(logits).fisher(torch.ones(2, 1))
    torch.testing.assert_close(
        products[:, 0], torch.exp(torch.tensor([-30.0, -300.0])), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("name", DISCRETE)
def test_joint_probabilities_of_all_actions_are_one_in_all(name):
    case = Case(name)
    parameters, actions = case.parameters(1, 50), case.all_actions()
    log_prob = case.ours.log_prob(parameters.expand(len(actions), -1), actions)
    assert float(log_prob.exp().sum()) == pytest.approx(1.0, abs=1e-12)
    # and the entropy is what they say it is
    entropy = float(-(log_prob.exp() * log_prob).sum())
    assert float(case.ours.entropy(parameters)) == pytest.approx(entropy, abs=1e-12)


@pytest.mark.parametrize("name", ["categorical-5", "multi-2-4-1-3", "multi-3-3", "bernoulli-4"])
def test_discrete_samples_have_the_joint_probabilities_of_the_policy(name):
    case = Case(name)
    parameters, actions = case.parameters(1, 32), case.all_actions()
    count = 100_000
    drawn = case.actions(parameters.expand(count, -1), 33)
    log_prob = case.ours.log_prob(parameters.expand(len(actions), -1), actions)
    assert drawn.dtype == torch.int64
    assert drawn.shape == (count, *actions.shape[1:])
    drawn_rows, rows = drawn.reshape(count, -1), actions.reshape(len(actions), -1)
    frequencies = (drawn_rows[:, None] == rows[None]).all(dim=2).sum(dim=0) / count
    error = (log_prob.exp() * (1 - log_prob.exp()) / count).sqrt()
    assert bool(((frequencies - log_prob.exp()).abs() < 5 * error).all())


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
    if case.kind == "gaussian" or len(case.all_actions()) > 1:
        assert not torch.equal(first, case.actions(parameters, 38))


@pytest.mark.parametrize("name", SEVERAL)
def test_mode_has_the_highest_probability(name):
    case = Case(name)
    parameters = case.parameters(40, 39)
    mode = case.ours.mode(parameters)
    highest = case.ours.log_prob(parameters, mode)
    for seed in range(10):
        assert bool(
            (highest >= case.ours.log_prob(parameters, case.actions(parameters, seed))).all()
        )


def test_silent_bug_01_discrete_components_are_summed():
    # eight equal components are eight times one of them
    generator = torch.Generator().manual_seed(60)
    old, new = torch.randn(2, 5, 3, generator=generator)
    action = torch.randint(3, (5,), generator=generator)
    one, eight = Categorical(3), MultiCategorical([3] * 8)
    actions = action[:, None].expand(-1, 8)
    kl = eight.kl(old=old.repeat(1, 8), new=new.repeat(1, 8))
    torch.testing.assert_close(kl, 8 * one.kl(old=old, new=new))
    torch.testing.assert_close(eight.entropy(old.repeat(1, 8)), 8 * one.entropy(old))
    torch.testing.assert_close(
        eight.log_prob(old.repeat(1, 8), actions), 8 * one.log_prob(old, action)
    )
    bits = Bernoulli(8)
    logits = torch.full((1, 8), math.log(3.0))  # p = 3/4
    assert float(bits.entropy(logits)) == pytest.approx(8 * (2 * math.log(2) - 0.75 * math.log(3)))
    ones = torch.ones(1, 8, dtype=torch.int64)
    assert float(bits.log_prob(logits, ones)) == pytest.approx(8 * math.log(0.75))
    fair = torch.zeros(1, 8)
    expected = 8 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert float(bits.kl(old=logits, new=fair)) == pytest.approx(expected)


def test_a_component_moves_nothing_of_another():
    several = MultiCategorical([2, 4, 3])
    parameters = torch.randn(1, 9, generator=torch.Generator().manual_seed(61))
    dense = torch.stack([several.fisher(parameters)(row[None])[0] for row in torch.eye(9)])
    blocks = torch.block_diag(torch.ones(2, 2), torch.ones(4, 4), torch.ones(3, 3))
    assert bool((dense[blocks == 0] == 0).all())
    assert bool((dense[blocks == 1] != 0).all())


@pytest.mark.parametrize("name", ["multi-2-4-1-3", "bernoulli-4", "categorical-5"])
def test_adding_a_constant_to_a_components_logits_changes_nothing_but_bits(name):
    case = Case(name)
    old, new = case.parameters(20, 62), case.parameters(20, 63)
    kl, moved = case.ours.kl(old=old, new=new), case.ours.kl(old=old, new=new + 7.0)
    if case.kind == "bernoulli":  # its parameters are no logits of two choices but log-odds
        assert bool((moved > kl).any())
    else:
        torch.testing.assert_close(moved, kl)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["multi", "even", "bernoulli"])
def test_extreme_logits_of_several_components_stay_finite(dtype, kind):
    distribution = {
        "multi": MultiCategorical([2, 3]),
        "even": MultiCategorical([2, 2]),
        "bernoulli": Bernoulli(4),
    }[kind]
    count = distribution.parameter_count
    old = torch.tensor([1e4, -1e4, 0.0, 1e4, -1e4], dtype=dtype)[None, :count]
    new = -old
    for actions in (distribution.mode(old), distribution.mode(new)):
        assert bool(torch.isfinite(distribution.log_prob(old, actions)).all())
        assert bool(torch.isfinite(distribution.score(old, actions)).all())
    assert float(distribution.log_prob(old, distribution.mode(old))) == pytest.approx(
        -math.log(2) if kind == "bernoulli" else 0.0
    )
    assert bool(torch.isfinite(distribution.kl(old=old, new=new)).all())
    assert float(distribution.kl(old=old, new=old)) == 0.0
    assert float(distribution.entropy(old)) == pytest.approx(
        math.log(2) if kind == "bernoulli" else 0.0
    )
    product = distribution.fisher(old)(torch.ones_like(old))
    assert bool(torch.isfinite(product).all())


@pytest.mark.parametrize("log_odds", [21.0, 30.0])
def test_rare_bits_keep_the_digits_of_their_probability(log_odds):
    bits = Bernoulli(1)
    logits = torch.tensor([[log_odds]])
    certain = float(bits.log_prob(logits, torch.ones(1, 1, dtype=torch.int64)))
    assert certain == pytest.approx(-math.exp(-log_odds), rel=1e-6)
    rare = float(bits.log_prob(logits, torch.zeros(1, 1, dtype=torch.int64)))
    assert rare == pytest.approx(-log_odds - math.exp(-log_odds), rel=1e-14)
    assert float(bits.entropy(logits)) == pytest.approx((1 + log_odds) * math.exp(-log_odds))


def test_extreme_logits_stay_finite():
    parameters = torch.tensor([[1e4, -1e4, 0.0]])
    categorical = Categorical(3)
    log_prob = categorical.log_prob(parameters, torch.tensor([0]))
    assert float(log_prob) == 0.0
    assert float(categorical.entropy(parameters)) == 0.0
    moved = categorical.kl(old=parameters, new=parameters / 2)
    assert bool(torch.isfinite(moved).all())


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize(
    ("distribution", "wrong"),
    [
        (Categorical(3), [(1,)]),
        (MultiCategorical([3, 2]), [(), (1,), (3,), (5,)]),
        (MultiCategorical([3]), [(), (3,)]),
        (Bernoulli(4), [(), (1,), (5,)]),
        (Bernoulli(1), [(), (2,)]),
        (DiagGaussian(1), [(), (2,)]),
    ],
)
def test_silent_bug_09_actions_of_another_shape_are_refused(batch, distribution, wrong):
    parameters = torch.zeros(batch, distribution.parameter_count)
    for shape in wrong:
        actions = torch.zeros(batch, *shape, dtype=torch.int64)
        expected = rf"actions must be \[{batch}.*\], got \[{batch}"
        for refusing in (distribution.log_prob, distribution.score):
            with pytest.raises(ValueError, match=expected):
                refusing(parameters, actions)


def test_actions_of_another_batch_size_are_refused(case):
    parameters = case.parameters(3, 40)
    actions = case.actions(parameters, 41)
    with pytest.raises(ValueError, match="actions must be"):
        case.ours.log_prob(parameters, actions[:1])


@pytest.mark.parametrize(
    ("space", "kind", "count"),
    [
        (spaces.Discrete(4, start=-1), Categorical, 4),
        (spaces.MultiDiscrete([[2, 3], [4, 1]]), MultiCategorical, 10),
        (spaces.MultiBinary([2, 3]), Bernoulli, 6),
        (spaces.Box(-1, 1, (2, 2)), DiagGaussian, 8),
    ],
    ids=str,
)
def test_every_action_space_has_its_distribution(space, kind, count):
    decoder = ActionDecoder(space)
    distribution = distribution_for(decoder)
    assert type(distribution) is kind
    assert distribution.parameter_count == count
    drawn = distribution.sample(torch.zeros(50, count), torch.Generator().manual_seed(0))
    assert drawn.shape == (50, *decoder.raw_shape)
    assert drawn.numpy().dtype in (decoder.raw_dtype, np.float64)  # the tests compute in float64
    for action in decoder.decode(drawn.numpy()):
        assert action in space
