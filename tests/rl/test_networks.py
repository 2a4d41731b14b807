"""Networks on one flat vector: Jacobian products against autograd, memory, and initial weights."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from network_samples import make_actor as actor_of
from network_samples import make_critic as critic_of
from network_samples import make_spec, randomised
from torch.autograd import functional
from torch.func import functional_call

from trpotui.rl import mlp
from trpotui.rl.acting import ActorArrays
from trpotui.rl.architecture import LOG_STD_MAX, LOG_STD_MIN
from trpotui.rl.distributions import Categorical, DiagGaussian
from trpotui.rl.linearization import FunctionLinearization, JoinedLinearization, combined
from trpotui.rl.mlp import MLPLinearization
from trpotui.rl.networks import Actor, numpy_arrays

DEPTHS = [(), (7,), (7, 5), (7, 5, 6), (9, 96), (20, 96), (5, 9, 96)]
"""In the last three, three outputs are few beside the last layer, and products go by unit."""
KINDS = {
    "categorical": {},
    "clipped logits": {"logit_clip": 0.5},
    "independent": {"exploration": "independent"},
    "state_dependent": {"exploration": "state_dependent"},
    "gsde": {"exploration": "gsde"},
}
"""What an actor may put out beside the depth and the activation of its layers."""


def make_actor(hidden=(7,), activation="tanh", *, gaussian=False, log_std=0.0, **changes):
    gaussian = gaussian or "exploration" in changes
    spec = make_spec(hidden=hidden, activation=activation, gaussian=gaussian, **changes)
    return actor_of(spec, log_std=log_std)


def make_critic(hidden=(7,), activation="tanh"):
    return critic_of(make_spec(hidden=hidden, activation=activation))


def widths(spec, outputs):
    return (spec.observation_size, *spec.hidden_sizes, outputs)


def torch_module(sizes, activation):
    """The same perceptron out of torch's own modules."""
    layers = []
    for fan_in, out in pairwise(sizes):
        layers += [
            torch.nn.Linear(fan_in, out),
            torch.nn.Tanh() if activation == "tanh" else torch.nn.ReLU(),
        ]
    return torch.nn.Sequential(*layers[:-1])


def reference(network, inputs, activation):
    """A function of the flat vector that torch can differentiate, from torch's own modules."""
    spec = network.spec
    actor = isinstance(network, Actor)
    module = torch_module(widths(spec, spec.output_size if actor else 1), activation)
    weights = sum(parameter.numel() for parameter in module.parameters())
    exploration = spec.exploration if actor and spec.distribution == "gaussian" else None

    def outputs(flat):
        pieces, start = {}, 0
        for name, parameter in module.named_parameters():
            pieces[name] = flat[start : start + parameter.numel()].view(parameter.shape)
            start += parameter.numel()
        result = functional_call(module, pieces, inputs)
        if exploration == "state_dependent":
            means, log_stds = result.chunk(2, dim=1)
            return torch.cat([means, log_stds.clamp(LOG_STD_MIN, LOG_STD_MAX)], dim=1)
        if actor and spec.logit_clip:
            return result.clamp(-spec.logit_clip, spec.logit_clip)
        if exploration is None:
            return result
        log_std = flat[weights:].clamp(LOG_STD_MIN, LOG_STD_MAX)
        if exploration == "independent":
            return torch.cat([result, log_std.expand(len(inputs), -1)], dim=1)
        without_head = {n: p for n, p in pieces.items() if n.split(".")[0] != last}
        latent = functional_call(module[:-1], without_head, inputs) if without_head else inputs
        deviations = log_std.view(latent.shape[1], -1).exp()
        variance = (latent[:, :, None] * deviations).square().sum(dim=1) + 1e-6
        return torch.cat([result, variance.sqrt().log()], dim=1)

    last = str(len(module) - 1)
    return outputs


def assert_linearization_is_that_of_autograd(network, activation, seed=3):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(9, 4, generator=generator)
    outputs = reference(network, inputs, activation)
    flat = network.parameters.clone()
    tangent = torch.randn(len(flat), generator=generator)
    linear = network.linearize(inputs)
    cotangents = torch.randn(linear.outputs.shape, generator=generator)

    expected, expected_change = functional.jvp(outputs, flat, tangent)
    _, expected_gradient = functional.vjp(outputs, flat, cotangents)

    torch.testing.assert_close(linear.outputs, expected)
    torch.testing.assert_close(network(inputs), expected)
    torch.testing.assert_close(linear.vjp(cotangents), expected_gradient)
    torch.testing.assert_close(linear.jvp(tangent), expected_change)
    torch.testing.assert_close(linear.vjp(cotangents), expected_gradient)
    assert torch.equal(network.parameters, flat), "a product changed the network"


