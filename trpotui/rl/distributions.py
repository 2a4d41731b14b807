"""Action distributions as pure functions of their parameters.

Legend: B samples, K distribution parameters, A action dimensions.

A distribution object holds sizes only. Its parameters are a tensor [B, K] that an actor computed,
so gradients, Fisher products and KL divergences all speak of the same K numbers. Log-probabilities,
entropies and KLs are sums over action dimensions, one number [B] per sample. `kl(old=, new=)` is
D_KL(old || new) everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from trpotui.rl.spaces import ActionDecoder

Products = Callable[[Tensor], Tensor]
"""Of a matrix for each sample with a vector [B, K] (or [B, R]) of each."""
LOG_2PI = math.log(2 * math.pi)
ABSENT = -1e30
"""Logit of a choice that a component does not have. Its probability is exactly 0; minus infinity
would make 0 * log 0 of it, which is no number."""
MOST_BESIDE_THE_FIRST = 64
"""Choices: one output less of so many is nothing to speak of."""


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

    def entropy_slopes(self, parameters: Tensor) -> Tensor:
        """Gradient [B, K] of each entropy with respect to that sample's parameters."""

    def kl(self, *, old: Tensor, new: Tensor) -> Tensor:
        """D_KL(old || new) [B] in nats."""

    def fisher(self, parameters: Tensor) -> Products:
        """v [B, K] to M v [B, K]: each sample's Fisher matrix of the parameters times its tangent.

        M = E_a[score score^T] is also the Hessian of `kl` in `new` at new = old, so J^T M J,
        averaged over samples, is the Fisher matrix of the network's weights (TRPO, appendix C).
        """

    def differences(self, parameters: Tensor) -> Differences | None:
        """Fewer numbers that say as much; None where there are none."""


class Differences(NamedTuple):
    """Differences of distribution parameters that say as much as all of them do.

    The fewer outputs a network has, the cheaper are products with its Jacobian.
    """

    matrix: Tensor
    """D [R, K], R < K."""
    fisher: Products
    """v [B, R] to N v [B, R], with M = D^T N D."""


