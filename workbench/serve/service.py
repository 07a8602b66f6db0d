"""The served model: its answers, those who wait for them, and their figures."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import count

from workbench.core.alternatives import TokenChoice
from workbench.core.answer import Answer
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Engine, Request
from workbench.core.errors import WorkbenchError
from workbench.core.events import Event, Failed, Finished, Token
from workbench.core.metrics import AnswerMetrics, Meter
from workbench.core.parameters import Value, with_values
from workbench.core.serving import ServedModel, ServedRequest
from workbench.core.tool_calls import CallSplitter
from workbench.core.tools import Tool, ToolCall
from workbench.serve.errors import ApiError, from_workbench, invalid

MOST_AT_ONCE = 16
"""Requests that are computed or wait, beyond those that are computed together; more are refused."""
KEPT = 50
"""Ended requests that are kept for the list of requests."""


Piece = Token | ToolCall | Finished


def _away(why: str) -> ApiError:
    return ApiError(503, "unavailable_error", f"{why} Ask again in a moment.")


@dataclass(slots=True)
class Served:
    """One request of a client, and its figures."""

    number: int
    client: str
    """Its address and the name that its program gives."""
    route: str
    began: float
    """`time.time()`."""
    answer: Answer
    cancel: CancelToken = field(default_factory=CancelToken)
    calls: int = 0
    """The calls of tools in its answer."""
    end: str = ""
    """How it ended; empty while it runs."""

    def feed(self, event: Event) -> None:
        """Add an event of its answer, which somebody still reads.

        Raises:
            ApiError: The answer failed.
        """
        self.answer.feed(event)
        if isinstance(event, Failed):
            self.end = "failed"
            raise from_workbench(event.error)
        if isinstance(event, Finished):
            self.end = event.reason
            if event.reason == "cancelled":
                raise _away("The model was closed, or is no longer served.")

    @property
    def metrics(self) -> AnswerMetrics:
        """Its figures so far."""
        return self.answer.meter.metrics()


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer that has ended."""

    text: str
    thoughts: str
    choices: Sequence[TokenChoice]
    """One for each token, where they were asked for."""
    calls: Sequence[ToolCall]
    end: Finished


@dataclass(slots=True)
class Totals:
    """What was served since the start."""

    requests: dict[str, int] = field(default_factory=dict)
    """By how they ended."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    ttft_seconds: float = 0.0
    first_tokens: int = 0


class _CallReader:
    """Takes the calls of tools out of the events of an answer."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._splitter = CallSplitter(tools)
        self._tools = tools

    def read(self, event: Token | Finished) -> Iterator[Piece]:
        """The event without the text of calls, after the calls that it ends."""
        if isinstance(event, Token) and event.kind == "reasoning":
            if event.recast:
                held = "".join(piece for piece in self._splitter.flush() if isinstance(piece, str))
                event, self._splitter = replace(event, text=held + event.text), CallSplitter(self._tools)
            yield event
            return
        text = event.text if event.kind == "answer" else ""
        found = list(self._splitter.push(text))
        if isinstance(event, Finished):
            found += self._splitter.flush()
        shown = "".join(piece for piece in found if isinstance(piece, str))
        yield from (piece for piece in found if isinstance(piece, ToolCall))
        yield replace(event, text=shown) if event.kind == "answer" else event


