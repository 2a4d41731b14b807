"""The keys at the bottom of a screen."""

from __future__ import annotations

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import ActiveBinding
from textual.events import Resize
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

from trpotui.tui.actions import is_listed

NARROW = 100
"""Columns below which the keys stand close together, and the palette is left to `ctrl+p`."""


class KeyFooter(Footer):
    """The keys of a screen: the main ones down to 80 columns, the others where there is room."""

    _keys: tuple[object, ...] = ()

    def on_resize(self, event: Resize) -> None:
        """Close up on a narrow terminal."""
        narrow = event.size.width < NARROW
        self.compact = narrow
        self.show_command_palette = not narrow
        self.call_after_refresh(self.recompose)

    async def recompose(self) -> None:
        """Make the keys anew where they are others."""
        if not self.is_attached:
            return
        if self._shown() != self._keys:
            await super().recompose()

    def _shown(self) -> tuple[object, ...]:
        """All that the keys depend on."""
        settings = (self._room, self.compact, self.show_command_palette)
        return settings, *((one.binding, one.enabled, one.tooltip) for one in self._listed())

    @property
    def _room(self) -> int:
        """Columns; before the first frame those of the terminal."""
        return self.size.width or self.app.size.width

    def compose(self) -> ComposeResult:
        """A key for each action, and the palette's at the right."""
        self._keys = self._shown()
        room = self._room
        for binding in self._listed():
            at_the_right = self._is_palette(binding) and self.show_command_palette
            room -= self._width(binding)
            if not (binding.binding.show or at_the_right or room >= 0):
                return
            key = self._key(binding, "-command-palette" if at_the_right else "")
            yield key if at_the_right else key.data_bind(compact=Footer.compact)

    def _listed(self) -> list[ActiveBinding]:
        """One binding for each action, those before the others that must be seen."""
        actions: dict[str, ActiveBinding] = {}
        for binding in self.screen.active_bindings.values():
            if is_listed(binding.binding):
                actions.setdefault(binding.binding.action, binding)
        return sorted(actions.values(), key=self._rank)

    def _rank(self, binding: ActiveBinding) -> int:
        if self._is_palette(binding):
            return 1 if self.show_command_palette else 3
        return 0 if binding.binding.show else 2

    def _is_palette(self, binding: ActiveBinding) -> bool:
        return binding.binding.key == self.app.COMMAND_PALETTE_BINDING

    def _width(self, binding: ActiveBinding) -> int:
        """Cells of the key and its word, with what stands around them."""
        around = 2 if self.compact else 4
        key = self.app.get_key_display(binding.binding)
        return cell_len(key) + cell_len(binding.binding.description) + around

    def _key(self, binding: ActiveBinding, classes: str) -> FooterKey:
        return FooterKey(
            binding.binding.key,
            self.app.get_key_display(binding.binding),
            binding.binding.description,
            binding.binding.action,
            disabled=not binding.enabled,
            tooltip=binding.tooltip or binding.binding.description,
            classes=classes,
        )
