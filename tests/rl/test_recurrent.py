"""Recurrent cells against torch's own modules and its automatic differentiation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from network_samples import make_actor, make_critic, make_spec, policy_of, randomised
from torch.autograd import functional
from torch.func import functional_call

from trpotui.rl.recurrent import GATES, Cell, cell_shapes, state_size
from trpotui.rl.sequences import Sequences, shuffled, split
from trpotui.rl.unrolling import unroll

T, N, D, M = 9, 4, 3, 5
KINDS = ["gru", "lstm"]
HEADS = {
    "categorical": {},
    "clipped logits": {"logit_clip": 0.5},
    "independent": {"gaussian": True},
    "state_dependent": {"gaussian": True, "exploration": "state_dependent"},
    "gsde": {"gaussian": True, "exploration": "gsde"},
    "no hidden layer": {"hidden": ()},
}

pytestmark = pytest.mark.parametrize("kind", KINDS)


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def arrays(kind):
    return {
        name: 0.7 * random(*shape, seed=seed)
        for seed, (name, shape) in enumerate(cell_shapes(kind, D, M).items())
    }


def starts_at(*rows_and_envs):
    starts = torch.zeros(T, N, dtype=torch.bool)
    for row, env in rows_and_envs:
        starts[row, env] = True
    return starts


def torch_module(kind, named):
    """torch's own layer with the same weights."""
    module = (torch.nn.GRU if kind == "gru" else torch.nn.LSTM)(D, M)
    names = ["weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0"]
    module.load_state_dict(dict(zip(names, named.values(), strict=True)))
    return module, names


def run_torch(kind, module, rows, state, parameters=None):
    """Outputs [T, N, M] and the state [N, S] behind them, by torch's layer."""
    first = state[None] if kind == "gru" else tuple(s[None].contiguous() for s in state.chunk(2, 1))
    call = (rows, first)
    outputs, last = (
        module(*call) if parameters is None else functional_call(module, parameters, call)
    )
    return outputs, last[0] if kind == "gru" else torch.cat([last[0][0], last[1][0]], dim=1)


@pytest.mark.usefixtures("float64")
class TestForward:
    def test_outputs_and_states_are_those_of_torch(self, kind):
        named, rows, state = arrays(kind), random(T, N, D), random(N, state_size(kind, M), seed=7)
        module, _ = torch_module(kind, named)
        unrolled = unroll(kind, named, rows, starts_at(), state)
        with torch.no_grad():
            outputs, last = run_torch(kind, module, rows, state)
        assert torch.allclose(unrolled.outputs, outputs, atol=1e-12)
        assert torch.allclose(unrolled.states[-1], last, atol=1e-12)
        assert unrolled.states.shape == (T, N, state_size(kind, M))

    def test_an_episode_that_begins_in_the_middle_is_a_sequence_of_its_own(self, kind):
        named, rows, state = arrays(kind), random(T, N, D), random(N, state_size(kind, M), seed=7)
        unrolled = unroll(kind, named, rows, starts_at((4, 1), (0, 2), (5, 2), (6, 2)), state)
        unbroken = unroll(kind, named, rows, starts_at(), state)
        empty = torch.zeros_like(state)

        def alone(first, last, env, before):
            part = rows[first:last, [env]]
            whole = torch.zeros(last - first, 1, dtype=torch.bool)
            return unroll(kind, named, part, whole, before[[env]]).states[:, 0]

        for env in (0, 3):
            assert torch.allclose(unrolled.states[:, env], unbroken.states[:, env], atol=1e-12)
        expected = torch.cat([alone(0, 4, 1, state), alone(4, T, 1, empty)])
        assert torch.allclose(unrolled.states[:, 1], expected, atol=1e-12)
        pieces = [alone(*ends, 2, empty) for ends in ((0, 5), (5, 6), (6, T))]
        assert torch.allclose(unrolled.states[:, 2], torch.cat(pieces), atol=1e-12)
        assert not torch.allclose(unrolled.states[4:, 1], unbroken.states[4:, 1], atol=1e-3)


def test_the_step_in_numpy_is_the_step_in_torch(kind):
    named, rows = arrays(kind), random(T, N, D)
    cell = Cell(kind, {name: array.numpy() for name, array in named.items()})
    state = cell.empty(N)
    assert state.shape == (N, state_size(kind, M))
    unrolled = unroll(kind, named, rows, starts_at(), torch.from_numpy(state))
    for t in range(T):
        before = state.copy()
        outputs, after = cell.step(rows[t].numpy(), state)
        assert np.array_equal(state, before)
        assert np.allclose(outputs, unrolled.outputs[t], atol=1e-6)
        assert np.allclose(after, unrolled.states[t], atol=1e-6)
        state = after


def test_numbers_far_outside_saturate_without_a_warning(kind):
    named = {name: 1e3 * array for name, array in arrays(kind).items()}
    cell = Cell(kind, {name: array.numpy() for name, array in named.items()})
    state = cell.empty(N)
    for t in range(T):
        outputs, state = cell.step(random(T, N, D)[t].numpy(), state)
        assert np.isfinite(state).all()
        assert (np.abs(outputs) <= 1).all()