@pytest.mark.usefixtures("float64")
class TestLinearization:
    @pytest.mark.parametrize("activation", ["tanh", "relu"])
    @pytest.mark.parametrize("hidden", DEPTHS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_actor(self, activation, hidden, kind):
        actor = randomised(make_actor(hidden, activation, **KINDS[kind]))
        assert_linearization_is_that_of_autograd(actor, activation)

    @pytest.mark.parametrize("activation", ["tanh", "relu"])
    @pytest.mark.parametrize("hidden", DEPTHS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_by_hand_and_in_general(self, activation, hidden, kind):
        actor = randomised(make_actor(hidden, activation, **KINDS[kind]))
        generator = torch.Generator().manual_seed(9)
        inputs = torch.randn(9, 4, generator=generator)
        with torch.no_grad():  # as a learner has it
            by_hand = actor.linearize(inputs)
            general = FunctionLinearization(
                lambda vector: actor._function(vector, inputs), actor.parameters
            )
            assert not isinstance(by_hand, FunctionLinearization)
            assert torch.equal(by_hand.outputs, actor(inputs))
            torch.testing.assert_close(general.outputs, by_hand.outputs)
            tangent = torch.randn(len(actor.parameters), generator=generator)
            cotangents = torch.randn(by_hand.outputs.shape, generator=generator)
            for _ in range(2):  # products may be asked for again and again
                torch.testing.assert_close(general.jvp(tangent), by_hand.jvp(tangent))
                torch.testing.assert_close(general.vjp(cotangents), by_hand.vjp(cotangents))

    @pytest.mark.parametrize("activation", ["tanh", "relu"])
    @pytest.mark.parametrize("hidden", DEPTHS)
    def test_critic(self, activation, hidden):
        assert_linearization_is_that_of_autograd(
            randomised(make_critic(hidden, activation)), activation
        )

    @pytest.mark.parametrize(
        ("hidden", "goes"), [((96,), False), ((9, 95), False), ((9, 96), True), ((5, 9, 96), True)]
    )
    def test_products_by_unit(self, hidden, goes, monkeypatch):
        inputs = torch.randn(9, 4, generator=torch.Generator().manual_seed(3))
        network = randomised(make_actor(hidden))
        tangent = torch.randn(len(network.parameters), generator=torch.Generator().manual_seed(4))
        built = []
        real = MLPLinearization._derivatives_by_unit
        monkeypatch.setattr(
            MLPLinearization, "_derivatives_by_unit", lambda *a: built.append(1) or real(*a)
        )
        linear = network.linearize(inputs)
        by_unit = [linear.jvp(tangent), linear.jvp(2 * tangent) / 2]
        assert built == [1] * goes  # once for all products
        monkeypatch.setattr(mlp, "MOST_DERIVATIVES", 9 * sum(hidden) * 3 - 1)
        plain = network.linearize(inputs).jvp(tangent)
        assert built == [1] * goes
        for product in by_unit:
            torch.testing.assert_close(product, plain)

    @pytest.mark.parametrize("cached", [False, True])
    @pytest.mark.parametrize("hidden", [(7, 96), (32, 96), (5, 33, 96)])
    def test_combinations_of_the_outputs(self, hidden, cached, monkeypatch):
        if cached:
            monkeypatch.setattr(mlp, "IN_CACHE", 4 * max(hidden))
        generator = torch.Generator().manual_seed(5)
        actor = randomised(make_actor(hidden))
        plain = actor.linearize(torch.randn(9, 4, generator=generator))
        assert isinstance(plain, JoinedLinearization) == cached
        tangent = torch.randn(len(actor.parameters), generator=generator)
        for count in (1, 2, 3):
            matrix = torch.randn(count, 3, generator=generator)
            linear = combined(plain, matrix)
            cotangents = torch.randn(9, count, generator=generator)
            torch.testing.assert_close(linear.outputs, plain.outputs @ matrix.T)
            for _ in range(2):
                torch.testing.assert_close(linear.jvp(tangent), plain.jvp(tangent) @ matrix.T)
                torch.testing.assert_close(linear.vjp(cotangents), plain.vjp(cotangents @ matrix))

    @pytest.mark.parametrize(
        ("hidden", "kind"),
        [((), "categorical"), ((96,), "categorical"), ((9, 31), "categorical")]
        + [((9, 96), kind) for kind in ("clipped logits", "independent", "gsde")],
    )
    def test_combinations_that_save_nothing(self, hidden, kind):
        actor = randomised(make_actor(hidden, **KINDS[kind]))
        linear = actor.linearize(torch.zeros(3, 4))
        assert combined(linear, torch.ones(1, linear.outputs.shape[1])) is None

    @pytest.mark.parametrize("hidden", [(7,), (7, 96), (33, 96)])
    def test_a_vector_may_lie_across_another_ones_rows(self, hidden):
        critic = randomised(make_critic(hidden))
        generator = torch.Generator().manual_seed(6)
        linear = critic.linearize(torch.randn(9, 4, generator=generator))
        tangent = torch.randn(len(critic.parameters), 2, generator=generator)[:, 1]
        cotangents = torch.randn(9, 3, generator=generator)[:, 1:2]
        torch.testing.assert_close(linear.jvp(tangent), linear.jvp(tangent.contiguous()))
        torch.testing.assert_close(linear.vjp(cotangents), linear.vjp(cotangents.contiguous()))

    def test_vectors_of_another_size_are_refused(self):
        for hidden in ((7,), (9, 96)):
            linear = make_critic(hidden).linearize(torch.zeros(3, 4))
            for size in (1, len(make_critic(hidden).parameters) + 1):
                with pytest.raises(ValueError, match="expected a vector of"):
                    linear.jvp(torch.zeros(size))

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("activation", ["tanh", "relu"])
    @pytest.mark.parametrize(("hidden", "cached"), [((), 12), ((7, 5), 20), ((9, 96), 200)])
    def test_large_batches_go_part_by_part(self, kind, activation, hidden, cached, monkeypatch):
        actor = randomised(make_actor(hidden, activation, **KINDS[kind]))
        critic = randomised(make_critic(hidden, activation))
        monkeypatch.setattr(mlp, "IN_CACHE", cached)  # 2 to 4 rows, whatever torch's threads
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
        for network in (actor, critic):
            assert isinstance(network.linearize(torch.zeros(13, 4)), JoinedLinearization)
            assert_linearization_is_that_of_autograd(network, activation)

    def test_log_sigma_beyond_its_clamp(self):
        actor = randomised(make_actor(gaussian=True))
        actor.log_std.copy_(torch.tensor([LOG_STD_MIN - 1.0, 0.3, LOG_STD_MAX + 1.0]))
        assert_linearization_is_that_of_autograd(actor, "tanh")

    @pytest.mark.parametrize("bound", [LOG_STD_MIN, LOG_STD_MAX])
    def test_log_sigma_exactly_at_its_clamp_can_still_move(self, bound):
        # both bounds are accepted as `initial_log_std`: a sigma that starts there must be learned
        actor = randomised(make_actor(gaussian=True))
        actor.log_std.fill_(bound)
        assert_linearization_is_that_of_autograd(actor, "tanh")

    @pytest.mark.parametrize("bound", [LOG_STD_MIN, LOG_STD_MAX])
    def test_log_sigma_of_gsde_at_and_beyond_its_clamp(self, bound):
        actor = randomised(make_actor(exploration="gsde"))
        actor.log_std[:3] = bound
        actor.log_std[3:5] = 2 * bound
        assert_linearization_is_that_of_autograd(actor, "tanh")

    def test_state_dependent_log_sigma_beyond_its_clamp(self):
        actor = randomised(make_actor(exploration="state_dependent"))
        actor.named["1.bias"][3:] = torch.tensor([LOG_STD_MIN - 9.0, LOG_STD_MIN, LOG_STD_MAX])
        inputs = torch.randn(9, 4, generator=torch.Generator().manual_seed(3))
        log_stds = actor(inputs)[:, 3:]
        clamped = (log_stds == LOG_STD_MIN) | (log_stds == LOG_STD_MAX)
        assert clamped[:, 0].all()
        assert clamped.any(dim=0).all()
        assert not clamped.all()
        assert_linearization_is_that_of_autograd(actor, "tanh")

    @pytest.mark.parametrize("kind", KINDS)
    def test_products_are_adjoint(self, kind):
        actor = randomised(make_actor((6, 6), **KINDS[kind]))
        generator = torch.Generator().manual_seed(4)
        linear = actor.linearize(torch.randn(5, 4, generator=generator))
        tangent = torch.randn(len(actor.parameters), generator=generator)
        cotangents = torch.randn(linear.outputs.shape, generator=generator)
        forward = (linear.jvp(tangent) * cotangents).sum()
        torch.testing.assert_close(forward, tangent @ linear.vjp(cotangents))

    def test_kept_outputs_do_not_follow_the_parameters(self):
        # a line search asks for no product, but its candidates must not move the kept activations
        actor = randomised(make_actor())
        inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(5))
        linear = actor.linearize(inputs)
        before = linear.outputs.clone()
        actor.parameters.add_(1.0)
        actor(inputs)
        assert torch.equal(linear.outputs, before)

    @pytest.mark.parametrize("kind", KINDS)
    def test_distribution_fits_the_outputs(self, kind):
        actor = make_actor(**KINDS[kind])
        gaussian = "exploration" in KINDS[kind]
        assert isinstance(actor.distribution, DiagGaussian if gaussian else Categorical)
        outputs = actor(torch.zeros(2, 4))
        assert outputs.shape == (2, actor.distribution.parameter_count)


class TestFlatVector:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("hidden", DEPTHS)
    def test_silent_bug_03_every_weight_is_a_view_and_every_entry_is_a_weight(self, kind, hidden):
        actor = make_actor(hidden, **KINDS[kind])
        actor.parameters.copy_(torch.arange(len(actor.parameters), dtype=torch.float32))
        pieces = list(actor.named.values())
        together = torch.cat([piece.reshape(-1) for piece in pieces])
        assert torch.equal(together, actor.parameters)
        storage = actor.parameters.untyped_storage().data_ptr()
        assert all(piece.untyped_storage().data_ptr() == storage for piece in pieces)

    @pytest.mark.parametrize("kind", KINDS)
    def test_silent_bug_03_every_entry_changes_an_output(self, kind):
        actor = randomised(make_actor((5,), **KINDS[kind]), scale=0.2)
        inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(6))
        before = actor(inputs)
        for index in range(len(actor.parameters)):
            kept = actor.parameters[index].clone()
            actor.parameters[index] += 0.5
            assert not torch.equal(actor(inputs), before), index
            actor.parameters[index] = kept

    def test_actor_and_critic_share_no_memory(self):
        actor, critic = make_actor(), make_critic()
        before = critic.parameters.clone()
        actor.parameters.add_(1.0)
        assert torch.equal(critic.parameters, before)

    @pytest.mark.parametrize("sizes", [(3, 2), (4, 64, 64, 2), (1, 1, 1)])
    def test_parameter_count_is_that_of_torch_modules(self, sizes):
        first, *hidden, last = sizes
        spec = make_spec(inputs=first, hidden=tuple(hidden), actions=last)
        module = torch_module(sizes, "tanh")
        assert len(actor_of(spec).parameters) == sum(p.numel() for p in module.parameters())


