"""Plain text that grows at its end, as lines."""

from __future__ import annotations

from textual.content import Content

from workbench.ui.kit.text import wrap
from workbench.ui.markdown.code import TAB


class PlainDocument:
    """Text that is appended to, wrapped to a width that may change.

    Only the last row is open, and the one before it where a word is folded over both: a word that is wider than a row
    begins on a row of its own, and its full rows never change. The margin stands before every row, beside the width.
    """

    def __init__(self, style: str = "", margin: Content | None = None) -> None:
        self._style = style
        self._margin = margin
        self.length = 0
        """Characters so far."""
        self._source: list[str] = []
        self._width = 0
        self._open = ""
        """The text of the open rows."""
        self._open_rows = 0
        self.lines: list[Content] = []

    def resize(self, width: int) -> None:
        """Wrap everything again, where the width is another one."""
        if width != self._width:
            self._width = width
            self.lines = []
            self._open, self._open_rows = "", 0
            self._take("".join(self._source))

    def append(self, text: str) -> int:
        """Add to the end. Returns the first line that may have changed."""
        self._source.append(text)
        self.length += len(text)
        start = len(self.lines) - self._open_rows
        if self._width:
            self._take(text)
        return start

    def _take(self, text: str) -> None:
        if not text:
            return
        del self.lines[len(self.lines) - self._open_rows :]
        *complete, last = (self._open + text.replace("\t", TAB)).split("\n")
        for line in complete:
            self._show(self._wrap(line))
        rows = self._wrap(last)
        self._show(rows)
        start, self._open_rows = self._open_at(last, rows)
        self._open = last[start:]

    def _open_at(self, line: str, rows: list[Content]) -> tuple[int, int]:
        """Where in `line` the open rows begin, and how many of `rows` they are."""
        start, count = len(line.rstrip()), 0
        for row in reversed(rows[-2:]):
            # Wrapping takes blanks off the end of a row, but never off its beginning.
            start -= len(row.plain.rstrip())
            count += 1
            if start <= 0 or line[start - 1].isspace():
                break
        return max(0, start), count

    def _show(self, rows: list[Content]) -> None:
        self.lines += rows if self._margin is None else [self._margin + row for row in rows]

    def _wrap(self, line: str) -> list[Content]:
        # A blank after a word that fills its row would get a row of its own, but only where it came with the word.
        rows = wrap(Content(line.rstrip()), self._width)
        return [row.stylize_before(self._style) for row in rows] if self._style else rows
