"""The engine that plays scripts.

Time is injected: with a clock that tests move by hand, an answer can be stopped in the middle of its prefill, or shown
half-written in a picture, the same on every machine.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice

from typing_extensions import override

from workbench.core.alternatives import LikelyToken, TokenChoice
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Capabilities, Engine, Request
from workbench.core.errors import ContextFullError, EngineError
from workbench.core.events import Batch, Event, Failed, Finished, FinishReason, PromptProgress, Token, Usage
from workbench.core.models import EngineInfo
from workbench.engine.formats.verdict import judged
from workbench.engine.llama.states import common_prefix
from workbench.engine.scripted.script import Script, ScriptedModel, pieces

Sleep = Callable[[float], Awaitable[None]]
"""Waits for so many seconds."""
Clock = Callable[[], int]
"""Reads a clock in nanoseconds."""

BATCH_SECONDS = 0.04
"""How long tokens are gathered before they are handed over, as in the runtime of llama.cpp."""
UNPACED_BATCH = 64
"""Tokens in a batch where no pace is set."""


def _lane(start: int, end: int, index: int, count: int) -> int:
    """The moment at which step `index` of `count` even ones between two moments ends."""
    return start + (end - start) * (index + 1) // count


class Stopwatch:
    """The clock of one answer or one load, whose sleeps end when it is cancelled."""

    def __init__(self, clock: Clock, sleep: Sleep, cancel: CancelToken) -> None:
        self._clock = clock
        self._sleep = sleep
        self._cancelled = asyncio.Event()
        self._start = clock()
        self._loop = asyncio.get_running_loop()
        cancel.on_set(self._wake)

    def _wake(self) -> None:
        # The token may be set after the event loop has ended.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancelled.set)

    def now(self) -> int:
        """The time in nanoseconds."""
        return self._clock()

    def lane(self, at_ns: int) -> int:
        """Nanoseconds from the start of the answer to `at_ns`."""
        return at_ns - self._start

    async def pause(self, seconds: float) -> None:
        """Wait for `seconds`, or until the answer is cancelled."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waits = [asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._cancelled.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def _wants_answer(request: Request) -> bool:
    return request.answer_now is not None and request.answer_now.is_set