class _WithoutDifferences:
    """What the other distributions have to say of them."""

    def differences(self, _: Tensor) -> None:
        """None."""


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
        log_probabilities = _log_softmax(parameters)
        return log_probabilities.gather(1, actions[:, None])[:, 0]

    def score(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """onehot(a) - p [B, n]."""
        _check_actions(parameters, actions, ())
        score = _log_softmax(parameters).exp_().neg_()
        return score.scatter_add_(1, actions[:, None], torch.ones_like(score[:, :1]))

    def entropy(self, parameters: Tensor) -> Tensor:
        """Entropies [B], between 0 and log n."""
        log_probabilities = _log_softmax(parameters)
        return -(log_probabilities.exp() * log_probabilities).sum(dim=1)

    def entropy_slopes(self, parameters: Tensor) -> Tensor:
        """-p (log p + entropy) [B, n]."""
        return _entropy_slopes(_log_softmax(parameters))

    def kl(self, *, old: Tensor, new: Tensor) -> Tensor:
        """Sum over actions of p_old (log p_old - log p_new) [B]."""
        log_old = _log_softmax(old)
        return (log_old.exp() * (log_old - _log_softmax(new))).sum(dim=1)

    def fisher(self, parameters: Tensor) -> Products:
        """v to (diag p - p p^T) v [B, n]."""
        probabilities = _log_softmax(parameters).exp_()
        return _products_of_choices(probabilities)

    def differences(self, parameters: Tensor) -> Differences | None:
        """Of each other logit and the first: what is added to all of them changes nothing.

        N is diag q - q q^T, with q the probabilities of all choices but the first.
        """
        n = self.parameter_count
        if not 2 <= n <= MOST_BESIDE_THE_FIRST:
            return None
        probabilities = _log_softmax(parameters).exp_()
        matrix = torch.eye(n)[1:] - torch.eye(n)[0]
        if n == 2:
            variances = probabilities.prod(dim=1, keepdim=True)
            return Differences(matrix, lambda tangents: variances * tangents)
        return Differences(matrix, _products_of_choices(probabilities[:, 1:]))


class DiagGaussian(_WithoutDifferences):
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

    def entropy_slopes(self, parameters: Tensor) -> Tensor:
        """0 for the means, 1 for each log sigma [B, 2A]."""
        slopes = torch.zeros_like(parameters)
        slopes[:, self.dimensions :] = 1.0
        return slopes

    def kl(self, *, old: Tensor, new: Tensor) -> Tensor:
        """Sum over dimensions of log(s_n/s_o) + (s_o^2 + (m_o - m_n)^2) / (2 s_n^2) - 1/2 [B]."""
        old_mean, old_log_std = old.chunk(2, dim=1)
        new_mean, new_log_std = new.chunk(2, dim=1)
        log_ratio = old_log_std - new_log_std
        shift = (old_mean - new_mean) * torch.exp(-new_log_std)
        # expm1 keeps a small KL exact: (r^2 - 1) / 2 - log r for r = sigma_old / sigma_new
        return (0.5 * (torch.expm1(2 * log_ratio) + shift.square()) - log_ratio).sum(dim=1)

    def fisher(self, parameters: Tensor) -> Products:
        """v to [v_mean / sigma^2, 2 v_log_sigma] [B, 2A]."""
        precisions = torch.exp(-2 * parameters[:, self.dimensions :])
        diagonal = torch.cat([precisions, torch.full_like(precisions, 2.0)], dim=1)
        return lambda tangents: diagonal * tangents


class MultiCategorical(_WithoutDifferences):
    """Independent choices [B, A]; parameters their logits side by side [B, K].

    Args:
        choices: number of each component's choices; K is their sum.
    """

    def __init__(self, choices: Sequence[int]) -> None:
        self.choices = tuple(choices)
        self.parameter_count = sum(self.choices)
        self._even = len(set(self.choices)) == 1
        counts, most = torch.tensor(self.choices)[:, None], torch.arange(max(self.choices))
        firsts = counts.cumsum(0) - counts
        # of a component with fewer choices: one past the last parameter, where padding lies
        self._columns = torch.where(most < counts, firsts + most, self.parameter_count)
        self._present = (most < counts).flatten().nonzero()[:, 0]

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Indices [B, A]."""
        probabilities = self._log_probabilities(parameters).exp()
        drawn = torch.multinomial(probabilities.flatten(0, 1), 1, generator=generator)
        return drawn.view(-1, len(self.choices))  # [B * A, 1] -> [B, A]

    def mode(self, parameters: Tensor) -> Tensor:
        """The likeliest indices [B, A]; the first where several are."""
        return self._by_component(parameters, ABSENT).argmax(dim=2)

    def log_prob(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Log-probabilities [B] of indices [B, A]: sums over components."""
        _check_actions(parameters, actions, (len(self.choices),))
        chosen = self._log_probabilities(parameters).gather(2, actions[:, :, None])
        return chosen[:, :, 0].sum(dim=1)

    def score(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """onehot(a) - p of each component, side by side [B, K]."""
        _check_actions(parameters, actions, (len(self.choices),))
        score = -self._log_probabilities(parameters).exp()
        score.scatter_add_(2, actions[:, :, None], torch.ones_like(score[:, :, :1]))
        return self._side_by_side(score)

    def entropy(self, parameters: Tensor) -> Tensor:
        """Sums of the components' entropies [B]."""
        log_probabilities = self._log_probabilities(parameters)
        return -(log_probabilities.exp() * log_probabilities).sum(dim=(1, 2))

    def entropy_slopes(self, parameters: Tensor) -> Tensor:
        """-p (log p + entropy) of each component, side by side [B, K]."""
        return self._side_by_side(_entropy_slopes(self._log_probabilities(parameters)))

    def kl(self, *, old: Tensor, new: Tensor) -> Tensor:
        """Sum over components and choices of p_old (log p_old - log p_new) [B]."""
        log_old = self._log_probabilities(old)
        return (log_old.exp() * (log_old - self._log_probabilities(new))).sum(dim=(1, 2))

    def fisher(self, parameters: Tensor) -> Products:
        """v to (diag p - p p^T) v of each component, side by side [B, K]."""
        probabilities = self._log_probabilities(parameters).exp()

        def product(tangents: Tensor) -> Tensor:
            weighted = probabilities * self._by_component(tangents, 0.0)
            weighted.addcmul_(probabilities, weighted.sum(dim=2, keepdim=True), value=-1.0)
            return self._side_by_side(weighted)

        return product

    def _log_probabilities(self, parameters: Tensor) -> Tensor:
        return torch.log_softmax(self._by_component(parameters, ABSENT), dim=2)

    def _by_component(self, parameters: Tensor, padding: float) -> Tensor:
        """[B, K] -> [B, A, C], with C the most choices of a component."""
        if self._even:
            return parameters.reshape(len(parameters), len(self.choices), -1)
        extended = torch.cat([parameters, parameters.new_full((len(parameters), 1), padding)], 1)
        return extended[:, self._columns.to(parameters.device)]

    def _side_by_side(self, components: Tensor) -> Tensor:
        """[B, A, C] -> [B, K], without padding."""
        flat = components.flatten(1)
        return flat if self._even else flat[:, self._present.to(flat.device)]


class Bernoulli(_WithoutDifferences):
    """Independent bits [B, A]; parameters the log-odds of a 1 [B, A]."""

    def __init__(self, bits: int) -> None:
        self.parameter_count = bits

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Bits [B, A] as whole numbers."""
        return torch.bernoulli(torch.sigmoid(parameters), generator=generator).to(torch.int64)

    def mode(self, parameters: Tensor) -> Tensor:
        """The likeliest bits [B, A]; 0 where both are."""
        return (parameters > 0).to(torch.int64)

    def log_prob(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Log-probabilities [B] of bits [B, A]: sums over bits."""
        _check_actions(parameters, actions, (self.parameter_count,))
        log_one, log_zero = logsigmoid(parameters), logsigmoid(-parameters)
        return torch.where(actions > 0, log_one, log_zero).sum(dim=1)

    def score(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """a - p [B, A]."""
        _check_actions(parameters, actions, (self.parameter_count,))
        return actions - torch.sigmoid(parameters)

    def entropy(self, parameters: Tensor) -> Tensor:
        """Sums over bits of -p log p - (1 - p) log(1 - p) [B]."""
        one, zero = torch.sigmoid(parameters), torch.sigmoid(-parameters)
        return -(one * logsigmoid(parameters) + zero * logsigmoid(-parameters)).sum(dim=1)

    def entropy_slopes(self, parameters: Tensor) -> Tensor:
        """-l p (1 - p) for log-odds l [B, A]."""
        return -parameters * torch.sigmoid(parameters) * torch.sigmoid(-parameters)

    def kl(self, *, old: Tensor, new: Tensor) -> Tensor:
        """Sum over bits and their values of p_old (log p_old - log p_new) [B]."""
        one = torch.sigmoid(old) * (logsigmoid(old) - logsigmoid(new))
        zero = torch.sigmoid(-old) * (logsigmoid(-old) - logsigmoid(-new))
        return (one + zero).sum(dim=1)

    def fisher(self, parameters: Tensor) -> Products:
        """v to p (1 - p) v [B, A]."""
        variances = torch.sigmoid(parameters) * torch.sigmoid(-parameters)
        return lambda tangents: variances * tangents


def distribution_for(decoder: ActionDecoder) -> Distribution:
    """The distribution of the raw actions that `decoder` takes."""
    match decoder.distribution:
        case "categorical":
            return Categorical(decoder.size)
        case "multi_categorical":
            return MultiCategorical(decoder.choices)
        case "bernoulli":
            return Bernoulli(decoder.size)
        case "gaussian":
            return DiagGaussian(decoder.size)


def _log_softmax(logits: Tensor) -> Tensor:
    """Log-probabilities [B, n] of logits [B, n], whose n are few: torch is quick along the B."""
    return torch.log_softmax(logits.T, dim=0).T


def _products_of_choices(probabilities: Tensor) -> Products:
    """v to (diag p - p p^T) v [B, n], for probabilities [B, n] of n choices, or of some of them."""

    def product(tangents: Tensor) -> Tensor:
        weighted = probabilities * tangents
        return weighted.addcmul_(probabilities, weighted.sum(dim=1, keepdim=True), value=-1.0)

    return product


def _entropy_slopes(log_probabilities: Tensor) -> Tensor:
    """-p (log p + entropy) of log-probabilities [..., C], in their logits."""
    weighted = log_probabilities.exp() * log_probabilities
    return log_probabilities.exp() * weighted.sum(dim=-1, keepdim=True) - weighted


def _check_actions(parameters: Tensor, actions: Tensor, event_shape: tuple[int, ...]) -> None:
    """Refuse shapes that would broadcast [B, 1] against [B] into [B, B]."""
    expected = (len(parameters), *event_shape)
    if actions.shape != expected:
        raise ValueError(f"actions must be {list(expected)}, got {list(actions.shape)}")
