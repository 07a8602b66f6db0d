"""Generation of one answer, step by step in the runtime's thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.core.cancel import CancelToken
from workbench.core.engine import Request
from workbench.core.errors import CancelledError, EngineError, TemplateError, WorkbenchError
from workbench.core.events import Failed, Finished, FinishReason, PromptProgress, PromptReuse, ThreadsUsed, Usage
from workbench.engine.llama.constraint import FormatSampler, matcher_of
from workbench.engine.llama.continuous_batching import AnswerSteps
from workbench.engine.llama.control_texts import ControlTexts
from workbench.engine.llama.model import Model
from workbench.engine.llama.pace import first_pace
from workbench.engine.llama.prefix_reuse import Slots
from workbench.engine.llama.prompt import PromptTokens
from workbench.engine.llama.runtime import Clock
from workbench.engine.llama.sampler import Sampler
from workbench.engine.llama.slot import Aborted, Part, Slot
from workbench.engine.llama.speculation import Speculation
from workbench.engine.llama.template import PromptTemplate
from workbench.engine.llama.thought_limit import ThoughtLimit
from workbench.engine.llama.token_events import TokenEvents
from workbench.engine.outbox import Outbox
from workbench.engine.text import AnswerText

if TYPE_CHECKING:
    from llguidance import LLMatcher

_logger = logging.getLogger(__name__)


class Generation:
    """The generation of one answer, in one of the model's `slots`.

    `template` may be the reason why there is none. `controls` are the texts that only the template may use as tokens.
    """

    def __init__(
        self,
        model: Model,
        request: Request,
        template: PromptTemplate | TemplateError,
        controls: ControlTexts,
        slots: Slots,
        cancel: CancelToken,
        outbox: Outbox,
    ) -> None:
        self._model = model
        self._request = request
        self._template = template
        self._controls = controls
        self._slots = slots
        self._cancel = cancel
        self._outbox = outbox
        self._prompt_tokens = 0
        self._cached: int | None = None
        self._written = 0
        self._text = AnswerText()
        self._events = TokenEvents(model.pieces, self._text, outbox, each=True)
        self._seed: int | None = None
        self._speculation: Speculation | None = None
        self._notice = ""
        self._problem = ""

    def steps(self, job: Clock) -> AnswerSteps:
        """Generate; yields what is to be computed next. The last event is `Finished` or `Failed`."""
        try:
            reason = yield from self._write(job)
            self._finish(job, reason)
        except WorkbenchError as error:
            self._fail(error)
        except Exception as error:
            _logger.exception("An answer failed.")
            self._fail(EngineError(f"The engine failed: {error!r}.", "The log (F12) has the details."))

    def _finish(self, job: Clock, reason: FinishReason) -> None:
        self._events.convert()
        thoughts, text = self._text.flush()
        now = time.perf_counter_ns()
        usage = Usage(self._prompt_tokens, self._cached, self._written)
        notice = " ".join(filter(None, (self._notice, self._problem)))
        figures = None if self._speculation is None else self._speculation.figures
        end = Finished(
            reason, usage, now, job.lane_ns(now), self._seed, text,
            thoughts=thoughts, notice=notice, speculation=figures,
        )  # fmt: skip
        self._outbox.put(end, at_once=True)

    def _fail(self, error: WorkbenchError) -> None:
        self._events.convert()
        self._outbox.put(Failed(error, time.perf_counter_ns()), at_once=True)

    def _write(self, job: Clock) -> Generator[Part | None, None, FinishReason]:
        if self._cancel.is_set:
            return "cancelled"
        matcher = yield from matcher_of(job, self._request, self._model)
        prompt = PromptTokens(self._request, self._model, self._template, self._cancel, self._controls)
        try:
            yield from prompt.make(job)
        except CancelledError:
            return "cancelled"
        self._text = prompt.answer_text()
        self._prompt_tokens, self._notice = len(prompt.tokens), prompt.notice
        known, reuse = self._slots.take(prompt)
        try:
            with self._threads():
                return (yield from self._answer(job, prompt, known.slot, reuse, matcher))
        finally:
            self._problem = known.slot.memory.new_problem()
            self._slots.give_back(known)

    def _answer(
        self, job: Clock, prompt: PromptTokens, slot: Slot, reuse: PromptReuse, matcher: LLMatcher | None
    ) -> Generator[Part | None, None, FinishReason]:
        sampling = self._request.sampling
        self._cached = len(slot.tokens)
        if not (yield from self._prefill(job, prompt, slot, reuse)):
            return "cancelled"
        if sampling.num_predict == 0:
            return "length"
        sampler = Sampler(sampling, self._model.vocabulary, self._model.n_ctx, prompt.tokens)
        self._seed = sampler.seed
        budget = 0 if sampling.think == "off" else sampling.think_budget
        chosen = sampler if matcher is None else FormatSampler(sampler, self._text, matcher, self._model)
        limit = ThoughtLimit(chosen, self._text, self._model.vocabulary, budget, self._request.answer_now)
        each = self._text.may_stop or matcher is not None or limit.watches
        self._events = TokenEvents(self._model.pieces, self._text, self._outbox, each=each)
        if self._request.drafts:
            self._speculation = self._model.speculation(slot, self._cancel)
        try:
            return (yield from self._decode(job, slot, limit, sampling.num_predict))
        finally:
            sampler.close()
            if self._speculation is not None:
                self._speculation.drop()

    def _threads(self) -> AbstractContextManager[None]:
        if self._model.threads is None:
            return nullcontext()
        # Attention sums in another order with another number of threads: what must repeat keeps it.
        sampling = self._request.sampling
        repeats = sampling.seed >= 0 or sampling.temperature <= 0
        return self._model.threads.answer(self._show_threads, fixed=self._request.timed or repeats)

    def _show_threads(self, count: int, most: int) -> None:
        self._events.convert()
        self._outbox.put(ThreadsUsed(count, most, time.perf_counter_ns()))

    def _prefill(
        self, job: Clock, prompt: PromptTokens, slot: Slot, reuse: PromptReuse
    ) -> Generator[Part | None, None, bool]:
        """Compute the prompt, with checkpoints where the memory needs them; False if it was cancelled."""
        model, tokens, memory = self._model, prompt.tokens, slot.memory
        cached = len(slot.tokens)
        places = prompt.places() if memory.needs_checkpoints else []
        pace = model.gpu_pace or first_pace(model.n_batch, model.weights_bytes, on_gpu=False)
        while True:
            now = time.perf_counter_ns()
            done = len(slot.tokens)
            kept = replace(reuse, kept_bytes=reuse.kept_bytes + memory.checkpoints.size_bytes)
            progress = PromptProgress(done, len(tokens), cached, now, job.lane_ns(now), prompt.dropped, kept)
            self._outbox.put(progress, at_once=True)
            if done == len(tokens):
                # The last step may have been one that could not be aborted.
                return not self._cancel.is_set
            yield None
            if self._cancel.is_set:
                return False
            # A conversation is likely to come back to where it was continued, and an aborted step may cost the rest.
            memory.take_checkpoint(wanted=done == cached or done in places)
            end = min(done + pace.tokens, memory.next_stop(places, len(tokens)))
            began = job.lane_ns(time.perf_counter_ns())
            try:
                yield slot, tokens[done:end]
            except Aborted:
                continue
            pace.measure(len(slot.tokens) - done, job.lane_ns(time.perf_counter_ns()) - began, job.step_ns)

    def _decode(
        self, job: Clock, slot: Slot, sampler: ThoughtLimit, limit: int
    ) -> Generator[Part | None, None, FinishReason]:
        # This runs once a token, between two computations: attributes are looked up before the loop.
        model, ctx = self._model, self._model.native
        is_end, sample, look = model.vocabulary.is_end, sampler.sample, sampler.look
        add, clock = self._events.add, time.perf_counter_ns
        watch = None
        if count := self._request.alternatives:
            from workbench.engine.llama.choices import ChoiceWatch

            watch = ChoiceWatch(model, count)
        look()
        while True:
            token = sample(ctx, slot.output)
            if token < 0 or is_end(token):
                return "stop"
            self._written += 1
            now = clock()
            add(token, now, job.lane_ns(now), () if watch is None else watch.choices(token, slot.output))
            look()
            if self._text.stopped:
                return "stop"
            if self._written == limit:
                return "length"
            if reason := (yield from self._go_on(job, slot, token, limit - self._written)):
                return reason

    def _go_on(
        self, job: Clock, slot: Slot, token: int, left: int
    ) -> Generator[Part | None, None, FinishReason | None]:
        """Have the logits after `token`, where `left` more may be written; otherwise the reason to end."""
        ahead = self._speculation
        if ahead is not None and ahead.follows(token):
            return "cancelled" if self._cancel.is_set else None
        if len(slot.tokens) >= self._model.n_ctx:
            return "context"
        while True:
            yield None
            if self._cancel.is_set:
                return "cancelled"
            try:
                if ahead is None or not (yield from ahead.verify(job, token, left)):
                    yield slot, (token,)
            except Aborted:
                continue
            return None
