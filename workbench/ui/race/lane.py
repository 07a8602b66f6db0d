"""One lane of a race: its figures above its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import Click, Resize
from textual.geometry import Size
from textual.message import Message

from workbench.lab.race.lane import Lane
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean
from workbench.ui.markdown.plain import PlainDocument
from workbench.ui.race.lines import (
    answer_lines,
    difference_lines,
    head_lines,
    history_lines,
    question_lines,
    settings_lines,
    warning_lines,
)
from workbench.ui.widgets.lines import Lines


class RaceLines(Lines):
    """Lines in the colours of a race, for figures, texts and the machine's meters."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--header", "lane--name", "lane--reference", "lane--figure", "lane--value", "lane--dim", "lane--good",
        "lane--warn", "lane--bad", "lane--question", "lane--thought", "lane--parted", "lane--added", "lane--missing",
        "gauge--bar", "gauge--track", "gauge--label", "gauge--value", "gauge--warn", "gauge--critical",
    }  # fmt: skip


class LaneText(RaceLines):
    """The text of a lane."""

    @dataclass
    class Placed(Message):
        """It has got a width, or another one: its lines have to be laid out."""

    def __init__(self) -> None:
        super().__init__()
        self._above: list[Content] = []
        self._document = PlainDocument()
        self._taken = 0
        self._key: object = None
        self._placed = 0
        """The width that it was last given."""
        self.differences: list[int] = []
        """The rows on which differences from the reference begin, where those are shown."""

    def show(self, lane: Lane, questions: Sequence[str], divergence: int | None, against: str | None) -> int:
        """Show a lane, its differences from the text `against` where there is one; gives the growth in rows.

        Text that has only grown is appended. `divergence` is the index of the first token that differs from the
        reference.
        """
        width = self.size.width
        if not width:
            return 0
        writing = lane.state == "writing" and against is None
        key = (id(lane), width, lane.question, writing)
        if key == self._key and writing:
            changed = self._take(lane)
            return self.replace_lines(len(self._above) + changed, self._document.lines[changed:])
        self._key = key
        self._above = above = [*warning_lines(lane, width), *settings_lines(lane, width)]
        if lane.question < 0:
            return self.set_lines(above)
        above += [*history_lines(lane, questions, width), *question_lines(questions[lane.question], width)]
        self.differences = []
        if writing:
            self._document, self._taken = PlainDocument(), 0
            self._document.resize(width)
            self._take(lane)
            return self.set_lines([*above, *self._document.lines])
        if against is not None and lane.answer is not None:
            lines, rows = difference_lines(against, lane.answer.message().content, width)
            self.differences = [len(above) + row for row in rows]
            return self.set_lines([*above, *lines])
        return self.set_lines([*above, *answer_lines(lane, divergence, width)])

    def _take(self, lane: Lane) -> int:
        """Append the new text; gives the first line that changed."""
        message = lane.answer.message() if lane.answer else None
        gap = "\n\n" if message and message.reasoning and message.content else ""
        text = message.reasoning + gap + message.content if message else ""
        changed = self._document.append(clean(text[self._taken :]))
        self._taken = len(text)
        return changed

    def on_resize(self, event: Resize) -> None:
        if event.size.width != self._placed:
            self._placed = event.size.width
            self.post_message(self.Placed())

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines)


class LaneScroll(VerticalScroll, can_focus=True):
    """The scrollable text of a lane, with the keys of the lane."""

    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        key("lane.continue", "enter", "Chat", "Continue this lane in the chat.", action="lane('continue')"),
        key("lane.remove", "x,delete", "Remove", "Remove this lane from the race.", action="lane('remove')"),
        key("lane.swap", "o", "Swap", "Replace the model of this lane.", action="lane('swap')"),
        key("lane.tune", "e", "Settings", "Give this lane its own settings.", action="lane('tune')"),
        key("lane.stop", "t", "Stop lane", "Stop this lane; the others continue.", action="lane('stop')"),
        key("lane.answer_now", "ctrl+b", "Answer now",
            "End the thoughts of this lane.", action="lane('answer_now')", show=False),
        key("lane.export", "m", "Modelfile", "Export this lane as a Modelfile.", action="lane('export')"),
        key("lane.diff", "w", "Words", "Compare the text with lane 1 word by word.", action="lane('diff')"),
        key("lane.lens", "L", "Lens",
            "Look at the answer of lane 1 through the model of this lane.", action="lane('lens')", show=False),
        key("lane.next", "n", "Next", "Go to the next difference from lane 1.", action="lane('next')"),
        key("lane.previous", "p", "Previous", "Go to the previous difference.", action="lane('previous')", show=False),
        key("lane.right", "right,l", "Next lane", "Go to the next lane.", action="lane('right')", show=False),
        key("lane.left", "left,h", "Previous lane", "Go to the previous lane.", action="lane('left')", show=False),
    ]
    # fmt: on
    # What is typed after a click is for the prompt, and no key of a lane.
    FOCUS_ON_CLICK = False

    @dataclass
    class Asked(Message):
        """The user has pressed a key of this lane."""

        what: str
        scroll: LaneScroll

    @dataclass
    class Scrolled(Message):
        """The user has scrolled."""

        scroll: LaneScroll

    def action_lane(self, what: str) -> None:
        self.post_message(self.Asked(what, self))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Scrolled(self))


class LaneColumn(Vertical):
    """A lane on the screen."""

    def __init__(self, lane: Lane) -> None:
        super().__init__()
        self.lane = lane
        self.head = RaceLines()
        self.text = LaneText()
        self.scroll = LaneScroll(self.text)
        self._question = -1
        """The question that was shown last."""
        self._follows = False
        """Whether the text is to be scrolled to its end as soon as it is higher than the lane."""

    def on_click(self, event: Click) -> None:
        if event.widget is self.head:
            self.scroll.focus()

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.scroll

    def show(
        self, questions: Sequence[str], divergence: int | None, against: str | None, reference: Lane | None
    ) -> None:
        if not self.size.width:
            return
        self.head.set_lines(head_lines(self.lane, max(8, self.head.size.width), reference))
        self.text.show(self.lane, questions, divergence, against)
        if self._question != self.lane.question:
            self._question, self._follows = self.lane.question, True
        if self._follows and self.text.virtual_size.height > self.scroll.size.height:
            self._follows = False
            self.scroll.anchor()
        self._follows &= self.lane.state == "writing"
