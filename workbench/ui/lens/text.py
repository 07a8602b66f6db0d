"""The text of an answer with a colour for each token, and a cursor that goes from token to token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import BindingType
from textual.content import Content, Span
from textual.events import Click
from textual.message import Message

from workbench.lab.quality.lens import Lens
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import MEASURE
from workbench.ui.widgets.rows import Rows, without_keys

LEVEL_STYLES = ("", "lens--1", "lens--2", "lens--3", "lens--4")
FIRST_FLIP = "▶"
NEWLINE = "⏎"

Cell = tuple[int, str]
"""A token by its place, and a part of its text."""


def lay_out(texts: list[str], first_flip: int | None, width: int) -> list[list[Cell]]:
    """The rows of a text, in which each token is seen; the first flip has a mark before it."""
    rows: list[list[Cell]] = [[]]
    used = 0
    for place, text in enumerate(texts):
        mark = FIRST_FLIP if place == first_flip else ""
        pieces = text.split("\n")
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            shown = mark + clean_line(piece.replace("\t", "  ")) + ("" if last else NEWLINE)
            mark = ""
            size = cell_len(shown)
            if used and used + size > width:
                rows.append([])
                used = 0
            if shown:
                rows[-1].append((place, shown))
                used += size
            if not last:
                rows.append([])
                used = 0
    return rows


class LensText(Rows, inherit_bindings=False):
    """Shows the tokens of a lens."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"lens--1", "lens--2", "lens--3", "lens--4", "lens--flip", "lens--here"}
    OWN_BINDINGS: ClassVar[list[BindingType]] = [
        key("lens.before", "left,h", "Token", "Go to the token before.", action="step(-1)", show=False),
        key("lens.after", "right,l", "Token", "Go to the next token.", action="step(1)", show=False),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        *OWN_BINDINGS,
        *without_keys(Rows.BINDINGS, {"enter", "up", "down", "k", "j", "home", "g", "end", "G"}),
    ]

    @dataclass
    class Placed(Message):
        """The cursor is at another token."""

        place: int

    def __init__(self) -> None:
        super().__init__("lens-text")
        self._lens: Lens | None = None
        self._rows: list[list[Cell]] = []
        self._row_of: dict[int, int] = {}
        self._width = 0
        self.place = 0
        """The token that the cursor is at."""

    def open(self, lens: Lens) -> None:
        """Show a lens, the cursor at its first flip, or at the first unlikely token of one model."""
        self._lens = lens
        self.place = (lens.next_place(-1, 1, 1) if lens.alone else lens.first_flip) or 0
        self._width = 0
        self._fit()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        if self._lens is None or not self.room or self.room == self._width:
            return
        self._width = self.room
        self._rows = lay_out(self._lens.texts, self._lens.first_flip, min(MEASURE, self._width - 1))
        self._row_of = {}
        for number, row in enumerate(self._rows):
            for place, _ in row:
                self._row_of.setdefault(place, number)
        self.show(len(self._rows), self._draw, choosable=True, cursor=self._row_of.get(self.place, 0))

    def _draw(self, index: int, width: int) -> Content:
        assert self._lens is not None
        line, spans = "", []
        for place, text in self._rows[index]:
            start, end = len(line), len(line) + len(text)
            line += text
            if level := self._lens.level(place):
                spans.append(Span(start, end, LEVEL_STYLES[level]))
            if self._lens.flips(place):
                spans.append(Span(start, end, "lens--flip"))
            if place == self.place:
                spans.append(Span(start, end, "lens--here"))
        return Content(line, spans)

    def go_to(self, place: int) -> None:
        """Move the cursor to a token."""
        if self._lens is None or not len(self._lens):
            return
        before = self._row_of.get(self.place, 0)
        self.place = max(0, min(len(self._lens) - 1, place))
        # A part of a character is drawn with the token that completes it.
        row = next((self._row_of[at] for at in range(self.place, len(self._lens)) if at in self._row_of), before)
        self.move_to(row)
        self.redraw(before, row)
        self.post_message(self.Placed(self.place))

    def action_step(self, step: int) -> None:
        self.go_to(self.place + step)

    def action_page(self, direction: int) -> None:
        row = max(0, min(len(self._rows) - 1, (self.cursor or 0) + direction * max(1, self._rows_in_sight() - 1)))
        self.go_to(self._rows[row][0][0] if self._rows and self._rows[row] else self.place + direction)

    def on_click(self, event: Click) -> None:
        event.prevent_default()
        index, x = round(self.scroll_y) + event.y, event.x
        for place, text in self._rows[index] if 0 <= index < len(self._rows) else ():
            x -= cell_len(text)
            if x < 0:
                self.go_to(place)
                return
