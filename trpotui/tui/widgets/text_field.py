"""A field for a line of text, in which keys act in the order in which they were pressed."""

from __future__ import annotations

from textual.events import Key
from textual.widgets import Input


class TextField(Input):
    """Textual's input, whose bound keys act in the field itself.

    A letter is taken by the field, but a key that is bound, such as backspace or ^u, goes on to the
    app and acts when it has got there: too late for a letter that came right behind it, as it does
    over a slow connection or while the app is busy. https://github.com/Textualize/textual/issues/6605
    """

    async def on_key(self, event: Key) -> None:
        """Do what the key is bound to here; the others go on as ever."""
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            if await self.app.run_action(binding.action, self):
                event.stop()
                event.prevent_default()
                return
