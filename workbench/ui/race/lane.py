"""One lane of a race: its figures above its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.message import Message

from workbench.lab.race.race import Lane
from workbench.ui.kit.sanitize import clean
from workbench.ui.markdown.plain import PlainDocument
from workbench.ui.race.lines import (
    answer_lines,
    difference_lines,
    head_lines,
    history_lines,
    question_lines,
    warning_lines,
)
from workbench.ui.widgets.lines import Lines

STYLES = frozenset(
    f"lane--{name}"
    for name in (
        "name", "reference", "figure", "value", "dim", "good", "warn", "bad", "heading",
        "question", "thought", "parted", "added", "missing",
    )
)  # fmt: skip
"""The component classes of everything on the race screen."""
METER_STYLES = frozenset(f"gauge--{name}" for name in ("bar", "track", "label", "value", "warn", "critical"))
"""And of the meters of the machine."""


class RaceLines(Lines):
    """Lines in the colours of a race."""

    DEFAULT_CSS = """
    RaceLines {
        & > .lane--name { color: $title; text-style: bold; }
        & > .lane--reference { color: $text-accent; }
        & > .lane--figure { color: $figure; text-style: bold; }
        & > .lane--value { color: $foreground; }
        & > .lane--dim, & > .lane--thought { color: $muted; }
        & > .lane--thought { text-style: italic; }
        & > .lane--heading { color: $muted; text-style: bold; }
        & > .lane--good { color: $text-success; }
        & > .lane--warn { color: $text-warning; }
        & > .lane--bad { color: $text-error; }
        & > .lane--question { color: $you; text-style: bold; }
        & > .lane--parted { color: $text-warning; text-style: bold reverse; }
        & > .lane--added { color: $text-success; text-style: underline; }
        & > .lane--missing { color: $text-error; text-style: strike; }
        & > .gauge--bar { color: $gauge; }
        & > .gauge--track { color: $gauge-track; }
        & > .gauge--label { color: $muted; }
        & > .gauge--value { color: $foreground; }
        & > .gauge--warn { color: $gauge-warn; }
        & > .gauge--critical { color: $gauge-critical; text-style: bold; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {*STYLES, *METER_STYLES}


class LaneText(RaceLines):
    """What a lane has written."""

    def __init__(self) -> None:
        super().__init__()
        self._lane: Lane | None = None
        self._questions: Sequence[str] = ()
        self._divergence: int | None = None
        self._against: str | None = None
        self._above: list[Content] = []
        self._document = PlainDocument()
        self._taken = 0
        self._key: object = None
        self.differences: list[int] = []
        """The rows on which differences from the reference begin, where those are shown."""

    def show(self, lane: Lane, questions: Sequence[str], divergence: int | None, against: str | None) -> int:
        """Show a lane; text that only grew is only added to.

        Args:
            lane: The lane.
            questions: What was asked.
            divergence: The token at which it leaves the reference.
            against: The text to show the difference to; None for none.

        Returns:
            The growth in rows.
        """
        width = self.size.width
        if not width:
            return 0
        self._lane, self._questions, self._divergence, self._against = lane, questions, divergence, against
        writing = lane.state == "writing" and against is None
        key = (id(lane), width, lane.question, writing)
        if key == self._key and writing:
            return self._grow(lane)
        self._key = key
        return self.set_lines(self._laid_out(width))

    def _laid_out(self, width: int) -> list[Content]:
        lane = self._lane
        if lane is None:
            return []
        self._above = warning_lines(lane, width)
        if lane.question < 0:
            return self._above
        self._above += history_lines(lane, self._questions, width)
        self._above += question_lines(self._questions[lane.question], width)
        self.differences = []
        if lane.state == "writing" and self._against is None:
            self._document, self._taken = PlainDocument(), 0
            self._document.resize(width)
            self._take(lane)
            return [*self._above, *self._document.lines]
        if self._against is not None and lane.answer is not None:
            lines, rows = difference_lines(self._against, lane.answer.message().content, width)
            self.differences = [len(self._above) + row for row in rows]
            return [*self._above, *lines]
        return [*self._above, *answer_lines(lane, self._divergence, width)]

    def _take(self, lane: Lane) -> int:
        """Take the text that has come; gives the first line of the text that changed."""
        message = lane.answer.message() if lane.answer else None
        text = message.reasoning + message.content if message else ""
        changed = self._document.append(clean(text[self._taken :]))
        self._taken = len(text)
        return changed

    def _grow(self, lane: Lane) -> int:
        changed = self._take(lane)
        return self.replace_lines(len(self._above) + changed, self._document.lines[changed:])

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """One row a line."""
        return len(self._lines)


class LaneScroll(VerticalScroll, can_focus=True):
    """The text of a lane, to be scrolled; it has the keys of the lane."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "lane('continue')", "Chat", id="lane.continue", tooltip="Go on in the chat with this lane."),
        Binding("delete,x", "lane('remove')", "Remove", id="lane.remove", tooltip="Throw this lane out of the race."),
        Binding("o", "lane('swap')", "Swap", id="lane.swap", tooltip="Put another model into this lane."),
        Binding(
            "e",
            "lane('tune')",
            "Settings",
            id="lane.tune",
            tooltip="Give this lane settings of its own.",
        ),
        Binding("s", "lane('stop')", "Stop lane", id="lane.stop", tooltip="Stop this lane; the others go on."),
        Binding("m", "lane('export')", "Modelfile", id="lane.export", tooltip="Export this lane as a Modelfile."),
        Binding("d", "lane('diff')", "Diff", id="lane.diff", tooltip="Show the text word by word against lane 1."),
        Binding("n", "lane('next')", "Next", id="lane.next", tooltip="Go to the next difference from lane 1."),
        Binding(
            "p", "lane('previous')", "Before", id="lane.previous", show=False, tooltip="Go to the difference before."
        ),
        Binding("right,l", "app.focus_next", "Next lane", id="lane.right", show=False, tooltip="Go to the next lane."),
        Binding(
            "left,h", "app.focus_previous", "Lane before", id="lane.left", show=False, tooltip="Go to the lane before."
        ),
    ]

    @dataclass
    class Asked(Message):
        """The user asks for something to be done with this lane."""

        what: str
        scroll: LaneScroll

    @dataclass
    class Scrolled(Message):
        """The user has scrolled."""

        scroll: LaneScroll

    def action_lane(self, what: str) -> None:
        """Ask the screen for it."""
        self.post_message(self.Asked(what, self))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Tell of it, for scrolling that is tied."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Scrolled(self))


class LaneColumn(Vertical):
    """A lane on the screen."""

    @dataclass
    class Placed(Message):
        """It has a place on the screen, or another one than before: what it shows has to be laid out."""

    def __init__(self, lane: Lane) -> None:
        super().__init__()
        self.lane = lane
        self.head = RaceLines()
        self.text = LaneText()
        self.scroll = LaneScroll(self.text)

    def on_resize(self) -> None:
        """Ask for its lines: without a width there could be none."""
        self.post_message(self.Placed())

    def compose(self) -> ComposeResult:
        """The figures above the text."""
        yield self.head
        yield self.scroll

    def show(
        self, questions: Sequence[str], divergence: int | None, against: str | None, reference: Lane | None
    ) -> None:
        """Bring it up to date."""
        if not self.size.width:
            return
        self.head.set_lines(head_lines(self.lane, max(8, self.head.size.width), reference))
        self.text.show(self.lane, questions, divergence, against)
        overflows = self.text.virtual_size.height > self.scroll.size.height
        if self.lane.state == "writing" and overflows and not self.scroll.is_anchored and not self.scroll.has_focus:
            self.scroll.anchor()
