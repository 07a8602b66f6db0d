"""Keeps the rows that Textual has drawn from staying in memory: importing this module changes its class of rows.

An answer that streams makes a row of new objects for each of its lines, and those that have scrolled away are of no
use. Checked against Textual 8.2.8, which is pinned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from rich.style import Style
from textual.strip import Strip

STYLES_KEPT = 1024
"""Styles whose escape sequences are cached. Textual keeps 16,384, and each row has its own: they name their place."""

_divide, _adjust_cell_length = Strip.divide, Strip.adjust_cell_length


def _divided(strip: Strip, cuts: Iterable[int]) -> Sequence[Strip]:
    """As `Strip.divide`; a row that stays whole does not keep itself, for the garbage collector, which runs seldom."""
    within = [cut for cut in cuts if cut <= strip.cell_length]
    return [strip] if within == [strip.cell_length] else _divide(strip, within)


def _adjusted(strip: Strip, cell_length: int, style: Style | None = None) -> Strip:
    """As `Strip.adjust_cell_length`; a row that is as long as it should be does not keep itself."""
    return strip if cell_length == strip.cell_length else _adjust_cell_length(strip, cell_length, style)


Strip.divide = _divided  # type: ignore[method-assign, assignment]
Strip.adjust_cell_length = _adjusted  # type: ignore[method-assign, assignment]
_render_ansi = vars(Strip)["render_ansi"].__func__.__wrapped__
Strip.render_ansi = classmethod(lru_cache(STYLES_KEPT)(_render_ansi))  # type: ignore[assignment, arg-type]
