"""Bars, graphs, big digits and rows of figures as styled lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content

from workbench.ui.kit import figures as fmt
from workbench.ui.kit.text import styled

GRAPH_ROWS = 2
WARN_AT = 0.80
CRITICAL_AT = 0.95
_BLOCKS = " ▁▂▃▄▅▆▇█"
_GLYPHS = (
    "┏━┓ ╻ ╺━┓╺━┓╻ ╻┏━╸┏━╸╺━┓┏━┓┏━┓   ",
    "┃ ┃ ┃ ┏━┛ ━┫┗━┫┗━┓┣━┓  ┃┣━┫┗━┫╺━╸",
    "┗━┛ ╹ ┗━╸╺━┛  ╹╺━┛┗━┛  ╹┗━┛╺━┛   ",
)
_DIGITS = {
    **{each: [row[3 * at : 3 * at + 3] for row in _GLYPHS] for at, each in enumerate(f"0123456789{fmt.DASH}")},
    ".": [" ", " ", "•"],
    ",": [" ", " ", "╹"],
}


@dataclass(frozen=True, slots=True)
class Ranked:
    """A line that is dropped where there is no room: the highest rank first, rank 1 never."""

    rank: int
    content: Content


def bar(fraction: float | None, width: int, style: str = "gauge--bar") -> Content:
    """A thin bar with a resolution of half a cell; empty where the fraction is unknown."""
    if fraction is None:
        return styled(("─" * width, "gauge--track"))
    full, half = divmod(round(max(0.0, min(1.0, fraction)) * width * 2), 2)
    text = "━" * full + "╸" * half
    return styled((text, style), ("─" * (width - len(text)), "gauge--track"))


def level(fraction: float | None) -> str:
    """The component class of a bar by how full it is."""
    if fraction is None or fraction < WARN_AT:
        return "gauge--bar"
    return "gauge--critical" if fraction >= CRITICAL_AT else "gauge--warn"


def graph(values: Sequence[float], width: int) -> list[Content]:
    """The newest `width` values as columns, scaled to the highest of them."""
    shown = values[-width:]
    top = max(shown, default=0.0)
    steps = GRAPH_ROWS * 8
    heights = [max(1, round(value / top * steps)) if top > 0 else 1 for value in shown]
    lines: list[Content] = []
    for row in reversed(range(GRAPH_ROWS)):
        text = "".join(_BLOCKS[max(0, min(8, height - row * 8))] for height in heights)
        ground = " " if row else "▁"
        lines.append(styled((ground * (width - len(text)), "gauge--track"), (text, "gauge--graph")))
    return lines


def sparkline(values: Sequence[float | None], width: int) -> Content:
    """The newest `width` shares, 0 to 1, as columns of one row; a gap where one is unknown."""
    shown = values[-width:]
    text = "".join(" " if value is None else _BLOCKS[max(1, min(8, round(value * 8)))] for value in shown)
    return styled(("▁" * (width - len(text)), "gauge--track"), (text, "gauge--graph"))


def digits(text: str) -> list[str]:
    """`text` in glyphs of three rows."""
    glyphs = [_DIGITS.get(character, ["   "] * 3) for character in text]
    return ["".join(glyph[row] for glyph in glyphs) for row in range(3)]


def figure_row(label: str, value: str, width: int, note: str = "") -> Content:
    """A label on the left, its figure on the right."""
    room = max(1, width - len(label) - len(value) - len(note))
    return styled((label, "gauge--label"), (" " * room, ""), (value, "gauge--value"), (note, "gauge--label"))


def heading_row(title: str, width: int, right: str = "", style: str = "gauge--label") -> Content:
    """A heading on the left, a detail on the right."""
    gap = max(1, width - cell_len(title) - cell_len(right))
    return styled((title, "gauge--heading"), (" " * gap, ""), (right, style))


def joined(parts: Sequence[tuple[tuple[str, str], ...]], width: int) -> Content:
    """Groups of styled texts with a separator between them, as many as fit."""
    shown: list[tuple[str, str]] = []
    for part in parts:
        wider = [*shown, *([(" │ ", "gauge--track")] if shown else []), *part]
        if sum(len(text) for text, _ in wider) > width:
            break
        shown = wider
    return styled(*shown)


GAUGE_STYLES = {
    "gauge--model",
    "gauge--heading",
    "gauge--label",
    "gauge--value",
    "gauge--figure",
    "gauge--graph",
    "gauge--bar",
    "gauge--track",
    "gauge--warn",
    "gauge--critical",
}
