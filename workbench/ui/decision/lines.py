"""A decision as styled lines, without any widget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.content import Content

from workbench.core.units import UNKNOWN
from workbench.lab.canvas import Part
from workbench.lab.decision.constraints import State
from workbench.lab.decision.contender import Contender
from workbench.lab.decision.plot import plot_rows
from workbench.lab.decision.record import DecisionRecord, contender_cells
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import DONE, FAILED, cut, padded, paragraph, styled

VERDICT_STYLES = {"choice": "rows--good", "unsure": "rows--warning", "none": "rows--error", "nothing": "rows--accent"}
_SIGNS: Mapping[State, tuple[str, str]] = {
    "met": DONE, "failed": FAILED, "unsure": ("?", "rows--warning"), "unknown": ("–", "rows--dim"),
}  # fmt: skip
"""The sign of a constraint of a contender, in the order of the constraints."""
_WIDTHS = (4, 0, 8, 14, 9, 16, 7, 9, 9, 9)
"""Columns of `CONTENDER_COLUMNS`; the second takes what is left."""
_HEADINGS = ("", "", "tokens/s", "95 %", "KLD", "95 %", "prompts", "file", "memory", "context")
_DROPPED = (9, 5, 3, 8)
"""Columns that a narrow screen leaves out, the first ones first."""
LEAST_LABEL = 14


def answer_lines(record: DecisionRecord, measure_key: str, width: int) -> list[Content]:
    """The answer, and what would tell more."""
    lines = paragraph(clean_line(record.answer.sentence), width, style=VERDICT_STYLES[record.answer.verdict])
    if record.commands:
        more = f" and {len(record.commands) - 1} more" if len(record.commands) > 1 else ""
        command = cut(record.commands[0], max(10, width - len(measure_key) - len(more) - 8))
        lines.append(styled((measure_key, "rows--figure"), (f" runs {command}{more}", "rows--dim")))
    return lines


def plot_of(record: DecisionRecord, width: int, height: int) -> Sequence[Sequence[Part]]:
    """The plot of a decision."""
    return plot_rows(record.contenders, record.answer.chosen, width, height)


def _columns(width: int) -> tuple[list[int], int]:
    """The columns that fit, and the width of the labels."""
    shown = list(range(len(_WIDTHS)))
    for dropped in (-1, *_DROPPED):
        shown = [each for each in shown if each != dropped]
        room = width - sum(_WIDTHS[each] + 1 for each in shown) - 8
        if room >= LEAST_LABEL:
            break
    return shown, max(LEAST_LABEL, min(room, 40))


def _row(cells: Sequence[str], width: int) -> list[str]:
    shown, room = _columns(width)
    return [padded(cells[each], _WIDTHS[each] or room, right=each > 1) for each in shown]


def header_line(width: int) -> Content:
    """The headings of the contenders."""
    return styled((" ".join(_row(_HEADINGS, width)), "rows--header"))


def contender_line(record: DecisionRecord, contender: Contender, width: int) -> Content:
    """A contender with its figures, and a sign for each constraint."""
    mark, label, *figures = _row(contender_cells(record, contender), width)
    chosen = contender.key == record.answer.chosen
    style = "rows--figure" if chosen else "rows--name" if contender.is_measured else "rows--dim"
    parts = [(f"{mark} ", "rows--accent"), (f"{label} ", style)]
    parts += [(f"{each} ", "rows--dim" if each.strip() == UNKNOWN else "") for each in figures]
    parts += [_SIGNS[limit.state(contender)] for limit in record.constraints.items]
    return styled(*parts)
