"""The engine that runs in this process: one open model behind `core.engine.Engine`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Hashable, Sequence
from concurrent.futures import Future

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.engine import Capabilities, Engine, Request
from workbench.core.errors import EngineError, TemplateError
from workbench.core.events import Batch
from workbench.core.models import EngineInfo
from workbench.engine.formats.verdict import judged
from workbench.engine.llama.continuous_batching import AnswerLine, AnswerSteps
from workbench.engine.llama.control_texts import ControlTexts
from workbench.engine.llama.generation import Generation
from workbench.engine.llama.model import Model
from workbench.engine.llama.prefix_reuse import Slots
from workbench.engine.llama.prompt import PromptTokens
from workbench.engine.llama.ranking import Ranking
from workbench.engine.llama.runtime import Clock, Job, JobLine, Step, outcome, shared_runtime
from workbench.engine.llama.states import StateCache
from workbench.engine.llama.template import PromptTemplate
from workbench.engine.outbox import Outbox, RunningAnswers


class LlamaEngine(Engine):
    """One open model. Answers that come while it works are computed together as far as there are slots, or wait.

    `template` may be the reason why there is none; `controls` are texts that only it may use as tokens. `states` keeps
    the KV cache after `close`, where `state_key` identifies this model with these load settings. `on_closed` is called
    once the memory is free.
    """

    capabilities = Capabilities(score=True, answer_now=True)

    def __init__(
        self,
        model: Model,
        info: EngineInfo,
        template: PromptTemplate | TemplateError,
        controls: ControlTexts,
        states: StateCache,
        state_key: Hashable,
        on_closed: Callable[[LlamaEngine], object],
    ) -> None:
        self._model = model
        self.info = info
        self._template = template
        self._controls = controls
        self._slots = Slots(model, states, state_key)
        self._on_closed = on_closed
        self._answers = RunningAnswers()
        self._line = JobLine(shared_runtime)
        self._answer_line = AnswerLine(shared_runtime, self._line, model)

    @override
    def generate(self, request: Request, cancel: CancelToken) -> AsyncIterator[Batch]:
        def start(outbox: Outbox) -> None:
            generation = Generation(self._model, request, self._template, self._controls, self._slots, cancel, outbox)
            lane = self._answer_line.submit(generation.steps, background=request.background)
            # A waiting answer ends without touching the model, and must not abort another's work.
            cancel.on_set(lambda: self._answer_line.interrupt(lane))

        return judged(self._answers.stream(start, cancel), request)

    @override
    async def score(self, tokens: Sequence[int]) -> tuple[float, ...]:
        self._answers.check_open()
        if len(tokens) > self._model.n_ctx:
            raise EngineError(
                f"{len(tokens)} tokens do not fit in a context of {self._model.n_ctx}.", "Load a longer context."
            )

        def steps(_: Job) -> Generator[None, None, tuple[float, ...]]:
            found: list[float] = []
            # It may have been closed while this waited, or between two steps.
            self._answers.check_open()
            slot, n_batch = self._model.slots[0], self._model.n_batch
            slot.forget()
            for start in range(0, len(tokens) - 1, n_batch):
                yield
                self._answers.check_open()
                chunk = tokens[start : start + n_batch]
                found += slot.logprobs(chunk, tokens[start + 1 : start + 1 + len(chunk)])
            slot.forget()
            return tuple(found)

        return await shared_runtime.run(steps, self._line)

    @override
    async def rank(self, request: Request, choices: Sequence[str], cancel: CancelToken) -> tuple[float, ...]:
        check_open = self._answers.check_open
        ranking = Ranking(self._model, request, choices, self._template, self._controls, cancel, check_open)
        check_open()
        return await shared_runtime.run(ranking.steps, self._line)

    @override
    async def check_tools(self) -> None:
        if isinstance(self._template, TemplateError):
            raise self._template
        await asyncio.to_thread(self._template.check_tools, CancelToken())

    @override
    async def tokens(self, request: Request) -> tuple[int, ...]:
        found: Future[tuple[int, ...]] = Future()

        def steps(job: Clock) -> AnswerSteps:
            try:
                self._answers.check_open()
                prompt = PromptTokens(request, self._model, self._template, CancelToken(), self._controls)
                yield from prompt.make(job)
                found.set_result(tuple(prompt.tokens))
            except Exception as error:  # noqa: BLE001 - the caller gets it
                found.set_exception(error)

        # Among the answers: in the line it would wait for the last of them, and all later ones for it.
        self._answer_line.submit(steps, background=request.background)
        return await outcome(found)

    @override
    async def close(self) -> None:
        if self._answers.closed:
            return
        self._answers.close()

        def steps(_: Job) -> Step:
            self._slots.keep()
            self.free()
            yield

        await shared_runtime.run(steps, self._line)
        self._on_closed(self)

    def free(self) -> None:
        """Free the native memory, in the runtime's thread, while nothing runs."""
        self._answers.close()
        self._model.close()
