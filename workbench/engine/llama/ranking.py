"""The log-probabilities of several texts that could follow a prompt, step by step in the runtime's thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence

from workbench.core.cancel import CancelToken
from workbench.core.engine import Request
from workbench.core.errors import CancelledError, ContextFullError, EngineError, TemplateError
from workbench.engine.llama.control_texts import ControlTexts
from workbench.engine.llama.model import Model
from workbench.engine.llama.prompt import PromptTokens
from workbench.engine.llama.runtime import Job
from workbench.engine.llama.template import PromptTemplate


class Ranking:
    """The parts of one ranking. Nothing else uses the model meanwhile; `check_open` raises where it is closed."""

    def __init__(
        self,
        model: Model,
        request: Request,
        choices: Sequence[str],
        template: PromptTemplate | TemplateError,
        controls: ControlTexts,
        cancel: CancelToken,
        check_open: Callable[[], None],
    ) -> None:
        self._model = model
        self._request = request
        self._choices = choices
        self._prompt = PromptTokens(request, model, template, cancel, controls)
        self._cancel = cancel
        self._check_open = check_open

    def steps(self, job: Job) -> Generator[None, None, tuple[float, ...]]:
        """The sum of the natural-log probabilities of the tokens of each choice.

        Raises:
            WorkbenchError: The prompt cannot be made, a choice does not fit, or llama.cpp fails; CancelledError.
        """
        self._check_open()
        yield from self._prompt.make(job)
        found = []
        for choice in self._choices:
            head, tail = self._tokens(choice)
            if not tail or len(tail) > self._model.n_batch:
                raise EngineError(f"The choice {choice[:60]!r} is empty or too long to be scored.")
            if len(head) + len(tail) > self._model.n_ctx:
                raise ContextFullError(
                    f"The prompt and the choice {choice[:60]!r} do not fit in a context of {self._model.n_ctx} tokens.",
                    "Load the model with a longer context (num_ctx).",
                )
            yield from self._prefill(job, head[:-1])
            found.append(sum(self._model.slots[0].logprobs([head[-1], *tail[:-1]], tail)))
        return tuple(found)

    def _tokens(self, choice: str) -> tuple[Sequence[int], Sequence[int]]:
        """The tokens before a choice, and those of it.

        Raw text is tokenized together with the choice, as in lm-eval, unless a token would span the two; after a
        template, where control tokens come before an answer, apart.
        """
        vocabulary, prompt = self._model.vocabulary, self._prompt.tokens
        if self._request.prompt is not None:
            whole = vocabulary.tokenize_raw(self._request.prompt + choice)
            if whole[: len(prompt)] == prompt:
                return prompt, whole[len(prompt) :]
        return prompt, vocabulary.tokenize_inside(choice)

    def _prefill(self, job: Job, tokens: Sequence[int]) -> Generator[None, None, None]:
        slot, pace = self._model.slots[0], self._model.gpu_pace
        slot.rewind([*tokens, -1])
        while (done := len(slot.tokens)) < len(tokens):
            yield
            self._check_open()
            if self._cancel.is_set:
                raise CancelledError("The comparison of choices was stopped.")
            began = job.lane_ns(time.perf_counter_ns())
            slot.compute(tokens[done : done + (pace.tokens if pace else self._model.n_batch)])
            if pace is not None:
                pace.measure(len(slot.tokens) - done, job.lane_ns(time.perf_counter_ns()) - began, job.step_ns)
        # The next choice comes after the same tokens.
        slot.memory.take_checkpoint(wanted=True)
