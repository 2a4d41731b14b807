"""The critic's fit as the hyperparameters ask for it, beside the actor's update where that pays.

Neither reads what the other writes. Two threads of Python share torch's threads then, which do more
there than in products that are split among all of them. All that is random in the fit is drawn
before it begins: the draws are the same in either way, and so is every bit of the result where a
product is made by as many threads.

Legend: B samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Event, Thread
from typing import Any

import torch
from torch import Tensor

from trpotui.config import SharedHyperparameters
from trpotui.rl.algorithm import Batch
from trpotui.rl.devices import torch_threads
from trpotui.rl.networks import Critic
from trpotui.rl.optimizers import Adam
from trpotui.rl.sequences import share_of, shuffled
from trpotui.rl.value_function import fit_adam, fit_gauss_newton

MOST_DRAWN = 2**25
"""Numbers that the orders of all passes may have when they are drawn at once: 256 MiB."""


class Loss:
    """The mean squared error after a fit that may still be going on."""

    def __init__(self, found: Future[float]) -> None:
        self._found = found

    def wait(self) -> float:
        """Of the fit, once it is done; NaN if it was not finite and the critic stayed.

        Raises:
            Exception: whatever the fit raised.
        """
        return self._found.result()


@dataclass(frozen=True, kw_only=True)
class AdamSettings:
    """What an algorithm asks of the critic's Adam; a Gauss-Newton step needs none of it."""

    annealing: float = 1.0
    """Share of the learning rate that is left."""
    max_grad_norm: float = 0.0
    """Longer gradients are shortened to this norm; 0 leaves all as they are."""
    value_clip: float = 0.0
    """How far values may go from the old ones; 0 lets them go."""


class CriticFit:
    """Fits a critic; Adam's moments live here.

    Args:
        critic: written in place.
        generator: draws and shuffles the samples, on the CPU.
    """

    def __init__(self, critic: Critic, generator: torch.Generator) -> None:
        self._critic = critic
        self._generator = generator
        self._optimizer = Adam(critic.parameters)

    def __call__(
        self,
        batch: Batch,
        hyperparameters: SharedHyperparameters,
        interrupt: Callable[[], None],
        adam: AdamSettings = AdamSettings(),
    ) -> float:
        """Fit to the targets of a batch; the mean squared error afterwards.

        Args:
            batch: its inputs, targets and old values.
            hyperparameters: which method, and its settings.
            interrupt: called between costly steps.
            adam: if that is the method.

        Returns:
            NaN if it was not finite and the critic stayed.
        """
        h = hyperparameters
        return self._fit(batch, h, interrupt, adam, self._orders(batch, h))()

    @contextmanager
    def beside(
        self,
        batch: Batch,
        hyperparameters: SharedHyperparameters,
        interrupt: Callable[[], None],
        adam: AdamSettings = AdamSettings(),
    ) -> Iterator[Loss]:
        """The same fit while the context updates the actor; it is over when that ends.

        It is made before the update with one torch thread, on another device than the CPU, where
        its passes are too many to draw at once, and of a network that torch differentiates: of
        forward differentiation there is only one at a time.

        Args:
            batch: as for a call, like the others.
            hyperparameters: of the run.
            interrupt: called in both threads.
            adam: if that is the method.

        Yields:
            What waits for it.
        """
        h, done = hyperparameters, Future[float]()
        if not self._pays_beside(batch, h):
            done.set_result(self(batch, h, interrupt, adam))
            yield Loss(done)
            return
        abandoned = Event()

        def either() -> None:
            interrupt()
            if abandoned.is_set():
                raise CancelledError

        fit = self._fit(batch, h, either, adam, list(self._orders(batch, h)))
        with torch_threads(torch.get_num_threads() // 2):  # of which the fit has the other half
            thread = _started(done, fit)
            try:
                yield Loss(done)
            except BaseException:
                abandoned.set()
                raise
            finally:
                if thread.ident is not None:  # it was started
                    thread.join()

    def _orders(self, batch: Batch, h: SharedHyperparameters) -> Iterator[Tensor]:
        """Of the samples in each of Adam's passes."""
        for _ in range(_passes(h)):
            yield shuffled(batch.inputs, self._generator)

    def _pays_beside(self, batch: Batch, h: SharedHyperparameters) -> bool:
        return (
            torch.get_num_threads() > 1
            and isinstance(batch.inputs, Tensor)
            and batch.inputs.is_cpu
            and self._critic.spec.network == "mlp"
            and _passes(h) * len(batch.inputs) <= MOST_DRAWN
        )

    def _fit(
        self,
        batch: Batch,
        h: SharedHyperparameters,
        interrupt: Callable[[], None],
        adam: AdamSettings,
        orders: Iterable[Tensor],
    ) -> Callable[[], float]:
        """The fit, which draws nothing any more but `orders`."""
        inputs, targets = batch.inputs, batch.targets
        if h.critic == "gauss_newton":
            return partial(
                fit_gauss_newton,
                self._critic,
                inputs,
                targets,
                iterations=h.critic_iterations,
                damping=h.critic_damping,
                curvature_inputs=share_of(inputs, h.critic_share, self._generator),
                interrupt=interrupt,
            )
        return partial(
            fit_adam,
            self._critic,
            self._optimizer,
            inputs,
            targets,
            learning_rate=h.critic_learning_rate * adam.annealing,
            minibatches=h.critic_minibatches,
            orders=orders,
            interrupt=interrupt,
            max_grad_norm=adam.max_grad_norm,
            value_clip=adam.value_clip,
            old_values=batch.values,
        )

    def state(self) -> dict[str, Any]:
        """Adam's moments."""
        return self._optimizer.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self._optimizer.restore(state)


def _passes(h: SharedHyperparameters) -> int:
    """Over the samples, each in an order of its own."""
    return h.critic_epochs if h.critic == "adam" else 0


def _started(done: Future[float], fit: Callable[[], float]) -> Thread:
    """A thread that makes a fit; where none can be started any more, the fit is made here."""

    @torch.no_grad()
    def make() -> None:
        try:
            done.set_result(fit())
        except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
            done.set_exception(error)

    thread = Thread(target=make, name="critic")
    try:
        thread.start()
    except RuntimeError:  # the interpreter ends, or there are too many threads
        make()
    return thread
