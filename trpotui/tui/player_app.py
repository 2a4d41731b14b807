"""`trpotui play` in the terminal: one policy, the keys of its window, and nothing else."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import Screen

from trpotui.errors import RequestError
from trpotui.signals import HUNG_UP, on_signals
from trpotui.tui.giving_way import GivingWay
from trpotui.tui.graphics import graphics_of, taking_away
from trpotui.tui.palette import PaletteApp
from trpotui.tui.player_keys import FASTER, PLAYER_KEYS, SLOWER, PlayerKeys
from trpotui.tui.playing import Playing, Tempo
from trpotui.tui.policy_sources import GivenSource, NamedPolicy, named
from trpotui.tui.screens.help import HelpScreen
from trpotui.tui.screens.latest_size import LatestSize
from trpotui.tui.terminal_driver import lasting
from trpotui.tui.widgets.frame_view import FrameView
from trpotui.tui.widgets.key_footer import KeyFooter
from trpotui.tui.widgets.policy_view import PolicyView

if TYPE_CHECKING:
    from trpotui.episodes import EpisodePlayed, PlayOptions
    from trpotui.rl.policy import SavedPolicy
    from trpotui.tui.graphics import Graphics

NEARBY, FAR = Tempo(1 / 20, 0.25), Tempo(1 / 10, 0.25)
"""In a terminal of this machine, and in one at the other end of a connection."""
INTERRUPTED = 130
FEWEST_COLOURS = 8
"""With fewer, pictures are made of characters."""


class PlayerScreen(PlayerKeys, LatestSize, Screen[None]):
    """The policy on all of the terminal, and its keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *PLAYER_KEYS,
        Binding("up", "change_speed(True)", "faster", False, tooltip=FASTER),
        Binding("down", "change_speed(False)", "slower", False, tooltip=SLOWER),
    ]

    def compose(self) -> ComposeResult:
        """The stage above, the keys below."""
        yield PolicyView()
        yield KeyFooter()

    @property
    def stage(self) -> PolicyView:
        """Where the policy plays."""
        return self.query_one(PolicyView)

    def on_screen_suspend(self) -> None:
        """Something lies over it, and over pixels nothing can lie."""
        self.query_one(FrameView).look_again()

    def on_screen_resume(self) -> None:
        """Nothing does any more."""
        self.query_one(FrameView).look_again()


class PlayerApp(PaletteApp):
    """Plays the episodes that were asked for, unless the person leaves before.

    Args:
        policy: who plays.
        options: what.
        tempo: how much of the time that may take.
        graphics: draws the pictures; half blocks without.
    """

    TITLE = "trpotui play"
    CSS_PATH = ["trpotui.tcss", "styles/play.tcss"]  # noqa: RUF012 - as Textual declares it
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (180, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "help", key_display="?", tooltip="the keys"),
        Binding("q,escape", "leave(0)", "quit", tooltip="stop playing"),
        Binding("ctrl+c", f"leave({INTERRUPTED})", "quit", False, system=True),
    ]

    def __init__(
        self,
        policy: NamedPolicy,
        options: PlayOptions,
        *,
        tempo: Tempo = NEARBY,
        graphics: Graphics | None = None,
    ) -> None:
        self._graphics = graphics  # the driver is chosen in what follows
        super().__init__()
        self.playing = Playing(
            GivenSource(policy),
            stochastic=options.stochastic,
            seed=options.seed,
            episodes=options.episodes,
            speed=options.speed,
            tempo=tempo,
        )
        self.error: Exception | None = None
        """Why it ended before the person or the last episode did."""

    def get_default_screen(self) -> Screen[None]:
        """The only one, but for what is laid over it."""
        return PlayerScreen()

    def get_driver_class(self) -> type[Driver]:
        """One that survives its terminal."""
        driver = lasting(
            super().get_driver_class(), lambda: self.action_leave(128 + HUNG_UP), GivingWay()
        )
        removal = self._graphics.removal if self._graphics is not None else ""
        return taking_away(driver, removal) if removal else driver

    def on_mount(self) -> None:
        """Begin."""
        on_signals(lambda number: self.action_leave(128 + number))
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        screen = self.screen_stack[0]
        assert isinstance(screen, PlayerScreen)
        screen.query_one(FrameView).draw_with(self._graphics)
        screen.stage.begin(self.playing)

    def on_policy_view_ended(self, event: PolicyView.Ended) -> None:
        """The last episode has been played, or none can be."""
        if event.trouble is not None:
            self.error = event.trouble.error
        self.exit()

    def action_leave(self, code: int) -> None:
        """End, whatever plays."""
        self.exit(return_code=code)

    def action_help(self) -> None:
        """Show the keys."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())

    def _fatal_error(self) -> None:
        """Leave an error of the app itself to whoever runs it, in place of printing it."""
        self.error = self._exception
        self._close_messages_no_wait()


def play_in_terminal(
    saved: SavedPolicy, name: str, options: PlayOptions, graphics: str
) -> tuple[tuple[EpisodePlayed, ...], int]:
    """Play episodes of a policy on this terminal.

    Args:
        saved: the policy.
        name: how it is called.
        options: what is played.
        graphics: as `graphics_of` takes it.

    Returns:
        The episodes that ran to their end, and the exit code.

    Raises:
        RequestError: this is no terminal to draw on, or not with such graphics, or the environment
            cannot be made.
        RunError: the environment or the policy failed.
    """
    check_terminal()
    far = _is_far()
    coloured = "NO_COLOR" not in os.environ and not _lacks_colours()
    drawn = graphics_of(graphics, coloured=coloured, far=far)
    app = PlayerApp(
        named(saved, name), options, tempo=FAR if far or drawn else NEARBY, graphics=drawn
    )
    app.no_color = app.no_color or not coloured  # Textual takes any terminal to have some
    app.run()
    if app.error is not None:
        raise app.error
    return app.playing.played, app.return_code or 0


def check_terminal() -> None:
    """Refuse what cannot show a screen.

    Raises:
        RequestError: as said.
    """
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise RequestError(
            "there is no terminal to draw on: use --view none to print the returns alone"
        )
    if os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
        raise RequestError(
            f"this terminal (TERM={os.environ['TERM']}) has no screen to draw on: use --view none "
            "to print the returns alone"
        )


def _lacks_colours() -> bool:
    """Whether the terminal is known to have none, such as a vt100."""
    if os.environ.get("COLORTERM"):
        return False
    try:
        import curses  # noqa: PLC0415 - not everywhere
    except ImportError:
        return False
    try:
        curses.setupterm(fd=sys.stdout.fileno())
    except curses.error:  # a terminal that nobody has described
        return False
    return curses.tigetnum("colors") < FEWEST_COLOURS


def _is_far() -> bool:
    return any(os.environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY"))
