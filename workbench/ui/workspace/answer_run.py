"""Running one answer, from the request to its last token, and measuring its energy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial

from workbench.core.alternatives import ChoiceLog
from workbench.core.answer import Answer, Outcome
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.energy import energy_of_span
from workbench.core.engine import Engine, Request
from workbench.core.errors import WorkbenchError
from workbench.core.events import Batch, Failed, Finished, Token
from workbench.core.metrics import Meter
from workbench.core.telemetry import Telemetry
from workbench.core.trace import Tracer
from workbench.ui.workspace.pacing import CPU_SHARE, FREE_SHARE, REAL_CLOCKS, Clocks, Emit, Pacer

NO_ALTERNATIVES = "This model reports no probabilities of tokens: no alternatives were recorded."
PARTIAL_EVERY_NS = 500_000_000
"""How often a growing answer is written to disk: a crash may lose one second of it, at most."""


class AnswerRun:
    """Runs one answer.

    Args:
        emit: Takes new text, at most `paints_per_second` times a second.
        keep_partial: Writes the unfinished answer to disk.
    """

    def __init__(
        self,
        engine: Engine,
        request: Request,
        emit: Emit,
        *,
        paints_per_second: int,
        keep_partial: Callable[[Message], Coroutine[None, None, None]],
        clocks: Clocks = REAL_CLOCKS,
    ) -> None:
        self._engine = engine
        self._answer_now = CancelToken()
        self._request = replace(request, answer_now=self._answer_now)
        self._keep_partial = keep_partial
        self._clock = clocks.now_ns
        self._cancel = CancelToken()
        share = CPU_SHARE if engine.info.backend.startswith("CPU") else FREE_SHARE
        self._pacer = Pacer(emit, 1 / paints_per_second, share=share, clocks=clocks)
        self._kept_ns = self._clock()
        self._keeping: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self.answer = Answer(Meter(self._clock(), source=self._engine.info.measured_by))
        """The answer so far."""
        self.tracer = Tracer(self._clock())
        """The arrival times of its tokens."""
        begun = request.messages[-1] if request.continues else Message("assistant", "")
        text = begun.content or begun.reasoning
        self.choices = ChoiceLog(text, shown=bool(begun.content)) if request.alternatives else None
        """The choices of its tokens; None where they are not asked for."""

    @property
    def stopping(self) -> bool:
        return self._cancel.is_set

    def stop(self) -> None:
        """Stop it soon; the text so far stays."""
        self._cancel.set()

    @property
    def can_end_thoughts(self) -> bool:
        """Whether the model thinks, and can be told to answer."""
        can = self._engine.capabilities.answer_now and not self._answer_now.is_set
        return can and self.answer.is_thinking

    def end_thoughts(self) -> str:
        """Have the model end its thoughts and answer. Returns a sentence about it."""
        if not self._engine.capabilities.answer_now:
            return "This server cannot end the thoughts of an answer."
        if self.answer.has_answer:
            return "The thoughts of this answer have ended."
        self._answer_now.set()
        return "The answer follows without further thoughts."

    async def run(self) -> Outcome:
        """Run the answer to its end. A failing engine is an outcome, not an exception."""
        self.answer = Answer(Meter(self._clock(), source=self._engine.info.measured_by))
        self.tracer = Tracer(self._clock())
        try:
            async for batch in self._engine.generate(self._request, self._cancel):
                self._take(batch)
        except WorkbenchError as error:
            self.answer.feed(Failed(error, self._clock()))
        finally:
            # On every way out: an engine that nobody reads from must not keep computing.
            self._cancel.set()
            self._pacer.flush()
            if self._later is not None:
                self._later.cancel()
            if self._keeping is not None:
                await asyncio.wait([self._keeping])
        outcome = self.answer.outcome()
        if self.choices is not None and not self.choices and self.answer.has_text:
            outcome = replace(outcome, notice=" ".join(filter(None, (outcome.notice, NO_ALTERNATIVES))))
        return outcome

    def _take(self, batch: Batch) -> None:
        for event in batch:
            self.answer.feed(event)
            self.tracer.feed(event)
            if self.choices is not None and isinstance(event, Token | Finished):
                self._record(self.choices, event)
            if isinstance(event, Token) and event.recast:
                self._pacer.recast()
            if isinstance(event, Finished):
                self._pacer.add(event.thoughts, "reasoning")
            if isinstance(event, Token | Finished):
                self._pacer.add(event.text, event.kind)
        self._pacer.pulse()
        self._keep()

    def _record(self, log: ChoiceLog, event: Token | Finished) -> None:
        """Record the choices of a token before its text is drawn."""
        if isinstance(event, Finished):
            log.add(event.text, shown=event.kind == "answer")
            return
        if event.recast:
            log.recast()
        log.add(event.text, event.choices, shown=event.kind == "answer")

    def _keep(self, *, late: bool = False) -> None:
        if not self.answer.has_text:
            return
        now = self._clock()
        if late:
            self._later = None
        if (self._keeping is not None and not self._keeping.done()) or (
            now - self._kept_ns < PARTIAL_EVERY_NS and not late
        ):
            # If the engine pauses, its last tokens are still written to disk.
            if self._later is None:
                later = partial(self._keep, late=True)
                self._later = asyncio.get_running_loop().call_later(PARTIAL_EVERY_NS / 1e9, later)
            return
        self._kept_ns = now
        self._keeping = asyncio.create_task(self._keep_partial(self.answer.message()))


class EnergyMeter:
    """Measures the energy that the GPUs use from now on.

    The counters are read at both ends: samples a second apart are too coarse for an answer of two seconds.
    """

    def __init__(self, telemetry: Telemetry, now_ns: Callable[[], int]) -> None:
        self._telemetry = telemetry
        self._now_ns = now_ns
        self._began_ns = now_ns()
        latest = telemetry.latest()
        counted = latest is not None and any(gpu.energy_mj is not None for gpu in latest.gpus)
        self._first = asyncio.create_task(telemetry.fresh()) if counted else None

    async def joules(self) -> float | None:
        """The energy used until now, in joules; None where no GPU has a counter, or it was not read in time."""
        if self._first is None:
            return None
        ended_ns = self._now_ns()
        await self._first
        await self._telemetry.fresh()
        return energy_of_span(self._telemetry.history(), self._began_ns, ended_ns)
