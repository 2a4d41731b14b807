"""The screen of policies on disk: choose one, and see it play."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

from trpotui.tui.player_keys import PLAYER_KEYS, PlayerKeys
from trpotui.tui.policy_list import PolicyEntry, PolicyList, plain
from trpotui.tui.policy_sources import FileSource, PolicySource
from trpotui.tui.screens.latest_size import LatestSize
from trpotui.tui.widgets.key_footer import KeyFooter
from trpotui.tui.widgets.policy_table import Entry, LiveEntry, PolicyTable
from trpotui.tui.widgets.policy_view import PolicyView
from trpotui.tui.widgets.run_header import RunHeader
from trpotui.tui.widgets.watch_pane import run_source
from trpotui.tui.windows import WindowReport

if TYPE_CHECKING:
    from trpotui.tui.app import TrpotuiApp

SAVED = Path("saved_policies")
SCAN_SECONDS = 2.0
SHOW_SECONDS = 0.5
LOADING = "loading …"
NONE_YET = f"no policies yet: {SAVED}/ and the runs here hold none. Train one, and it appears here."


class PlayScreen(PlayerKeys, LatestSize, Screen[None]):
    """A table of policies, and the chosen one playing under it."""

    app: TrpotuiApp
    AUTO_FOCUS = "PolicyTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "play_in_window", "window", False, tooltip="play the policy in a window"),
        Binding("v", "play_here", "watch", tooltip="play the policy here in the terminal"),
        *PLAYER_KEYS,
        Binding("escape", "leave", "close", tooltip="end what plays here, or go back to training"),
        Binding("t", "train", "train", False, tooltip="back to training"),
    ]

    class Scanned(Message):
        """The thread has looked at what policies there are."""

        def __init__(self, entries: tuple[PolicyEntry, ...], unread: int) -> None:
            super().__init__()
            self.entries = entries
            self.unread = unread

    def __init__(self) -> None:
        super().__init__()
        self._policies: PolicyList | None = None
        self._entries: tuple[PolicyEntry, ...] = ()
        self._scanning = False
        self._regularly: list[Timer] = []
        self._window: object = None  # the one that the stage tells of

    def compose(self) -> ComposeResult:
        """Table above, stage below; the style sheet puts them side by side on a wide terminal."""
        yield RunHeader()
        with Container(id="play"):
            with Vertical(id="choice"):
                yield PolicyTable()
                yield Static(LOADING, id="about", markup=False)
            yield PolicyView(id="stage")
        yield KeyFooter()

    def on_mount(self) -> None:
        """Look at the disk as soon as files can be read, and again and again."""
        self._policies = PolicyList(SAVED, self.app.runs)
        self._show_stage(False)
        self._regularly = [
            self.set_interval(SCAN_SECONDS, self._look),
            self.set_interval(SHOW_SECONDS, self._show),
        ]
        self.watch(self.app, "core_loaded", self._look)

    def on_screen_suspend(self) -> None:
        """Nobody sees the list."""
        for timer in self._regularly:
            timer.pause()

    def on_screen_resume(self) -> None:
        """Show at once what has changed meanwhile."""
        for timer in self._regularly:
            timer.resume()
        self._show()
        self._look()

    @property
    def stage(self) -> PolicyView:
        """Where policies play in the terminal."""
        return self.query_one("#stage", PolicyView)

    # the list

    def _look(self) -> None:
        if self.app.core_loaded and not self._scanning and self._policies is not None:
            self._scanning = True
            self._scan(self._policies)

    @work(thread=True, exit_on_error=False, group="scan")
    def _scan(self, policies: PolicyList) -> None:
        entries: tuple[PolicyEntry, ...] = self._entries
        try:
            entries = policies.scan()
        finally:
            self.post_message(self.Scanned(entries, policies.unread))

    def on_play_screen_scanned(self, event: Scanned) -> None:
        """Show what there is, and go on looking where something was left for later."""
        self._scanning = False
        self._entries = event.entries
        self._show()
        self._tell(self.query_one(PolicyTable).selected)
        if event.unread:
            self._look()

    def _show(self) -> None:
        self.query_one(RunHeader).show(self.app.state)
        live = self._live()
        entries: list[Entry] = [*([] if live is None else [live]), *self._entries]
        self.query_one(PolicyTable).show(entries, time.time())

    def _live(self) -> LiveEntry | None:
        state = self.app.state
        if not self.app.busy or state.started is None:
            return None
        last, score = state.evaluation, None
        if last is not None:
            score = last.mean, last.std, last.episodes
        started = state.started
        return LiveEntry(started.environment_id, started.algorithm, score, state.steps)

    def _tell(self, entry: Entry | None) -> None:
        """Say of the highlighted policy what the table has no room for."""
        if entry is None:
            text = LOADING if self._scanning or not self.app.core_loaded else NONE_YET
        elif isinstance(entry, LiveEntry):
            text = "its policy as it is at the moment of asking"
        else:
            text = plain(str(entry.path)) if entry.problem is None else f"✗ {entry.problem}"
        self.query_one("#about", Static).update(text)

    def on_policy_table_highlighted(self, event: PolicyTable.Highlighted) -> None:
        """Describe the policy under the cursor."""
        self._tell(event.entry)

    def on_policy_table_chosen(self, event: PolicyTable.Chosen) -> None:
        """Enter, or a click on the row under the cursor: play it in a window."""
        self.play(event.entry, in_terminal=False)

    # playing

    def play_file(self, path: Path, *, in_terminal: bool) -> None:
        """Play the policy in a file."""
        self._play(lambda: FileSource(path, plain(path.stem)), in_terminal=in_terminal)

    def play(self, entry: Entry, *, in_terminal: bool) -> None:
        """Play an entry of the table."""
        session = self.app.session
        if isinstance(entry, LiveEntry):
            if session is not None:
                self._play(lambda: run_source(self.app, session), in_terminal=in_terminal)
        elif entry.problem is not None:
            self.notify(entry.problem, severity="error", markup=False)
        else:
            self._play(lambda: FileSource(entry.path, entry.name), in_terminal=in_terminal)

    def _play(self, source: Callable[[], PolicySource], *, in_terminal: bool) -> None:
        def here() -> None:
            self._window = None
            self._show_stage(True)
            self.stage.play(source())

        if in_terminal:
            here()
            return
        window = object()

        def report(told: WindowReport) -> None:
            self._show_window(window, told)

        self.app.windows.play(source(), report=report, without_display=here)

    def _show_window(self, window: object, told: WindowReport) -> None:
        """Tell of the window that was opened last, unless a policy plays here."""
        opened = told.is_open and not told.returns
        if opened and self.stage.playing is None:
            self._window = window
            self._show_stage(True)
        if self._window is window and self.stage.playing is None:
            where = (
                "plays in a window: Esc in it ends it" if told.is_open else "has played in a window"
            )
            self.stage.show_returns(f"{told.name} {where}", told.returns)

    def _show_stage(self, shown: bool) -> None:
        self.stage.display = shown
        self.set_class(shown, "-playing")

    def _selected(self) -> Entry | None:
        entry = self.query_one(PolicyTable).selected
        if entry is None:
            self.notify("There is no policy to play yet.", severity="warning")
        return entry

    # keys

    def action_play_in_window(self) -> None:
        """Play the selected policy in a window."""
        if entry := self._selected():
            self.play(entry, in_terminal=False)

    def action_play_here(self) -> None:
        """Play the selected policy in the terminal."""
        if entry := self._selected():
            self.play(entry, in_terminal=True)

    def action_train(self) -> None:
        """Go back to training."""
        self.app.switch_mode("train")

    def action_leave(self) -> None:
        """End what plays here; where nothing does, go back to training."""
        if not self.stage.display:
            self.action_train()
            return
        self._window = None
        self.stage.stop()
        self._show_stage(False)
