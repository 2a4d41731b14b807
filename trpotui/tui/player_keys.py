"""The keys of a policy that plays in the terminal, the same wherever it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.binding import Binding

from trpotui.pacing import FASTEST, SLOWEST
from trpotui.tui.playing import Playing

if TYPE_CHECKING:
    from trpotui.tui.widgets.policy_view import PolicyView

FASTER = f"play faster, up to {FASTEST:g} times the environment's pace"
SLOWER = f"play slower, down to {SLOWEST:g} times that"
PLAYER_KEYS = (
    Binding("space", "pause", "pause", tooltip="hold the policy that plays, or let it go on"),
    Binding("full_stop", "step", "step", key_display=".", tooltip="hold, and one step forward"),
    Binding("comma", "step_back", "back", key_display=",", tooltip="hold, and one step back"),
    Binding("n", "next_episode", "next", tooltip="begin the next episode, with the next seed"),
    Binding("r", "restart", "again", tooltip="begin this episode again, with the same seed"),
    Binding(
        "g",
        "toggle_stochastic",
        "sample",
        False,
        tooltip="sample the actions, or take the likeliest",
    ),
    Binding(
        "plus,equals_sign", "change_speed(True)", "faster", False, key_display="+", tooltip=FASTER
    ),
    Binding("right", "change_speed(True)", "faster", False, tooltip=FASTER),
    Binding("minus", "change_speed(False)", "slower", False, key_display="-", tooltip=SLOWER),
    Binding("left", "change_speed(False)", "slower", False, tooltip=SLOWER),
    Binding("o", "toggle_facts", "numbers", False, tooltip="hide the numbers, or show them"),
    Binding("s", "save_picture", "picture", False, tooltip="save the picture as a PNG file here"),
)


class PlayerKeys:
    """What `PLAYER_KEYS` do; stands before the widget among the bases of whoever has them."""

    @property
    def stage(self) -> PolicyView:
        """Where the policy plays."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave out what needs a policy that plays."""
        del parameters
        return action not in ACTIONS or self.stage.playing is not None

    def action_pause(self) -> None:
        """Hold the policy, or let it go on."""
        self.stage.ask(Playing.toggle_pause)

    def action_step(self) -> None:
        """Hold the policy, and let it act once."""
        self.stage.ask(Playing.step)

    def action_step_back(self) -> None:
        """Hold the policy, and go back to before its last step."""
        self.stage.ask(Playing.step_back)

    def action_next_episode(self) -> None:
        """Begin the next episode."""
        self.stage.ask(Playing.next_episode)

    def action_restart(self) -> None:
        """Begin this episode again."""
        self.stage.ask(Playing.restart)

    def action_toggle_stochastic(self) -> None:
        """Sample actions, or take the likeliest."""
        self.stage.ask(Playing.toggle_stochastic)

    def action_change_speed(self, faster: bool) -> None:
        """Play faster or slower."""
        self.stage.ask(lambda playing: (playing.pace.faster if faster else playing.pace.slower)())

    def action_toggle_facts(self) -> None:
        """Hide the numbers beside the picture, or show them."""
        self.stage.toggle_facts()

    def action_save_picture(self) -> None:
        """Save the picture that is shown."""
        self.stage.save_picture()


ACTIONS = frozenset(binding.action.partition("(")[0] for binding in PLAYER_KEYS)
