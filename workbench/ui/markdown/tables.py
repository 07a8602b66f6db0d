"""Tables laid out as lines."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content, Span

MIN_COLUMN = 3
LONGEST_WORD = 24
"""Cells of a word, an address for example, from which it may be broken where a table has no room."""
_GAP = " │ "


def column_widths(natural: Sequence[int], room: int, words: Sequence[int] = ()) -> list[int] | None:
    """The widths that columns get when together they may take `room` cells: the widest ones give way first.

    No column gets narrower than its longest word, `words`. None where there is no room for that.
    """
    least = [max(MIN_COLUMN, word) for word in words] or [MIN_COLUMN] * len(natural)
    if sum(least) > room:
        return None
    widths = list(map(max, natural, least))
    excess = sum(widths) - room
    while excess > 0:
        above = [index for index, width in enumerate(widths) if width > least[index]]
        widest = max(widths[index] for index in above)
        wide = [index for index in above if widths[index] == widest]
        # Down to the next narrower column, or to the word that stops one of these.
        stops = [least[index] for index in wide] + [width for width in widths if width < widest]
        step = max(1, min(widest - max(stops), excess // len(wide)))
        for index in wide:
            cut = min(step, excess)
            widths[index] -= cut
            excess -= cut
    return widths


def _natural_width(cell: Content) -> int:
    return (
        max(line.cell_length for line in cell.split("\n", allow_blank=True)) if "\n" in cell.plain else cell.cell_length
    )


def _longest_word(cell: Content) -> int:
    return max((cell_len(word) for word in cell.plain.split()), default=0)


def _place(cell: Content, width: int, alignment: str) -> Content:
    space = max(0, width - cell.cell_length)
    if "right" in alignment:
        return cell.pad_left(space)
    if "center" in alignment:
        return cell.pad(space // 2, space - space // 2)
    return cell.pad_right(space)


def table_lines(rows: Sequence[Sequence[Content]], alignments: Sequence[str], width: int) -> list[Content]:
    """A table; the first of `rows` is its header. Where its words do not fit side by side, each row is a block."""
    count = len(alignments)
    columns = [[row[column] for row in rows if column < len(row)] for column in range(count)]
    words = [max(map(_longest_word, column), default=0) for column in columns]
    natural = [max(map(_natural_width, column), default=0) for column in columns]
    room = width - len(_GAP) * (count - 1)
    widths = column_widths(natural, room, words)
    widths = widths or column_widths(natural, room, [min(word, LONGEST_WORD) for word in words])
    if widths is None:
        return _blocks(rows, count, width)
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


def _blocks(rows: Sequence[Sequence[Content]], count: int, width: int) -> list[Content]:
    """A table that is too wide, as a block for each row: the titles of the columns, and beside them the cells."""
    header = [_on_a_line(cell) for cell in rows[0]] + [Content("")] * (count - len(rows[0]))
    word = max(map(_longest_word, header))
    names = max(1, min(max(title.cell_length for title in header), max(width // 3, min(word, width // 2))))
    rule = "─" * width
    lines: list[Content] = []
    for row in rows[1:] or [[]]:
        if lines:
            lines.append(Content(rule, [Span(0, width, "doc--rule")]))
        for column, title in enumerate(header):
            cell = row[column] if column < len(row) else Content("")
            left = title.stylize_before("doc--table-header").wrap(names) or [Content("")]
            right = cell.wrap(max(1, width - names - 2)) if cell else []
            for y in range(max(len(left), len(right), 1)):
                name = left[y] if y < len(left) else Content("")
                value = right[y] if y < len(right) else Content("")
                lines.append(_place(name, names + 2, "") + value)
    return lines


def _on_a_line(cell: Content) -> Content:
    return Content(" ").join(cell.split("\n", allow_blank=True)) if "\n" in cell.plain else cell
