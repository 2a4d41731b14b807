"""The network for images: its shapes, its arithmetic and products, in memory, and learning."""

from __future__ import annotations

import dataclasses
import math

import network_samples
import numpy as np
import pytest
import torch
from gymnasium import spaces
from network_samples import (
    CPU,
    act,
    make_critic,
    make_spec,
    parameters_of,
    policy_of,
    randomised,
    values_of,
)
from picture_environments import BrightSide
from torch import nn
from torch.autograd.functional import hessian, jvp, vjp

from trpotui.errors import RequestError
from trpotui.rl import architecture, convolution, images
from trpotui.rl.algorithm import Batch
from trpotui.rl.environments import make_environments
from trpotui.rl.images import ImageLayout, image_layout
from trpotui.rl.learner import Learner
from trpotui.rl.policy import Policy
from trpotui.rl.surrogate import Surrogate
from trpotui.rl.trainer import check, train

ATARI = (84, 84, 4)
SMALL = (36, 40, 2)


def image_space(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


def image_spec(shape=SMALL, **changes):
    changes = {"hidden": (), "network": "cnn"} | changes
    return make_spec(observation_space=image_space(*shape), **changes)


def make_actor(shape=SMALL, *, seed=0, **changes):
    actor = network_samples.make_actor(image_spec(shape, **changes), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    actor.parameters.add_(0.02 * torch.randn(len(actor.parameters), generator=generator))
    return actor


def pictures(count, shape=SMALL, *, seed=0):
    """Images [N, *shape] of bytes."""
    return np.random.default_rng(seed).integers(256, size=(count, *shape)).astype(np.uint8)


def rows(count, shape=SMALL, *, seed=0):
    """The same as tensors [N, D]."""
    return torch.from_numpy(pictures(count, shape, seed=seed).reshape(count, -1))


def nature(height, width, channels, outputs):
    """The network of Mnih et al. 2015 out of torch's own modules."""
    trunk = nn.Sequential(
        nn.Conv2d(channels, 32, 8, stride=4),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, stride=2),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, stride=1),
        nn.ReLU(),
        nn.Flatten(),
    )
    size = trunk(torch.zeros(1, channels, height, width)).shape[1]
    return nn.Sequential(*trunk, nn.Linear(size, 512), nn.ReLU(), nn.Linear(512, outputs))


@pytest.fixture
def tiny(monkeypatch):
    """The same kind of network so small that its matrices can be written out; in float64."""
    sizes = ((2, 3, 2), (3, 2, 1))
    for module in (images, convolution):
        monkeypatch.setattr(module, "CONVOLUTIONS", sizes)
    for module in (images, architecture):
        monkeypatch.setattr(module, "UNITS", 4)
    monkeypatch.setattr(images, "LEAST_SIDE", 5)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield (6, 5, 2)
    torch.set_default_dtype(before)


class TestLayout:
    @pytest.mark.parametrize(
        ("shape", "expected"),
        [
            ((84, 84, 4), ImageLayout(84, 84, 4, False)),
            ((4, 84, 84), ImageLayout(84, 84, 4, True)),
            ((210, 160, 3), ImageLayout(210, 160, 3, False)),
            ((1, 40, 36), ImageLayout(40, 36, 1, True)),
            ((36, 40, 35), ImageLayout(36, 40, 35, False)),
        ],
    )
    def test_smallest_side_is_that_of_the_channels(self, shape, expected):
        assert image_layout(image_space(*shape)) == expected

    @pytest.mark.parametrize(
        "space",
        [
            spaces.Box(0, 1, (84, 84, 3), np.float32),
            image_space(84, 84),
            image_space(4, 84, 84, 3),
            image_space(84, 35, 3),
            image_space(3, 35, 84),
            image_space(84, 3, 84),
            image_space(40, 40, 40),
            image_space(36, 40, 36),
            spaces.Discrete(3),
            spaces.MultiBinary((84, 84, 3)),
            spaces.Dict({"camera": image_space(84, 84, 3)}),
        ],
        ids=str,
    )
    def test_what_is_no_image_is_refused_with_what_is_supported(self, space):
        with pytest.raises(RequestError, match="with three sides") as refusal:
            image_layout(space)
        assert "\n" not in str(refusal.value)
        with pytest.raises(RequestError, match="network mlp takes any other"):
            network_samples.make_actor(make_spec(observation_space=space, network="cnn"))

    @pytest.mark.parametrize("shape", [ATARI, (4, 84, 84), (210, 160, 3), (36, 36, 1)])
    def test_parameters_are_those_of_torch_modules(self, shape):
        layout = image_layout(image_space(*shape))
        reference = nature(layout.height, layout.width, layout.channels, 6)
        shapes = list(image_spec(shape, actions=6).actor_shapes.values())
        assert shapes == [tuple(parameter.shape) for parameter in reference.parameters()]

    def test_the_network_for_atari_has_as_many_parameters_as_that_of_the_paper(self):
        shapes = image_spec(ATARI, actions=18).actor_shapes.values()
        # 8 * 8 * 4 * 32 + 32 + 4 * 4 * 32 * 64 + 64 + 3 * 3 * 64 * 64 + 64 and the affine ones
        assert sum(map(math.prod, shapes)) == 8224 + 32832 + 36928 + 1606144 + 513 * 18

    def test_hidden_layers_follow_the_features(self):
        spec = image_spec(hidden=(7,), gaussian=True, exploration="gsde", actions=2)
        assert spec.actor_shapes["0.weight"] == (7, 512)
        assert spec.actor_shapes["log_std"] == (7, 2)
        assert list(spec.critic_shapes)[-2:] == ["1.weight", "1.bias"]


