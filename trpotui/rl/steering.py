"""What is asked of a run while it goes on, done between its updates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trpotui.config import RunConfig, build
from trpotui.errors import RequestError
from trpotui.events import Event, HyperparametersChanged, Notice
from trpotui.rl.checkpoint import Progress
from trpotui.rl.control import Control
from trpotui.rl.learner import Learner
from trpotui.rl.run_length import RunLength


class Steering:
    """Does what a control asks of a run.

    Args:
        control: of the run.
        learner: of the run.
        length: of the run.
        progress: of the run.
    """

    def __init__(
        self, control: Control, learner: Learner, length: RunLength, progress: Progress
    ) -> None:
        self._control = control
        self._learner = learner
        self._length = length
        self._progress = progress

    def serve(self) -> Iterator[Event]:
        """Do what was asked since the last update, and wait while the run is held.

        Raises:
            Interrupted: the run is to stop.
        """
        ready = False
        while not ready:
            yield from self.answer()
            ready = self._control.wait_while_paused()
        self._control.raise_if_stopping()

    def answer(self) -> Iterator[Event]:
        """Hand out the snapshots and make the changes that were asked for."""
        for request in self._control.take_snapshot_requests():
            if request.set_running_or_notify_cancel():
                request.set_result(self._learner.snapshot())
        for changes in self._control.take_changes(self._progress.update):
            yield self._change(changes)

    def _change(self, values: Mapping[str, object]) -> HyperparametersChanged | Notice:
        """Change hyperparameters and the length of the run: all of `values`, or nothing."""
        length = {name: value for name, value in values.items() if name == "total_steps"}
        try:
            run = build(
                RunConfig, {"total_steps": self._length.total_steps, **length}, what="setting"
            )
            self._learner.change({name: values[name] for name in values if name not in length})
        except RequestError as error:  # a mistake in a form must not cost the run
            return Notice(message=f"nothing was changed: {error}")
        self._length.total_steps = run.total_steps
        hyperparameters = self._learner.algorithm.hyperparameters
        made = {name: getattr(run if name in length else hyperparameters, name) for name in values}
        self._progress.live_edits.append({"update": self._progress.update, "values": made})
        return HyperparametersChanged(update=self._progress.update, values=made)
