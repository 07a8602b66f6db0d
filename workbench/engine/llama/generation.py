"""Generation of one answer, step by step in the runtime's thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from functools import partial

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message, without_empty_answers
from workbench.core.engine import Request
from workbench.core.errors import CancelledError, ContextFullError, EngineError, TemplateError, WorkbenchError
from workbench.core.events import Failed, Finished, FinishReason, PromptProgress, Token, Usage
from workbench.engine.families import Family, begins_answer, open_family, with_beginning
from workbench.engine.llama.constraint import FormatSampler, matcher_of
from workbench.engine.llama.control_texts import ControlTexts, unused_mark
from workbench.engine.llama.markup import markup_of
from workbench.engine.llama.model import Aborted, Model
from workbench.engine.llama.runtime import Job, Step, wait_for
from workbench.engine.llama.sampler import Sampler
from workbench.engine.llama.template import PromptTemplate
from workbench.engine.llama.thought_limit import ThoughtLimit
from workbench.engine.outbox import Outbox
from workbench.engine.text import AnswerText

_logger = logging.getLogger(__name__)

SMALLEST_CHUNK = 64
"""Prompt tokens that are worth a step of their own."""

FIRST_CHUNK_OF_LARGE = 128
"""The first chunk of a model of `LARGE_BYTES` or more on a CPU, whose speed is not known yet."""

LARGE_BYTES = 700_000_000

CHUNK_NS = 500_000_000
"""The target duration of one step of prefill, so that progress shows and other answers get their turn."""

ANSWER_SHARE = 4
"""Where old turns have to be dropped, a quarter of the context is kept free for the answer."""

SEARCH_NS = 1_000_000_000
"""How long the turns to drop are searched for."""


class PromptTokens:
    """The tokens of a request, truncated to the context where the user wants that."""

    def __init__(
        self,
        request: Request,
        model: Model,
        template: PromptTemplate | TemplateError,
        cancel: CancelToken,
        controls: ControlTexts | None = None,
    ) -> None:
        self._request = request
        self._model = model
        self._template = template
        self._cancel = cancel
        self._controls = controls or ControlTexts()
        self.tokens: list[int] = []
        self.dropped = 0
        """Messages left out so that the rest fits."""
        self.markup: Family | None = None
        """The markup of the thoughts of this model, as far as its template shows it."""
        self.opened: Family | None = None
        """The markup of a block of reasoning that the prompt leaves open."""
        self.begun = False
        """Whether the prompt ends the thoughts, or begins the answer."""
        self.notice = ""
        """What was changed in the conversation so that the template takes it; empty for nothing."""

    def make(self, job: Job) -> Step:
        """Make the tokens.

        Raises:
            WorkbenchError: The prompt is empty, too long, or cannot be rendered; CancelledError.
        """
        request, n_ctx = self._request, self._model.n_ctx
        # The beginning of the answer must not be dropped.
        messages = without_empty_answers(request.messages[:-1] if request.continues else request.messages)
        self.tokens = yield from self._tokenize(job, messages)
        if not self.tokens:
            raise EngineError("The prompt is empty.", "Write something for the model to continue.")
        if request.when_context_full == "drop_oldest" and request.prompt is None and request.tokens is None:
            limit = request.sampling.num_predict
            answer = n_ctx // ANSWER_SHARE if limit < 0 else min(n_ctx // ANSWER_SHARE, limit + 1)
            if len(self.tokens) > n_ctx - answer:
                yield from self._drop_oldest(job, messages, n_ctx - answer)
        if len(self.tokens) >= n_ctx:
            raise ContextFullError(
                f"The prompt has {len(self.tokens)} tokens, and the context of this model is {n_ctx} long.",
                "Start a new chat, load the model with a longer context (num_ctx), or let the oldest turns be "
                'dropped (when_context_full = "drop_oldest").',
            )

    def answer_text(self) -> AnswerText:
        """What converts the tokens of the answer to text."""
        request = self._request
        return AnswerText(
            request.sampling.stop, self.opened, self.markup, begun=self.begun, continued=request.continues
        )

    def _drop_oldest(self, job: Job, messages: Sequence[Message], room: int) -> Step:
        """Leave out as few of the oldest turns as possible for the rest to fit; all but the last where none fits.

        The search goes from the end in growing steps and then by halves, so that the prompts that it makes are little
        longer than the context, however long the conversation is. After `SEARCH_NS` the best one so far counts.
        """
        end_ns = job.lane_ns(time.perf_counter_ns()) + SEARCH_NS
        system = 1 if messages and messages[0].role == "system" else 0
        starts = turn_starts(messages, system)
        too_long, fitting, step = -1, len(starts), 1
        while fitting - too_long > 1:
            tried = max(fitting - step, (too_long + fitting) // 2)
            best = self.opened, self.begun, self.notice
            tokens = yield from self._tokenize(job, (*messages[:system], *messages[starts[tried] :]))
            shortest = tried == len(starts) - 1
            if len(tokens) <= room or shortest:
                self.tokens, self.dropped = tokens, starts[tried] - system
                fitting, step = tried, 2 * step
            else:
                too_long, (self.opened, self.begun, self.notice) = tried, best
            if (shortest and len(tokens) > room) or job.lane_ns(time.perf_counter_ns()) > end_ns:
                return

    def _tokenize(self, job: Job, messages: Sequence[Message]) -> Generator[None, None, list[int]]:
        request, vocabulary = self._request, self._model.vocabulary
        if request.tokens is not None:
            return list(request.tokens)
        if request.prompt is not None:
            return vocabulary.tokenize_raw(request.prompt)
        if isinstance(self._template, TemplateError):
            raise self._template
        mark = unused_mark(text for each in request.messages for text in (each.content, each.reasoning))
        rendered = yield from wait_for(job, partial(self._render, self._template, messages, mark))
        if self._cancel.is_set:
            raise CancelledError("Preparing the prompt was stopped.")
        if request.continues:
            beginning = self._controls.marked(request.messages[-1], mark)
            rendered, self.opened = with_beginning(rendered, beginning, self.markup)
        else:
            self.opened = open_family(rendered, self.markup)
            if self.opened is not None and request.sampling.think == "off":
                # A model that always thinks is given thoughts that have ended.
                rendered, self.opened = rendered + self.opened.written, None
            self.begun = begins_answer(rendered, self.markup)
        return vocabulary.tokenize_prompt(*rendered.split(mark))

    def _render(self, template: PromptTemplate, messages: Sequence[Message], mark: str) -> str:
        self.markup = markup_of(template, self._cancel)
        sampling = self._request.sampling
        template = template.thinking(sampling.think, sampling.think_budget)
        arrangement = template.arranged(messages, self._cancel)
        self.notice = arrangement.notice
        return self._controls.render(template, arrangement.messages, mark, self._cancel)


def turn_starts(messages: Sequence[Message], first: int) -> list[int]:
    """Where a conversation can begin when its oldest turns are dropped: each question but the first, the last message.

    `first` is the index of its first turn.
    """
    last = len(messages) - 1
    return [index for index in range(first + 1, last + 1) if messages[index].role != "assistant" or index == last]


class Generation:
    """The generation of one answer. Nothing else uses the model meanwhile.

    `template` may be the reason why there is none. `reuse` prepares the model's context for these tokens, and returns
    how many of them it holds. `controls` are the texts that only the template may use as tokens.
    """

    def __init__(
        self,
        model: Model,
        request: Request,
        template: PromptTemplate | TemplateError,
        controls: ControlTexts,
        reuse: Callable[[Sequence[int]], int],
        cancel: CancelToken,
        outbox: Outbox,
    ) -> None:
        self._model = model
        self._request = request
        self._template = template
        self._controls = controls
        self._reuse = reuse
        self._cancel = cancel
        self._outbox = outbox
        self._prompt_tokens = 0
        self._cached: int | None = None
        self._written = 0
        self._text = AnswerText()
        self._seed: int | None = None
        self._notice = ""

    def steps(self, job: Job) -> Step:
        """Generate, one native step for each `next`. The last event is `Finished` or `Failed`."""
        try:
            reason = yield from self._write(job)
            self._finish(job, reason)
        except WorkbenchError as error:
            self._fail(error)
        except Exception as error:
            _logger.exception("An answer failed.")
            self._fail(EngineError(f"The engine failed: {error!r}.", "The log (F12) has the details."))

    def _finish(self, job: Job, reason: FinishReason) -> None:
        thoughts, text = self._text.flush()
        now = time.perf_counter_ns()
        usage = Usage(self._prompt_tokens, self._cached, self._written)
        end = Finished(reason, usage, now, job.lane_ns(now), self._seed, text, thoughts=thoughts, notice=self._notice)
        self._outbox.put(end, at_once=True)

    def _fail(self, error: WorkbenchError) -> None:
        self._outbox.put(Failed(error, time.perf_counter_ns()), at_once=True)

    def _write(self, job: Job) -> Generator[None, None, FinishReason]:
        if self._cancel.is_set:
            return "cancelled"
        matcher = yield from matcher_of(job, self._request, self._model)
        prompt = PromptTokens(self._request, self._model, self._template, self._cancel, self._controls)
        try:
            yield from prompt.make(job)
        except CancelledError:
            return "cancelled"
        sampling = self._request.sampling
        self._text = prompt.answer_text()
        self._prompt_tokens, self._notice = len(prompt.tokens), prompt.notice
        self._cached = self._reuse(prompt.tokens)
        if not (yield from self._prefill(job, prompt)):
            return "cancelled"
        if sampling.num_predict == 0:
            return "length"
        sampler = Sampler(sampling, self._model.vocabulary, self._model.n_ctx, prompt.tokens)
        self._seed = sampler.seed
        budget = 0 if sampling.think == "off" else sampling.think_budget
        chosen = sampler if matcher is None else FormatSampler(sampler, self._text, matcher, self._model)
        limit = ThoughtLimit(chosen, self._text, self._model.vocabulary, budget, self._request.answer_now)
        try:
            return (yield from self._decode(job, limit, sampling.num_predict))
        finally:
            sampler.close()

    def _prefill(self, job: Job, prompt: PromptTokens) -> Generator[None, None, bool]:
        """Compute the prompt; False if it was cancelled."""
        model, tokens = self._model, prompt.tokens
        cached = len(model.tokens)
        chunk = model.n_batch
        if model.weights_bytes >= LARGE_BYTES and not model.offloaded:
            chunk = min(chunk, FIRST_CHUNK_OF_LARGE)
        while True:
            now = time.perf_counter_ns()
            done = len(model.tokens)
            progress = PromptProgress(done, len(tokens), cached, now, job.lane_ns(now), prompt.dropped)
            self._outbox.put(progress, at_once=True)
            if done == len(tokens):
                return True
            yield
            if self._cancel.is_set:
                return False
            began = job.lane_ns(time.perf_counter_ns())
            try:
                model.prefill(tokens[done : done + chunk])
            except Aborted:
                continue
            taken = job.lane_ns(time.perf_counter_ns()) - began
            affordable = chunk * CHUNK_NS // max(taken, 1)
            chunk = max(SMALLEST_CHUNK, min(model.n_batch, affordable // SMALLEST_CHUNK * SMALLEST_CHUNK))

    def _decode(self, job: Job, sampler: ThoughtLimit, limit: int) -> Generator[None, None, FinishReason]:
        # This runs once a token, between two computations: attributes are looked up before the loop.
        model, ctx, n_ctx = self._model, self._model.native, self._model.n_ctx
        is_end, pieces = model.vocabulary.is_end, model.pieces
        sample, push, put, clock = sampler.sample, self._text.push, self._outbox.put, time.perf_counter_ns
        push_control = self._text.push_control
        look = sampler.look
        text_sent = False
        look()
        while True:
            token = sample(ctx)
            if token < 0 or is_end(token):
                return "stop"
            self._written += 1
            data = pieces[token]
            piece = push(data) if data else push_control(pieces.control(token))
            look()
            now = clock()
            first_text = not text_sent and bool(piece.text)
            put(Token(piece.text, token, piece.kind, now, job.lane_ns(now), piece.recast), at_once=first_text)
            text_sent = text_sent or first_text
            if self._text.stopped:
                return "stop"
            if self._written == limit:
                return "length"
            if len(model.tokens) >= n_ctx:
                return "context"
            while True:
                yield
                if self._cancel.is_set:
                    return "cancelled"
                try:
                    model.decode(token)
                except Aborted:
                    continue
                break
