"""What a model answers, while it comes and afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.content import Content, Span
from textual.events import Click

from workbench.core.metrics import AnswerMetrics
from workbench.core.recipe import GIVEN
from workbench.core.tree import EDITED, BranchPosition, Turn
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import StreamCleaner, clean_line
from workbench.ui.markdown.plain import PlainDocument
from workbench.ui.markdown.streaming import StreamingDocument
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


class AnswerTurn(TurnLines):
    """What a model answered: its thoughts, its words, and below them its figures."""

    DEFAULT_CSS = """
    AnswerTurn {
        margin: 1 0 0 0;

        & > .turn--note, & > .turn--figures {
            color: $muted;
        }

        & > .turn--thought {
            color: $muted;
            text-style: italic;
        }

        & > .turn--ending {
            color: $text-warning;
        }

        & > .doc--h1 {
            color: $title;
            text-style: bold underline;
        }

        & > .doc--h2 {
            color: $title;
            text-style: bold;
        }

        & > .doc--h3 {
            text-style: bold;
        }

        & > .doc--strong {
            text-style: bold;
        }

        & > .doc--em {
            text-style: italic;
        }

        & > .doc--strike {
            text-style: strike;
        }

        & > .doc--code {
            color: $code-builtin;
            background: $code-background;
        }

        & > .doc--link {
            color: $text-primary;
            text-style: underline;
        }

        & > .doc--url {
            color: $muted;
        }

        & > .doc--quote {
            color: $foreground 75%;
            text-style: italic;
        }

        & > .doc--quote-bar, & > .doc--marker {
            color: $title;
        }

        & > .doc--rule {
            color: $gauge-track;
        }

        & > .doc--table-header {
            text-style: bold;
        }

        & > .doc--code-block {
            background: $code-background;
        }

        & > .doc--code-label {
            background: $code-background;
            color: $muted;
            text-style: italic;
        }

        & > .doc--comment {
            color: $code-comment;
            text-style: italic;
        }

        & > .doc--keyword {
            color: $code-keyword;
        }

        & > .doc--builtin {
            color: $code-builtin;
        }

        & > .doc--function {
            color: $code-function;
        }

        & > .doc--number {
            color: $code-number;
        }

        & > .doc--string {
            color: $code-string;
        }

        & > .doc--deleted {
            color: $text-error;
        }
    }
    """
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

    @classmethod
    def of(cls, turn: Turn, labels: Mapping[str, str], *, show_thoughts: bool) -> AnswerTurn:
        """An answer that is complete.

        Args:
            turn: The answer.
            labels: What models are called, by their references.
            show_thoughts: Whether the thoughts are open.
        """
        widget = cls(show_thoughts=show_thoughts)
        widget.write(turn.message.content, turn.message.reasoning)
        widget.finish(labels.get(turn.model, turn.model), turn.metrics, turn.finish_reason)
        return widget

    @property
    def text(self) -> str:
        """The answer as the model wrote it."""
        return "".join(self._written)

    def put(self, number: int, place: BranchPosition) -> None:
        """Say which message it is, and which of its siblings."""
        super().put(number, place)
        if self._width:
            self.set_lines(self._all())

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
        if figures := self._below():
            lines += [Content(""), *figures.wrap(self._room)]
        return lines

    def _below(self) -> Content:
        branch = self._branch_text()
        gap = "  ·  " if branch and self._figures else ""
        return self._figures + Content(f"{gap}{branch}", [Span(0, len(gap) + len(branch), "turn--figures")])

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
        if metrics.energy_joules is not None:
            parts.append(fmt.energy(metrics.energy_joules, metrics.joules_per_token))
    if model:
        parts.append(clean_line(model))
    text = "  ·  ".join(parts)
    spans = [Span(0, len(text), "turn--figures")]
    if ending := ENDINGS.get(reason, ""):
        gap = "  ·  " if text else ""
        spans.append(Span(len(text), len(text) + len(gap) + len(ending), "turn--ending"))
        text = f"{text}{gap}{ending}"
    return Content(text, spans)
