"""Sessions as rows of a list, and two of them side by side, as styled lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest

from textual.content import Content

from workbench.core.session import Session, SessionHit, SessionSummary
from workbench.core.tree import Turn
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean, clean_line
from workbench.ui.kit.text import cut, padded, styled

DATE = 17
"""Columns of a date."""
MODEL, MESSAGES = 24, 9
NARROW = 70
"""Columns below which a row has no room for the model."""
LEAST_TITLE = 16
LONGEST_SHOWN = 4_000
"""Characters of a message that are shown where two sessions stand side by side."""


def day(at: float) -> str:
    """A time in seconds since the epoch, as local date and time."""
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
    """A session in the results of a search, with the words that were found."""
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
        cells.append((clean_line(hit.snippet[place:begin]), "rows--dim"))
        cells.append((clean_line(hit.snippet[max(begin, start) : end]), "rows--warning"))
        place = end
    cells.append((clean_line(hit.snippet[place : start + room]), "rows--dim"))
    fill = max(0, room - len(shown))
    cells.append((" " * fill + f"{day(hit.session.updated_at):>{DATE - 1}} ", "rows--dim"))
    return styled(*cells)


def _sign(summary: SessionSummary, *, marked: bool, current: bool) -> tuple[str, str]:
    if marked:
        return "◆ ", "rows--accent"
    if current:
        return "● ", "rows--good"
    return ("▲ ", "rows--figure") if summary.pinned else ("  ", "")


def _short(model: str) -> str:
    """A model reference without its folders."""
    return clean_line(model.rsplit("/", 1)[-1])


def _start(hit: SessionHit, room: int) -> int:
    """Where a snippet begins so that the first found word is visible."""
    if not hit.marks or hit.marks[0][1] <= room:
        return 0
    return max(0, hit.marks[0][0] - room // 3)


@dataclass(frozen=True, slots=True)
class _Column:
    lines: Sequence[Content]
    width: int

    def line(self, index: int) -> Content:
        found = self.lines[index] if index < len(self.lines) else Content("")
        return found + Content(" " * max(0, self.width - found.cell_length))


def pair_lines(first: Session, second: Session, width: int) -> list[Content]:
    """Two conversations side by side, message by message; the first message in which they differ is marked."""
    half = max(12, (width - 3) // 2)
    lines = [_row(_head(first, half, "A"), _head(second, half, "B"), 0), Content("")]
    differed = False
    for one, other in zip_longest(first.turns, second.turns):
        differs = one is None or other is None or one.message != other.message
        if differs and not differed:
            differed = True
            lines.append(styled(("─── first difference ".ljust(2 * half + 3, "─"), "rows--warning")))
        left, right = _cell(one, half), _cell(other, half)
        height = max(len(left.lines), len(right.lines))
        lines += [_row(left, right, index) for index in range(height)]
        lines.append(Content(""))
    if not differed:
        lines.append(styled(("Both have the same messages.", "rows--dim")))
    return lines


def _row(left: _Column, right: _Column, index: int) -> Content:
    return left.line(index) + styled((" │ ", "rows--track")) + right.line(index)


def _head(session: Session, width: int, letter: str) -> _Column:
    style = "rows--first" if letter == "A" else "rows--second"
    text = f"{letter} {cut(session.title, width - 2)}"
    return _Column([styled((text, style))], width)


def _cell(turn: Turn | None, width: int) -> _Column:
    if turn is None:
        return _Column([styled((fmt.DASH, "rows--dim"))], width)
    speaker = "You" if turn.message.role == "user" else _short(turn.model) or turn.message.role
    facts = []
    if turn.metrics is not None:
        if turn.metrics.decode_tps is not None:
            facts.append(f"{fmt.rate(turn.metrics.decode_tps)} tok/s")
        if turn.metrics.completion_tokens is not None:
            count = turn.metrics.completion_tokens
            facts.append(f"{count:,} {'token' if count == 1 else 'tokens'}")
    name = cut(speaker, width - sum(len(fact) + 2 for fact in facts))
    lines = [styled((name, "rows--heading"), ("".join(f"  {fact}" for fact in facts), "rows--dim"))]
    text = clean(turn.message.content[:LONGEST_SHOWN]).expandtabs(4)
    for line in text.split("\n"):
        lines += Content(line).wrap(width) if line else [Content("")]
    if len(turn.message.content) > LONGEST_SHOWN:
        lines.append(styled((f"… and {len(turn.message.content) - LONGEST_SHOWN:,} more characters", "rows--dim")))
    return _Column(lines, width)
