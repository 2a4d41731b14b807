"""A bar for long work: where somebody watches, not before it took long, and gone afterwards."""

from __future__ import annotations

import contextlib
import io
import re
import signal

import pytest

from tests.end_to_end.terminal import Terminal
from trpotui import progress_bar
from trpotui.progress_bar import progress_bar as bar

WORK = """
import os, signal, time
from trpotui import progress_bar
progress_bar.LONG = 0.0
progress_bar.REDRAW_SECONDS = 0.0
with progress_bar.progress_bar("episodes", 300) as report:
    report(100)
    {then}
print("done")
"""


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def attach(monkeypatch):
    """Make a stream standard error; in the test itself, because pytest captures it anew there."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("TTY_COMPATIBLE", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(progress_bar, "REDRAW_SECONDS", 0.0)

    def attached(stream, *, after):
        monkeypatch.setattr(progress_bar, "LONG", after)
        monkeypatch.setattr("sys.stderr", stream)
        return stream

    return attached


def text_of(stream):
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", stream.getvalue())


def test_it_shows_how_many_are_done(attach):
    screen = attach(Screen(), after=0.0)
    with bar("episodes", 1000) as report:
        for done in (250, 500):
            report(done)
    assert re.search(r"episodes .* 250/1000", text_of(screen))
    assert re.search(r"episodes .* 500/1000", text_of(screen))


def test_short_work_shows_nothing(attach):
    screen = attach(Screen(), after=60.0)
    with bar("episodes", 1000) as report:
        for done in range(1000):
            report(done)
    assert screen.getvalue() == ""


@pytest.mark.parametrize("reason", ["no terminal", "dumb terminal"])
def test_nothing_is_shown_where_a_bar_cannot_be_drawn(attach, monkeypatch, reason):
    stream = attach(io.StringIO() if reason == "no terminal" else Screen(), after=0.0)
    if reason == "dumb terminal":
        monkeypatch.setenv("TERM", "dumb")
    with bar("episodes", 10) as report:
        report(5)
    assert stream.getvalue() == ""


def test_a_screen_that_goes_away_does_not_end_the_work(attach, monkeypatch, tmp_path):
    screen = attach(Screen(), after=0.0)
    with (tmp_path / "tty").open("w") as file:
        monkeypatch.setattr(screen, "fileno", file.fileno, raising=False)
        _work_while_it_goes_away(screen, monkeypatch)


def _work_while_it_goes_away(screen, monkeypatch):
    written = []
    with bar("episodes", 10) as report:
        report(1)
        assert screen.getvalue()

        def gone(text):
            written.append(text)
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(screen, "write", gone)
        for number in range(2, 10):
            report(number)
    assert len(written) == 1  # then nothing more is tried


def test_it_leaves_signals_as_they_were(attach):
    attach(Screen(), after=0.0)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    with bar("episodes", 10):
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == before


@pytest.mark.parametrize(
    ("then", "code"),
    [
        ("pass", 0),
        ("raise SystemExit(7)", 7),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", 143),
        ("os.kill(os.getpid(), signal.SIGHUP); time.sleep(60)", 129),
    ],
)
def test_the_terminal_is_given_back_whatever_ends_the_work(tmp_path, then, code):
    with Terminal(tmp_path, program=["-c", WORK.format(then=then)]) as terminal:
        assert terminal.wait_for_end() == code
        assert b"100/300" in re.sub(rb"\x1b\[[\d;?]*[a-zA-Z]", b"", terminal.printed)
        assert terminal.left_behind() == []
        assert "100/300" not in terminal.text
        assert ("done" in terminal.text) == (code == 0)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_what_a_library_swallows_is_raised_again(attach, number, raised):
    attach(Screen(), after=0.0)
    with bar("frames", 10) as report:
        with contextlib.suppress(BaseException):
            signal.raise_signal(number)
        with pytest.raises(raised):
            report(1)
