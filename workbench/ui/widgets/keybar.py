"""The bar of the keys that work on the current screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import ClassVar, Protocol, runtime_checkable

from textual.binding import ActiveBinding, Binding
from textual.content import Content, Span
from textual.events import Click
from textual.screen import Screen

from workbench.ui.widgets.lines import Lines

ALWAYS = ("prompt.send", "chat.stop", "chat.models", "app.palette", "dialog.close")
"""Bindings that are listed however narrow the screen is."""
TABS = ("app.help", "app.chat", "app.race", "app.models", "app.bench")
"""Bindings that lead to the screens, in this order at the right of every screen."""
SHORT, NARROW = 80, 64
"""Widths up to which the tabs are written without gaps, and with their first letters only."""


@runtime_checkable
class HasEscape(Protocol):
    """A screen that says what Escape does now."""

    def escape_label(self) -> str:
        """What Escape does: stop, leave; empty for nothing."""


class KeyBar(Lines):
    """Lists the bindings of the focused widget, in one widget; the footer of the framework has one for each key."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"keybar--key", "keybar--name", "keybar--here"}

    def __init__(self) -> None:
        super().__init__(widget_id="keybar")
        self._places: list[tuple[int, int, str]] = []
        self._is_stale = False

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def on_resize(self) -> None:
        self._show()

    def _changed(self, _: Screen) -> None:
        # A change of the focus publishes several, and finding the bindings takes longer than drawing them.
        if not self._is_stale:
            self._is_stale = True
            self.call_later(self._show)

    def _listed(self, bindings: Iterable[ActiveBinding]) -> list[Binding]:
        seen: dict[str, Binding] = {}
        for active in bindings:
            binding = active.binding
            if not (binding.show and active.enabled) or binding.id in TABS:
                continue
            if binding.key == "escape" and isinstance(self.screen, HasEscape):
                if not (label := self.screen.escape_label()):
                    continue
                binding = replace(binding, description=label)
            seen.setdefault(binding.action, binding)
        return list(seen.values())

    def _show(self) -> None:
        self._is_stale = False
        if not self.is_attached or not self.size.width:
            return
        text, spans = "", []
        self._places = []
        bindings = self.screen.active_bindings.values()
        tabs = self._tabs(bindings)
        room = self.size.width - sum(len(key) + len(name) for _, key, name, _ in tabs)
        keys = [(binding, *self._words(binding), False) for binding in self._fitting(self._listed(bindings), room)]
        gap = " " * max(0, room - sum(len(key) + len(name) for _, key, name, _ in keys))
        for index, (binding, key, name, here) in enumerate([*keys, *tabs]):
            text += gap if index == len(keys) else ""
            start, middle, end = len(text), len(text) + len(key), len(text) + len(key) + len(name)
            spans += [Span(start, middle, "keybar--key"), Span(middle, end, "keybar--here" if here else "keybar--name")]
            self._places.append((start, end, binding.key))
            text += key + name
        self.set_lines([Content(text, spans)])

    def _tabs(self, bindings: Iterable[ActiveBinding]) -> list[tuple[Binding, str, str, bool]]:
        """The tabs: each with its key, its name, and whether it is the screen that is shown."""
        active = {each.binding.id: each.binding for each in bindings}
        width = self.size.width
        tabs = []
        for binding in (active[name] for name in TABS if name in active):
            key = self.app.get_key_display(binding)
            name = binding.description if width > NARROW else binding.description[0]
            if binding.id == "app.help" and width <= SHORT:
                name = "?"
            pair = (f" {key} ", f"{name} ") if width > SHORT else (f" {key}", name)
            tabs.append((binding, *pair, binding.id == f"app.{self.screen.id}"))
        return tabs

    def _words(self, binding: Binding) -> tuple[str, str]:
        key = self.app.get_key_display(binding).replace("Ctrl+", "^").replace("Shift+", "⇧")
        return f" {key} ", f"{binding.description} "

    def _fitting(self, bindings: Sequence[Binding], room: int) -> list[Binding]:
        """The bindings that fit, in order; when room is short, `ALWAYS` come first."""
        chosen = []
        for binding in sorted(bindings, key=lambda each: each.id not in ALWAYS):
            width = sum(map(len, self._words(binding)))
            if width <= room:
                chosen.append(binding)
                room -= width
        return [binding for binding in bindings if binding in chosen]

    def on_click(self, event: Click) -> None:
        for start, end, key in self._places:
            if start <= event.x < end:
                self.app.simulate_key(key)
