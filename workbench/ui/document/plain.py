"""Plain text that grows at its end, as lines."""

from __future__ import annotations

from textual.content import Content

from workbench.ui.document.code import TAB


class PlainDocument:
    """Text that is appended to, wrapped to a width that may change.

    Only the last row is open: a word that grows can at most leave it for the next one.

    Args:
        style: The component class of all of it.
    """

    def __init__(self, style: str = "") -> None:
        self._style = style
        self._source: list[str] = []
        self._width = 0
        self._open = ""
        self.lines: list[Content] = []

    @property
    def source(self) -> str:
        """The whole text so far."""
        return "".join(self._source)

    def resize(self, width: int) -> bool:
        """Wrap everything anew; False where it has that width already."""
        if width == self._width:
            return False
        self._width = width
        self.lines = []
        self._open = ""
        self._take(self.source)
        return True

    def append(self, text: str) -> int:
        """Add to the end. Returns the first line that may have changed."""
        self._source.append(text)
        start = max(0, len(self.lines) - 1)
        if self._width:
            self._take(text)
        return start

    def _take(self, text: str) -> None:
        if not text:
            return
        if self.lines:
            self.lines.pop()
        *complete, last = (self._open + text.replace("\t", TAB)).split("\n")
        for line in complete:
            self.lines += self._wrap(line)
        rows = self._wrap(last)
        self.lines += rows
        # The row's own text, with the space that wrapping took off its end.
        self._open = last[len(last.rstrip()) - len(rows[-1].plain.rstrip()) :] if last.strip() else last

    def _wrap(self, line: str) -> list[Content]:
        rows = Content(line).wrap(self._width)
        return [row.stylize_before(self._style) for row in rows] if self._style else rows