class ScriptedEngine(Engine):
    """Plays the scripts of one model.

    Attributes:
        requests: Every request that was made, in order.
        closed: Whether it was closed.
    """

    def __init__(self, model: ScriptedModel, info: EngineInfo, clock: Clock, sleep: Sleep) -> None:
        self._model = model
        self.info = info
        self.capabilities = Capabilities(answer_now=model.measured_by == "engine")
        self._clock = clock
        self._sleep = sleep
        self._known: tuple[str, ...] = ()
        self.requests: list[Request] = []
        self.closed = False

    def _prompt(self, request: Request) -> tuple[tuple[str, ...], int]:
        """The tokens of the prompt, and how many messages were dropped to make them fit."""
        if request.tokens is not None:
            return tuple(f"<{token}>" for token in request.tokens), 0
        if request.prompt is not None:
            return pieces(request.prompt), 0
        messages = list(request.messages)
        dropped = 0
        tokens = _render(messages)
        while request.when_context_full == "drop_oldest" and len(tokens) >= self.info.settings.num_ctx:
            oldest = next((index for index, message in enumerate(messages[:-1]) if message.role != "system"), None)
            if oldest is None:
                break
            del messages[oldest]
            dropped += 1
            tokens = _render(messages)
        return tokens, dropped

    @override
    def generate(self, request: Request, cancel: CancelToken) -> AsyncIterator[Batch]:
        return judged(self._play(request, cancel), request)

    async def _play(self, request: Request, cancel: CancelToken) -> AsyncIterator[Batch]:
        script = self._model.scripts[len(self.requests) % len(self._model.scripts)]
        self.requests.append(request)
        watch = Stopwatch(self._clock, self._sleep, cancel)
        prompt, dropped = self._prompt(request)
        if len(prompt) >= self.info.settings.num_ctx:
            message = f"The prompt has {len(prompt)} tokens, and the context holds {self.info.settings.num_ctx}."
            hint = "Set a longer context length, or begin a new chat."
            yield (Failed(ContextFullError(message, hint), watch.now()),)
            return
        cached = min(common_prefix(prompt, self._known), len(prompt) - 1)
        async for batch in self._prefill(watch, cancel, len(prompt), cached, dropped):
            yield batch
        given: list[str] = []
        reason: FinishReason = "cancelled"
        if not cancel.is_set:
            async for batch in self._decode(watch, cancel, script, request, len(prompt)):
                given.extend(event.text for event in batch if isinstance(event, Token))
                if isinstance(batch[-1], Failed):
                    yield batch
                    return
                yield batch
            reason = self._reason(cancel, script, request, len(given), len(prompt))
        self._known = (*prompt, *given)
        now = watch.now()
        yield (Finished(reason, Usage(len(prompt), cached, len(given)), now, watch.lane(now)),)

    def _reason(self, cancel: CancelToken, script: Script, request: Request, given: int, prompt: int) -> FinishReason:
        if given < len(script.answer) + (0 if _wants_answer(request) else len(script.reasoning)):
            if cancel.is_set:
                return "cancelled"
            return "length" if given == request.sampling.num_predict else "context"
        return script.finish

    async def _prefill(
        self, watch: Stopwatch, cancel: CancelToken, total: int, cached: int, dropped: int
    ) -> AsyncIterator[Batch]:
        pace = self._model.pace
        now = watch.now()
        yield (PromptProgress(cached, total, cached, now, watch.lane(now), dropped),)
        for start in range(cached, total, pace.prefill_chunk):
            done = min(start + pace.prefill_chunk, total)
            await watch.pause((done - start) / pace.prefill_tps if pace.prefill_tps else 0)
            if cancel.is_set:
                return
            now = watch.now()
            yield (PromptProgress(done, total, cached, now, watch.lane(now), dropped),)

    async def _decode(
        self, watch: Stopwatch, cancel: CancelToken, script: Script, request: Request, prompt: int
    ) -> AsyncIterator[Batch]:
        tps = self._model.pace.decode_tps
        room = self.info.settings.num_ctx - prompt
        wanted = request.sampling.num_predict
        limit = room if wanted < 0 else min(room, wanted)
        # Thoughts that are left are skipped as soon as the answer is wanted.
        said = (each for each in script.tokens() if each[1] == "answer" or not _wants_answer(request))
        tokens = enumerate(islice(said, limit))
        # The first token goes out at once; later ones as many as come in one batch's time.
        size = 1
        while group := list(islice(tokens, size)):
            start = watch.now()
            await watch.pause(len(group) / tps if tps else 0)
            end = watch.now()
            if cancel.is_set:
                return
            batch: list[Event] = []
            for order, (index, (text, kind)) in enumerate(group):
                at_ns = _lane(start, end, order, len(group))
                if index == script.fail_at:
                    batch.append(Failed(script.error, at_ns))
                    break
                data = text.encode("utf-8", "surrogatepass")
                choices = _choices(data) if request.alternatives else ()
                batch.append(Token(text, zlib.crc32(data), kind, at_ns, watch.lane(at_ns), choices=choices))
            yield tuple(batch)
            if isinstance(batch[-1], Failed):
                return
            size = max(1, round(tps * BATCH_SECONDS)) if tps else UNPACED_BATCH

    @override
    async def score(self, tokens: Sequence[int]) -> tuple[float, ...]:
        raise EngineError("The scripted engine cannot score tokens.", "Choose a model for that.")

    @override
    async def rank(self, request: Request, choices: Sequence[str], cancel: CancelToken) -> tuple[float, ...]:
        raise EngineError("The scripted engine cannot score choices.", "Choose a model for that.")

    @override
    async def check_tools(self) -> None:
        raise EngineError("The scripted model calls no tools.", "Serve another model.")

    @override
    async def tokens(self, request: Request) -> tuple[int, ...]:
        raise EngineError("The scripted engine has no tokens of a model.", "Choose a model for that.")

    @override
    async def close(self) -> None:
        self.closed = True


def _choices(data: bytes) -> tuple[TokenChoice, ...]:
    """A choice between a token and another one, with probabilities that follow from its text."""
    p = (1 + zlib.crc32(data) % 98) / 100
    both = LikelyToken(data, math.log(p)), LikelyToken(b" otherwise", math.log(1 - p))
    return (TokenChoice(both[0], tuple(sorted(both, key=lambda each: -each.logprob))),)


def _render(messages: Iterable[Message]) -> tuple[str, ...]:
    tokens: list[str] = []
    for message in messages:
        tokens += (f"<{message.role}>", *pieces(message.content), "</>")
    return (*tokens, "<assistant>")
