"""What is written to the terminal arrives there, whole."""

import io
import os
import signal
import threading
import time

import pytest

from trpotui.tui.terminal_driver import LastingOutput


@pytest.fixture
def _interrupted():
    """A signal every millisecond, as from a window that is being resized."""
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


class Reader(threading.Thread):
    """Reads slowly, so that whoever writes has to wait."""

    def __init__(self):
        super().__init__(daemon=True)
        self._ours, self.theirs = os.pipe()
        self.read = b""
        self.start()

    def run(self):
        while data := os.read(self._ours, 8192):
            self.read += data
            time.sleep(0.0005)
        os.close(self._ours)

    def all_of_it(self):
        os.close(self.theirs)
        self.join()
        return self.read


def unbuffered(number):
    """Standard error as `python -u` makes it."""
    raw = io.FileIO(number, "w", closefd=False)
    return io.TextIOWrapper(raw, encoding="ascii", write_through=True)


@pytest.mark.usefixtures("_interrupted")
def test_signals_cut_nothing_off_where_python_does_not_buffer():
    reader = Reader()
    output = LastingOutput(unbuffered(reader.theirs))
    texts = [f"{number:07d}\t" * 30_000 for number in range(8)]
    for text in texts:
        output.write(text)
    output.flush()
    assert reader.all_of_it().decode() == "".join(texts)


def test_every_character_is_written_whatever_the_locale_says():
    reader = Reader()
    output = LastingOutput(unbuffered(reader.theirs))
    output.write("δ ≤ 0.01 \udcff\n")  # a byte of a file's name that is no text
    output.flush()
    assert reader.all_of_it().decode() == "δ ≤ 0.01 ?\n"
