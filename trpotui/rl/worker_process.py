"""A process that steps some of a run's environments; it knows nothing of the run.

It ends when the process that started it closes its pipe or dies, and for no signal but those that
cannot be refused: Ctrl-C is for the program, which decides when its workers end.

Legend: N environments of this process.
"""

from __future__ import annotations

import importlib
import os
import pickle
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from trpotui.rl.copies import make_copies
from trpotui.rl.observations import Observations, UnfitObservationError, put
from trpotui.rl.replay import RebuildError
from trpotui.rl.single_environments import SingleEnvironments
from trpotui.rl.steps import Start, constant
from trpotui.rl.worker_channel import Channel, SharedStep
from trpotui.signals import ENDING

LAST_SECONDS = 3.0
"""To close the environments in, when the program has died."""


class Worker:
    """Answers what the program asks.

    Args:
        channel: to the program.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._environments: SingleEnvironments | None = None
        self._shared: SharedStep | None = None
        self._none = constant(0, False)

    def serve(self) -> None:
        """Until the program is gone or needs no environments."""
        try:
            with suppress(EOFError, BrokenPipeError):
                while True:
                    self._channel.send(self._answer(self._channel.receive()))
        finally:
            if self._environments is not None:
                with suppress(Exception):
                    self._environments.close()

    def _answer(self, message: bytes) -> bytes:
        """What the message asks for, or what went wrong."""
        answer: tuple[str, Any]
        try:
            if not message:
                return self._step()
            name, arguments = pickle.loads(message)  # from the program itself
            return _done(getattr(self, f"do_{name}")(*arguments))
        except UnfitObservationError as fault:
            answer = "unfit", (fault.name, fault.what)
        except RebuildError as error:
            answer = "rebuild", str(error)
        except _NotUnderstoodError as error:
            answer = "not understood", str(error)
        except Exception as error:  # noqa: BLE001 - the program tells of it
            answer = "raised", (type(error).__name__, str(error), traceback.format_exc())
        return pickle.dumps(answer)

    def do_make(
        self, modules: Sequence[str], pickled: bytes, count: int
    ) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
        """Make `count` copies of a registered environment; their spaces."""
        try:
            for module in modules:
                importlib.import_module(module)
            spec, kwargs = pickle.loads(pickled)
        except Exception as error:
            raise _NotUnderstoodError(f"{type(error).__name__}: {error}") from error
        gymnasium.registry[spec.id] = spec
        self._environments = make_copies(spec.id, kwargs, count=count)
        self._none = constant(count, False)
        return self._environments.observation_space, self._environments.action_space

    def do_share(self, memory: int, n_envs: int, first: int) -> None:
        """Find the rows of these environments, from `first` on, among those of all processes."""
        made = self._made
        everything = SharedStep.within(memory, made.observation_space, made.action_space, n_envs)
        os.close(memory)
        self._shared = everything.rows(slice(first, first + made.n_envs))

    def do_reset(self, seeds: Sequence[int]) -> list[Start]:
        """Begin all episodes; how they began."""
        self._show(self._made.reset(seeds))
        return self._made.starts()

    def do_remember(self, seed_episodes: bool) -> None:
        """See `SingleForm`."""
        self._made.remember(seed_episodes=seed_episodes)

    def do_restart(
        self, starts: Sequence[Start], actions: Sequence[NDArray[Any]]
    ) -> NDArray[np.float64]:
        """See `SingleForm`; what the rewards add up to."""
        observations, returns = self._made.restart(starts, actions, lambda: None)
        self._show(observations)
        return returns

    def _step(self) -> bytes:
        """Take the actions that are there; empty where no episode ended."""
        shared = self._shared
        assert shared is not None
        # a copy: an environment may keep its action
        step = self._made.step(shared.actions.copy())
        put(shared.observations, slice(None), step.observations)
        shared.rewards[:] = step.rewards
        shared.terminated[:] = step.terminated
        shared.truncated[:] = step.truncated
        if step.ended is self._none:
            return b""
        put(shared.finals, slice(None), step.successors)
        starts = self._made.starts()
        begun = {int(n): starts[n] for n in np.flatnonzero(step.ended)}
        return _done(begun)

    @property
    def _made(self) -> SingleEnvironments:
        assert self._environments is not None
        return self._environments

    def _show(self, observations: Observations) -> None:
        assert self._shared is not None
        put(self._shared.observations, slice(None), observations)


def _done(answer: object) -> bytes:
    return pickle.dumps(("done", answer))


class _NotUnderstoodError(Exception):
    """This process cannot make sense of what an environment is."""


def main() -> None:
    """Serve the program at the other end of standard input and output."""
    for number in ENDING:  # not ignored: what an environment starts would inherit that
        signal.signal(number, lambda *_: None)
    channel = Channel(*_take_standard_streams())
    with threadpool_limits(limits=1, user_api="blas"):  # as in the process that trains
        Worker(channel).serve()


def _take_standard_streams() -> tuple[int, int]:
    """Standard input and output as pipes of our own: what an environment prints is no message."""
    incoming, outgoing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    threading.Thread(target=_end_with_the_program, args=(incoming,), daemon=True).start()
    return incoming, outgoing


def _end_with_the_program(incoming: int) -> None:
    """A step that never comes back must not outlive the program either."""
    poll = select.poll()
    poll.register(incoming, 0)  # reports nothing but that the other end is closed
    poll.poll()
    time.sleep(LAST_SECONDS)
    os._exit(1)
