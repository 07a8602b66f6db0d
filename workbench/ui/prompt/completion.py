"""How a command that is being typed can go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import styled
from workbench.ui.widgets.lines import Lines

ROWS = 6
"""Candidates that are shown."""


class Suggestions(Lines):
    """A short list above the prompt; it is not there while nothing is to be completed."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"gauge--label", "gauge--value"}

    def show(self, found: Sequence[Candidate]) -> None:
        """Show what there is to choose from."""
        self.display = bool(found)
        shown = found[:ROWS]
        width = max((len(each.text) for each in shown), default=0)
        room = max(8, self.app.size.width // 2)
        lines = []
        for each in shown:
            name = clean_line(each.text)[:room].ljust(min(width, room))
            lines.append(styled((name, "gauge--value"), (f"  {each.help}", "gauge--label")))
        if len(found) > ROWS:
            lines.append(styled((f"{len(found) - ROWS} more: Tab completes, more letters choose", "gauge--label")))
        width = self.app.size.width
        self.set_lines([line.truncate(width - 2, ellipsis=True) for line in lines])


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to go on with what was typed."""

    text: str
    """The whole line as it would be then."""
    help: str


def common_start(found: Sequence[Candidate]) -> str:
    """As much as all candidates begin with."""
    texts = [each.text for each in found]
    low, high = min(texts, default=""), max(texts, default="")
    same = next((place for place, (one, other) in enumerate(zip(low, high, strict=False)) if one != other), len(low))
    return low[:same]
