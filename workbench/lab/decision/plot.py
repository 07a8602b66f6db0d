"""The plot of a decision in characters: speed to the right, divergence upwards to less, a mark for each contender.

The best is at the top right. A full circle was measured, a hollow one is estimated; its size is that of the file, the
letter its key. Lines are 95 % intervals. So it reads the same without colours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.core.units import ticks_between
from workbench.lab.canvas import Canvas, Part, bottom_line
from workbench.lab.decision.contender import Contender, Figure

MARKS = "•●⬤", "◦○◯"
"""Measured and estimated, from small files to large ones."""
LEAST_KLD = 1e-4
"""Divergences below this are drawn as 0."""
_LEFT = 8
"""Columns of the figures at the side."""


def mark_of(contender: Contender, largest: int) -> str:
    """The mark of a contender, by the size of its file beside the largest one."""
    share = contender.file_bytes / largest if largest else 1.0
    drawn = [contender.speed, contender.kld]
    estimated = not contender.is_measured or any(figure is not None and figure.estimated for figure in drawn)
    return MARKS[estimated][0 if share < 0.45 else 1 if share < 0.8 else 2]


@dataclass(frozen=True, slots=True)
class _Drawn:
    contender: Contender
    speed: Figure
    kld: Figure


_Scale = Callable[[float], int]
"""The column of a speed, or the row of a divergence."""


def plot_rows(contenders: Sequence[Contender], chosen: str, width: int, height: int) -> list[list[Part]]:
    """The rows of the plot, each as parts with their roles; none where nothing has both figures."""
    found = [
        _Drawn(each, each.speed, each.kld) for each in contenders if each.speed is not None and each.kld is not None
    ]
    across, up = width - _LEFT - 1, height - 2
    if not found or across < 20 or up < 3:
        return []
    canvas = Canvas(across, up)
    column, ticks = _columns(found, across)
    row, levels = _rows(found, up)
    largest = max(each.file_bytes for each in contenders)
    # The chosen one last, so that nothing covers it.
    found.sort(key=lambda each: (each.contender.key == chosen, each.contender.is_measured))
    for each in found:
        _draw_interval(canvas, each, column, row)
    for each in found:
        contender = each.contender
        role = "chosen" if contender.key == chosen else "mark" if contender.is_measured else "estimate"
        canvas.put(column(each.speed.value), row(each.kld.value), mark_of(contender, largest), role)
    for each in reversed(found):
        role = "chosen" if each.contender.key == chosen else "label"
        _draw_label(canvas, each.contender, column(each.speed.value), row(each.kld.value), role)
    rows: list[list[Part]] = []
    for y in range(up):
        level = levels.get(y, "")
        rows.append([(f"{level:>{_LEFT}}", "tick"), ("┤" if level else "│", "axis"), *canvas.row(y)])
    return [*rows, *bottom_line(across, ticks, "tokens/s", _LEFT, "KLD")]


def _columns(found: Sequence[_Drawn], width: int) -> tuple[_Scale, list[tuple[int, str]]]:
    ends = [each.speed.value for each in found]
    ends += [end for each in found if not each.speed.estimated for end in each.speed.interval or ()]
    low, high = max(0.0, min(ends)), max(ends)
    room = (high - low) * 0.06 or high * 0.1 or 1.0
    low, high = max(0.0, low - room), high + room

    def column(value: float) -> int:
        return max(0, min(width - 1, round((value - low) / (high - low) * (width - 1))))

    return column, [(column(each), f"{each:g}") for each in ticks_between(low, high, max(2, width // 14))]


def _rows(found: Sequence[_Drawn], height: int) -> tuple[_Scale, dict[int, str]]:
    """Divergences on a logarithmic scale, the least at the top; 0 has the first row."""
    values = [each.kld.value for each in found if each.kld.value > LEAST_KLD]
    low, high = (min(values), max(values)) if values else (LEAST_KLD, 1.0)
    low, high = math.log10(low) - 0.1, math.log10(high) + 0.1
    first = int(len(values) < len(found))
    steps = (height - 1 - first) / (high - low)

    def row(value: float) -> int:
        if value <= LEAST_KLD:
            return 0
        return max(first, min(height - 1, first + round((math.log10(value) - low) * steps)))

    levels = {0: "0"} if first else {}
    powers = range(math.floor(low), math.ceil(high) + 1)
    for step in (factor * 10.0**power for power in powers for factor in (1, 2, 5)):
        if low <= math.log10(step) <= high and not {row(step) - 1, row(step)} & levels.keys():
            levels[row(step)] = f"{step:g}"
    return row, levels


def _draw_interval(canvas: Canvas, each: _Drawn, column: _Scale, row: _Scale) -> None:
    if each.kld.interval is not None and not each.kld.estimated:
        top, bottom = map(row, each.kld.interval)
        for y in range(top, bottom + 1):
            canvas.put(column(each.speed.value), y, "│", "interval")
    if each.speed.interval is not None and not each.speed.estimated:
        left, right = map(column, each.speed.interval)
        if right > left:
            canvas.put(left, row(each.kld.value), f"├{'─' * (right - left - 1)}┤", "interval")


def _draw_label(canvas: Canvas, contender: Contender, x: int, y: int, role: str) -> None:
    """The key and the label of a mark, at the first place beside it that is free; the key alone where none is."""
    right = x
    while canvas.cells.get((right + 1, y), ("", ""))[1] == "interval":
        right += 1
    for text in (f"{contender.key} {contender.label}", contender.key):
        left = x - len(text)
        for at, line in ((right + 2, y), (x + 1, y - 1), (x + 1, y + 1), (left - 1, y), (left, y - 1)):
            if 0 <= line < canvas.height and canvas.is_free(at - 1, line, len(text) + 1):
                canvas.put(at, line, text, role)
                return
