"""Sessions as rows of a list, and two of them side by side, as styled lines."""

from __future__ import annotations

from datetime import datetime
from itertools import zip_longest

from textual.content import Content

from workbench.core.session import Session, SessionHit, SessionSummary
from workbench.core.tree import Turn
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean, clean_line
from workbench.ui.kit.text import beside, cut, padded, styled, wrap

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
    strong = "rows--strong" if current or summary.pinned else ""
    cells = [(sign, style), (padded(summary.title, title), strong), (" ", "")]
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
    # The first found word is visible.
    first, behind = hit.marks[0] if hit.marks else (0, 0)
    start = place = max(0, first - room // 3) if behind > room else 0
    cells = [(sign, style), (padded(hit.session.title, title), "rows--strong"), (" ", "")]
    for begin, end in hit.marks:
        if end <= start or begin >= start + room:
            continue
        cells.append((clean_line(hit.snippet[place:begin]), "rows--dim"))
        cells.append((clean_line(hit.snippet[max(begin, start) : end]), "rows--warning"))
        place = end
    cells.append((clean_line(hit.snippet[place : start + room]), "rows--dim"))
    fill = max(0, room - len(hit.snippet[start : start + room]))
    cells.append((" " * fill + f"{day(hit.session.updated_at):>{DATE - 1}} ", "rows--dim"))
    return styled(*cells)


def _sign(summary: SessionSummary, *, marked: bool, current: bool) -> tuple[str, str]:
    if marked:
        return "◆ ", "rows--accent"
    if current:
        return "● ", "rows--good"
    return ("★ ", "rows--figure") if summary.pinned else ("  ", "")


def _short(model: str) -> str:
    """A model reference without its folders."""
    return clean_line(model.rsplit("/", 1)[-1])


def pair_lines(first: Session, second: Session, width: int) -> list[Content]:
    """Two conversations side by side, message by message; the first message in which they differ is marked."""
    half = max(12, (width - 3) // 2)
    heads = ((first, "A", "rows--first"), (second, "B", "rows--second"))
    left, right = ([styled((f"{letter} {cut(each.title, half - 2)}", style))] for each, letter, style in heads)
    lines = [*beside(left, right, half), Content("")]
    differed = False
    for one, other in zip_longest(first.turns, second.turns):
        if not differed and (one is None or other is None or one.message != other.message):
            differed = True
            lines.append(styled(("─── first difference ".ljust(2 * half + 3, "─"), "rows--warning")))
        lines += [*beside(_turn_lines(one, half), _turn_lines(other, half), half), Content("")]
    if not differed:
        lines.append(styled(("Both have the same messages.", "rows--dim")))
    return lines


def _turn_lines(turn: Turn | None, width: int) -> list[Content]:
    if turn is None:
        return [styled((fmt.DASH, "rows--dim"))]
    speaker = "You" if turn.message.role == "user" else _short(turn.model) or turn.message.role
    facts = []
    if turn.metrics is not None:
        if turn.metrics.decode_tps is not None:
            facts.append(f"{fmt.rate(turn.metrics.decode_tps)} tok/s")
        if turn.metrics.completion_tokens is not None:
            facts.append(fmt.counted(turn.metrics.completion_tokens, "token"))
    name = cut(speaker, width - sum(len(fact) + 2 for fact in facts))
    lines = [styled((name, "rows--heading"), ("".join(f"  {fact}" for fact in facts), "rows--dim"))]
    text = clean(turn.message.content[:LONGEST_SHOWN]).expandtabs(4)
    for line in text.split("\n"):
        lines += wrap(Content(line), width) if line else [Content("")]
    if len(turn.message.content) > LONGEST_SHOWN:
        lines.append(styled((f"… and {len(turn.message.content) - LONGEST_SHOWN:,} more characters", "rows--dim")))
    return lines
