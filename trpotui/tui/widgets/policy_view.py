"""A policy at play: its picture in half blocks, and what it thinks beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import lru_cache
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult, ScreenStackError
from textual.containers import Container
from textual.dom import NoScreen
from textual.events import Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from trpotui.tui.frames import characters, fitted, half_blocks
from trpotui.tui.playing import Playing
from trpotui.tui.scenes import Scene, Trouble
from trpotui.tui.widgets.policy_facts import PolicyFacts

if TYPE_CHECKING:
    from trpotui.tui.frames import Frame
    from trpotui.tui.policy_sources import PolicySource

WAITING = "waiting for the policy …"
LEAST_BESIDE, LEAST_ABOVE = 70, 14
"""Columns below which the numbers stand under the picture, if there are so many lines."""
NO_PICTURE = "this environment has no picture"


class FrameView(Widget):
    """A frame as large as it fits with its aspect kept, or a sentence where there is none."""

    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__()
        self._frame: Frame | None = None
        self._note = ""
        self._drawn: list[Strip] = []
        self._drawn_for: Size | None = None

    def show(self, frame: Frame | None, note: str = "") -> None:
        """Draw another frame; `note` where it is None."""
        if frame is None and self._frame is None and note == self._note:
            return
        self._frame, self._note = frame, note
        self._drawn_for = None
        self.refresh()

    def notify_style_update(self) -> None:
        """Draw again in the colours of another theme."""
        super().notify_style_update()
        self._drawn_for = None

    def render_line(self, y: int) -> Strip:
        """One line of the picture at its present size."""
        lines = self._lines(self.size)
        return lines[y] if y < len(lines) else Strip.blank(self.size.width, self.rich_style)

    def render_lines(self, crop: Region) -> list[Strip]:
        """What is to be seen of the picture, at a third of what Textual needs for styles.

        There are none here: no border, no padding, and every cell has its colours already.
        """
        lines = self._lines(self.size)[crop.y : crop.bottom]
        return [strip.crop(crop.x, crop.right) for strip in lines]

    def _lines(self, size: Size) -> list[Strip]:
        if self._drawn_for != size:
            self._drawn, self._drawn_for = self._draw(*size), size
        return self._drawn

    def _draw(self, width: int, height: int) -> list[Strip]:
        """Lines of the whole widget, the picture in their middle."""
        style = self.rich_style
        frame = self._frame
        if not width or not height:
            return []
        if frame is None:
            texts = wrap(self._note, width)[:height]
            content = [Strip([Segment(text, style)]).crop(0, width) for text in texts]
        else:
            rows, columns = fitted(frame.shape[0], frame.shape[1], rows=height, columns=width)
            content = self._picture(frame, min(rows, height), min(columns, width))
        lines = [_centred(strip, width, style) for strip in content]
        above = (height - len(lines)) // 2
        blank = Strip.blank(width, style)
        lines = [blank] * above + lines + [blank] * (height - above - len(lines))
        if frame is None or self.app.no_color:  # a picture has nothing but true colours
            background = self.background_colors[1]
            for line_filter in self.get_line_filters():
                lines = [line.apply_filter(line_filter, background) for line in lines]
        return lines

    def _picture(self, frame: Frame, rows: int, columns: int) -> list[Strip]:
        if self.app.no_color:
            style = self.rich_style
            lines = characters(frame, rows=rows, columns=columns)
            return [Strip([Segment(line, style)], columns) for line in lines]
        return [
            Strip(
                [Segment(run.text, colours(run.foreground, run.background)) for run in line],
                columns,
            )
            for line in half_blocks(frame, rows=rows, columns=columns)
        ]


def _centred(strip: Strip, width: int, style: Style) -> Strip:
    left = (width - strip.cell_length) // 2
    right = width - left - strip.cell_length
    return Strip([Segment(" " * left, style), *strip, Segment(" " * right, style)], width)


@lru_cache(4096)
def colours(foreground: int, background: int) -> Style:
    """The style of 0xRRGGBB on 0xRRGGBB."""
    return Style.from_color(colour(foreground), colour(background))


@lru_cache(4096)
def colour(value: int) -> Color:
    """A colour of 0xRRGGBB."""
    return Color.from_rgb(value >> 16, value >> 8 & 0xFF, value & 0xFF)


class PolicyView(Container):
    """Plays the policies of a source in a thread of its own for as long as it is seen."""

    class Played(Message):
        """The thread has come to another scene, or to its end."""

        def __init__(self, playing: Playing, shown: Scene | Trouble) -> None:
            super().__init__()
            self.playing = playing
            self.shown = shown

        def can_replace(self, message: Message) -> bool:
            """A scene that waits gives way to what came after it; the end never does."""
            return (
                isinstance(self.shown, Scene)
                and isinstance(message, PolicyView.Played)
                and message.playing is self.playing
            )

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.playing: Playing | None = None
        self.scene: Scene | None = None
        """The one that is shown."""
        self._frame_view = FrameView()
        self._facts = PolicyFacts()
        self._title = ""
        self._has_room = False

    def compose(self) -> ComposeResult:
        """The picture, and the numbers beside it or under it."""
        yield self._frame_view
        yield self._facts

    def on_resize(self, event: Resize) -> None:
        """Put the numbers under the picture where there is more height than width for it."""
        width, height = event.size
        self._has_room = event.size.area > 0
        least = LEAST_BESIDE if height >= LEAST_ABOVE else 0
        self.set_class(width < max(2 * height, least), "-tall")

    # what the screen asks for

    def play(self, source: PolicySource, *, stochastic: bool = False) -> None:
        """Play the policies of a source in place of what is played now."""
        self.stop()
        playing = Playing(source, stochastic=stochastic)
        self.playing = playing

        def publish(shown: Scene | Trouble) -> None:
            with contextlib.suppress(RuntimeError):  # the app's loop is closed
                self.post_message(self.Played(playing, shown))

        self.run_worker(
            lambda: playing.run(seen=lambda: self.is_seen, publish=publish),
            thread=True,
            exit_on_error=False,
            group="playing",
        )
        self._say(WAITING)
        self._refresh_bindings()

    def say(self, message: str) -> None:
        """Stop, and show a sentence."""
        self.stop()
        self._say(message)

    def show_returns(self, message: str, returns: Sequence[float]) -> None:
        """Stop, and show the returns of episodes that are played elsewhere."""
        self.say(message)
        self._facts.show_returns(returns)

    def stop(self) -> None:
        """End the thread; what is shown stays."""
        if self.playing is not None:
            self.playing.stop()
            self.playing = None
            self._refresh_bindings()

    def toggle_pause(self) -> None:
        """Hold the steps, or let them go on."""
        if self.playing is not None:
            self.playing.pace.toggle_pause()
            self._draw()

    def next_episode(self) -> None:
        """Begin the next episode."""
        if self.playing is not None:
            self.playing.next_episode()

    def change_speed(self, *, faster: bool) -> None:
        """Take the next speed."""
        if self.playing is not None:
            if faster:
                self.playing.pace.faster()
            else:
                self.playing.pace.slower()
            self._draw()

    def toggle_stochastic(self) -> None:
        """Sample actions, or take the likeliest; begins again with the first episode."""
        if self.playing is not None:
            self.playing.stochastic = not self.playing.stochastic
            self._draw()

    # what comes from the thread

    def on_policy_view_played(self, event: Played) -> None:
        """Draw what the thread has come to."""
        event.stop()
        if event.playing is not self.playing:
            return  # of a thread that is ending
        if isinstance(event.shown, Trouble):
            self.say(event.shown.message)
        else:
            self.scene = event.shown
            self._draw()

    def on_unmount(self) -> None:
        """Let the thread end with its widget."""
        self.stop()

    @property
    def is_seen(self) -> bool:
        """Whether any of it is on the screen, perhaps under a dialog; any thread may ask."""
        try:
            stack, screen = self.app.screen_stack, self.screen
        except (NoScreen, ScreenStackError):
            return False
        if screen not in stack or not self._has_room:
            return False
        above = stack[stack.index(screen) + 1 :]
        return all(cover.styles.background.a < 1 for cover in above)

    def _refresh_bindings(self) -> None:
        """Have the footer show the keys that work now."""
        if self.is_attached:
            self.screen.refresh_bindings()

    def _say(self, message: str) -> None:
        self.scene = None
        self._entitle("Policy")
        self._frame_view.show(None, message)
        self._facts.show_returns(())

    def _entitle(self, title: str) -> None:
        if title != self._title:  # setting it, even to what it was, draws everything again
            self._title = title
            self.border_title = Text(title)  # a str would be markup

    def _draw(self) -> None:
        scene, playing = self.scene, self.playing
        if scene is None or playing is None:
            return
        self._entitle(f"Policy · {scene.environment_id} · {scene.name}")
        self._frame_view.show(scene.frame, NO_PICTURE)
        self._facts.show(scene, playing.mode)
