"""The bar of the keys that work on the current screen."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding
from textual.content import Content, Span
from textual.events import Click
from textual.screen import Screen

from workbench.ui.widgets.lines import Lines

ALWAYS = ("prompt.send", "chat.stop", "chat.models", "app.palette", "app.help", "dialog.close")
"""Bindings that are listed however narrow the screen is."""

MODES = ("app.race", "app.models", "app.bench")
"""Bindings that lead from the chat to the other screens, listed next on a wide screen."""
ROOMY = 100
"""Width of a wide screen."""


class KeyBar(Lines):
    """Lists the bindings of the focused widget, in one widget; the footer of the framework has one for each key."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"keybar--key", "keybar--name"}

    def __init__(self) -> None:
        super().__init__(widget_id="keybar")
        self._places: list[tuple[int, int, str]] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._show)
        self._show(self.screen)

    def on_resize(self) -> None:
        self._show(self.screen)

    def _listed(self) -> list[Binding]:
        seen: dict[str, Binding] = {}
        for active in self.screen.active_bindings.values():
            here = active.binding.id == f"app.{self.screen.id}"
            if active.binding.show and active.enabled and not here:
                seen.setdefault(active.binding.action, active.binding)
        return list(seen.values())

    def _show(self, _: Screen) -> None:
        if not self.is_attached or not self.size.width:
            return
        text, spans = "", []
        self._places = []
        for binding in self._fitting():
            key, name = self._words(binding)
            start, middle, end = len(text), len(text) + len(key), len(text) + len(key) + len(name)
            spans += [Span(start, middle, "keybar--key"), Span(middle, end, "keybar--name")]
            self._places.append((start, end, binding.key))
            text += key + name
        self.set_lines([Content(text, spans)])

    def _words(self, binding: Binding) -> tuple[str, str]:
        key = self.app.get_key_display(binding).replace("Ctrl+", "^")
        return f" {key} ", f"{binding.description} "

    def _fitting(self) -> list[Binding]:
        """The bindings that fit, in order; when room is short, `ALWAYS` and `MODES` come first."""
        bindings = self._listed()
        room = self.size.width
        chosen = []
        first = ALWAYS + MODES if self.screen.id == "chat" and room >= ROOMY else ALWAYS
        for binding in sorted(bindings, key=lambda each: each.id not in first):
            width = sum(map(len, self._words(binding)))
            if width <= room:
                chosen.append(binding)
                room -= width
        return [binding for binding in bindings if binding in chosen]

    def on_click(self, event: Click) -> None:
        for start, end, key in self._places:
            if start <= event.x < end:
                self.app.simulate_key(key)
