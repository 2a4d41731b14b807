"""The penalty of the theory on a Markov decision process small enough to solve; adapted ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from algorithm_samples import Push, make_actor, make_algorithm, make_batch, nothing

from trpotui.config import build
from trpotui.errors import RequestError, RunError
from trpotui.events import RejectReason
from trpotui.rl.algorithms.trpo_penalty import TrpoPenaltyHyperparameters
from trpotui.rl.penalty import LEAST, MOST, adapted_penalty, theory_penalty
from trpotui.rl.surrogate import Surrogate
from trpotui.rl.trainer import train

STATES, ACTIONS = 5, 3


class Tabular:
    """A random Markov decision process whose quantities are solutions of linear equations."""

    def __init__(self, rng: np.random.Generator, gamma: float) -> None:
        self.gamma = gamma
        self.transitions = rng.dirichlet(np.full(STATES, 0.5), size=(STATES, ACTIONS))  # [S, A, S]
        self.rewards = rng.normal(size=(STATES, ACTIONS))
        self.start = rng.dirichlet(np.ones(STATES))

    def solved(self, policy: np.ndarray):
        """eta, the values [S], the advantages [S, A] and the discounted visits [S] of a policy."""
        moves = np.einsum("sa,sat->st", policy, self.transitions)
        stay = np.eye(STATES) - self.gamma * moves
        values = np.linalg.solve(stay, (policy * self.rewards).sum(axis=1))
        advantages = self.rewards + self.gamma * self.transitions @ values - values[:, None]
        visits = np.linalg.solve(stay.T, self.start)
        return float(self.start @ values), values, advantages, visits

    def bound(self, old: np.ndarray, new: np.ndarray) -> tuple[float, float, float]:
        """eta of the new policy, L of it, and L - C max D_KL(old || new)."""
        eta, _, advantages, visits = self.solved(old)
        surrogate = eta + float(visits @ (new * advantages).sum(axis=1))
        kl = float((old * np.log(old / new)).sum(axis=1).max())
        penalty = theory_penalty(float(np.abs(advantages).max()), self.gamma)
        return self.solved(new)[0], surrogate, surrogate - penalty * kl


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


class TestTheory:
    def test_by_hand(self):
        assert theory_penalty(2.0, 0.9) == pytest.approx(4 * 2 * 0.9 / 0.01)
        assert theory_penalty(2.0, 0.0) == 0.0
        assert theory_penalty(2.0, 1.0) == MOST  # no bound, and still a number

    @pytest.mark.parametrize("gamma", [0.3, 0.9, 0.99])
    def test_true_return_never_falls_below_the_bound(self, gamma):
        """Theorem 1, for policies far apart and near to each other."""
        rng = np.random.default_rng(0)
        gaps = []
        for size in (0.01, 0.1, 1.0, 3.0) * 100:
            process = Tabular(rng, gamma)
            logits = rng.normal(size=(STATES, ACTIONS))
            old = softmax(logits)
            new = softmax(logits + size * rng.normal(size=logits.shape))
            eta, _, bound = process.bound(old, new)
            gaps.append(eta - bound)
        assert min(gaps) >= -1e-9

    def test_surrogate_alone_is_no_bound(self):
        """So that the test above is one of the penalty."""
        rng = np.random.default_rng(0)
        above = 0
        for _ in range(100):
            process, logits = Tabular(rng, 0.9), rng.normal(size=(STATES, ACTIONS))
            new = softmax(logits + rng.normal(size=logits.shape))
            eta, surrogate, _ = process.bound(softmax(logits), new)
            above += surrogate > eta + 1e-6
        assert above > 10

    def test_surrogate_is_the_true_return_to_first_order(self):
        rng = np.random.default_rng(1)
        process, logits = Tabular(rng, 0.9), rng.normal(size=(STATES, ACTIONS))
        direction, old = rng.normal(size=logits.shape), softmax(logits)
        eta = process.solved(old)[0]
        errors = []
        for size in (1e-2, 1e-3):
            new_eta, surrogate, _ = process.bound(old, softmax(logits + size * direction))
            assert abs(new_eta - eta) > 10 * abs(new_eta - surrogate)
            errors.append(abs(new_eta - surrogate))
        assert errors[0] / errors[1] == pytest.approx(100, rel=0.2)

    def test_maximising_the_bound_improves_the_true_return_every_time(self):
        """Algorithm 1 with an exact gradient: monotonic, and minute."""
        rng = np.random.default_rng(2)
        process, logits = Tabular(rng, 0.8), rng.normal(size=(STATES, ACTIONS))
        etas = [process.solved(softmax(logits))[0]]
        for _ in range(50):
            old = softmax(logits)
            _, _, advantages, visits = process.solved(old)
            direction = visits[:, None] * old * advantages  # of L in the logits of a softmax
            bounds = [
                (process.bound(old, softmax(logits + size * direction))[2], size)
                for size in np.logspace(-6, 1, 40)
            ]
            best, size = max(bounds)
            assert best > etas[-1]
            logits = logits + size * direction
            etas.append(process.solved(softmax(logits))[0])
            assert etas[-1] >= best
        assert all(np.diff(etas) > 0)


class TestAdapted:
    @pytest.mark.parametrize(
        ("kl", "expected"),
        [
            (0.0, 2.0),
            (0.0066, 2.0),  # below 0.01 / 1.5
            (0.0067, 4.0),
            (0.01, 4.0),
            (0.0149, 4.0),
            (0.0151, 8.0),
            (1.0, 8.0),
        ],
    )
    def test_by_hand(self, kl, expected):
        assert adapted_penalty(4.0, kl=kl, target_kl=0.01) == expected

    def test_it_stays_a_number_that_can_move_again(self):
        penalty = 1.0
        for _ in range(3000):
            penalty = adapted_penalty(penalty, kl=0.0, target_kl=0.01)
        assert penalty == LEAST
        for _ in range(3000):
            penalty = adapted_penalty(penalty, kl=1.0, target_kl=0.01)
        assert penalty == MOST


class TestCoefficientField:
    @pytest.mark.parametrize(
        ("text", "value"),
        [("theory", "theory"), ("adaptive", "adaptive"), ("2.5", 2.5), (3, 3.0), ("1e3", 1000.0)],
    )
    def test_accepts_names_and_numbers(self, text, value):
        built = build(TrpoPenaltyHyperparameters, {"coefficient": text}, what="setting")
        assert built.coefficient == value
        assert type(built.coefficient) is type(value)

    @pytest.mark.parametrize("wrong", ["theori", "-1", 0, "nan", "inf", True, None, [1.0]])
    def test_refuses_all_else(self, wrong):
        with pytest.raises(RequestError, match="should be theory or adaptive or a number above 0"):
            build(TrpoPenaltyHyperparameters, {"coefficient": wrong}, what="setting")


class TestTrpoPenalty:
    def updated(self, *, advantages=None, **hyper):
        actor = make_actor("categorical")
        batch = make_batch(actor, 50)
        if advantages is not None:
            batch = make_batch(actor, 50, advantages=advantages)
        algorithm = make_algorithm("trpo_penalty", actor, **hyper)
        old = torch.softmax(actor(batch.inputs).double(), dim=1)
        stats = algorithm.update(batch, nothing)
        new = torch.softmax(actor(batch.inputs).double(), dim=1)
        kls = (old * (old / new).log()).sum(dim=1)
        gain = ((new / old)[torch.arange(50), batch.actions] - 1) * batch.advantages
        return algorithm, batch, stats, kls, float(gain.mean())

    @pytest.mark.parametrize("coefficient", [0.1, 1.0, 30.0, "theory", "adaptive"])
    def test_penalised_surrogate_improves_by_the_largest_kl(self, coefficient):
        _, _, stats, kls, gain = self.updated(coefficient=coefficient, gamma=0.9)
        assert stats.largest_kl == pytest.approx(float(kls.max()), rel=2e-3, abs=1e-9)
        assert stats.kl == pytest.approx(float(kls.mean()), rel=2e-3, abs=1e-9)
        assert stats.surrogate_gain == pytest.approx(gain, rel=1e-3, abs=1e-8)
        assert gain > stats.penalty * float(kls.max()) > 0

    def test_theory_takes_the_largest_advantage_of_the_batch(self):
        advantages = torch.randn(50, generator=torch.Generator().manual_seed(4))
        advantages[11] = -7.0
        _, _, stats, _, _ = self.updated(coefficient="theory", gamma=0.9, advantages=advantages)
        assert stats.penalty == pytest.approx(4 * 7 * 0.9 / 0.01)

    def test_steps_of_the_theory_are_minute(self):
        usable = self.updated(coefficient=1.0)[2].kl
        assert 0 < self.updated(coefficient="theory")[2].kl < 1e-6 * usable

    def test_search_takes_the_best_of_its_tries(self):
        """Any other fraction of the same first step is worse."""
        values = {}
        for tries in range(8):
            _, _, stats, _, _ = self.updated(
                coefficient=0.3, max_backtracks=tries, backtrack_factor=0.6
            )
            values[tries] = stats.surrogate_gain - 0.3 * stats.largest_kl
        assert list(values.values()) == sorted(values.values())
        assert values[7] > values[0]

    def test_silent_bug_04_search_without_a_gain_keeps_the_actor_bit_for_bit(self):
        actor = make_actor("categorical")
        before = actor.parameters.clone()
        algorithm = make_algorithm("trpo_penalty", actor, coefficient=1e-3, max_backtracks=0)
        stats = algorithm.update(make_batch(actor, 50), nothing)
        assert stats.reject_reason is RejectReason.NO_GAIN
        assert (stats.kl, stats.largest_kl, stats.surrogate_gain) == (0.0, 0.0, 0.0)
        assert torch.equal(actor.parameters, before)

    @pytest.mark.parametrize(
        ("measured", "reason"),
        [
            ([(math.nan, 1.0)], RejectReason.NOT_FINITE),
            ([(0.1, math.nan), (math.inf, 1.0)], RejectReason.NOT_FINITE),
            ([(math.inf, 1.0), (0.1, -1.0)], RejectReason.NO_GAIN),
            ([(0.1, -1.0), (math.nan, math.nan)], RejectReason.NO_GAIN),
        ],
    )
    def test_refused_search_says_whether_any_try_was_finite(self, monkeypatch, measured, reason):
        actor = make_actor("categorical")
        before = actor.parameters.clone()
        algorithm = make_algorithm(
            "trpo_penalty", actor, coefficient=1.0, max_backtracks=len(measured) - 1
        )
        tries = iter(measured)
        monkeypatch.setattr(Surrogate, "kl_and_gain", lambda *_: next(tries))
        stats = algorithm.update(make_batch(actor, 50), nothing)
        assert next(tries, None) is None
        assert stats.reject_reason is reason
        assert (stats.kl, stats.largest_kl, stats.surrogate_gain) == (0.0, 0.0, 0.0)
        assert torch.equal(actor.parameters, before)

    def test_steps_that_overflow_stop_a_run_as_those_of_other_algorithms_do(
        self, register, make_config
    ):
        config = make_config(
            register(Push),
            algorithm="trpo_penalty",
            hyper={"coefficient": 1e-40},  # x / C is infinite
            total_steps=10_000,
        )
        with pytest.raises(RunError, match="10 updates in a row would have made the policy NaN"):
            list(train(config))

    def test_adaptive_coefficient_begins_where_the_quadratic_model_expects_the_target(self):
        """The mean KL of x / C is x^T H x / (2 C^2), of which C makes target_kl."""
        actor = make_actor("categorical")
        surrogate = Surrogate(actor, make_batch(actor, 50), nothing)
        identity, gradient = torch.eye(len(actor.parameters)), surrogate.gradient()
        damped = torch.stack([surrogate.fisher_product(row) for row in identity]) + 0.1 * identity
        curvature = float(gradient @ torch.linalg.solve(damped, gradient))
        _, _, stats, _, _ = self.updated(coefficient="adaptive", target_kl=0.02, cg_iterations=50)
        assert stats.penalty == pytest.approx(math.sqrt(curvature / (2 * 0.02)), rel=1e-3)
        assert stats.target_kl == 0.02

    def test_adaptive_coefficient_follows_the_largest_kl(self):
        actor = make_actor("categorical")
        algorithm = make_algorithm("trpo_penalty", actor, coefficient="adaptive", target_kl=0.02)
        penalties, kls = [], []
        for seed in range(20):
            stats = algorithm.update(make_batch(actor, 50, seed=seed), nothing)
            assert stats.reject_reason is None
            penalties.append(stats.penalty)
            kls.append(stats.largest_kl)
        assert max(kls) <= 0.03
        halved = [
            penalty / 2 if kl < 0.02 / 1.5 else penalty
            for penalty, kl in zip(penalties, kls, strict=True)
        ]
        doublings = [
            math.log2(made / begun) for begun, made in zip(halved, penalties[1:], strict=False)
        ]
        assert all(count == round(count) >= 0 for count in doublings)
        assert 0 < sum(count > 0 for count in doublings) < len(doublings)
        assert len(set(halved)) > 1

    def test_adaptive_coefficient_is_doubled_until_the_update_stays_near(self):
        """And not more often: with half of it the largest KL is too large."""
        actor = make_actor("categorical")
        old, batch = actor.parameters.clone(), make_batch(actor, 50)
        algorithm = make_algorithm("trpo_penalty", actor, coefficient="adaptive", target_kl=0.01)
        algorithm.restore(algorithm.state() | {"coefficient": 1e-3})
        stats = algorithm.update(batch, nothing)
        assert stats.largest_kl <= 0.015
        assert math.log2(stats.penalty / 1e-3) == round(math.log2(stats.penalty / 1e-3)) > 2
        new = actor.parameters.clone()
        for penalty, near in ((stats.penalty, True), (stats.penalty / 2, False)):
            actor.parameters.copy_(old)
            fixed = make_algorithm("trpo_penalty", actor, coefficient=penalty)
            assert (fixed.update(batch, nothing).largest_kl <= 0.015) == near
            assert torch.equal(actor.parameters, new) == near

    @pytest.mark.parametrize("coefficient", [2.0, "theory"])
    def test_other_coefficients_follow_nothing(self, coefficient):
        actor = make_actor("categorical")
        algorithm = make_algorithm("trpo_penalty", actor, coefficient=coefficient)
        advantages = torch.linspace(-1, 1, 50)
        stats = [
            algorithm.update(make_batch(actor, 50, seed=seed, advantages=advantages), nothing)
            for seed in range(3)
        ]
        assert len({one.penalty for one in stats}) == 1
        assert stats[0].target_kl is None


class TestPpoPenalty:
    def run(self, *, updates=10, **hyper):
        actor = make_actor("categorical")
        algorithm = make_algorithm("ppo_penalty", actor, learning_rate=0.02, epochs=4, **hyper)
        stats = [
            algorithm.update(make_batch(actor, 50, seed=seed), nothing) for seed in range(updates)
        ]
        return [one.penalty for one in stats], [one.kl for one in stats]

    def test_adaptive_beta_is_halved_and_doubled(self):
        betas, kls = self.run(beta_update="adaptive", target_kl=0.01, initial_penalty=3.0)
        assert betas[0] == 3.0
        expected = [
            beta / 2 if kl < 0.01 / 1.5 else 2 * beta if kl > 0.015 else beta
            for beta, kl in zip(betas, kls, strict=True)
        ]
        assert betas[1:] == expected[:-1]
        assert len(set(betas)) > 1

    def test_dual_beta_climbs_where_the_kl_is_too_large_and_never_below_zero(self):
        betas, kls = self.run(
            beta_update="dual", target_kl=0.05, initial_penalty=0.05, dual_rate=20.0
        )
        assert betas[0] == 0.05
        expected = [
            max(0.0, beta + 20.0 * (kl - 0.05)) for beta, kl in zip(betas, kls, strict=True)
        ]
        assert betas[1:] == pytest.approx(expected[:-1], rel=1e-12)
        assert max(betas) > 0.05
        assert min(betas) == 0.0

    def test_fixed_beta_stays(self):
        betas, _ = self.run(beta_update="fixed", initial_penalty=3.0)
        assert set(betas) == {3.0}

    def test_greater_beta_holds_the_policy_back(self):
        kls = [
            max(self.run(beta_update="fixed", initial_penalty=beta, updates=3)[1])
            for beta in (0.0, 10.0, 1000.0)
        ]
        assert kls[0] > 2 * kls[1] > 4 * kls[2] > 0

    def test_refused_update_leaves_beta(self):
        actor = make_actor("categorical")
        algorithm = make_algorithm("ppo_penalty", actor, initial_penalty=3.0)
        stats = algorithm.update(
            make_batch(actor, 50, advantages=torch.full((50,), math.nan)), nothing
        )
        assert stats.reject_reason is RejectReason.NOT_FINITE
        assert algorithm.state()["beta"] == 3.0
