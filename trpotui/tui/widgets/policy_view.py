"""A policy at play: its picture in half blocks, and what it thinks beside it."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult, ScreenStackError
from textual.containers import Container
from textual.dom import NoScreen
from textual.events import Resize
from textual.message import Message

from trpotui.durable import unused, write_bytes
from trpotui.tui.frames import as_png
from trpotui.tui.playing import Playing
from trpotui.tui.scenes import Over, Scene, Trouble
from trpotui.tui.widgets.frame_view import FrameView
from trpotui.tui.widgets.policy_facts import PolicyFacts

if TYPE_CHECKING:
    from trpotui.tui.policy_sources import PolicySource

WAITING = "waiting for the policy …"
LEAST_BESIDE, LEAST_ABOVE = 70, 14
"""Columns below which the numbers stand under the picture, if there are so many lines."""
NO_PICTURE = "this environment has no picture"
PATIENCE = 2.0
"""Seconds that the thread gets to end; an environment that hangs does not hold up the app."""


class PolicyView(Container):
    """Plays the policies of a source in a thread of its own for as long as it is seen."""

    class Played(Message):
        """The thread has come to another scene, or to its end."""

        def __init__(self, playing: Playing, shown: Scene | Trouble | Over) -> None:
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

    class Ended(Message):
        """Nothing plays any more, and not because the person wished so."""

        def __init__(self, trouble: Trouble | None) -> None:
            super().__init__()
            self.trouble = trouble
            """Why; None after all episodes that were asked for."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.playing: Playing | None = None
        self.scene: Scene | None = None
        """The one that is shown."""
        self._frame_view = FrameView()
        self._facts = PolicyFacts()
        self._thread: threading.Thread | None = None
        self._title = ""
        self._notice = ""
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

    def play(self, source: PolicySource) -> None:
        """Play the policies of a source in place of what is played now."""
        self.begin(Playing(source))

    def begin(self, playing: Playing) -> None:
        """Start what is to play in place of what is played now."""
        self.stop()
        self.playing = playing

        def publish(shown: Scene | Trouble | Over) -> None:
            with contextlib.suppress(RuntimeError):  # the app's loop is closed
                self.post_message(self.Played(playing, shown))

        self._thread = threading.Thread(
            target=lambda: playing.run(seen=lambda: self.is_seen, publish=publish),
            name="playing",
            daemon=True,  # at the end it is waited for, but not for ever
        )
        self._thread.start()
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

    def ask(self, what: Callable[[Playing], None]) -> None:
        """Have what plays do something, if anything does."""
        if self.playing is not None:
            what(self.playing)
            self._draw()

    def toggle_facts(self) -> None:
        """Leave all the room to the picture, or show the numbers again."""
        self._facts.display = not self._facts.display

    def save_picture(self) -> None:
        """Save the picture that is shown, as the environment drew it, in the working directory."""
        scene = self.scene
        if scene is None or scene.frame is None:
            self.notify("There is no picture to save.", severity="warning")
            return
        facts = scene.facts
        stem = f"{facts.environment_id}-seed{facts.seed}-step{facts.step}"
        stem = re.sub(r"[^\w.-]+", "_", stem)
        path = unused(Path(), stem, ".png")
        try:
            write_bytes(path, as_png(scene.frame))
        except OSError as error:
            reason = error.strerror or str(error)
            self.notify(f"{path} could not be written: {reason}", severity="error", markup=False)
        else:
            self.notify(f"Saved {path}", markup=False)

    # what comes from the thread

    def on_policy_view_played(self, event: Played) -> None:
        """Draw what the thread has come to."""
        event.stop()
        if event.playing is not self.playing:
            return  # of a thread that is ending
        match event.shown:
            case Scene():
                self.scene = event.shown
                self._draw()
            case Trouble():
                self.say(event.shown.message)
                self.post_message(self.Ended(event.shown))
            case Over():
                self.stop()
                self.post_message(self.Ended(None))

    def on_unmount(self) -> None:
        """Let the thread end with its widget."""
        self.stop()
        if self._thread is not None:
            self._thread.join(PATIENCE)

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

    def _tell(self, notice: str) -> None:
        if notice != self._notice:
            self._notice = notice
            self.border_subtitle = Text(notice)

    def _draw(self) -> None:
        scene, playing = self.scene, self.playing
        if scene is None or playing is None:
            return
        self._entitle(f"Policy · {scene.facts.environment_id} · {scene.name}")
        self._tell(scene.notice)
        self._frame_view.show(scene.frame, NO_PICTURE)
        self._facts.show(scene, playing.mode)
