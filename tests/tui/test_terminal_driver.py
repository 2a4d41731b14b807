"""What is written to the terminal arrives there, whole."""

import contextlib
import io
import os
import signal
import threading
import time

import pytest

from trpotui.tui.terminal_driver import LastingOutput


@pytest.fixture
def _resized():
    """A signal every millisecond, as of a window whose edge is dragged."""
    before = signal.signal(signal.SIGWINCH, lambda *_: None)
    over = threading.Event()

    def drag():
        while not over.wait(0.001):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGWINCH)

    dragging = threading.Thread(target=drag, daemon=True)
    dragging.start()
    yield
    over.set()
    dragging.join()
    signal.signal(signal.SIGWINCH, before)


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


@pytest.mark.usefixtures("_resized")
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


def test_a_terminal_that_has_gone_already_is_written_to_in_vain():
    reader = Reader()
    file = io.TextIOWrapper(io.BufferedWriter(io.FileIO(os.dup(reader.theirs), "w")))
    file.write("as it begins")
    number = os.open("/dev/full", os.O_WRONLY)
    os.dup2(number, file.fileno())
    os.close(number)
    output = LastingOutput(file)
    output.write("and goes on" * 10_000)
    output.flush()
    assert reader.all_of_it() == b""
    with contextlib.suppress(OSError):
        file.close()
