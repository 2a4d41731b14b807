"""Conjugate gradient, the trust-region step and its line search, on plain matrices."""

from __future__ import annotations

import math

import pytest
import torch

from trpotui.events import RejectReason
from trpotui.rl.line_search import line_search, maximize_along, whole_step
from trpotui.rl.natural_gradient import conjugate_gradient, natural_direction, natural_step


def spd_matrix(size: int, seed: int) -> torch.Tensor:
    """A random symmetric matrix with eigenvalues from 0.1 to 10."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(size, size, generator=generator, dtype=torch.float64)
    orthogonal = torch.linalg.qr(noise).Q
    return orthogonal @ torch.diag(torch.logspace(-1, 1, size, dtype=torch.float64)) @ orthogonal.T


def vector(size: int, seed: int) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def product(matrix: torch.Tensor):
    return lambda v: matrix @ v


def hilbert(size: int) -> torch.Tensor:
    index = torch.arange(size, dtype=torch.float64)
    return 1.0 / (index[:, None] + index[None, :] + 1.0)


class TestConjugateGradient:
    @pytest.mark.parametrize("size", [1, 2, 5, 20, 60])
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_solves_random_positive_definite_systems(self, size, seed):
        matrix, b = spd_matrix(size, seed), vector(size, 100 + seed)
        solution = conjugate_gradient(product(matrix), b, iterations=4 * size, tolerance=1e-13)
        torch.testing.assert_close(solution.x, torch.linalg.solve(matrix, b), rtol=1e-9, atol=1e-10)

    @pytest.mark.parametrize("size", [4, 8, 12])
    @pytest.mark.parametrize("damping", [1e-3, 0.1])
    def test_solves_damped_hilbert_systems(self, size, damping):
        matrix = hilbert(size) + damping * torch.eye(size, dtype=torch.float64)
        b = torch.ones(size, dtype=torch.float64)
        solution = conjugate_gradient(product(matrix), b, iterations=5 * size, tolerance=1e-12)
        torch.testing.assert_close(solution.x, torch.linalg.solve(matrix, b), rtol=1e-8, atol=1e-9)

    @pytest.mark.parametrize("size", [3, 7])
    def test_needs_no_more_iterations_than_dimensions(self, size):
        matrix, b = spd_matrix(size, 3), vector(size, 4)
        solution = conjugate_gradient(product(matrix), b, iterations=100, tolerance=1e-8)
        assert solution.iterations <= size

    def test_stays_within_the_iterations_allowed(self):
        calls = []
        matrix = spd_matrix(30, 0)

        def counted(v):
            calls.append(1)
            return matrix @ v

        solution = conjugate_gradient(counted, vector(30, 1), iterations=4)
        assert solution.iterations == len(calls) == 4

    def test_residuals_are_those_of_every_iterate(self):
        matrix, b = spd_matrix(12, 5), vector(12, 6)
        solution = conjugate_gradient(product(matrix), b, iterations=7)
        assert len(solution.residuals) == 8
        for count, reported in enumerate(solution.residuals):
            x = conjugate_gradient(product(matrix), b, iterations=count).x
            true = torch.linalg.vector_norm(b - matrix @ x) / torch.linalg.vector_norm(b)
            assert reported == pytest.approx(float(true), rel=1e-9)
        torch.testing.assert_close(solution.residual, b - matrix @ solution.x)

    def test_stops_at_the_first_residual_below_the_tolerance(self):
        matrix, b = spd_matrix(40, 7), vector(40, 8)
        solution = conjugate_gradient(product(matrix), b, iterations=200, tolerance=1e-3)
        *before, last = solution.residuals
        assert last <= 1e-3 < min(before)

    # powers of two about 1e-8 and 1e8, so that rounding is the same
    @pytest.mark.parametrize("scale", [2.0**-27, 2.0**27])
    def test_tolerance_is_relative_to_the_right_hand_side(self, scale):
        matrix, b = spd_matrix(40, 9), vector(40, 10)
        plain = conjugate_gradient(product(matrix), b, iterations=200, tolerance=1e-5)
        scaled = conjugate_gradient(product(matrix), scale * b, iterations=200, tolerance=1e-5)
        assert 0 < plain.iterations < 200
        assert scaled.iterations == plain.iterations
        assert torch.equal(scaled.x / scale, plain.x)

    def test_zero_right_hand_side_needs_no_product(self):
        def forbidden(_):
            raise AssertionError

        solution = conjugate_gradient(forbidden, torch.zeros(3), iterations=10)
        assert torch.equal(solution.x, torch.zeros(3))
        assert solution.iterations == 0
        assert solution.residuals == (0.0,)

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_right_hand_side_that_is_not_finite_gives_zero(self, bad):
        b = torch.tensor([1.0, bad])
        solution = conjugate_gradient(lambda v: v.clone(), b, iterations=10)
        assert torch.equal(solution.x, torch.zeros(2))

    def test_right_hand_side_is_not_written_to(self):
        b = vector(5, 0)
        before = b.clone()
        conjugate_gradient(product(spd_matrix(5, 0)), b, iterations=5)
        assert torch.equal(b, before)

    def test_indefinite_matrix_keeps_the_x_before_the_bad_direction(self):
        # The first direction b has curvature 4 + 1 - 1; the second is found to be negative.
        matrix = torch.diag(torch.tensor([4.0, 1.0, -1.0], dtype=torch.float64))
        b = torch.ones(3, dtype=torch.float64)
        solution = conjugate_gradient(product(matrix), b, iterations=10)
        one = conjugate_gradient(product(matrix), b, iterations=1)
        assert solution.iterations == 1
        assert torch.equal(solution.x, one.x)
        torch.testing.assert_close(one.x, b * 3 / 4)

    @pytest.mark.parametrize("matrix", [-torch.eye(3), torch.zeros(3, 3)])
    def test_no_positive_curvature_at_all_gives_zero(self, matrix):
        solution = conjugate_gradient(product(matrix), torch.ones(3), iterations=10)
        assert torch.equal(solution.x, torch.zeros(3))
        assert solution.iterations == 0

    def test_semidefinite_matrix_is_solved_inside_its_range(self):
        matrix = torch.diag(torch.tensor([2.0, 5.0, 0.0], dtype=torch.float64))
        b = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
        solution = conjugate_gradient(product(matrix), b, iterations=10, tolerance=1e-12)
        torch.testing.assert_close(solution.x, torch.tensor([0.5, 0.2, 0.0], dtype=torch.float64))

    @pytest.mark.parametrize("b", [[1.0, 1.0, 1.0], [1.0, 2.0, -3.0], [-3.0, 1.0, 0.5]])
    def test_semidefinite_matrix_with_a_part_outside_its_range_does_not_diverge(self, b):
        # there is no solution; rounding must not be taken for curvature and divided by
        matrix = torch.diag(torch.tensor([2.0, 5.0, 0.0], dtype=torch.float64))
        solution = conjugate_gradient(
            product(matrix), torch.tensor(b, dtype=torch.float64), iterations=50
        )
        assert float(solution.x.abs().max()) < 100

    @pytest.mark.parametrize("good_products", [0, 1, 2])
    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_product_that_is_not_finite_keeps_the_x_before_it(self, good_products, bad):
        matrix, b = spd_matrix(8, 11), vector(8, 12)
        calls = []

        def failing(v):
            calls.append(1)
            return matrix @ v if len(calls) <= good_products else torch.full_like(v, bad)

        solution = conjugate_gradient(failing, b, iterations=10)
        expected = conjugate_gradient(product(matrix), b, iterations=good_products)
        assert torch.equal(solution.x, expected.x)
        assert solution.iterations == good_products


class TestNaturalStep:
    @pytest.mark.parametrize("max_kl", [1e-4, 0.01, 0.5])
    @pytest.mark.parametrize("damping", [0.0, 0.1, 2.0])
    def test_quadratic_kl_of_the_full_step_is_the_radius(self, max_kl, damping):
        fisher, gradient = spd_matrix(10, 0), vector(10, 1)
        step = natural_step(
            gradient, product(fisher), max_kl=max_kl, iterations=100, damping=damping
        )
        damped = fisher + damping * torch.eye(10, dtype=torch.float64)
        quadratic = 0.5 * step.full_step @ damped @ step.full_step
        assert float(quadratic) == pytest.approx(max_kl, rel=1e-9)
        assert step.reject_reason is None

    @pytest.mark.parametrize("iterations", [1, 3, 100])
    def test_reported_numbers_are_those_of_the_step(self, iterations):
        fisher, gradient = spd_matrix(10, 2), vector(10, 3)
        step = natural_step(
            gradient, product(fisher), max_kl=0.01, iterations=iterations, damping=0.1
        )
        x = step.full_step / step.step_scale
        damped = fisher + 0.1 * torch.eye(10, dtype=torch.float64)
        assert step.grad_norm == pytest.approx(float(torch.linalg.vector_norm(gradient)))
        assert step.g_dot_x == pytest.approx(float(gradient @ x))
        assert step.x_h_x == pytest.approx(float(x @ damped @ x), rel=1e-9)
        assert step.step_scale == pytest.approx(math.sqrt(2 * 0.01 / step.x_h_x))
        relative = torch.linalg.vector_norm(damped @ x - gradient) / step.grad_norm
        assert step.cg_residuals[-1] == pytest.approx(float(relative), rel=1e-6, abs=1e-12)

    def test_direction_is_the_natural_gradient(self):
        fisher, gradient = spd_matrix(6, 4), vector(6, 5)
        step = natural_step(gradient, product(fisher), max_kl=0.01, iterations=50, damping=0.0)
        torch.testing.assert_close(
            step.full_step / step.step_scale, torch.linalg.solve(fisher, gradient)
        )

    def test_length_does_not_depend_on_the_unit_of_the_gradient(self):
        fisher, gradient = spd_matrix(6, 4), vector(6, 5)
        settings = {"max_kl": 0.01, "iterations": 50, "damping": 0.1}
        small = natural_step(1e-6 * gradient, product(fisher), **settings)
        large = natural_step(1e6 * gradient, product(fisher), **settings)
        torch.testing.assert_close(small.full_step, large.full_step)

    def test_product_that_returns_its_argument_is_not_spoilt(self):
        gradient = vector(5, 6)
        step = natural_step(gradient, lambda v: v, max_kl=0.02, iterations=10, damping=0.5)
        expected = gradient * math.sqrt(2 * 0.02 / (1.5 * float(gradient @ gradient)))
        torch.testing.assert_close(step.full_step, expected)

    def test_zero_gradient_takes_no_step(self):
        step = natural_step(
            torch.zeros(4), lambda v: v.clone(), max_kl=0.01, iterations=10, damping=0.1
        )
        assert step.reject_reason is RejectReason.ZERO_GRADIENT
        assert torch.equal(step.full_step, torch.zeros(4))

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_gradient_that_is_not_finite_takes_no_step(self, bad):
        gradient = torch.tensor([1.0, bad, 0.0])
        step = natural_step(gradient, lambda v: v.clone(), max_kl=0.01, iterations=10, damping=0.1)
        assert step.reject_reason is RejectReason.NOT_FINITE
        assert torch.equal(step.full_step, torch.zeros(3))

    @pytest.mark.parametrize("curvature", [0.0, -3.0, math.nan])
    def test_curvature_that_is_not_positive_takes_no_root(self, curvature):
        gradient = torch.ones(3)
        step = natural_step(
            gradient, lambda v: curvature * v, max_kl=0.01, iterations=10, damping=0.0
        )
        assert step.reject_reason is RejectReason.NOT_POSITIVE_CURVATURE
        assert torch.equal(step.full_step, torch.zeros(3))
        assert step.step_scale == 0.0

    def test_damping_makes_a_singular_matrix_usable(self):
        gradient = torch.ones(3)
        step = natural_step(gradient, torch.zeros_like, max_kl=0.01, iterations=10, damping=0.1)
        assert step.reject_reason is None
        assert 0.05 * float(step.full_step @ step.full_step) == pytest.approx(0.01)


def scripted(outcomes):
    """An `evaluate` that answers from a list; an exception in it is raised."""
    remaining = iter(outcomes)

    def evaluate():
        outcome = next(remaining)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return evaluate


REFUSALS = {
    RejectReason.KL_TOO_LARGE: (0.0101, 1.0),
    RejectReason.NO_GAIN: (0.001, 0.0),
    RejectReason.NOT_FINITE: (math.nan, 1.0),
}
SETTINGS = {"max_kl": 0.01, "backtrack_factor": 0.7, "max_backtracks": 3}


class TestLineSearch:
    def setup_method(self):
        # Steps that are not representable: subtracting them again would not restore the bits.
        generator = torch.Generator().manual_seed(0)
        self.parameters = torch.randn(1000, generator=generator)
        self.step = 1e-3 * torch.randn(1000, generator=generator)
        self.before = self.parameters.clone()

    @pytest.mark.parametrize(
        ("reason", "outcome"),
        [
            *REFUSALS.items(),
            (RejectReason.NO_GAIN, (0.001, -1.0)),
            (RejectReason.NOT_FINITE, (math.inf, 1.0)),
            (RejectReason.NOT_FINITE, (0.001, math.nan)),
            (RejectReason.NOT_FINITE, (0.001, math.inf)),
        ],
    )
    def test_silent_bug_04_refused_step_restores_bit_for_bit(self, reason, outcome):
        search = line_search(self.parameters, self.step, scripted([outcome] * 4), **SETTINGS)
        assert torch.equal(self.parameters, self.before)
        assert not search.accepted
        assert search.reject_reason is reason
        assert [one.reject_reason for one in search.tries] == [reason] * 4
        assert (search.fraction, search.kl, search.gain) == (0.0, 0.0, 0.0)

    @pytest.mark.parametrize("tries_before", [0, 1, 3])
    def test_silent_bug_04_exception_restores_bit_for_bit(self, tries_before):
        outcomes = [(1.0, 1.0)] * tries_before + [ArithmeticError("of the test")]
        with pytest.raises(ArithmeticError, match="of the test"):
            line_search(self.parameters, self.step, scripted(outcomes), **SETTINGS)
        assert torch.equal(self.parameters, self.before)

    @pytest.mark.parametrize("refused", [0, 1, 2, 3])
    def test_silent_bug_04_accepted_step_stays_and_is_the_first_acceptable(self, refused):
        outcomes = [(0.5, 1.0)] * refused + [(0.004, 0.25), (0.001, 100.0), (0.001, 100.0)]
        search = line_search(self.parameters, self.step, scripted(outcomes), **SETTINGS)
        assert search.accepted
        assert len(search.tries) == refused + 1
        assert search.fraction == pytest.approx(0.7**refused)
        assert (search.kl, search.gain, search.reject_reason) == (0.004, 0.25, None)
        assert torch.equal(
            self.parameters, torch.add(self.before, self.step, alpha=search.fraction)
        )

    @pytest.mark.parametrize("factor", [0.5, 0.8, 0.9])
    def test_fractions_are_powers_of_the_factor(self, factor):
        search = line_search(
            self.parameters,
            self.step,
            scripted([(1.0, 1.0)] * 6),
            max_kl=0.01,
            backtrack_factor=factor,
            max_backtracks=5,
        )
        assert [one.fraction for one in search.tries] == pytest.approx(
            [factor**exponent for exponent in range(6)]
        )

    def test_candidates_are_the_old_parameters_plus_the_fraction(self):
        seen = []

        def evaluate():
            seen.append(self.parameters.clone())
            return 1.0, 1.0

        line_search(self.parameters, self.step, evaluate, **SETTINGS)
        assert len(seen) == 4
        for exponent, candidate in enumerate(seen):
            torch.testing.assert_close(candidate, self.before + 0.7**exponent * self.step)

    def test_different_reasons_are_each_recorded(self):
        outcomes = [*REFUSALS.values(), (0.002, 0.1)]
        search = line_search(self.parameters, self.step, scripted(outcomes), **SETTINGS)
        assert [one.reject_reason for one in search.tries] == [*REFUSALS, None]
        assert [one.kl for one in search.tries[:2]] == [0.0101, 0.001]

    def test_kl_exactly_at_the_radius_is_accepted(self):
        search = line_search(self.parameters, self.step, scripted([(0.01, 1.0)]), **SETTINGS)
        assert search.accepted
        above = (math.nextafter(0.01, 1.0), 1.0)
        search = line_search(self.parameters, self.step, scripted([above] * 4), **SETTINGS)
        assert not search.accepted

    def test_least_gain_is_asked_for_each_fraction_and_must_be_exceeded(self):
        outcomes = [(0.001, 1.0), (0.001, 0.7), (0.001, 0.5)]
        search = line_search(
            self.parameters,
            self.step,
            scripted(outcomes),
            **SETTINGS,
            least_gain=lambda fraction: fraction,
        )
        # 1.0 > 1.0 and 0.7 > 0.7 are false, 0.5 > 0.49 is true
        assert search.fraction == pytest.approx(0.49)

    def test_no_tries_at_all_leave_everything_as_it_was(self):
        search = line_search(
            self.parameters,
            self.step,
            scripted([]),
            max_kl=0.01,
            backtrack_factor=0.5,
            max_backtracks=-1,
        )
        assert torch.equal(self.parameters, self.before)
        assert search.tries == ()
        assert not search.accepted
        assert search.reject_reason is None


class TestWholeStep:
    def setup_method(self):
        generator = torch.Generator().manual_seed(0)
        self.gradient = torch.randn(200, generator=generator)
        self.parameters = torch.randn(200, generator=generator)
        self.before = self.parameters.clone()

    def taken(self, outcome, *, gradient=None):
        step = natural_step(
            self.gradient if gradient is None else gradient,
            lambda v: 0.3 * v,
            max_kl=0.01,
            iterations=5,
            damping=0.1,
        )
        return step, whole_step(step, self.parameters, scripted([outcome]))

    @pytest.mark.parametrize("outcome", [(0.001, 1.0), (5.0, 1.0), (0.001, -1.0), (1e30, 0.0)])
    def test_whatever_is_finite_is_taken(self, outcome):
        step, taken = self.taken(outcome)
        assert torch.equal(self.parameters, self.before + step.full_step)
        assert (taken.accepted, taken.fraction, taken.kl, taken.gain) == (True, 1.0, *outcome)

    @pytest.mark.parametrize("outcome", [(math.nan, 1.0), (0.001, math.inf), (math.inf, 0.0)])
    def test_silent_bug_04_what_is_not_finite_is_undone_bit_for_bit(self, outcome):
        _, taken = self.taken(outcome)
        assert torch.equal(self.parameters, self.before)
        assert (taken.accepted, taken.kl, taken.reject_reason) == (
            False,
            0.0,
            RejectReason.NOT_FINITE,
        )

    def test_silent_bug_04_exception_restores_bit_for_bit(self):
        with pytest.raises(ArithmeticError):
            self.taken(ArithmeticError("of the test"))
        assert torch.equal(self.parameters, self.before)

    def test_refused_direction_is_not_tried(self):
        step, taken = self.taken(AssertionError(), gradient=torch.zeros(200))
        assert step.reject_reason is RejectReason.ZERO_GRADIENT
        assert (taken.accepted, taken.tries) == (False, ())
        assert torch.equal(self.parameters, self.before)


class TestNaturalDirection:
    def test_it_is_what_a_step_is_a_multiple_of(self):
        generator = torch.Generator().manual_seed(3)
        gradient, scales = torch.randn(30, generator=generator), torch.linspace(0.1, 2.0, 30)
        settings = {"iterations": 30, "damping": 0.2}
        direction = natural_direction(gradient, lambda v: scales * v, **settings)
        torch.testing.assert_close(direction.x, gradient / (scales + 0.2), rtol=1e-4, atol=1e-5)
        step = natural_step(gradient, lambda v: scales * v, max_kl=0.02, **settings)
        torch.testing.assert_close(step.full_step, step.step_scale * direction.x)
        assert (step.g_dot_x, step.x_h_x) == (direction.g_dot_x, direction.x_h_x)
        assert step.full_gain == step.step_scale * step.g_dot_x


class TestMaximizeAlong:
    def setup_method(self):
        generator = torch.Generator().manual_seed(0)
        self.parameters = torch.randn(300, generator=generator)
        self.step = 1e-3 * torch.randn(300, generator=generator)
        self.before = self.parameters.clone()

    def maximized(self, values, **settings):
        """The fraction, and how many values were asked for."""
        asked = []

        def objective():
            asked.append(self.parameters.clone())
            value = values[len(asked) - 1]
            if isinstance(value, Exception):
                raise value
            return value

        chosen = {"backtrack_factor": 0.5, "max_backtracks": 4} | settings
        return maximize_along(self.parameters, self.step, objective, **chosen), asked

    @pytest.mark.parametrize(
        ("values", "exponent", "asked"),
        [
            ([3.0, 2.0], 0, 2),
            ([1.0, 3.0, 2.0], 1, 3),
            ([-9.0, -1.0, 0.5, 0.7, 0.6], 3, 5),
            ([math.nan, math.nan, -math.inf, 0.5, 0.1], 3, 5),
            ([-1.0, -1.0, -1.0, -1.0, 1e-9], 4, 5),
        ],
    )
    def test_it_goes_to_the_largest_and_stops_where_it_falls_again(self, values, exponent, asked):
        fraction, candidates = self.maximized(values)
        assert fraction == 0.5**exponent
        assert len(candidates) == asked
        assert torch.equal(self.parameters, candidates[exponent])
        for index, candidate in enumerate(candidates):
            expected = torch.add(self.before, self.step, alpha=0.5**index)
            assert torch.equal(candidate, expected)

    @pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
    def test_silent_bug_04_nothing_positive_restores_bit_for_bit(self, value):
        fraction, candidates = self.maximized([value] * 5)
        assert (fraction, len(candidates)) == (0.0, 5)
        assert torch.equal(self.parameters, self.before)

    @pytest.mark.parametrize("values", [[ArithmeticError()], [-1.0, 2.0, ArithmeticError()]])
    def test_silent_bug_04_exception_restores_bit_for_bit(self, values):
        with pytest.raises(ArithmeticError):
            self.maximized(values)
        assert torch.equal(self.parameters, self.before)

    def test_no_tries_at_all_leave_everything_as_it_was(self):
        assert self.maximized([], max_backtracks=-1) == (0.0, [])
        assert torch.equal(self.parameters, self.before)
