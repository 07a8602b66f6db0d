"""One answer, from the request to its last word; it knows the engine and the clock, and no widget."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.errors import EngineError, WorkbenchError
from workbench.core.events import Batch, Failed, Finished, PromptProgress, Token, TokenKind
from workbench.core.metrics import AnswerMetrics, Meter
from workbench.core.ports import Engine, Request
from workbench.ui.pacing import CPU_SHARE, FREE_SHARE, REAL_CLOCKS, Clocks, Emit, Pacer

Phase = Literal["waiting", "prefill", "decode", "done"]
PARTIAL_EVERY_NS = 1_000_000_000
"""How often a growing answer is put on disk."""

KeepPartial = Callable[[Message], Awaitable[None]]


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


class Answering:
    """Runs one answer.

    Args:
        engine: Who answers.
        request: What is asked.
        emit: Takes new text, at the pace at which it is to be drawn.
        paints_per_second: How often `emit` is called, at most.
        keep_partial: Puts what there is of the answer on disk.
        clocks: What the time is read from.
    """

    def __init__(
        self,
        engine: Engine,
        request: Request,
        emit: Emit,
        *,
        paints_per_second: int,
        keep_partial: KeepPartial,
        clocks: Clocks = REAL_CLOCKS,
    ) -> None:
        self._engine = engine
        self._request = request
        self._keep_partial = keep_partial
        self._clock = clocks.now_ns
        self._cancel = CancelToken()
        share = CPU_SHARE if engine.info.backend.startswith("CPU") else FREE_SHARE
        self._pacer = Pacer(emit, 1 / paints_per_second, share=share, clocks=clocks)
        self._texts: dict[TokenKind, list[str]] = {"answer": [], "reasoning": []}
        self._kept_ns = self._clock()
        self._keeping: asyncio.Task[None] | None = None
        self._end: Finished | Failed | None = None
        self.meter = Meter(self._clock())
        """The figures so far."""
        self.phase: Phase = "waiting"
        self.progress: PromptProgress | None = None
        """How far the prefill is."""

    @property
    def stopping(self) -> bool:
        """Whether it has been asked to stop."""
        return self._cancel.is_set

    def stop(self) -> None:
        """Ask it to stop; what was written stays."""
        self._cancel.set()

    async def run(self) -> Outcome:
        """Answer, and tell how it ended; an engine that fails is an outcome, not an exception."""
        self.meter = Meter(self._clock())
        try:
            async for batch in self._engine.generate(self._request, self._cancel):
                self._take(batch)
        except WorkbenchError as error:
            self._end = Failed(error, self._clock())
            self.meter.feed(self._end)
        finally:
            # On every way out: an engine that nobody listens to any more must not go on computing.
            self._cancel.set()
            self._pacer.flush()
            self.phase = "done"
            if self._keeping is not None:
                await asyncio.wait([self._keeping])
        return self._outcome()

    def message(self) -> Message:
        """The answer so far."""
        return Message("assistant", "".join(self._texts["answer"]), "".join(self._texts["reasoning"]))

    def _take(self, batch: Batch) -> None:
        for event in batch:
            self.meter.feed(event)
            match event:
                case PromptProgress():
                    self.progress = event
                    self.phase = "prefill"
                case Token():
                    self.phase = "decode"
                    self._write(event.text, event.kind)
                case Finished():
                    self._write(event.text, event.kind)
                    self._end = event
                case Failed():
                    self._end = event
        self._pacer.pulse()
        self._keep()

    def _write(self, text: str, kind: TokenKind) -> None:
        if text:
            self._texts[kind].append(text)
            self._pacer.add(text, kind)

    def _keep(self) -> None:
        now = self._clock()
        busy = self._keeping is not None and not self._keeping.done()
        if busy or now - self._kept_ns < PARTIAL_EVERY_NS or not any(self._texts.values()):
            return
        self._kept_ns = now
        self._keeping = asyncio.create_task(self._keep_now())

    async def _keep_now(self) -> None:
        await self._keep_partial(self.message())

    def _outcome(self) -> Outcome:
        metrics = self.meter.metrics()
        dropped = self.progress.dropped if self.progress else 0
        match self._end:
            case Finished() as end:
                return Outcome(self.message(), metrics, end.reason, dropped=dropped, seed=end.seed)
            case Failed() as failed:
                return Outcome(self.message(), metrics, "failed", failed.error, dropped)
        error = EngineError("The engine ended the answer without saying why.", "Look in the log, and try again.")
        return Outcome(self.message(), metrics, "failed", error, dropped)