class TestInitialWeights:
    @pytest.mark.parametrize("seed", [0, 1, 2])
    @pytest.mark.parametrize("sizes", [(4, 8, 8, 2), (10, 3, 12, 5)])
    def test_weights_are_orthogonal_with_their_gains(self, sizes, seed):
        first, *hidden, last = sizes
        actor = actor_of(make_spec(inputs=first, hidden=tuple(hidden), actions=last), seed=seed)
        for index in range(3):
            gain = 0.01 if index == 2 else math.sqrt(2)
            weight, bias = actor.named[f"{index}.weight"], actor.named[f"{index}.bias"]
            short = weight if weight.shape[0] <= weight.shape[1] else weight.T
            torch.testing.assert_close(
                short @ short.T, gain**2 * torch.eye(len(short)), atol=1e-5 * gain**2, rtol=1e-5
            )
            assert torch.equal(bias, torch.zeros_like(bias))

    def test_weights_are_uniform_over_orthogonal_matrices(self):
        # a plain QR decomposition favours one sign; uniform ones have entries of mean 0
        spec = make_spec(inputs=4, hidden=(4,))
        diagonals = torch.stack(
            [actor_of(spec, seed=seed).named["0.weight"].diagonal() for seed in range(500)]
        )
        means = diagonals.mean(dim=0) / math.sqrt(2)  # entries have a deviation of 1 / sqrt(4)
        assert float(means.abs().max()) < 5 * 0.5 / math.sqrt(500)

    def test_heads_of_actor_and_critic_have_their_gains(self):
        actor, critic = make_actor((7,)), make_critic((7,))
        singular = torch.linalg.svdvals(actor.named["1.weight"])
        torch.testing.assert_close(singular, torch.full_like(singular, 0.01))
        torch.testing.assert_close(
            torch.linalg.vector_norm(critic.named["1.weight"]), torch.tensor(1.0)
        )

    def test_log_sigma_starts_as_asked(self):
        actor = make_actor(gaussian=True, log_std=-1.25)
        assert torch.equal(actor.log_std, torch.full((3,), -1.25))

    def test_state_dependent_log_sigma_starts_as_asked(self):
        actor = make_actor(exploration="state_dependent", log_std=-1.25)
        assert torch.equal(actor.named["1.bias"], torch.tensor([0.0] * 3 + [-1.25] * 3))
        torch.testing.assert_close(actor(torch.zeros(2, 4))[:, 3:], torch.full((2, 3), -1.25))

    @pytest.mark.parametrize("hidden", [(), (7,)])
    def test_gsde_starts_with_the_deviation_asked_for_where_the_latent_is_one(self, hidden):
        actor = make_actor(hidden, exploration="gsde", log_std=-1.25)
        inputs = torch.ones(1, 4)
        if hidden:
            actor.named["0.bias"].fill_(100.0)  # a tanh of 1
        log_stds = actor(inputs)[:, 3:]
        torch.testing.assert_close(log_stds, torch.full((1, 3), -1.25), rtol=0, atol=1e-4)

    @pytest.mark.parametrize("exploration", ["independent", "state_dependent", "gsde"])
    @pytest.mark.parametrize("log_std", [LOG_STD_MIN, LOG_STD_MAX])
    def test_log_sigma_can_move_from_wherever_it_may_start(self, exploration, log_std):
        actor = make_actor(exploration=exploration, log_std=log_std)
        inputs = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
        cotangents = torch.cat([torch.zeros(50, 3), torch.ones(50, 3)], dim=1)
        gradient = actor.linearize(inputs).vjp(cotangents)
        moved = gradient[-6:] if exploration == "gsde" else gradient[-3:]
        assert (moved != 0).all()

    def test_uniform_weights_fill_their_range(self):
        spec = make_spec(inputs=16, hidden=(200, 9), actions=50, gaussian=True)
        for network in (
            actor_of(spec, orthogonal=False, log_std=-0.5),
            critic_of(spec, orthogonal=False),
        ):
            for index, fan_in in enumerate((16, 200, 9)):
                bound = 1 / math.sqrt(fan_in)
                weight, bias = network.named[f"{index}.weight"], network.named[f"{index}.bias"]
                assert float(weight.abs().max()) <= bound
                assert float(bias.abs().max()) <= bound
                assert len(bias.unique()) == len(bias)
                if weight.numel() >= 400:
                    assert float(weight.abs().max()) > 0.97 * bound
                    assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)
        torch.testing.assert_close(
            actor_of(spec, orthogonal=False, log_std=-0.5).log_std, torch.full((50,), -0.5)
        )

    def test_weights_come_from_the_generator_alone(self):
        def weights(seed):
            torch.manual_seed(99)
            return actor_of(make_spec(), seed=seed).parameters

        assert torch.equal(weights(0), weights(0))
        assert not torch.equal(weights(0), weights(1))