class TestForward:
    @pytest.mark.parametrize("shape", [SMALL, (2, 36, 40), ATARI])
    def test_outputs_are_those_of_torch_modules_with_the_same_weights(self, shape):
        actor = make_actor(shape)
        layout = image_layout(actor.spec.observation_space)
        reference = nature(layout.height, layout.width, layout.channels, 3)
        for parameter, ours in zip(reference.parameters(), actor.named.values(), strict=True):
            parameter.data.copy_(ours)
        given = torch.from_numpy(pictures(5, shape)).float() / 255
        if not layout.channels_first:
            given = given.permute(0, 3, 1, 2)
        torch.testing.assert_close(actor(rows(5, shape)), reference(given), rtol=1e-4, atol=1e-5)

    def test_the_same_picture_is_the_same_whichever_side_comes_first(self):
        first, last = make_actor((2, 36, 40)), make_actor(SMALL)
        given = pictures(4)
        turned = torch.from_numpy(given.transpose(0, 3, 1, 2).reshape(4, -1).copy())
        torch.testing.assert_close(
            first(turned), last(torch.from_numpy(given.reshape(4, -1))), rtol=1e-5, atol=1e-6
        )

    def test_bytes_and_floats_are_the_same(self):
        actor = make_actor()
        assert torch.equal(actor(rows(3)), actor(rows(3).float()))

    @pytest.mark.parametrize("count", [1, 2, 5, 6])
    def test_images_are_looked_at_in_parts(self, monkeypatch, count):
        actor = make_actor()
        whole = actor.linearize(rows(count))
        cotangents = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
        gradient = whole.vjp(cotangents)
        monkeypatch.setattr(convolution, "AT_ONCE", 2)
        parts = actor.linearize(rows(count))
        torch.testing.assert_close(parts.outputs, whole.outputs, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(parts.vjp(cotangents), gradient, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("shape", [(36 * 40 * 2,), (2, 36 * 40), (2, 36, 40, 2)])
    def test_inputs_of_another_shape_are_refused(self, shape):
        with pytest.raises(ValueError, match="inputs must be"):
            make_actor()(torch.zeros(shape))

    def test_weights_begin_orthogonal(self):
        actor = network_samples.make_actor(image_spec())
        for index, side in enumerate((32, 64, 64, None)):
            weight = actor.named[f"image.{index}.weight"].flatten(1)
            short = weight if weight.shape[0] <= weight.shape[1] else weight.T
            assert side in {None, len(short)}
            torch.testing.assert_close(
                short @ short.T, 2 * torch.eye(len(short)), atol=1e-4, rtol=0
            )
        assert float(actor.named["image.1.bias"].abs().max()) == 0.0


class TestActing:
    @pytest.mark.parametrize("changes", [{}, {"gaussian": True, "exploration": "gsde"}])
    @pytest.mark.parametrize("hidden", [(), (6,)])
    @pytest.mark.parametrize("shape", [SMALL, (2, 36, 40)])
    def test_silent_bug_12_acting_and_learning_compute_the_same(self, shape, hidden, changes):
        actor = make_actor(shape, hidden=hidden, **changes)
        critic = make_critic(actor.spec)
        policy, given = policy_of(actor, critic), pictures(6, shape)
        ours = parameters_of(policy, policy.network_inputs(given))
        close = {"rtol": 1e-4, "atol": 1e-5}
        np.testing.assert_allclose(ours, actor(rows(6, shape)).numpy(), **close)
        expected = critic(rows(6, shape))[:, 0].numpy()
        np.testing.assert_allclose(values_of(policy, given), expected, **close)

    def test_live_policy_follows_the_networks(self):
        actor = make_actor()
        policy = policy_of(actor, make_critic(actor.spec))
        before = parameters_of(policy, rows(3).numpy())
        actor.named["image.0.weight"].mul_(1.5)
        after = parameters_of(policy, rows(3).numpy())
        assert not np.allclose(before, after)
        np.testing.assert_allclose(after, actor(rows(3)).numpy(), rtol=1e-4, atol=1e-5)

    def test_silent_bug_10_policy_from_bytes_is_the_same_bit_for_bit(self):
        actor = make_actor()
        policy = policy_of(actor, make_critic(actor.spec))
        read, given = Policy.from_bytes(policy.to_bytes()), pictures(4)
        assert read.spec == policy.spec
        for one, other in ((read.actor, policy.actor), (read.critic, policy.critic)):
            assert list(one) == list(other)
            assert all(one[name].tobytes() == other[name].tobytes() for name in one)
        ours, theirs = (parameters_of(p, p.network_inputs(given)) for p in (policy, read))
        assert theirs.tobytes() == ours.tobytes()


def reference(actor, images_):
    """The distribution's parameters as a function of the flat vector, written out."""

    def outputs(flat):
        pieces = torch.split(flat, [math.prod(shape) for shape in actor.shapes.values()])
        arrays = [p.view(s) for p, s in zip(pieces, actor.shapes.values(), strict=True)]
        gaussian = actor.spec.distribution == "gaussian"
        log_std = arrays.pop() if gaussian else None
        *kernels, (weight, bias), (head, offset) = zip(arrays[::2], arrays[1::2], strict=True)
        hidden = images_ / 255
        for (kernel, shift), (_, _, stride) in zip(kernels, images.CONVOLUTIONS, strict=True):
            unfolded = torch.nn.functional.unfold(hidden, kernel.shape[2:], stride=stride)
            sums = kernel.flatten(1) @ unfolded + shift[:, None]  # [B, filters, pixels]
            rows_out = (hidden.shape[2] - kernel.shape[2]) // stride + 1
            hidden = sums.clamp(min=0).unflatten(2, (rows_out, -1))
        latent = (hidden.flatten(1) @ weight.T + bias).clamp(min=0)
        means = latent @ head.T + offset
        return means if log_std is None else torch.cat([means, log_std.expand_as(means)], dim=1)

    return outputs


class TestProducts:
    @pytest.mark.parametrize("gaussian", [False, True])
    def test_products_are_those_of_autograd(self, tiny, gaussian):
        actor = randomised(make_actor(tiny, gaussian=gaussian), scale=0.5)
        given = rows(5, tiny)
        outputs = reference(actor, given.view(5, *tiny).permute(0, 3, 1, 2).double())
        flat = actor.parameters.clone()
        generator = torch.Generator().manual_seed(1)
        tangent = torch.randn(len(flat), generator=generator)
        with torch.no_grad():
            linear = actor.linearize(given)
            cotangents = torch.randn(linear.outputs.shape, generator=generator)
            change, gradient = linear.jvp(tangent), linear.vjp(cotangents)
        expected, expected_change = jvp(outputs, flat, tangent)
        torch.testing.assert_close(linear.outputs, expected)
        torch.testing.assert_close(change, expected_change)
        torch.testing.assert_close(gradient, vjp(outputs, flat, cotangents)[1])
        assert float(expected_change.abs().max()) > 0.1

    @pytest.mark.parametrize("gaussian", [False, True])
    def test_silent_bug_02_columns_of_f_are_those_of_the_hessian_of_the_mean_kl(
        self, tiny, gaussian
    ):
        actor = randomised(make_actor(tiny, gaussian=gaussian), scale=0.5)
        batch, old = make_batch(actor, 4, tiny), actor.parameters.clone()
        outputs = reference(actor, batch.inputs.view(4, *tiny).permute(0, 3, 1, 2).double())
        surrogate = Surrogate(actor, batch, lambda: None)
        with torch.no_grad():
            ours = torch.stack([surrogate.fisher_product(row) for row in torch.eye(len(old))])
        kl = actor.distribution.kl  # itself checked against torch's
        expected = hessian(lambda new: kl(old=outputs(old), new=outputs(new)).mean(), old)
        torch.testing.assert_close(ours, expected, rtol=1e-7, atol=1e-9)
        assert float(ours.abs().max()) > 1e-2
        assert float(torch.linalg.eigvalsh(ours).min()) > -1e-9

    def test_silent_bug_03_every_array_gets_a_gradient(self):
        actor = make_actor()
        cotangents = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
        gradient = actor.linearize(rows(4)).vjp(cotangents)
        sizes = [array.numel() for array in actor.named.values()]
        for name, piece in zip(actor.named, torch.split(gradient, sizes), strict=True):
            assert float(piece.abs().max()) > 0, name


def make_batch(actor, count, shape):
    generator = torch.Generator().manual_seed(1)
    given = rows(count, shape)
    return Batch(
        inputs=given,
        actions=actor.distribution.sample(actor(given), generator),
        advantages=torch.randn(count, generator=generator),
        targets=torch.zeros(count),
        values=torch.zeros(count),
    )


def picture_config(register, make_config, *, hyper=None, **changes):
    settings = {"network": "cnn", "hidden_sizes": (), "rollout_steps": 8, "max_kl": 0.05}
    return make_config(register(BrightSide), hyper=settings | (hyper or {}), n_envs=8, **changes)


class Keeper:
    """A store that keeps the last policy."""

    def append_metrics(self, row):
        pass

    def save_policy(self, saved, *, best):  # noqa: ARG002
        self.policy = saved.policy

    def save_checkpoint(self, state):
        pass


class TestLearning:
    @pytest.mark.slow
    @pytest.mark.parametrize("seed", [0, 1])
    @pytest.mark.parametrize("channels_first", [False, True])
    def test_picture_tells_which_action_is_right(self, register, make_config, seed, channels_first):
        config = picture_config(
            register,
            make_config,
            environment_kwargs={"channels_first": channels_first},
            hyper={"rollout_steps": 4, "max_kl": 0.1, "cg_iterations": 4, "critic_iterations": 4},
            seed=seed,
            total_steps=8 * 4 * 12,
        )
        keeper = Keeper()
        list(train(config, store=keeper))
        environment = BrightSide(channels_first=channels_first)
        environment.reset(seed=1)
        seen = [(environment._observation(), environment._side) for _ in range(100)]
        given, right = (np.array(part) for part in zip(*seen, strict=True))
        assert (act(keeper.policy, given) == right).mean() > 0.95

    def test_images_are_kept_as_bytes_and_those_at_the_end_are_not_forgotten(
        self, register, make_config
    ):
        config = picture_config(register, make_config, environment_kwargs={"length": 3})
        environments = make_environments(
            config.environment_id, config.environment_kwargs, n_envs=config.n_envs
        )
        learner = Learner(config, environments, CPU)
        collect, seen = learner.experience.collector.collect, []
        learner.experience.collector.collect = lambda *a, **k: (
            seen.append(collect(*a, **k)) or seen[-1]
        )
        update, batches = learner.algorithm.update, []
        learner.algorithm.update = lambda batch, interrupt: (
            batches.append(batch) or update(batch, interrupt)
        )
        before = {name: array.clone() for name, array in learner.actor.named.items()}
        stats = learner.iterate(lambda: None).stats
        environments.close()
        (rollout,), (batch,) = seen, batches
        assert rollout.inputs.dtype == np.uint8
        assert batch.inputs.dtype == torch.uint8
        assert batch.inputs.shape == (64, 36 * 36 * 2)
        assert rollout.inputs.max() > 120
        assert len(rollout.final_inputs) == 16  # two ends of each environment within 8 steps
        assert all(final.dtype == np.uint8 for final in rollout.final_inputs)
        assert not any(
            np.array_equal(final, rollout.inputs[t + 1, n])
            for (t, n), final in zip(rollout.final_positions, rollout.final_inputs, strict=True)
        )
        assert 0 < stats.kl <= 0.05 * (1 + 1e-5)
        for name, array in learner.actor.named.items():
            assert not torch.equal(array, before[name]), name

    def test_normalised_images_are_refused(self, register, make_config):
        config = picture_config(register, make_config, hyper={"normalize_observations": True})
        with pytest.raises(RequestError, match="not for network cnn"):
            list(train(config))

    def test_observations_that_are_no_images_are_refused_before_anything_is_written(
        self, make_config
    ):
        config = make_config("CartPole-v1", hyper={"network": "cnn"})
        with pytest.raises(RequestError, match="it takes images"):
            check(config)
        images_config = dataclasses.replace(
            config, hyperparameters=dataclasses.replace(config.hyperparameters, network="mlp")
        )
        check(images_config)
