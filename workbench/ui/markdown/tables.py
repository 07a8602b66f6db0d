"""Tables laid out as lines."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content, Span

MIN_COLUMN = 3
_GAP = " │ "


def column_widths(natural: Sequence[int], room: int) -> list[int]:
    """The widths that columns get when together they may take `room` cells: the widest ones give way first."""
    widths = [max(MIN_COLUMN, width) for width in natural]
    excess = sum(widths) - room
    while excess > 0:
        widest = max(widths)
        if widest <= MIN_COLUMN:
            break
        wide = [index for index, width in enumerate(widths) if width == widest]
        below = max((width for width in widths if width < widest), default=MIN_COLUMN)
        step = max(1, min(widest - max(below, MIN_COLUMN), excess // len(wide)))
        for index in wide:
            if excess <= 0:
                break
            cut = min(step, excess)
            widths[index] -= cut
            excess -= cut
    return widths


def _natural_width(cell: Content) -> int:
    return (
        max(line.cell_length for line in cell.split("\n", allow_blank=True)) if "\n" in cell.plain else cell.cell_length
    )


def _place(cell: Content, width: int, alignment: str) -> Content:
    space = max(0, width - cell.cell_length)
    if "right" in alignment:
        return cell.pad_left(space)
    if "center" in alignment:
        return cell.pad(space // 2, space - space // 2)
    return cell.pad_right(space)


def table_lines(rows: Sequence[Sequence[Content]], alignments: Sequence[str], width: int) -> list[Content]:
    """A table; the first of `rows` is its header."""
    # A row that is too wide is cropped: columns beyond the width would never be seen.
    count = min(len(alignments), width // (MIN_COLUMN + len(_GAP)) + 1)
    natural = [
        max((_natural_width(row[column]) for row in rows if column < len(row)), default=0) for column in range(count)
    ]
    widths = column_widths(natural, width - len(_GAP) * (count - 1))
    gap = Content(_GAP, [Span(0, len(_GAP), "doc--rule")])
    rule = "─┼─".join("─" * column for column in widths)
    lines: list[Content] = []
    for index, row in enumerate(rows):
        cells = [cell.wrap(column) if cell else [] for cell, column in zip(row, widths, strict=False)]
        for y in range(max((len(cell) for cell in cells), default=1) or 1):
            parts = [
                _place(cell[y] if y < len(cell) else Content(""), widths[column], alignments[column])
                for column, cell in enumerate(cells)
            ]
            line = gap.join(parts)
            lines.append(line.stylize_before("doc--table-header") if index == 0 else line)
        if index == 0:
            lines.append(Content(rule, [Span(0, len(rule), "doc--rule")]))
    return lines
