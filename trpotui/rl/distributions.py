"""Action distributions as pure functions of their parameters.

Legend: B samples, K distribution parameters, A action dimensions.

A distribution object holds sizes only. Its parameters are a tensor [B, K] that an actor computed,
so gradients, Fisher products and KL divergences all speak of the same K numbers. Log-probabilities,
entropies and KLs are sums over action dimensions, one number [B] per sample. `kl(old=, new=)` is
D_KL(old || new) everywhere.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


class Distribution(Protocol):
    """What an update needs to know of an action distribution."""

    parameter_count: int
    """K."""

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Raw actions [B] or [B, A]."""

    def mode(self, parameters: Tensor) -> Tensor:
        """The most likely raw actions [B] or [B, A]."""

    def log_prob(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Log-probabilities (densities) [B] of raw actions."""

    def score(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Gradient [B, K] of each log-probability with respect to that sample's parameters."""

    def entropy(self, parameters: Tensor) -> Tensor:
        """Entropies [B] in nats."""

    def kl(self, *, old: Tensor, new: Tensor) -> Tensor:
        """D_KL(old || new) [B] in nats."""

    def fisher_product(self, parameters: Tensor, tangents: Tensor) -> Tensor:
        """M v [B, K]: each sample's Fisher matrix of the parameters times its tangent.

        M = E_a[score score^T] is also the Hessian of `kl` in `new` at new = old, so J^T M J,
        averaged over samples, is the Fisher matrix of the network's weights (TRPO, appendix C).
        """


class Categorical:
    """One of `n` actions, with parameters the unnormalised log-probabilities [B, n]."""

    def __init__(self, n: int) -> None:
        self.parameter_count = n

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Indices [B]."""
        probabilities = torch.softmax(parameters, dim=1)
        return torch.multinomial(probabilities, 1, generator=generator)[:, 0]

    def mode(self, parameters: Tensor) -> Tensor:
        """The likeliest index [B]; the first where several are."""
        return parameters.argmax(dim=1)

    def log_prob(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Log-probabilities [B] of indices [B]."""
        _check_actions(parameters, actions, ())
        log_probabilities = torch.log_softmax(parameters, dim=1)
        return log_probabilities.gather(1, actions[:, None])[:, 0]

    def score(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """onehot(a) - p [B, n]."""
        _check_actions(parameters, actions, ())
        score = -torch.softmax(parameters, dim=1)
        score[torch.arange(len(actions), device=actions.device), actions] += 1.0
        return score

    def entropy(self, parameters: Tensor) -> Tensor:
        """Entropies [B], between 0 and log n."""
        log_probabilities = torch.log_softmax(parameters, dim=1)
        return -(log_probabilities.exp() * log_probabilities).sum(dim=1)

    def kl(self, *, old: Tensor, new: Tensor) -> Tensor:
        """Sum over actions of p_old (log p_old - log p_new) [B]."""
        log_old = torch.log_softmax(old, dim=1)
        return (log_old.exp() * (log_old - torch.log_softmax(new, dim=1))).sum(dim=1)

    def fisher_product(self, parameters: Tensor, tangents: Tensor) -> Tensor:
        """(diag p - p p^T) v [B, n]."""
        probabilities = torch.softmax(parameters, dim=1)
        weighted = probabilities * tangents
        return weighted - probabilities * weighted.sum(dim=1, keepdim=True)


class DiagGaussian:
    """Independent normal actions [B, A]; parameters [B, 2A]: the means, then the log sigmas."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self.parameter_count = 2 * dimensions

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Means plus sigma times standard normal noise [B, A]."""
        mean, log_std = parameters.chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        return mean + log_std.exp() * noise

    def mode(self, parameters: Tensor) -> Tensor:
        """The means [B, A]."""
        return parameters[:, : self.dimensions]

    def log_prob(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Log-densities [B] of raw, unclipped actions [B, A]."""
        _check_actions(parameters, actions, (self.dimensions,))
        mean, log_std = parameters.chunk(2, dim=1)
        deviations = (actions - mean) * torch.exp(-log_std)
        return (-0.5 * (deviations.square() + LOG_2PI) - log_std).sum(dim=1)

    def score(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """[(a - mean) / sigma^2, ((a - mean) / sigma)^2 - 1] [B, 2A]."""
        _check_actions(parameters, actions, (self.dimensions,))
        mean, log_std = parameters.chunk(2, dim=1)
        inverse_std = torch.exp(-log_std)
        deviations = (actions - mean) * inverse_std
        return torch.cat([deviations * inverse_std, deviations.square() - 1.0], dim=1)

    def entropy(self, parameters: Tensor) -> Tensor:
        """Sum over dimensions of log sigma + log(2 pi e) / 2 [B]."""
        log_std = parameters[:, self.dimensions :]
        return (log_std + 0.5 * (LOG_2PI + 1.0)).sum(dim=1)

    def kl(self, *, old: Tensor, new: Tensor) -> Tensor:
        """Sum over dimensions of log(s_n/s_o) + (s_o^2 + (m_o - m_n)^2) / (2 s_n^2) - 1/2 [B]."""
        old_mean, old_log_std = old.chunk(2, dim=1)
        new_mean, new_log_std = new.chunk(2, dim=1)
        log_ratio = old_log_std - new_log_std
        shift = (old_mean - new_mean) * torch.exp(-new_log_std)
        # expm1 keeps a small KL exact: (r^2 - 1) / 2 - log r for r = sigma_old / sigma_new
        return (0.5 * (torch.expm1(2 * log_ratio) + shift.square()) - log_ratio).sum(dim=1)

    def fisher_product(self, parameters: Tensor, tangents: Tensor) -> Tensor:
        """[v_mean / sigma^2, 2 v_log_sigma] [B, 2A]."""
        log_std = parameters[:, self.dimensions :]
        mean_tangents, log_std_tangents = tangents.chunk(2, dim=1)
        return torch.cat([mean_tangents * torch.exp(-2 * log_std), 2.0 * log_std_tangents], dim=1)


def _check_actions(parameters: Tensor, actions: Tensor, event_shape: tuple[int, ...]) -> None:
    """Refuse shapes that would broadcast [B, 1] against [B] into [B, B]."""
    expected = (len(parameters), *event_shape)
    if actions.shape != expected:
        raise ValueError(f"actions must be {list(expected)}, got {list(actions.shape)}")
