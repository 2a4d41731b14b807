"""Signals that come at the worst of moments."""

from __future__ import annotations

import signal
import threading

import pytest

from trpotui.signals import handling, set_on_signals

PATIENCE = 60.0


@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_in_the_midst_of_a_wait_still_sets_its_event(times: int) -> None:
    event = threading.Event()
    with handling(lambda *_: None, [signal.SIGUSR1]):  # what it puts back afterwards
        set_on_signals(event, [signal.SIGUSR1])
        with event._cond:  # type: ignore[attr-defined]  # as its wait does
            for _ in range(times):
                signal.raise_signal(signal.SIGUSR1)
        assert event.wait(PATIENCE)
