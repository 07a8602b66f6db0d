"""Mouse reports of a terminal, in the form that Textual reads."""

from __future__ import annotations

import re


class MouseReports:
    """Rewrites mouse reports of the oldest form, ESC [ M and three bytes, as those with decimal numbers (SGR).

    A terminal sends the oldest form where it does not know the modes that were asked for, or has lost them, such as one
    that was attached again. Their bytes may be no UTF-8, or two of them one character of it.
    """

    _REPORT = re.compile(rb"\x1b\[M(.)(.)(.)", re.DOTALL)
    _OPEN = re.compile(rb"(?:\x1b(?:\[(?:M.{0,2})?)?)?\Z", re.DOTALL)

    def __init__(self) -> None:
        self.seen = False
        """Whether there was any such report in the last bytes."""
        self._tail = b""
        """What may be the beginning of a report."""
        self._given = 0
        """How much of it was returned already."""

    def feed(self, data: bytes) -> bytes:
        """The next bytes of the terminal, rewritten; an unfinished report is kept back until the rest of it comes."""
        text, found = self._REPORT.subn(self._decimal, self._tail + data)
        self.seen = found > 0
        end = open_.start() if (open_ := self._OPEN.search(text)) else len(text)
        self._tail = text[end:]
        # Its first two bytes may as well be the Escape key, which cannot wait.
        stop = max(self._given, end if len(self._tail) > 2 else len(text))
        returned, self._given = text[self._given : stop], stop - end
        return returned

    @staticmethod
    def _decimal(report: re.Match[bytes]) -> bytes:
        button, x, y = (group[0] - 32 for group in report.groups())
        released = button & 3 == 3 and not button & 96
        return b"\x1b[<%d;%d;%d%c" % (button & ~3 if released else button, x, y, b"m" if released else b"M")
