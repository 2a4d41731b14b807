"""One key after the other, however fast they come.

Textual hands every key to the widget that has the focus as soon as it comes. Letters are taken
there; what is bound (backspace, an arrow, tab) goes on through the widgets above and is done when
it has reached the app. A letter that came right behind it has been taken before that, or by the
field that was about to lose the focus: ^u and 7 in one piece, as a slow connection delivers them,
left the field empty. https://github.com/Textualize/textual/issues/6605
"""

from __future__ import annotations

from collections import deque

from textual.app import App
from textual.dom import DOMNode
from textual.events import Event, Key, Paste
from textual.timer import Timer

LONGEST_SECONDS = 2.0
"""That keys wait for the one before them, which may be lost with a widget that is taken away."""


class OrderlyApp(App[int]):
    """An app that hands out a key, or what was pasted, when the one before has been dealt with."""

    def __init__(self) -> None:
        super().__init__()
        self._under_way: Key | Paste | None = None
        self._waiting: deque[Key | Paste] = deque()
        self._patience: Timer | None = None
        """Runs while any wait."""

    async def on_event(self, event: Event) -> None:
        """Let keys wait for their turn; everything else is as it was."""
        if not isinstance(event, Key | Paste) or event.is_forwarded:
            await super().on_event(event)
        elif self._under_way is None:
            await self._hand_out(event)
        else:
            self._waiting.append(event)
            if self._patience is None:
                self._patience = self.set_interval(LONGEST_SECONDS, self._give_up)

    async def _hand_out(self, event: Key | Paste) -> None:
        self._under_way = event
        await super().on_event(event)
        if event.is_forwarded:
            self._follow(event, self.focused or self.screen)
        else:  # done already: it is bound with priority
            self.call_later(self._dealt_with, event)

    def _follow(self, event: Key | Paste, node: DOMNode | None) -> None:
        """Go a key's way up to the app: in the queue of each node this comes right behind it.

        A key that is taken on its way is not in the queues above, which does not matter.
        """
        if node is None or node is self or not node.call_later(self._leave, event, node):
            self.call_later(self._dealt_with, event)

    def _leave(self, event: Key | Paste, node: DOMNode) -> None:
        self._follow(event, node.parent)

    async def _dealt_with(self, event: Key | Paste) -> None:
        if event is not self._under_way:  # it was given up
            return
        self._under_way = None
        if self._waiting:
            assert self._patience is not None
            self._patience.reset()
            await self._hand_out(self._waiting.popleft())
        elif self._patience is not None:
            self._patience.stop()
            self._patience = None

    async def _give_up(self) -> None:
        if self._under_way is not None:
            await self._dealt_with(self._under_way)
