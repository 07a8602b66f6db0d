"""An answer in progress, assembled from the events of an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.core.chat import Message
from workbench.core.errors import EngineError, WorkbenchError
from workbench.core.events import Event, Failed, Finished, PromptProgress, ThreadsUsed, Token, TokenKind
from workbench.core.formats import Verdict
from workbench.core.metrics import AnswerMetrics, Meter

Phase = Literal["waiting", "prefill", "decode", "done"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an answer."""

    message: Message
    metrics: AnswerMetrics
    reason: str
    """The finish reason, or `failed`."""
    error: WorkbenchError | None = None
    dropped: int = 0
    """Messages left out so that the conversation fits in the context."""
    seed: int | None = None
    notice: str = ""
    """A note to the user about how it was made; empty for none."""
    verdict: Verdict | None = None
    """Whether it has the format that was asked for; None where none was."""


def ending_notice(message: Message, end: Finished) -> str:
    """The note on an answer without a text, or that a server has ended; empty for others."""
    limit = "the limit of the server" if end.server_limit else "the token limit (num_predict)"
    if end.reason == "cancelled":
        return ""
    if message.content.strip():
        return f"The answer was ended by {limit}." if end.server_limit else ""
    if message.reasoning.strip():
        if end.reason == "stop":
            return "The model wrote thoughts and no answer. Continue the answer, or ask again."
        used = "filled the context" if end.reason == "context" else f"used up {limit}"
        return f"The thoughts {used}: there is no answer yet. Continue the answer, or raise the limit and ask again."
    if end.usage.unseen_tokens:
        return f"The answer has no text: the server spent {end.usage.unseen_tokens:,} tokens on thoughts it hides."
    if end.reason == "stop":
        return "The model wrote nothing: it ended the answer without a text."
    if end.usage.completion_tokens or end.reason == "context" or end.server_limit:
        return f"The answer has no text: it ended at {'the context' if end.reason == 'context' else limit}."
    return ""


class Answer:
    """An answer in progress."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.phase: Phase = "waiting"
        self.progress: PromptProgress | None = None
        self.threads: ThreadsUsed | None = None
        """Those that write it; None where they are not adapted."""
        self._texts: dict[TokenKind, list[str]] = {"answer": [], "reasoning": []}
        self._end: Finished | Failed | None = None

    def feed(self, event: Event) -> None:
        """Add one event of the answer."""
        self.meter.feed(event)
        match event:
            case PromptProgress():
                self.progress = event
                self.phase = "prefill"
            case Token():
                self.phase = "decode"
                if event.recast:
                    self._texts["reasoning"] += self._texts["answer"]
                    self._texts["answer"] = []
                self._texts[event.kind].append(event.text)
            case ThreadsUsed():
                self.threads = event
            case Finished():
                self._texts["reasoning"].append(event.thoughts)
                self._texts[event.kind].append(event.text)
                self._end = event
                self.phase = "done"
            case Failed():
                self._end = event
                self.phase = "done"

    @property
    def has_text(self) -> bool:
        """Whether any text was generated."""
        return any(map(any, self._texts.values()))

    @property
    def has_answer(self) -> bool:
        """Whether any text of the answer itself was generated."""
        return any(self._texts["answer"])

    @property
    def is_thinking(self) -> bool:
        """Whether thoughts are being written."""
        return self.phase == "decode" and any(self._texts["reasoning"]) and not self.has_answer

    def message(self) -> Message:
        """The answer so far."""
        # One text in place of many short ones, each of which takes ten times the memory of its characters.
        for kind, parts in self._texts.items():
            self._texts[kind] = ["".join(parts)]
        return Message("assistant", self._texts["answer"][0], self._texts["reasoning"][0])

    def outcome(self) -> Outcome:
        """The result; an engine that stopped without a final event has failed."""
        metrics = self.meter.metrics()
        dropped = self.progress.dropped if self.progress else 0
        match self._end:
            case Finished() as end:
                dropped = dropped or end.dropped
                message = self.message()
                notices = (
                    ending_notice(message, end),
                    end.verdict.notice if end.verdict and message.content else "",
                    end.notice,
                )
                return Outcome(
                    message,
                    metrics,
                    end.reason,
                    dropped=dropped,
                    seed=end.seed,
                    notice=" ".join(filter(None, notices)),
                    verdict=end.verdict,
                )
            case Failed() as failed:
                return Outcome(self.message(), metrics, "failed", failed.error, dropped)
        error = EngineError("The engine ended the answer without a reason.", "See the log, and try again.")
        return Outcome(self.message(), metrics, "failed", error, dropped)
