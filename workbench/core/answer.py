"""One answer as it grows, put together from the events of an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.core.chat import Message
from workbench.core.errors import EngineError, WorkbenchError
from workbench.core.events import Event, Failed, Finished, PromptProgress, Token, TokenKind
from workbench.core.metrics import AnswerMetrics, Meter

Phase = Literal["waiting", "prefill", "decode", "done"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an answer ended."""

    message: Message
    metrics: AnswerMetrics
    reason: str
    """The finish reason, or `failed`."""
    error: WorkbenchError | None = None
    dropped: int = 0
    """Messages that were left out so that the conversation fits in the context."""
    seed: int | None = None
    notice: str = ""
    """What the user ought to know of how it came about; empty for nothing."""


class Answer:
    """What there is of an answer.

    Args:
        meter: Takes its figures.
    """

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        """The figures so far."""
        self.phase: Phase = "waiting"
        self.progress: PromptProgress | None = None
        """How far the prefill is."""
        self._texts: dict[TokenKind, list[str]] = {"answer": [], "reasoning": []}
        self._end: Finished | Failed | None = None

    def feed(self, event: Event) -> None:
        """Take one event of the answer."""
        self.meter.feed(event)
        match event:
            case PromptProgress():
                self.progress = event
                self.phase = "prefill"
            case Token():
                self.phase = "decode"
                self._texts[event.kind].append(event.text)
            case Finished():
                self._texts[event.kind].append(event.text)
                self._end = event
                self.phase = "done"
            case Failed():
                self._end = event
                self.phase = "done"

    @property
    def has_text(self) -> bool:
        """Whether anything was written."""
        return any(map(any, self._texts.values()))

    def message(self) -> Message:
        """The answer so far."""
        return Message("assistant", "".join(self._texts["answer"]), "".join(self._texts["reasoning"]))

    def outcome(self) -> Outcome:
        """How it ended; an engine that broke off without a word has failed."""
        metrics = self.meter.metrics()
        dropped = self.progress.dropped if self.progress else 0
        match self._end:
            case Finished() as end:
                dropped = dropped or end.dropped
                return Outcome(self.message(), metrics, end.reason, dropped=dropped, seed=end.seed, notice=end.notice)
            case Failed() as failed:
                return Outcome(self.message(), metrics, "failed", failed.error, dropped)
        error = EngineError("The engine ended the answer without saying why.", "Look in the log, and try again.")
        return Outcome(self.message(), metrics, "failed", error, dropped)
