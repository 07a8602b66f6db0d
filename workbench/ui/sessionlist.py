"""Sessions as rows of a list, and two of them side by side, without any widget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest

from textual.content import Content

from workbench.core.session import Session, SessionHit, SessionSummary
from workbench.core.tree import Turn
from workbench.ui import format as fmt
from workbench.ui.gauges import styled
from workbench.ui.pages import cut, padded
from workbench.ui.sanitize import clean, clean_line

DATE = 17
"""Columns of a date."""
MODEL, MESSAGES = 24, 9
NARROW = 70
"""Columns below which a row has no room for the model."""
LEAST_TITLE = 16
LONGEST_SHOWN = 4_000
"""Characters of a message that are shown where two sessions stand side by side."""


def day(at: float) -> str:
    """A time, as a list shows it."""
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M")


def summary_row(summary: SessionSummary, width: int, *, marked: bool = False, current: bool = False) -> Content:
    """A session in the list."""
    sign, style = _sign(summary, marked=marked, current=current)
    room = width - 2 - DATE - MESSAGES
    model = min(MODEL, room - LEAST_TITLE) if width >= NARROW else 0
    title = max(LEAST_TITLE, room - model - 1)
    cells = [
        (sign, style),
        (padded(clean_line(summary.title), title), "rows--strong" if current or summary.pinned else ""),
        (" ", ""),
    ]
    if model > 0:
        cells.append((padded(_short(summary.model), model), "rows--accent"))
    cells.append((f"{summary.messages:>{MESSAGES - 1},} ", "rows--figure"))
    cells.append((f"{day(summary.updated_at):>{DATE - 1}} ", "rows--dim"))
    return styled(*cells)


def hit_row(hit: SessionHit, width: int, *, marked: bool = False, current: bool = False) -> Content:
    """A session that was found, with the words that were looked for."""
    sign, style = _sign(hit.session, marked=marked, current=current)
    title = max(LEAST_TITLE, (width - 2 - DATE) // 3)
    room = max(0, width - 2 - title - 1 - DATE)
    start = _start(hit, room)
    cells = [(sign, style), (padded(clean_line(hit.session.title), title), "rows--strong"), (" ", "")]
    place = start
    shown = hit.snippet[start : start + room]
    for begin, end in hit.marks:
        if end <= start or begin >= start + room:
            continue
        cells.append((clean_line(hit.snippet[place:begin], strip=False), "rows--dim"))
        cells.append((clean_line(hit.snippet[max(begin, start) : end], strip=False), "rows--warning"))
        place = end
    cells.append((clean_line(hit.snippet[place : start + room], strip=False), "rows--dim"))
    fill = max(0, room - len(shown))
    cells.append((" " * fill + f"{day(hit.session.updated_at):>{DATE - 1}} ", "rows--dim"))
    return styled(*cells)