@pytest.mark.usefixtures("float64")
def test_products_with_a_cells_jacobian_are_those_of_autograd_through_torchs_layer(kind):
    named, rows, state = arrays(kind), random(T, N, D), random(N, state_size(kind, M), seed=7)
    starts = starts_at((4, 0), (4, 1), (4, 2), (4, 3))  # two sequences for torch's layer
    module, names = torch_module(kind, named)
    sizes = [array.numel() for array in named.values()]

    def outputs(flat):
        pieces = zip(names, flat.split(sizes), named.values(), strict=True)
        parameters = {name: piece.view_as(array) for name, piece, array in pieces}
        first, _ = run_torch(kind, module, rows[:4], state, parameters)
        second, _ = run_torch(kind, module, rows[4:], torch.zeros_like(state), parameters)
        return torch.cat([first, second])

    flat = torch.cat([array.flatten() for array in named.values()])
    jacobian = functional.jacobian(outputs, flat)  # [T, N, M, P]
    unrolled = unroll(kind, named, rows, starts, state)
    assert unrolled.size == len(flat)
    tangent, cotangents = random(len(flat), seed=3), random(T, N, M, seed=4)
    assert torch.allclose(unrolled.jvp(tangent), jacobian @ tangent, atol=1e-11)
    expected = (cotangents[..., None] * jacobian).sum((0, 1, 2))
    assert torch.allclose(unrolled.vjp(cotangents), expected, atol=1e-11)
    # a second product finds what it needs as the first one did
    assert torch.allclose(unrolled.jvp(tangent), jacobian @ tangent, atol=1e-11)


def sequences(spec, *, holes=True):
    """Rows of four environments with episodes that begin and gaps, and what was remembered."""
    valid = torch.ones(T, N, dtype=torch.bool)
    if holes:
        for row, env in ((3, 1), (0, 2), (T - 1, 0)):
            valid[row, env] = False
    return Sequences(
        random(T, N, D),
        starts_at((4, 1), (1, 2), (7, 3)),
        valid,
        {
            "actor": random(N, spec.state_size, seed=5),
            "critic": random(N, spec.state_size, seed=6),
        },
    )


def make_networks(kind, *, scale=0.7, **changes):
    spec = make_spec(
        **{"inputs": D, "actions": 2, "hidden": (6,), "network": kind, "memory_size": M} | changes
    )
    return (
        randomised(make_actor(spec), seed=1, scale=scale),
        randomised(make_critic(spec), seed=2, scale=scale),
    )


class TestNetworks:
    def test_a_gru_keeps_one_number_for_each_cell_and_an_lstm_two(self, kind):
        actor, _ = make_networks(kind)
        assert actor.spec.state_size == (M if kind == "gru" else 2 * M)
        assert actor.spec.feature_size == M
        assert next(iter(actor.shapes)) == "memory.input.weight"
        assert actor.shapes["memory.recurrent.weight"] == (GATES[kind] * M, M)

    @pytest.mark.usefixtures("float64")
    @pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
    @pytest.mark.parametrize("network", [0, 1], ids=["actor", "critic"])
    def test_products_are_those_of_autograd(self, kind, head, network):
        chosen = make_networks(kind, **head)[network]
        inputs = sequences(chosen.spec)
        flat = chosen.parameters
        jacobian = functional.jacobian(lambda p: chosen._function(p, inputs), flat)
        linear = chosen.linearize(inputs)
        assert torch.allclose(linear.outputs, chosen(inputs), atol=1e-12)
        assert len(linear.outputs) == len(inputs) == T * N - 3
        tangent, cotangents = random(len(flat), seed=3), random(*linear.outputs.shape, seed=4)
        assert torch.allclose(linear.jvp(tangent), jacobian @ tangent, atol=1e-11)
        expected = torch.einsum("bk,bkp->p", cotangents, jacobian)
        assert torch.allclose(linear.vjp(cotangents), expected, atol=1e-11)

    @pytest.mark.usefixtures("float64")
    @pytest.mark.parametrize("head", [HEADS["categorical"], HEADS["independent"]])
    def test_silent_bug_02_fisher_product_is_the_hessian_of_the_kl(self, kind, head):
        actor, _ = make_networks(kind, **head)
        inputs = sequences(actor.spec)
        distribution, linear = actor.distribution, actor.linearize(inputs)

        def kl(flat):
            new = actor._function(flat, inputs)
            return distribution.kl(old=linear.outputs.detach(), new=new).mean()

        hessian = functional.hessian(kl, actor.parameters)
        vector = random(len(actor.parameters), seed=8)
        weighted = distribution.fisher(linear.outputs)(linear.jvp(vector))
        product = linear.vjp(weighted / len(inputs))
        assert torch.allclose(product, hessian @ vector, atol=1e-10)
        assert float(product.norm()) > 1e-2

    def test_outputs_are_those_of_the_valid_rows_step_by_step(self, kind):
        actor, critic = make_networks(kind)
        inputs = sequences(actor.spec)
        everything = sequences(actor.spec, holes=False)
        for network in (actor, critic):
            outputs = network(everything).view(T, N, -1)
            assert torch.allclose(network(inputs), outputs[inputs.valid], atol=1e-6)
        values, states = critic.along(inputs.rows, inputs.starts, inputs.states["critic"])
        assert torch.allclose(values[inputs.valid], critic(inputs)[:, 0], atol=1e-6)
        assert states.shape == (T, N, critic.spec.state_size)

    def test_a_row_that_only_resets_leaves_nothing_behind(self, kind):
        actor, _ = make_networks(kind)
        inputs = sequences(actor.spec)
        before = actor(inputs)
        inputs.rows[3, 1] += 5.0  # no transition, and an episode begins in the next row
        assert torch.equal(actor(inputs), before)
        inputs.rows[2, 1] += 5.0  # the last transition of the episode
        moved = (actor(inputs) != before).any(dim=1)
        rows = torch.nonzero(inputs.valid)[moved].tolist()
        assert rows == [[2, 1]]

    @pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
    def test_a_session_says_of_every_row_what_they_do(self, kind, head):
        actor, critic = make_networks(kind, **head)
        inputs = sequences(actor.spec, holes=False)
        parameters = actor(inputs).view(T, N, -1)
        values = critic(inputs).view(T, N)
        session = policy_of(actor, critic).session(N, np.random.default_rng(0))
        session.states = {name: state.numpy() for name, state in inputs.states.items()}
        for t in range(T):
            row = inputs.rows[t].numpy(), inputs.starts[t].numpy()
            assert np.allclose(session.parameters(*row), parameters[t], atol=1e-5)
            assert np.allclose(session.values(*row), values[t], atol=1e-5)
            session.act(*row)

    def test_rows_are_refused(self, kind):
        actor, critic = make_networks(kind)
        for network in (actor, critic):
            with pytest.raises(TypeError, match="takes sequences"):
                network(random(T, D))


