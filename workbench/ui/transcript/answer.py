"""The answers of models in the transcript, while they are streamed and afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.content import Content
from textual.events import Click
from typing_extensions import override

from workbench.core.alternatives import ChoiceLog
from workbench.core.formats import language_of_format
from workbench.core.metrics import AnswerMetrics
from workbench.core.recipe import GIVEN
from workbench.core.tree import EDITED, BranchPosition, Turn
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import StreamCleaner, clean_line
from workbench.ui.kit.text import MEASURE, styled, wrap
from workbench.ui.markdown.plain import PlainDocument
from workbench.ui.markdown.streaming import StreamingDocument
from workbench.ui.markdown.styles import MARKDOWN_STYLES, style_sheet
from workbench.ui.transcript.shades import SHADES, TokenShades
from workbench.ui.transcript.turns import TurnLines

ENDINGS = {
    "length": "the token limit was reached",
    "context": "the context is full",
    "cancelled": "stopped",
    "failed": "failed",
    "interrupted": "interrupted",
    EDITED: "edited",
    GIVEN: "given by the Modelfile",
}

LONG_ROWS = 600
"""Rows of an answer whose end is shown before it is laid out as a whole: that takes 25 ms."""
FENCE = "`" * 20
"""Longer than a fence that an answer may have in its text."""

STYLES = {
    "turn--note": "color: $muted;",
    "turn--figures": "color: $muted;",
    "turn--thought": "color: $muted; text-style: italic;",
    "turn--ending": "color: $text-warning;",
    **MARKDOWN_STYLES,
    **SHADES,
}


class AnswerTurn(TurnLines):
    """An answer of a model: its thoughts, its text, and below them its figures."""

    DEFAULT_CSS = "AnswerTurn { margin: 1 0 0 0; }\n" + style_sheet("AnswerTurn", STYLES)
    INDENT = 2
    COMPONENT_CLASSES: ClassVar[set[str]] = set(STYLES)

    def __init__(self, *, show_thoughts: bool, form: str = "") -> None:
        """`form` is the value of the parameter `format`: an answer that has one is shown as code."""
        super().__init__(classes="answer")
        language = language_of_format(form)
        self._opening = "" if language is None else f"{FENCE}{language}\n"
        self._answer = StreamingDocument()
        self._thoughts = PlainDocument("turn--thought", styled(("│", "turn--note"), (" ", "")))
        self._answer_cleaner = StreamCleaner()
        self._thoughts_cleaner = StreamCleaner()
        self._written: list[str] = []
        self._show_thoughts = show_thoughts
        self._done = False
        self._figures = Content("")
        self._shades: TokenShades | None = None
        self._figures_at = 0
        """The row of the figures below the answer; a click on them enters the message."""
        self._width = 0

    @classmethod
    def of(cls, turn: Turn, labels: Mapping[str, str], *, show_thoughts: bool) -> AnswerTurn:
        widget = cls(show_thoughts=show_thoughts, form=turn.making.sampling.format if turn.making else "")
        widget.write(turn.message.content, turn.message.reasoning)
        widget.finish(labels.get(turn.model, turn.model), turn.metrics, turn.finish_reason)
        return widget

    @property
    @override
    def text(self) -> str:
        return "".join(self._written)

    @property
    @override
    def markdown(self) -> str:
        return self._opening + self.text

    @override
    def put(self, number: int, place: BranchPosition) -> None:
        super().put(number, place)
        self._set_all()

    def write(self, answer: str, thoughts: str) -> int:
        """Add a fragment. Returns by how many rows the turn grows."""
        above = self._rows_above
        changed = 0
        if thoughts:
            thought = self._thoughts.append(self._thoughts_cleaner.feed(thoughts))
        if answer:
            opening = "" if self._written else self._opening
            self._written.append(answer)
            changed = self._answer.append(opening + self._answer_cleaner.feed(answer))
        if not self._width:
            return 0
        if not thoughts and above == self._rows_above:
            return self.replace_lines(above + changed, self._answer_lines(changed))
        if self._written or not above:
            return self.set_lines(self._all())
        self.replace_line(0, self._head())
        return self.replace_lines(1 + thought, self._thoughts.lines[thought:]) if self._show_thoughts else 0

    def recast(self) -> None:
        """Take the answer so far as thoughts."""
        text, self._written = self.text, []
        self._answer, self._answer_cleaner = StreamingDocument(), StreamCleaner()
        if self._width:
            self._answer.resize(self._room)
        self._thoughts.append(self._thoughts_cleaner.feed(text))
        self._set_all()

    def shade(self, log: ChoiceLog) -> None:
        """Shade unlikely words from now on; they are drawn with what is written next."""
        if self._shades is None:
            self._shades = TokenShades(log)

    @property
    def choices(self) -> ChoiceLog | None:
        """The choices by which it is shaded; None for none."""
        return None if self._shades is None else self._shades.log

    def _answer_lines(self, start: int = 0) -> list[Content]:
        lines = self._answer.lines
        return lines[start:] if self._shades is None else self._shades.over(lines, start)

    def finish(self, model: str, metrics: AnswerMetrics | None, reason: str) -> None:
        """Lay out the complete answer once as a whole, with its figures below."""
        self._done = True
        self._figures = figures_line(model, metrics, reason)
        if len(self._answer.lines) > LONG_ROWS and self.is_attached:
            # The layout takes longer than Escape may.
            self._set_all()
            self.call_after_refresh(self._lay_out_whole)
        else:
            self._lay_out_whole()

    def _lay_out_whole(self) -> None:
        self._answer.finish()
        self._set_all()

    def show_thoughts(self, show: bool) -> None:
        self._show_thoughts = show
        self._set_all()

    def _set_all(self) -> None:
        if self._width:
            self.set_lines(self._all())

    @override
    def lay_out(self, width: int) -> bool:
        if width == self._width:
            return False
        self._width = width
        self._answer.resize(self._room)
        self._thoughts.resize(max(8, min(MEASURE, self._room - 2)))
        self._lines = self._all()
        return True

    @property
    def _room(self) -> int:
        return max(8, self._width - 2 * self.INDENT)

    def _head(self) -> Content:
        """The line above the thoughts."""
        word = "Thought" if self._done or self._written else "Thinking…"
        arrow = "▾" if self._show_thoughts else "▸"
        return Content.styled(f"{arrow} {word}  {self._thoughts.length:,} characters", "turn--note")

    @property
    def _rows_above(self) -> int:
        """The number of lines above the answer."""
        if not self._thoughts.length:
            return 0
        return 1 + (len(self._thoughts.lines) if self._show_thoughts else 0) + bool(self._written)

    def _all(self) -> list[Content]:
        lines: list[Content] = []
        if self._thoughts.length:
            shown = self._thoughts.lines if self._show_thoughts else []
            lines = [self._head(), *shown, *([Content("")] if self._written else [])]
        lines += self._answer_lines()
        if not lines and not self._done:
            lines = [styled(("…", "turn--note"))]
        branch = self._branch_text()
        gap = "  ·  " if branch and self._figures else ""
        if below := self._figures + styled((f"{gap}{branch}", "turn--figures")):
            self._figures_at = len(lines) + 1
            lines += [Content(""), *wrap(below, self._room)]
        return lines

    @override
    def action_fold(self) -> None:
        self.show_thoughts(not self._show_thoughts)

    def on_click(self, event: Click) -> None:
        if self.enters(event):
            return
        if self._thoughts.length and event.y == 0:
            self.action_fold()
        elif self._done and event.y >= self._figures_at:
            self.focus()


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
        if metrics.energy_joules is not None:
            parts.append(fmt.energy(metrics.energy_joules, metrics.joules_per_token))
    if model:
        parts.append(clean_line(model))
    text = "  ·  ".join(parts)
    ending = ENDINGS.get(reason, "")
    gap = "  ·  " if text and ending else ""
    return styled((text, "turn--figures"), (f"{gap}{ending}", "turn--ending"))
