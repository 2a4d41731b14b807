"""Pictures as sixel and as Kitty's commands, and how a terminal is asked for what it has."""

from __future__ import annotations

import fcntl
import importlib
import os
import struct
import sys
import termios
import threading
import time

import numpy as np
import pytest

from tests.graphics_samples import KittyScreen, sixel_picture
from trpotui.errors import RequestError
from trpotui.tui import graphics as graphics_module
from trpotui.tui import terminal_answers
from trpotui.tui.graphics import Kitty, Sixel, check_graphics, graphics_of
from trpotui.tui.terminal_answers import Answers, Cell, ask_terminal, cell_pixels

CLASS_ONLY, WITH_SIXEL = b"\x1b[?62;22c", b"\x1b[?62;4;22c"
CELL = b"\x1b[6;20;10t"
OK = b"\x1b_Gi=31;OK\x1b\\"
CELL_SIZES = [Cell(10, 20), Cell(7, 15), Cell(23, 41)]
ROOMS = [(1, 1), (3, 40), (50, 8), (30, 100), (60, 300)]
FRAMES = [(400, 600), (500, 500), (210, 160), (1, 7)]


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    """Whatever the tests run in, nothing of it is asked."""
    for name in ("TMUX", "STY", "TERM_PROGRAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(graphics_module, "cell_pixels", lambda: None)


def quarters(height, width):
    """A frame whose quarters have four colours."""
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    frame[: height // 2, width // 2 :] = (255, 255, 255)
    frame[height // 2 :, : width // 2] = (202, 152, 101)
    frame[height // 2 :, width // 2 :] = (0, 0, 204)
    return frame


def middles(picture):
    """The colours in the middles of the quarters."""
    height, width = picture.shape[:2]
    at = [(y, x) for y in (1, 3) for x in (1, 3)]
    return np.array([picture[y * height // 4, x * width // 4] for y, x in at], dtype=int)


@pytest.mark.parametrize("cell", CELL_SIZES)
@pytest.mark.parametrize("kind", [Sixel, Kitty])
def test_a_picture_keeps_to_its_room_and_to_the_aspect_of_the_frame(kind, cell):
    graphics = kind(cell)
    for rows, columns in ROOMS:
        for height, width in FRAMES:
            spot = graphics.spot(height, width, rows=rows, columns=columns)
            assert spot.x >= 0
            assert spot.y >= 0
            assert 1 <= spot.columns <= columns - spot.x
            assert 1 <= spot.rows <= rows - spot.y
            # in the middle
            assert columns - spot.columns - 2 * spot.x in (0, 1)
            assert rows - spot.rows - 2 * spot.y in (0, 1)
            shown = spot.columns * cell.width, spot.rows * cell.height
            if kind is Sixel:
                assert spot.height % 6 == 0
                assert spot.width <= shown[0]
                assert spot.height <= shown[1]
                shown = spot.width, spot.height
            else:
                assert spot.width <= width
                assert spot.height <= height
            # a band of sixels, a cell of Kitty's, is what may be missing
            slack = (1, 6) if kind is Sixel else cell
            assert abs(shown[0] * height / width - shown[1]) <= slack[1] + slack[0] * height / width


def test_a_sixel_picture_is_as_large_as_there_is_room_for():
    spot = Sixel(Cell(10, 20)).spot(400, 600, rows=20, columns=90)
    assert (spot.width, spot.height, spot.columns, spot.rows) == (600, 396, 60, 20)
    assert Sixel(Cell(10, 20)).spot(400, 600, rows=100, columns=400).width == 1000
    assert Sixel().spot(400, 600, rows=20, columns=90) == spot  # a cell of the usual size


@pytest.mark.parametrize("shape", [(400, 600), (96, 96)])
def test_a_sixel_picture_decodes_to_the_frame(shape):
    frame = quarters(*shape)
    graphics = Sixel(Cell(8, 16))
    spot = graphics.spot(*shape, rows=20, columns=60)
    picture = sixel_picture(graphics.draw(frame, spot))
    assert picture.shape == (spot.height, spot.width, 3)
    # of 255: sixel has hundredths, and the encoder chooses the colours
    assert abs(middles(picture) - middles(frame)).max() <= 4
    assert graphics.removal == ""


@pytest.mark.parametrize("shape", [(400, 600), (96, 96), (1, 1)])
def test_a_picture_of_kitty_is_the_frame_and_the_one_before_goes(shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    frames = [quarters(*shape), noise, quarters(*shape)]
    graphics, screen = Kitty(Cell(10, 20)), KittyScreen()
    for frame in frames:
        spot = graphics.spot(*shape, rows=40, columns=100)
        for command in graphics.draw(frame, spot).split("\x1b\\")[:-1]:
            screen.take(command + "\x1b\\", (3, 4))
        ((place, picture),) = screen.placed.values()
        assert place == (3, 4, spot.columns, spot.rows)
        np.testing.assert_array_equal(picture, frame)
    for command in graphics.removal.split("\x1b\\")[:-1]:
        screen.take(command + "\x1b\\", (0, 0))
    assert not screen.placed


class Asked:
    """A terminal that answers questions in a thread of its own.

    Args:
        answers: by what is written to it; an answer of None hangs up.
        pixels: of the window, width and height.
    """

    def __init__(self, monkeypatch, answers, pixels=(0, 0)):
        self._ours, self._theirs = os.openpty()
        size = struct.pack("HHHH", 24, 80, *pixels)
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, size)
        self.written = b""
        self._answers = answers
        self._before = termios.tcgetattr(self._theirs)
        file = os.fdopen(self._theirs, "r+b", buffering=0)
        monkeypatch.setattr(sys, "__stdin__", file)
        monkeypatch.setattr(sys, "__stderr__", file)
        self._file = file
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def _answer(self):
        done = set()
        while True:
            try:
                self.written += os.read(self._ours, 4096)
            except OSError:
                return
            for question, answer in self._answers.items():
                if question in self.written and question not in done:
                    done.add(question)
                    os.write(self._ours, answer)

    def close(self):
        """Hang up; what was left changed."""
        assert termios.tcgetattr(self._theirs) == self._before
        self._file.close()
        self._thread.join(60.0)  # or it would take what is asked of the next one, whose number is
        assert not self._thread.is_alive()  # that of this one once it is closed
        os.close(self._ours)


@pytest.fixture
def asked(monkeypatch):
    opened = []

    def make(answers, **options):
        opened.append(Asked(monkeypatch, answers, **options))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


ASKING = b"\x1b[c"
KITTY = terminal_answers.KITTY_QUERY.encode()


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({ASKING: CELL + WITH_SIXEL}, Answers(sixel=True, cell=Cell(10, 20))),
        ({ASKING: WITH_SIXEL}, Answers(sixel=True)),
        ({ASKING: b"xq" + WITH_SIXEL}, Answers(sixel=True)),  # keys that were pressed meanwhile
        ({ASKING: b"\x1b[?4;6c", KITTY: CLASS_ONLY}, Answers()),  # a VT132
        ({ASKING: CLASS_ONLY, KITTY: OK + CLASS_ONLY}, Answers(kitty=True)),
        ({ASKING: CLASS_ONLY, KITTY: CLASS_ONLY}, Answers()),
        ({ASKING: CLASS_ONLY, KITTY: OK.replace(b"OK", b"ENOTSUP") + CLASS_ONLY}, Answers()),
        ({ASKING: b"\x1b[6;0;0t" + WITH_SIXEL}, Answers(sixel=True)),
    ],
)
def test_a_terminal_is_believed_what_it_says(asked, answers, said):
    asked(answers)
    assert ask_terminal(60.0) == said


def test_a_terminal_that_says_nothing_is_not_waited_for_long(asked):
    terminal = asked({})
    before = time.monotonic()
    assert ask_terminal(0.2) == Answers()
    assert 0.2 <= time.monotonic() - before < 5.0
    assert KITTY not in terminal.written


def test_what_has_sixel_is_not_asked_for_kitty(asked):
    terminal = asked({ASKING: WITH_SIXEL}, pixels=(800, 480))
    assert ask_terminal(60.0) == Answers(sixel=True, cell=Cell(10, 20))
    assert terminal.written == ASKING  # nor for its cells, which the system knows
    assert cell_pixels() == Cell(10, 20)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TMUX", "/tmp/tmux-0/default,1,0"),
        ("STY", "1.pts"),
        ("TERM", "screen-256color"),
        ("TERM", "linux"),
        ("TERM_PROGRAM", "Apple_Terminal"),
    ],
)
def test_what_would_print_the_question_for_kitty_is_not_asked(asked, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    terminal = asked({ASKING: CLASS_ONLY, KITTY: OK + CLASS_ONLY})
    assert ask_terminal(60.0) == Answers()
    assert b"\x1b_" not in terminal.written
    # but believed where it says by itself that it has sixel
    asked({ASKING: CELL + WITH_SIXEL})
    assert ask_terminal(60.0).sixel


def test_without_a_terminal_nothing_is_known(monkeypatch, tmp_path):
    with (tmp_path / "file").open("w+b") as file:
        monkeypatch.setattr(sys, "__stdin__", file)
        monkeypatch.setattr(sys, "__stderr__", file)
        assert ask_terminal(60.0) == Answers()
        assert cell_pixels() is None
        assert not file.tell()
    monkeypatch.setattr(sys, "__stderr__", None)
    assert cell_pixels() is None


ALL = Answers(sixel=True, kitty=True, cell=Cell(10, 20))


@pytest.mark.parametrize(
    ("choice", "answers", "kind"),
    [
        ("auto", ALL, Sixel),
        ("auto", Answers(kitty=True), Kitty),
        ("auto", Answers(), type(None)),
        # nobody knows how large a picture may be
        ("auto", Answers(sixel=True), type(None)),
        ("sixel", Answers(), Sixel),
        ("kitty", ALL, Kitty),
        ("blocks", ALL, type(None)),
    ],
)
def test_what_is_asked_for_goes_before_what_the_terminal_says(monkeypatch, choice, answers, kind):
    monkeypatch.setattr(graphics_module, "ask_terminal", lambda _: answers)
    assert type(graphics_of(choice, coloured=True, far=False)) is kind


def unasked(_):
    pytest.fail("the terminal was asked")


def test_where_nothing_has_colours_no_terminal_is_asked(monkeypatch):
    monkeypatch.setattr(graphics_module, "ask_terminal", unasked)
    assert graphics_of("auto", coloured=False, far=False) is None


@pytest.mark.parametrize("module", ["textual_image", "textual_image._sixel", "PIL"])
def test_without_the_package_auto_is_half_blocks_and_the_rest_is_refused(monkeypatch, module):
    for name in [name for name in sys.modules if name.startswith(("textual_image", "PIL"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    for answers in (ALL, Answers(kitty=True)):
        ask = unasked if module == "textual_image" else lambda _, answers=answers: answers
        monkeypatch.setattr(graphics_module, "ask_terminal", ask)
        drawn = graphics_of("auto", coloured=True, far=False)
        assert drawn is None or (module == "textual_image._sixel" and answers.kitty)
    for choice in ("sixel", "kitty"):
        with pytest.raises(RequestError, match=r"pip install 'trpotui\[graphics\]'"):
            graphics_of(choice, coloured=True, far=False)
    check_graphics("blocks")


def test_the_encoder_asks_no_terminal_when_it_is_imported():
    assert importlib.import_module("textual_image._sixel")
    assert "textual_image.renderable" not in sys.modules
