"""The turns of the transcript: what the user wrote, what a model answered, and what the program has to say."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content, Span
from textual.events import Click
from textual.geometry import Size

from workbench.core.errors import WorkbenchError
from workbench.core.metrics import AnswerMetrics
from workbench.ui import format as fmt
from workbench.ui.document.plain import PlainDocument
from workbench.ui.document.streaming import StreamingDocument
from workbench.ui.sanitize import StreamCleaner, clean, clean_line
from workbench.ui.widgets.lines import Lines

LONG_TEXT = 2_000
"""Characters from which a question is shown folded."""
ENDINGS = {
    "length": "the token limit was reached",
    "context": "the context is full",
    "cancelled": "stopped",
    "failed": "failed",
    "interrupted": "interrupted",
}


class TurnLines(Lines, can_focus=True):
    """One turn."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,c", "copy", "Copy", id="turn.copy", tooltip="Copy the text of this turn to the clipboard."),
        Binding(
            "up,k", "app.focus_previous", "Previous", id="turn.previous", show=False, tooltip="Go to the turn above."
        ),
        Binding("down,j", "app.focus_next", "Next", id="turn.next", show=False, tooltip="Go to the turn below."),
        Binding("enter,space", "fold", "Fold", id="turn.fold", tooltip="Show or hide what is folded in this turn."),
    ]

    @property
    def text(self) -> str:
        """The turn's text as it was written."""
        return ""

    def lay_out(self, width: int) -> bool:
        """Fill the lines for a width; False where nothing had to change."""
        return False

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """One row a line, at this width."""
        if self.lay_out(width):
            self.forget_drawn()
        return len(self.lines)

    def action_copy(self) -> None:
        """Copy the text."""
        self.app.copy_to_clipboard(self.text)
        self.notify("Copied.", timeout=2)

    def action_fold(self) -> None:
        """Nothing is folded in most turns."""


class UserTurn(TurnLines):
    """What the user wrote; a long text is folded."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"turn--note"}

    def __init__(self, text: str) -> None:
        super().__init__(classes="user")
        self._text = text
        self._folded = len(text) > LONG_TEXT
        self._width = 0

    @property
    def text(self) -> str:
        """The turn's text as it was written."""
        return self._text

    def lay_out(self, width: int) -> bool:
        """Wrap the text."""
        if width == self._width:
            return False
        self._width = width
        shown = self._text[:LONG_TEXT] if self._folded else self._text
        document = PlainDocument()
        document.append(clean(shown).strip("\n"))
        document.resize(width)
        lines = document.lines
        if self._folded:
            note = f"… and {len(self._text) - LONG_TEXT:,} more characters; all of it is sent"
            lines = [*lines, Content(note, [Span(0, len(note), "turn--note")])]
        self._lines = lines
        return True

    def action_fold(self) -> None:
        """Show all of a long text, or its beginning."""
        if len(self._text) > LONG_TEXT:
            self._folded = not self._folded
            self._width = 0
            self.refresh(layout=True)


