"""How a policy acts: forward passes in numpy, exploration noise and memory, step after step.

Legend: N environments, D observation features, F features, A action dimensions, K distribution
parameters, L width of the last hidden layer, S state features.

For small networks the cost of a torch call is larger than the arithmetic, so the networks are
numpy views of the torch parameters (`tensor.numpy()` shares memory) while a run learns, and plain
arrays when a policy comes from a file. `networks` does the same arithmetic in torch, batch-wise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trpotui.rl.architecture import LOG_STD_MAX, LOG_STD_MIN, PolicySpec
from trpotui.rl.images import image_layout
from trpotui.rl.recurrent import Cell
from trpotui.rl.sampling import mode, sample
from trpotui.rl.spaces import ActionDecoder

Float32 = NDArray[np.float32]
Arrays = Mapping[str, Float32]

SDE_VARIANCE_FLOOR = 1e-6
"""Variance of white noise beside that of gSDE, so that no state has a density without width."""


class ArrayNetwork:
    """An actor's or a critic's arrays, ready for forward passes.

    Args:
        spec: of the policy.
        arrays: by name, as the spec's shapes say; not copied.
    """

    def __init__(self, spec: PolicySpec, arrays: Arrays) -> None:
        self.spec = spec
        self.arrays = arrays
        depth = len(spec.hidden_sizes) + 1
        # transposed once: a step of a few environments is nothing but such trifles
        self._layers = [
            (arrays[f"{index}.weight"].T, arrays[f"{index}.bias"]) for index in range(depth)
        ]
        self._cell = Cell(spec.network, arrays) if spec.has_memory else None
        self._images = image_layout(spec.observation_space) if spec.network == "cnn" else None

    def no_memory(self, n_envs: int) -> Float32 | None:
        """The state [N, S] before anything was seen; None of a network without memory."""
        return None if self._cell is None else self._cell.empty(n_envs)

    def features(self, inputs: Float32, state: Float32 | None) -> tuple[Float32, Float32 | None]:
        """Features [N, F] of rows [N, D], and the state [N, S] after them."""
        if self._cell is not None:
            assert state is not None
            return self._cell.step(inputs, state)
        if self._images is not None:
            from trpotui.rl.convolution import convolve_arrays  # noqa: PLC0415 - torch

            return convolve_arrays(self.arrays, self._images, inputs), state
        return inputs, state

    def latent(self, features: Float32) -> Float32:
        """What the last affine layer sees [N, L], for features [N, F]."""
        hidden = features
        for weight, bias in self._layers[:-1]:
            hidden = hidden.dot(weight)  # half a microsecond less than @
            hidden += bias
            if self.spec.activation == "tanh":
                np.tanh(hidden, out=hidden)
            else:
                np.maximum(hidden, 0.0, out=hidden)
        return hidden

    def outputs(self, latent: Float32) -> Float32:
        """Outputs of the last affine layer for what it sees [N, L]."""
        weight, bias = self._layers[-1]
        outputs: Float32 = latent.dot(weight)
        outputs += bias
        return outputs


class ActorArrays(ArrayNetwork):
    """The actor's forward pass, up to its distribution's parameters."""

    def __init__(self, spec: PolicySpec, arrays: Arrays) -> None:
        super().__init__(spec, arrays)
        self._bounds = spec.output_bounds
        self._exploration = spec.exploration if spec.distribution == "gaussian" else None

    def bounded_outputs(self, latent: Float32) -> Float32:
        """Outputs [N, ...] within the bounds that the spec sets them."""
        outputs = self.outputs(latent)
        return outputs if self._bounds is None else np.clip(outputs, *self._bounds)

    def parameters(self, latent: Float32) -> Float32:
        """Distribution parameters [N, K]: logits, or means and log sigmas side by side."""
        outputs = self.bounded_outputs(latent)
        if self._exploration == "independent":
            log_std = np.clip(self.arrays["log_std"], LOG_STD_MIN, LOG_STD_MAX)
            return np.concatenate([outputs, np.broadcast_to(log_std, outputs.shape)], axis=1)
        if self._exploration == "gsde":
            log_std = np.float32(0.5) * np.log(self.sde_variance(latent))
            return np.concatenate([outputs, log_std], axis=1)
        return outputs

    def sde_variance(self, latent: Float32) -> Float32:
        """Variances [N, A] of gSDE's actions for what the last affine layer sees [N, L]."""
        variance: Float32 = np.square(latent) @ np.square(self.sde_deviations())
        variance += SDE_VARIANCE_FLOOR
        return variance

    def sde_deviations(self) -> Float32:
        """sigma [L, A] of gSDE's noise matrix."""
        deviations: Float32 = np.exp(np.clip(self.arrays["log_std"], LOG_STD_MIN, LOG_STD_MAX))
        return deviations


