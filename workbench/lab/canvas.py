"""A grid of characters, for plots that a terminal and a Markdown file show alike."""

from __future__ import annotations

from dataclasses import dataclass, field

Part = tuple[str, str]
"""A text, and its role, such as `axis`, `tick` or `mark`; empty for none."""


@dataclass
class Canvas:
    """Characters with their roles, by column and row."""

    width: int
    height: int
    cells: dict[tuple[int, int], Part] = field(default_factory=dict)

    def put(self, x: int, y: int, text: str, role: str, *, over: bool = True) -> None:
        """Write to the right of a place; what is outside is dropped. Not `over` what is there already."""
        for at, letter in enumerate(text, x):
            if 0 <= at < self.width and 0 <= y < self.height and (over or (at, y) not in self.cells):
                self.cells[at, y] = letter, role

    def is_free(self, x: int, y: int, length: int) -> bool:
        """Whether nothing is written on so many cells."""
        return x >= 0 and x + length <= self.width and not any((at, y) in self.cells for at in range(x, x + length))

    def row(self, y: int) -> list[Part]:
        """A row as texts of one role each."""
        parts: list[Part] = []
        for x in range(self.width):
            letter, role = self.cells.get((x, y), (" ", ""))
            if parts and parts[-1][1] == role:
                parts[-1] = parts[-1][0] + letter, role
            else:
                parts.append((letter, role))
        return parts


def bottom_line(width: int, ticks: list[tuple[int, str]], title: str, left: int, corner: str = "") -> list[list[Part]]:
    """The axis below a plot, and its figures: columns with their texts; `left` columns are beside the plot."""
    line, figures = ["─"] * width, [" "] * width
    last = -1
    for place, text in ticks:
        start = min(width - len(text), max(0, place - len(text) // 2))
        if start > last:
            line[place] = "┬"
            figures[start : start + len(text)] = text
            last = start + len(text)
    if last + len(title) + 1 < width:
        figures[-len(title) :] = title
    return [
        [(" " * left + "└", "axis"), ("".join(line), "axis")],
        [(f"{corner:>{left}} ", "tick"), ("".join(figures), "tick")],
    ]