class AnswerTurn(TurnLines):
    """What a model answered: its thoughts, its words, and below them its figures."""

    INDENT = 2

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "turn--note",
        "turn--thought",
        "turn--figures",
        "turn--ending",
        "doc--h1",
        "doc--h2",
        "doc--h3",
        "doc--strong",
        "doc--em",
        "doc--strike",
        "doc--code",
        "doc--link",
        "doc--url",
        "doc--quote",
        "doc--quote-bar",
        "doc--marker",
        "doc--rule",
        "doc--table-header",
        "doc--code-block",
        "doc--code-label",
        "doc--comment",
        "doc--keyword",
        "doc--builtin",
        "doc--function",
        "doc--number",
        "doc--string",
        "doc--deleted",
    }

    def __init__(self, *, show_thoughts: bool) -> None:
        super().__init__(classes="answer")
        self._answer = StreamingDocument()
        self._thoughts = PlainDocument("turn--thought")
        self._answer_cleaner = StreamCleaner()
        self._thoughts_cleaner = StreamCleaner()
        self._written: list[str] = []
        self._show_thoughts = show_thoughts
        self._done = False
        self._figures = Content("")
        self._width = 0

    @property
    def text(self) -> str:
        """The answer as the model wrote it."""
        return "".join(self._written)

    def write(self, answer: str, thoughts: str) -> int:
        """Add what has come. Returns by how many rows the turn grows."""
        above = len(self._above())
        if thoughts:
            self._thoughts.append(self._thoughts_cleaner.feed(thoughts))
        if answer:
            self._written.append(answer)
            changed = self._answer.append(self._answer_cleaner.feed(answer))
        if not self._width:
            return 0
        if thoughts or above != len(self._above()):
            return self.set_lines(self._all())
        return self.replace_lines(above + changed, self._answer.lines[changed:])

    def finish(self, model: str, metrics: AnswerMetrics | None, reason: str) -> None:
        """The answer is complete: lay it out once as a whole, and put its figures below."""
        self._done = True
        self._answer.finish()
        self._figures = figures_line(model, metrics, reason)
        if self._width:
            self.set_lines(self._all())

    def show_thoughts(self, show: bool) -> None:
        """Open or fold what the model thought."""
        self._show_thoughts = show
        if self._width:
            self.set_lines(self._all())

    def lay_out(self, width: int) -> bool:
        """Lay out thoughts and answer."""
        if width == self._width:
            return False
        self._width = width
        self._answer.resize(self._room)
        self._thoughts.resize(max(8, self._room - 2))
        self._lines = self._all()
        return True

    @property
    def _room(self) -> int:
        return max(8, self._width - 2 * self.INDENT)

    def _above(self) -> list[Content]:
        """The lines above the answer."""
        thoughts = self._thoughts.source
        if not thoughts:
            return []
        thinking = not self._done and not self._written
        word = "Thinking…" if thinking else "Thought"
        arrow = "▾" if self._show_thoughts else "▸"
        head = f"{arrow} {word}  {len(thoughts):,} characters"
        lines = [Content(head, [Span(0, len(head), "turn--note")])]
        if self._show_thoughts:
            bar = Content("│ ", [Span(0, 1, "turn--note")])
            lines += [bar + line for line in self._thoughts.lines]
        if self._written:
            lines.append(Content(""))
        return lines

    def _all(self) -> list[Content]:
        lines = [*self._above(), *self._answer.lines]
        if not lines and not self._done:
            lines = [Content("…", [Span(0, 1, "turn--note")])]
        if self._figures:
            lines += [Content(""), *self._figures.wrap(self._room)]
        return lines

    def action_fold(self) -> None:
        """Open or fold the thoughts of this answer."""
        self.show_thoughts(not self._show_thoughts)

    def on_click(self, event: Click) -> None:
        """The line above the thoughts opens and folds them."""
        if self._thoughts.source and event.y == 0:
            self.action_fold()


def figures_line(model: str, metrics: AnswerMetrics | None, reason: str) -> Content:
    """The line of figures below an answer."""
    parts: list[str] = []
    if metrics is not None:
        mark = "≈" if metrics.estimated else ""
        if metrics.decode_tps is not None:
            parts.append(f"{fmt.rate(metrics.decode_tps)} tok/s")
        if metrics.ttft_ms is not None:
            parts.append(f"TTFT {fmt.milliseconds(metrics.ttft_ms)}")
        if metrics.completion_tokens is not None:
            parts.append(f"{mark}{fmt.count(metrics.completion_tokens)} tokens")
    if model:
        parts.append(clean_line(model))
    text = "  ·  ".join(parts)
    spans = [Span(0, len(text), "turn--figures")]
    if ending := ENDINGS.get(reason, ""):
        gap = "  ·  " if text else ""
        spans.append(Span(len(text), len(text) + len(gap) + len(ending), "turn--ending"))
        text = f"{text}{gap}{ending}"
    return Content(text, spans)


class Notice(Lines):
    """Something the program has to say between the turns: a title, and what to do about it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"notice--title"}

    def __init__(self, title: str, hint: str = "", severity: str = "error") -> None:
        super().__init__(classes=f"notice -{severity}")
        self._title = clean_line(title)
        self._hint = clean(hint)

    @classmethod
    def of(cls, error: WorkbenchError) -> Notice:
        """The notice that tells of `error`."""
        return cls(error.message, error.hint)

    @property
    def text(self) -> str:
        """What it says."""
        return f"{self._title}\n{self._hint}".rstrip()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many rows as it takes."""
        title = Content(self._title, [Span(0, len(self._title), "notice--title")])
        self._lines = title.wrap(width) + (Content(self._hint).wrap(width) if self._hint else [])
        self.forget_drawn()
        return len(self._lines)