class Session:
    """A policy acting in N environments, with what it carries from one step to the next.

    Args:
        actor: of the policy.
        critic: its critic, when `values` are asked for while it acts; None when they are not.
        n_envs: N.
        rng: source of sampled actions; None acts greedily.
    """

    def __init__(
        self,
        actor: ActorArrays,
        critic: ArrayNetwork | None,
        *,
        n_envs: int,
        rng: np.random.Generator | None,
    ) -> None:
        self._actor = actor
        self._critic = critic
        self._decoder = ActionDecoder(actor.spec.action_space)
        self._rng = rng
        self.states = {"actor": actor.no_memory(n_envs)}
        """Memory [N, S] of the actor, and of the critic when there is one; None without any."""
        if critic is not None:
            self.states["critic"] = critic.no_memory(n_envs)
        self._noise: Float32 | None = None
        self._noise_age = np.zeros(n_envs, dtype=np.int64)

    def follow(self, actor: ActorArrays) -> None:
        """Go on with another actor of the same spec: the same policy, after an update."""
        self._actor = actor

    def draw_from(self, rng: np.random.Generator | None) -> None:
        """Sample actions with this source from now on, or act greedily without one."""
        self._rng = rng

    def state(self) -> dict[str, Any]:
        """What it carries on, as arrays and None; further steps do not change them."""
        noise = None if self._noise is None else self._noise.copy()
        return {**self.states, "noise": noise, "noise_age": self._noise_age.copy()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self.states = {name: state[name] for name in self.states}
        noise = state["noise"]
        self._noise = None if noise is None else noise.copy()
        self._noise_age = state["noise_age"].copy()

    def parameters(self, inputs: Float32, starts: NDArray[np.bool_]) -> Float32:
        """Distribution parameters [N, K] of rows [N, D]; nothing is carried on.

        Args:
            inputs: [N, D].
            starts: [N]; where an episode begins at this row, memory counts as empty.
        """
        features, _ = self._actor.features(inputs, self._remembered("actor", starts))
        return self._actor.parameters(self._actor.latent(features))

    def values(self, inputs: Float32, starts: NDArray[np.bool_]) -> Float32:
        """The critic's estimates [N] of the discounted (scaled) return; nothing is carried on."""
        assert self._critic is not None
        features, _ = self._critic.features(inputs, self._remembered("critic", starts))
        return self._critic.outputs(self._critic.latent(features))[:, 0]

    def act(self, inputs: Float32, starts: NDArray[np.bool_]) -> NDArray[Any]:
        """Raw actions [N] or [N, A] of rows [N, D], and one step further in memory.

        Args:
            inputs: [N, D].
            starts: [N]; where an episode begins at this row, memory is emptied.
        """
        actor = self._actor
        if self._critic is not None and self.states["critic"] is not None:
            remembered = self._remembered("critic", starts)
            _, self.states["critic"] = self._critic.features(inputs, remembered)
        remembered = self._remembered("actor", starts)
        features, self.states["actor"] = actor.features(inputs, remembered)
        latent = actor.latent(features)
        outputs = actor.bounded_outputs(latent)
        if self._decoder.distribution != "gaussian":
            if self._rng is None:
                return mode(self._decoder, outputs)
            return sample(self._decoder, outputs, self._rng)
        size = self._decoder.size
        if self._rng is None:
            return outputs[:, :size]
        exploration = actor.spec.exploration
        if exploration == "gsde" and actor.spec.sde_interval > 1:
            return outputs + self._kept_noise(latent, starts, self._rng)
        noise = self._rng.standard_normal((len(outputs), size), dtype=np.float32)
        if exploration == "gsde":  # of a matrix drawn anew, the actions alone can be drawn
            return outputs + np.sqrt(actor.sde_variance(latent)) * noise
        if exploration == "state_dependent":
            return outputs[:, :size] + np.exp(outputs[:, size:]) * noise
        std = np.exp(np.clip(actor.arrays["log_std"], LOG_STD_MIN, LOG_STD_MAX))
        return outputs + std * noise

    def _remembered(self, network: str, starts: NDArray[np.bool_]) -> Float32 | None:
        """The state [N, S] with which a row is met: nothing where an episode begins."""
        state = self.states[network]
        if state is None or not starts.any():
            return state
        return np.where(starts[:, None], np.float32(0.0), state)

    def _kept_noise(
        self, latent: Float32, starts: NDArray[np.bool_], rng: np.random.Generator
    ) -> Float32:
        """gSDE (Raffin et al. 2021, arXiv 2005.05719): a linear function of the latent [N, L].

        Its matrix [N, L, A] is drawn anew where an episode begins and every `sde_interval` steps.
        Whatever the interval, one action alone is distributed as `parameters` says.
        """
        deviations = self._actor.sde_deviations()
        if self._noise is None:
            self._noise = np.zeros((len(latent), *deviations.shape), dtype=np.float32)
            starts = np.ones(len(latent), dtype=np.bool_)
        due = starts | (self._noise_age >= self._actor.spec.sde_interval)
        count = int(due.sum())
        if count:
            self._noise[due] = rng.standard_normal((count, *deviations.shape), dtype=np.float32)
            self._noise_age[due] = 0
        self._noise_age += 1
        # deviations are applied at every step: an update may have changed them since the draw
        noise = (latent[:, None] @ (self._noise * deviations))[:, 0]  # [N, 1, L] @ [N, L, A]
        white = rng.standard_normal(noise.shape, dtype=np.float32)
        moved: Float32 = noise + np.float32(SDE_VARIANCE_FLOOR**0.5) * white
        return moved
