"""The policy of the run that goes on, playing beside the charts while it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType

from trpotui.tui.player_keys import PLAYER_KEYS, PlayerKeys
from trpotui.tui.policy_sources import RunSource
from trpotui.tui.widgets.policy_view import PolicyView

if TYPE_CHECKING:
    from trpotui.tui.app import TrpotuiApp
    from trpotui.tui.session import TrainingSession

NO_RUN = "no run yet: start one, and its policy plays here"


class WatchPane(PlayerKeys, PolicyView, can_focus=True):
    """Hidden until it is asked for; then it follows the app from run to run.

    The screen has other uses for most of the keys of a player: they work while the pane has the
    focus, which a click or Tab gives it.
    """

    app: TrpotuiApp
    BINDINGS: ClassVar[list[BindingType]] = list(PLAYER_KEYS)

    def __init__(self) -> None:
        super().__init__(id="watch")
        self.display = False
        self._session: TrainingSession | None = None

    def on_mount(self) -> None:
        """Follow the app's runs."""
        self.watch(self.app, "status", self._follow, init=False)

    @property
    def stage(self) -> PolicyView:
        """Itself."""
        return self

    def toggle(self) -> None:
        """Show the policy as it is now, or hide the pane."""
        self.display = not self.display
        self.screen.set_class(self.display, "-watching")
        self._session = None
        if self.display:
            self._follow()
        else:
            self.stop()

    def _follow(self) -> None:
        session = self.app.session
        if not self.display or (session is not None and session is self._session):
            return
        self._session = session
        if session is None:
            self.say(NO_RUN)
        else:
            self.play(run_source(self.app, session))


def run_source(app: TrpotuiApp, session: TrainingSession) -> RunSource:
    """Policies of a run of the app."""
    return RunSource(session, lambda: app.session is session and app.busy)
