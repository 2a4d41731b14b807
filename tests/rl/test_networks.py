"""Networks on one flat vector: Jacobian products against autograd, memory, and initial weights."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.autograd import functional
from torch.func import functional_call

from trpotui.rl.distributions import Categorical, DiagGaussian
from trpotui.rl.networks import MLP, Actor, Critic, numpy_layers, parameter_count
from trpotui.rl.policy import LOG_STD_MAX, LOG_STD_MIN, mlp_forward

CPU = torch.device("cpu")
DEPTHS = [(), (7,), (7, 5), (7, 5, 6)]


def randomised(network, seed=0):
    """A network with no zero biases and no tiny output layer."""
    generator = torch.Generator().manual_seed(seed)
    network.parameters.copy_(0.7 * torch.randn(len(network.parameters), generator=generator))
    return network


def make_actor(hidden=(7,), activation="tanh", *, gaussian=False, log_std=0.0, outputs=3):
    return Actor(
        (4, *hidden, outputs),
        activation,
        gaussian=gaussian,
        initial_log_std=log_std,
        generator=torch.Generator().manual_seed(1),
        device=CPU,
    )


def make_critic(hidden=(7,), activation="tanh"):
    return Critic(
        (4, *hidden, 1), activation, generator=torch.Generator().manual_seed(2), device=CPU
    )


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
    """A function of the flat vector that torch can differentiate."""
    sizes = network.network.sizes
    module = torch_module(sizes, activation)
    weights = parameter_count(sizes)
    gaussian = isinstance(network, Actor) and network.log_std is not None

    def outputs(flat):
        pieces, start = {}, 0
        for name, parameter in module.named_parameters():
            pieces[name] = flat[start : start + parameter.numel()].view(parameter.shape)
            start += parameter.numel()
        result = functional_call(module, pieces, inputs)
        if gaussian:
            log_std = flat[weights:].clamp(LOG_STD_MIN, LOG_STD_MAX)
            result = torch.cat([result, log_std.expand(len(inputs), -1)], dim=1)
        return result

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
    torch.testing.assert_close(linear.jvp(tangent), expected_change)
    torch.testing.assert_close(linear.vjp(cotangents), expected_gradient)
    assert torch.equal(network.parameters, flat), "a product changed the network"


@pytest.mark.usefixtures("float64")
class TestLinearization:
    @pytest.mark.parametrize("activation", ["tanh", "relu"])
    @pytest.mark.parametrize("hidden", DEPTHS)
    @pytest.mark.parametrize("gaussian", [False, True])
    def test_actor(self, activation, hidden, gaussian):
        actor = randomised(make_actor(hidden, activation, gaussian=gaussian))
        assert_linearization_is_that_of_autograd(actor, activation)

    @pytest.mark.parametrize("activation", ["tanh", "relu"])
    @pytest.mark.parametrize("hidden", DEPTHS)
    def test_critic(self, activation, hidden):
        assert_linearization_is_that_of_autograd(
            randomised(make_critic(hidden, activation)), activation
        )

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

    def test_products_are_adjoint(self):
        actor = randomised(make_actor((6, 6), gaussian=True))
        generator = torch.Generator().manual_seed(4)
        linear = actor.linearize(torch.randn(5, 4, generator=generator))
        tangent = torch.randn(len(actor.parameters), generator=generator)
        cotangents = torch.randn(5, 6, generator=generator)
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

    @pytest.mark.parametrize("gaussian", [False, True])
    def test_distribution_fits_the_outputs(self, gaussian):
        actor = make_actor(gaussian=gaussian)
        assert isinstance(actor.distribution, DiagGaussian if gaussian else Categorical)
        outputs = actor(torch.zeros(2, 4))
        assert outputs.shape == (2, actor.distribution.parameter_count)


class TestFlatVector:
    @pytest.mark.parametrize("gaussian", [False, True])
    @pytest.mark.parametrize("hidden", DEPTHS)
    def test_silent_bug_03_every_weight_is_a_view_and_every_entry_is_a_weight(
        self, gaussian, hidden
    ):
        actor = make_actor(hidden, gaussian=gaussian)
        actor.parameters.copy_(torch.arange(len(actor.parameters), dtype=torch.float32))
        pieces = [piece for layer in actor.network.layers for piece in layer]
        if gaussian:
            pieces.append(actor.log_std)
        together = torch.cat([piece.reshape(-1) for piece in pieces])
        assert torch.equal(together, actor.parameters)
        storage = actor.parameters.untyped_storage().data_ptr()
        assert all(piece.untyped_storage().data_ptr() == storage for piece in pieces)

    def test_silent_bug_03_every_entry_changes_an_output(self):
        actor = randomised(make_actor((5,), gaussian=True))
        actor.log_std.fill_(0.3)
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
        module = torch_module(sizes, "tanh")
        assert parameter_count(sizes) == sum(p.numel() for p in module.parameters())


class TestInitialWeights:
    @pytest.mark.parametrize("seed", [0, 1, 2])
    @pytest.mark.parametrize("sizes", [(4, 8, 8, 2), (10, 3, 12, 5)])
    def test_weights_are_orthogonal_with_their_gains(self, sizes, seed):
        network = MLP(
            sizes,
            "tanh",
            output_gain=0.01,
            generator=torch.Generator().manual_seed(seed),
            parameters=torch.zeros(parameter_count(sizes)),
        )
        for index, (weight, bias) in enumerate(network.layers):
            gain = 0.01 if index == len(network.layers) - 1 else math.sqrt(2)
            short = weight if weight.shape[0] <= weight.shape[1] else weight.T
            torch.testing.assert_close(
                short @ short.T, gain**2 * torch.eye(len(short)), atol=1e-5 * gain**2, rtol=1e-5
            )
            assert torch.equal(bias, torch.zeros_like(bias))

    def test_weights_are_uniform_over_orthogonal_matrices(self):
        # a plain QR decomposition favours one sign; uniform ones have entries of mean 0
        generator = torch.Generator().manual_seed(0)
        diagonals = []
        for _ in range(500):
            parameters = torch.zeros(parameter_count((4, 4)))
            network = MLP(
                (4, 4), "tanh", output_gain=1.0, generator=generator, parameters=parameters
            )
            diagonals.append(network.layers[0][0].diagonal().clone())
        means = torch.stack(diagonals).mean(dim=0)  # each entry has a deviation of 1 / sqrt(4)
        assert float(means.abs().max()) < 5 * 0.5 / math.sqrt(500)

    def test_heads_of_actor_and_critic_have_their_gains(self):
        actor, critic = make_actor((7,)), make_critic((7,))
        singular = torch.linalg.svdvals(actor.network.layers[-1][0])
        torch.testing.assert_close(singular, torch.full_like(singular, 0.01))
        torch.testing.assert_close(
            torch.linalg.vector_norm(critic.network.layers[-1][0]), torch.tensor(1.0)
        )

    def test_log_sigma_starts_as_asked(self):
        actor = make_actor(gaussian=True, log_std=-1.25)
        assert torch.equal(actor.log_std, torch.full((3,), -1.25))

    def test_weights_come_from_the_generator_alone(self):
        def weights(seed):
            torch.manual_seed(99)
            return MLP(
                (4, 6, 2),
                "tanh",
                output_gain=1.0,
                generator=torch.Generator().manual_seed(seed),
                parameters=torch.zeros(parameter_count((4, 6, 2))),
            ).parameters

        assert torch.equal(weights(0), weights(0))
        assert not torch.equal(weights(0), weights(1))


class TestNumpyLayers:
    @pytest.mark.parametrize("activation", ["tanh", "relu"])
    @pytest.mark.parametrize("hidden", DEPTHS)
    def test_numpy_and_torch_compute_the_same(self, activation, hidden):
        actor = randomised(make_actor(hidden, activation))
        inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(7))
        ours = mlp_forward(numpy_layers(actor.network), inputs.numpy(), activation)
        assert ours.dtype == np.float32
        torch.testing.assert_close(torch.from_numpy(ours), actor(inputs), rtol=1e-5, atol=1e-6)

    def test_layers_follow_the_parameters(self):
        actor = make_actor((7,))
        layers = numpy_layers(actor.network)
        randomised(actor, seed=8)
        for (weight, bias), (ours, ours_bias) in zip(actor.network.layers, layers, strict=True):
            assert np.shares_memory(ours, weight.numpy())
            assert np.array_equal(ours, weight.numpy())
            assert np.array_equal(ours_bias, bias.numpy())

    def test_inputs_are_not_written_to(self):
        actor = randomised(make_actor(()))
        inputs = np.ones((3, 4), dtype=np.float32)
        mlp_forward(numpy_layers(actor.network), inputs, "relu")
        assert np.array_equal(inputs, np.ones((3, 4), dtype=np.float32))


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
            critic.network.split(torch.zeros(length))
        with pytest.raises(ValueError, match="expected a vector"):
            critic.linearize(torch.zeros(2, 4)).jvp(torch.zeros(length))

    @pytest.mark.parametrize("surplus", [-1, 1])
    @pytest.mark.parametrize("gaussian", [False, True])
    def test_actor_tangent_of_another_length(self, gaussian, surplus):
        actor = make_actor(gaussian=gaussian)
        with pytest.raises(ValueError, match="expected a vector"):
            actor.linearize(torch.zeros(2, 4)).jvp(torch.zeros(len(actor.parameters) + surplus))

    @pytest.mark.parametrize("sizes", [(), (4,), (4, 0, 2)])
    def test_sizes_that_are_no_network(self, sizes):
        with pytest.raises(ValueError, match="sizes"):
            MLP(
                sizes,
                "tanh",
                output_gain=1.0,
                generator=torch.Generator(),
                parameters=torch.zeros(0),
            )


class TestConfine:
    def test_log_sigma_past_its_range_comes_back_and_the_policy_stays_the_same(self):
        actor = Actor(
            (2, 3),
            "tanh",
            gaussian=True,
            initial_log_std=2.0,
            generator=torch.Generator().manual_seed(0),
            device=torch.device("cpu"),
        )
        actor.log_std.copy_(torch.tensor([2.5, 0.0, -11.0]))
        inputs = torch.ones(1, 2)
        before = actor(inputs)
        actor.confine()
        assert torch.equal(actor(inputs), before)
        assert actor.log_std.tolist() == [2.0, 0.0, -10.0]
        cotangents = torch.ones(1, 6)
        assert actor.linearize(inputs).vjp(cotangents)[-3:].tolist() == [1.0, 1.0, 1.0]
