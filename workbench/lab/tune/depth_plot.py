"""A plot in characters: strips one below the other over one axis, each with a scale of its own from 0.

Curves have different marks, so that the plot reads the same without colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from workbench.lab.canvas import Canvas, Part, bottom_line

MARKS = "●◆▲■"
STRIP_HEIGHT = 6
_LEFT = 8
"""Columns of the figures at the side."""

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Strip:
    """One quantity."""

    title: str
    curves: tuple[tuple[str, Points], ...]
    """By label: places on the common axis, and figures."""


def strip_rows(strips: Sequence[Strip], width: int, height: int = STRIP_HEIGHT) -> list[list[Part]]:
    """The plot in rows of `width` columns, `height` rows a strip; empty where there is no room or nothing to draw."""
    across = width - _LEFT - 1
    strips = [strip for strip in strips if any(points for _, points in strip.curves)]
    places = sorted({place for strip in strips for _, points in strip.curves for place, _ in points})
    if not strips or across < 20 or height < 3:
        return []
    far = places[-1] or 1.0
    rows: list[list[Part]] = []
    labels = [label for label, _ in strips[0].curves]
    if len(labels) > 1:
        legend = "   ".join(f"{MARKS[number % len(MARKS)]} {label}" for number, label in enumerate(labels))
        rows.append([(" " * (_LEFT + 1), ""), (legend, "label")])
    for strip in strips:
        rows += _strip(strip, across, height, far)
    ticks = [(_column(place, far, across), f"{place:,.0f}") for place in places]
    return [*rows, *bottom_line(across, ticks, "", _LEFT, "depth")]


def _column(place: float, far: float, across: int) -> int:
    return round(place / far * (across - 1))


def _strip(strip: Strip, across: int, height: int, far: float) -> list[list[Part]]:
    top = max(figure for _, points in strip.curves for _, figure in points) or 1.0
    canvas = Canvas(across, height)

    def place(point: tuple[float, float]) -> tuple[int, int]:
        return _column(point[0], far, across), height - 1 - round(point[1] / top * (height - 1))

    for _, points in strip.curves:
        _join(canvas, [place(point) for point in points])
    # The first curve last, so that nothing covers it.
    for number, (_, points) in reversed(list(enumerate(strip.curves))):
        for point in points:
            canvas.put(*place(point), MARKS[number % len(MARKS)], "mark")
    length = len(strip.title)
    corners = [(x, y) for y in (0, height - 2) for x in (across - length - 1, 2)]
    # Where no corner is free, the first one: without its name a strip says nothing.
    x, y = next((corner for corner in corners if canvas.is_free(corner[0] - 1, corner[1], length + 2)), corners[0])
    canvas.put(x, y, strip.title, "label")
    figures = {0: f"{top:.3g}"[:_LEFT], height - 1: "0"}
    return [
        [(f"{figures.get(y, ''):>{_LEFT}}", "tick"), ("┤" if y in figures else "│", "axis"), *canvas.row(y)]
        for y in range(height)
    ]


def _join(canvas: Canvas, places: Sequence[tuple[int, int]]) -> None:
    for (x, y), (to_x, to_y) in pairwise(places):
        for column in range(x + 1, to_x):
            canvas.put(column, round(y + (to_y - y) * (column - x) / (to_x - x)), "·", "interval")
