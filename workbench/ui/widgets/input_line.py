"""Input lines for a search, a path or a value."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.events import Key
from textual.geometry import Size
from textual.reactive import Reactive
from textual.suggester import Suggester
from textual.widgets import Input

from workbench.ui.widgets.typed_ahead import run_own_binding


class InputLine(Input, inherit_bindings=False):
    """A line of text with a steady cursor. A letter costs no layout of the screen, as the height is always one row.

    The keys that scroll a widget are left to what is around it.
    """

    BINDINGS: ClassVar[list[BindingType]] = Input.BINDINGS

    virtual_size: Reactive[Size] = Reactive(Size(0, 0))

    def __init__(
        self,
        widget_id: str | None = None,
        placeholder: str = "",
        classes: str | None = None,
        *,
        value: str = "",
        suggester: Suggester | None = None,
    ) -> None:
        # Without a validator, a validation only sets a class, for which the line is styled again.
        super().__init__(
            value, placeholder, suggester=suggester, validate_on=(), id=widget_id, classes=classes, compact=True
        )
        self.cursor_blink = False

    async def on_key(self, event: Key) -> None:
        await run_own_binding(self, event)


class HiddenLine(InputLine):
    """An input line that is shown, by the class `-open`, only while it is used."""

    def __init__(self, widget_id: str, placeholder: str = "", classes: str | None = None) -> None:
        super().__init__(widget_id, placeholder, classes)
        self.select_on_focus = False
        self.is_typed_in = False
        """Whether keys go to it: from the moment it is opened until the focus goes elsewhere."""

    @property
    def is_open(self) -> bool:
        return self.has_class("-open")

    def open(self, begun: str = "") -> None:
        """Show it, and go to it; `begun` replaces the text that is in it."""
        if begun:
            self.value = begun
            self.cursor_position = len(begun)
        self.add_class("-open")
        self.focus()
        self.is_typed_in = True

    def close(self) -> bool:
        """Empty and hide it. Returns whether it was shown."""
        was_open = self.is_open
        self.remove_class("-open")
        self.value = ""
        self.is_typed_in = False
        return was_open

    def on_blur(self) -> None:
        self.is_typed_in = False
