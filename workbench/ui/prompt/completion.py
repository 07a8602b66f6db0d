"""Completion of a command that is being typed: its candidates, and the list of them above the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import ClassVar

from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import styled
from workbench.ui.widgets.lines import Lines

ROWS = 6
"""Candidates that are shown."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One completion of the typed text."""

    text: str
    """The completed line."""
    help: str


def common_start(found: Sequence[Candidate]) -> str:
    """The common prefix of all candidates."""
    texts = [each.text for each in found]
    pairs = zip(min(texts, default=""), max(texts, default=""), strict=False)
    return "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


class Suggestions(Lines):
    """A short list above the prompt; hidden while there is nothing to complete."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"gauge--label", "gauge--value"}

    def show(self, found: Sequence[Candidate]) -> None:
        self.display = bool(found)
        shown = found[:ROWS]
        room = max(8, self.app.size.width // 2)
        names = min(room, max((len(each.text) for each in shown), default=0))
        lines = []
        for each in shown:
            name = clean_line(each.text)[:room].ljust(names)
            lines.append(styled((name, "gauge--value"), (f"  {each.help}", "gauge--label")))
        if len(found) > ROWS:
            lines.append(styled((f"{len(found) - ROWS} more: Tab completes, more letters narrow", "gauge--label")))
        self.set_lines([line.truncate(self.app.size.width - 2, ellipsis=True) for line in lines])