class TestNumpyArrays:
    @pytest.mark.parametrize("activation", ["tanh", "relu"])
    @pytest.mark.parametrize("hidden", DEPTHS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_silent_bug_12_numpy_and_torch_compute_the_same(self, activation, hidden, kind):
        actor = randomised(make_actor(hidden, activation, **KINDS[kind]))
        inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(7))
        ours = in_numpy(actor, inputs.numpy())
        assert ours.dtype == np.float32
        expected = actor(inputs)
        # terms that cancel leave their own rounding, whatever is left of them
        size = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(torch.from_numpy(ours), expected, rtol=1e-5, atol=1e-6 * size)

    @pytest.mark.parametrize("log_std", [-50.0, LOG_STD_MIN, LOG_STD_MAX, 7.0])
    @pytest.mark.parametrize("exploration", ["state_dependent", "gsde"])
    def test_silent_bug_12_log_sigma_is_clamped_alike(self, exploration, log_std):
        actor = randomised(make_actor(exploration=exploration))
        if exploration == "gsde":
            actor.log_std.fill_(log_std)
        else:
            actor.named["1.bias"][3:] = log_std
        inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(7))
        ours = torch.from_numpy(in_numpy(actor, inputs.numpy()))
        torch.testing.assert_close(ours, actor(inputs), rtol=1e-5, atol=1e-6)
        if exploration == "state_dependent":
            assert ours[:, 3:].min() >= LOG_STD_MIN
            assert ours[:, 3:].max() <= LOG_STD_MAX

    def test_arrays_follow_the_parameters(self):
        actor = make_actor((7,), gaussian=True)
        arrays = numpy_arrays(actor.named)
        randomised(actor, seed=8)
        assert arrays.keys() == actor.named.keys() == actor.spec.actor_shapes.keys()
        for name, array in arrays.items():
            assert np.shares_memory(array, actor.named[name].numpy())
            assert np.array_equal(array, actor.named[name].numpy())

    def test_inputs_are_not_written_to(self):
        actor = randomised(make_actor((), "relu"))
        inputs = np.ones((3, 4), dtype=np.float32)
        in_numpy(actor, inputs)
        assert np.array_equal(inputs, np.ones((3, 4), dtype=np.float32))


