"""The names of the pages of a screen in one row; the visible page is underlined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.content import Content
from textual.events import Click
from textual.message import Message

from workbench.ui.kit.text import cut, styled
from workbench.ui.widgets.lines import Lines


class SectionBar(Lines):
    """Shows the names of the pages, and goes to one with a click."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "section--key", "section--name", "section--badge", "section--open", "section--warning", "section--rule",
        "section--under",
    }  # fmt: skip

    @dataclass
    class Wanted(Message):
        """A page was clicked."""

        index: int

    def __init__(self) -> None:
        super().__init__(widget_id="sections")
        self._names: Sequence[tuple[str, str]] = ()
        self._open = 0
        self._places: list[tuple[int, int]] = []

    def show(self, names: Sequence[tuple[str, str]], opened: int) -> None:
        """Show the names of the pages with their badges; `opened` is the index of the visible one."""
        self._names, self._open = names, opened
        self._lay_out()

    def on_resize(self) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        width = self.size.width
        if not width:
            return
        needed = sum(len(name) + len(badge) + 3 for name, badge in self._names)
        gap = 2 if needed + 2 * len(self._names) <= width else 1
        badges = needed + gap * len(self._names) <= width
        fixed = 1 + sum(2 + gap + (len(badge) + 1) * badge.startswith("▲") for _, badge in self._names)
        names = _fitting([name for name, _ in self._names], self._open, width - fixed)
        parts: list[tuple[str, str]] = [(" ", "")]
        length = 1
        self._places = []
        for number, (name, (_, badge)) in enumerate(zip(names, self._names, strict=True)):
            start = length
            kept = badge if badges or badge.startswith("▲") else ""
            words = [
                (f"{number + 1} ", "section--key"),
                (name, "section--open" if number == self._open else "section--name"),
            ]
            if kept:
                words.append((f" {kept}", "section--warning" if kept.startswith("▲") else "section--badge"))
            length += sum(len(text) for text, _ in words)
            self._places.append((start, length))
            parts += [*words, (" " * gap, "")]
            length += gap
        begin, end = self._places[self._open] if self._names else (0, 0)
        rule = styled(
            ("─" * begin, "section--rule"),
            ("━" * (end - begin), "section--under"),
            ("─" * max(0, width - end), "section--rule"),
        )
        self.set_lines([styled(*parts), rule if self._names else Content("")])

    def on_click(self, event: Click) -> None:
        for index, (start, end) in enumerate(self._places):
            if start <= event.x < end:
                self.post_message(self.Wanted(index))


def _fitting(names: Sequence[str], opened: int, room: int) -> list[str]:
    """Names that together have `room` cells: that of the open page is whole, the longest of the others are cut."""
    most = max(map(len, names), default=0)
    while (
        most > 1
        and sum(len(name) if index == opened else min(most, len(name)) for index, name in enumerate(names)) > room
    ):
        most -= 1
    return [name if index == opened else cut(name, most) for index, name in enumerate(names)]