class Service:
    """One open model behind the API."""

    def __init__(self, model: ServedModel) -> None:
        self._model: ServedModel | None = model
        self._last = model
        self.created = int(time.time())
        self._numbers = count(1)
        self.running: dict[int, Served] = {}
        self.ended: deque[Served] = deque(maxlen=KEPT)
        self.totals = Totals()

    def use(self, model: ServedModel | None) -> None:
        """Serve another model; None while there is none, so that requests are refused for a while."""
        self._model, self._last = model, model or self._last

    def health(self) -> dict[str, object]:
        """`/health`; an ApiError while there is no model."""
        self._open_model()
        return {"status": "ok"}

    def _open_model(self) -> ServedModel:
        if self._model is None:
            raise _away("Another model is being loaded.")
        return self._model

    @property
    def model(self) -> ServedModel:
        """The model; the last one while there is none."""
        return self._last

    @property
    def name(self) -> str:
        """Its name."""
        return self._last.name

    @property
    def engine(self) -> Engine:
        """Its engine."""
        return self._last.engine

    @property
    def n_ctx(self) -> int:
        """Tokens that a conversation can have."""
        return self.engine.info.settings.num_ctx

    def interrupt(self) -> None:
        """End all answers that are written: their readers get an error."""
        for each in tuple(self.running.values()):
            each.cancel.set()

    def requests(self) -> tuple[ServedRequest, ...]:
        """Those that run or wait, then those that have ended; the latest first."""
        found = [*reversed(tuple(self.running.values())), *reversed(tuple(self.ended))]
        return tuple(
            ServedRequest(
                each.number, each.client, each.route, each.began, each.end or each.answer.phase, not each.end,
                each.metrics,
            )
            for each in found
        )  # fmt: skip

    def request(
        self,
        values: Mapping[str, Value],
        *,
        messages: tuple[Message, ...] = (),
        prompt: str | None = None,
        tools: tuple[Tool, ...] = (),
        alternatives: int = 0,
    ) -> Request:
        """A request to the engine with the sampling of the body over the model's own.

        Raises:
            ParameterError: A value is out of range.
        """
        model = self.model
        sampling, _ = with_values(model.sampling, model.engine.info.settings, values)
        if prompt is None:
            own = (
                ()
                if any(message.role == "system" for message in messages) or not model.system
                else (Message("system", model.system),)
            )
            start = next((index for index, message in enumerate(messages) if message.role != "system"), len(messages))
            messages = (*own, *messages[:start], *model.opening, *messages[start:])
        return Request(
            messages=messages,
            prompt=prompt,
            sampling=sampling,
            given=model.given | values.keys(),
            when_context_full=model.when_context_full,
            background=model.shared,
            continues=bool(messages) and messages[-1].role == "assistant" and not messages[-1].calls,
            tools=tools,
            alternatives=alternatives,
        )

    async def calls_tools(self) -> bool:
        """Whether the model can call tools."""
        try:
            await self.engine.check_tools()
        except WorkbenchError:
            return False
        return True

    async def check(self, request: Request) -> None:
        """Raise an ApiError for a request that this model can never answer, before anything is sent."""
        if request.tools:
            try:
                await self.engine.check_tools()
            except WorkbenchError as error:
                raise invalid(f"{error} {error.hint}".strip(), "tools", "unsupported_value") from None

    def asked(self, client: str, route: str) -> Served:
        """A request of a client, which begins now."""
        meter = Meter(time.perf_counter_ns(), source=self.engine.info.measured_by)
        return Served(next(self._numbers), client, route, time.time(), Answer(meter))

    async def answer(self, request: Request, served: Served) -> AsyncGenerator[Piece]:
        """The tokens of an answer, the calls in it, and its end. A reader that leaves cancels it.

        Raises:
            ApiError: The queue is full, or the answer failed.
        """
        model = self._open_model()
        together = model.engine.info.settings.num_parallel
        if len(self.running) >= together + MOST_AT_ONCE:
            raise ApiError(503, "unavailable_error", "Too many requests wait for this model. Ask again in a moment.")
        self.running[served.number] = served
        cancel = served.cancel
        reader = _CallReader(request.tools) if request.tools else None
        try:
            async for batch in model.engine.generate(request, cancel):
                for event in batch:
                    served.feed(event)
                    if isinstance(event, Token | Finished):
                        for piece in (event,) if reader is None else reader.read(event):
                            served.calls += isinstance(piece, ToolCall)
                            yield piece
        except WorkbenchError as error:
            served.end = "failed"
            raise from_workbench(error) from None
        finally:
            cancel.set()
            self._note(served)

    async def whole(self, request: Request, served: Served) -> Whole:
        """An answer when it has ended; the errors are those of `answer`."""
        pieces: dict[str, list[str]] = {"answer": [], "reasoning": []}
        choices: list[TokenChoice] = []
        calls: list[ToolCall] = []
        end: Finished | None = None
        async with aclosing(self.answer(request, served)) as events:
            async for event in events:
                if isinstance(event, ToolCall):
                    calls.append(event)
                    continue
                if isinstance(event, Finished):
                    end = event
                    pieces["reasoning"].append(event.thoughts)
                else:
                    choices += event.choices
                    if event.recast:
                        pieces = {"answer": [], "reasoning": [*pieces["reasoning"], *pieces["answer"]]}
                pieces[event.kind].append(event.text)
        if end is None:
            raise ApiError(500, "server_error", "The answer broke off.")
        return Whole("".join(pieces["answer"]), "".join(pieces["reasoning"]), choices, calls, end)

    def _note(self, served: Served) -> None:
        del self.running[served.number]
        served.end = served.end or "cancelled"
        self.ended.append(served)
        totals, metrics = self.totals, served.metrics
        totals.requests[served.end] = totals.requests.get(served.end, 0) + 1
        totals.prompt_tokens += metrics.prompt_tokens or 0
        totals.cached_tokens += metrics.cached_tokens or 0
        totals.completion_tokens += metrics.completion_tokens or 0
        if metrics.ttft_ms is not None:
            totals.ttft_seconds += metrics.ttft_ms / 1e3
            totals.first_tokens += 1