def in_numpy(actor, inputs):
    network = ActorArrays(actor.spec, numpy_arrays(actor.named))
    return network.parameters(network.latent(network.features(inputs, None)[0]))


class TestRefusals:
    @pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 5), (1, 2, 4), ()])
    def test_inputs_of_another_shape(self, shape):
        actor = make_actor()
        with pytest.raises(ValueError, match="inputs must be"):
            actor(torch.zeros(shape))
        with pytest.raises(ValueError, match="inputs must be"):
            actor.linearize(torch.zeros(shape))

    @pytest.mark.parametrize("surplus", [-1, 1])
    def test_vector_of_another_length(self, surplus):
        critic = make_critic()
        length = len(critic.parameters) + surplus
        with pytest.raises(ValueError, match="expected a vector"):
            critic.linearize(torch.zeros(2, 4)).jvp(torch.zeros(length))

    @pytest.mark.parametrize("surplus", [-1, 1])
    @pytest.mark.parametrize("gaussian", [False, True])
    def test_actor_tangent_of_another_length(self, gaussian, surplus):
        actor = make_actor(gaussian=gaussian)
        with pytest.raises(ValueError, match="expected a vector"):
            actor.linearize(torch.zeros(2, 4)).jvp(torch.zeros(len(actor.parameters) + surplus))


class TestConfine:
    def test_log_sigma_of_gsde_past_its_range_comes_back(self):
        actor = make_actor((2,), exploration="gsde", inputs=2)
        actor.log_std.copy_(torch.tensor([[2.5, 0.0, -11.0], [-20.0, 3.0, 1.0]]))
        inputs = torch.ones(1, 2)
        before = actor(inputs)
        actor.confine()
        assert torch.equal(actor(inputs), before)
        assert actor.log_std.tolist() == [[2.0, 0.0, -10.0], [-10.0, 2.0, 1.0]]

    def test_log_sigma_past_its_range_comes_back_and_the_policy_stays_the_same(self):
        actor = make_actor((), gaussian=True, log_std=2.0, inputs=2)
        actor.log_std.copy_(torch.tensor([2.5, 0.0, -11.0]))
        inputs = torch.ones(1, 2)
        before = actor(inputs)
        actor.confine()
        assert torch.equal(actor(inputs), before)
        assert actor.log_std.tolist() == [2.0, 0.0, -10.0]
        cotangents = torch.ones(1, 6)
        assert actor.linearize(inputs).vjp(cotangents)[-3:].tolist() == [1.0, 1.0, 1.0]