def order_of(inputs):
    return shuffled(inputs, torch.Generator().manual_seed(0))


class TestMinibatches:
    def test_sequences_stay_whole_and_every_row_comes_once(self, kind):
        actor, _ = make_networks(kind)
        inputs = sequences(actor.spec)
        outputs, seen = actor(inputs), []
        parts = list(split(inputs, 2, order_of(inputs)))
        assert len(parts) == 2
        for part, rows in parts:
            assert part.rows.shape == (T, N // 2, D)
            assert len(part) == len(rows)
            assert torch.allclose(actor(part), outputs[rows], atol=1e-6)
            seen += rows.tolist()
        assert sorted(seen) == list(range(len(inputs)))

    @pytest.mark.parametrize(("n_envs", "expected"), [(1, 1), (3, 3), (4, 4)])
    def test_there_are_no_more_than_environments(self, kind, n_envs, expected):
        actor, _ = make_networks(kind)
        inputs = sequences(actor.spec).columns(torch.arange(n_envs))
        parts = list(split(inputs, 8, order_of(inputs)))
        assert len(parts) == expected

    def test_an_environment_without_a_valid_row_makes_none(self, kind):
        actor, _ = make_networks(kind)
        inputs = sequences(actor.spec)
        inputs.valid[:, 2] = False
        parts = list(split(inputs, N, order_of(inputs)))
        assert len(parts) == N - 1
        assert all(len(rows) for _, rows in parts)


class TestFirstWeights:
    @pytest.mark.parametrize("size", [2, 8])
    def test_each_gate_is_orthogonal_and_an_lstm_begins_by_remembering(self, kind, size):
        spec = make_spec(inputs=D, network=kind, memory_size=size)
        named = make_actor(spec).named
        for part in ("input", "recurrent"):
            gates = named[f"memory.{part}.weight"].split(size)
            assert len(gates) == GATES[kind]
            for gate in gates:
                product = gate @ gate.T if size <= gate.shape[1] else gate.T @ gate
                assert torch.allclose(product, torch.eye(len(product)), atol=1e-5)
            assert not torch.allclose(gates[0], gates[1], atol=1e-2)
        assert not named["memory.recurrent.bias"].any()
        bias = named["memory.input.bias"].split(size)
        for index, gate in enumerate(bias):
            assert gate.unique().tolist() == [float(kind == "lstm" and index == 1)]

    def test_uniform_ones_are_bounded_by_the_number_of_cells(self, kind):
        spec = make_spec(inputs=D, network=kind, memory_size=16)
        named = make_actor(spec, orthogonal=False).named
        for name in cell_shapes(kind, D, 16):
            assert float(named[name].abs().max()) == pytest.approx(1 / math.sqrt(16), rel=0.1)
            assert float(named[name].abs().max()) <= 1 / math.sqrt(16)
