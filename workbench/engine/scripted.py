"""A deterministic engine that ships: for tests, for screenshots, and for `workbench scripted` without any model.

Everything is played from a script at a given pace. Time is injected: with a clock that tests move by hand, an answer
can be stopped in the middle of its prefill, or shown half-written in a picture, the same on every machine. The figures
are those of the script's own pace and of its own simple tokenizer; they say nothing about any model.
"""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Capabilities, Engine, EngineHost, ProgressCallback, Request
from workbench.core.errors import (
    CancelledError,
    ContextFullError,
    EngineError,
    UnknownModelError,
    WorkbenchError,
    did_you_mean,
)
from workbench.core.events import (
    Batch,
    Event,
    Failed,
    Finished,
    FinishReason,
    PromptProgress,
    Source,
    Token,
    TokenKind,
    Usage,
)
from workbench.core.models import Catalog, EngineInfo, LibraryView, MemoryUse, ModelEntry, Naming
from workbench.core.parameters import LoadSettings
from workbench.core.recipe import Recipe

Sleep = Callable[[float], Awaitable[None]]
"""Waits for so many seconds."""
Clock = Callable[[], int]
"""Reads a clock in nanoseconds."""

BATCH_SECONDS = 0.04
"""How long tokens are gathered before they are handed over, as the real runtime does it."""
UNPACED_BATCH = 64
"""Tokens in a batch where no pace is set."""
DEFAULT_CONTEXT = 4096
_PIECES = re.compile(r"\s*(?:\w{1,8}|[^\w\s])|\s+$")


def pieces(text: str) -> tuple[str, ...]:
    """`text` cut into what this engine calls tokens; joined, they are `text` again."""
    return tuple(_PIECES.findall(text))


@dataclass(frozen=True, slots=True)
class Script:
    """One answer."""

    answer: tuple[str, ...]
    """The tokens of the answer."""
    reasoning: tuple[str, ...] = ()
    """The tokens that come before it as reasoning."""
    fail_at: int | None = None
    """Fail instead of giving the token of this index, counted over reasoning and answer; None never fails."""
    error: WorkbenchError = field(default_factory=lambda: EngineError("The script says that the engine fails here."))
    finish: FinishReason = "stop"

    @classmethod
    def of(cls, answer: str, reasoning: str = "") -> Script:
        """The script that gives these texts, token by token."""
        return cls(pieces(answer), pieces(reasoning))

    def tokens(self) -> Iterator[tuple[str, TokenKind]]:
        """Every token with its kind, in order."""
        for text in self.reasoning:
            yield text, "reasoning"
        for text in self.answer:
            yield text, "answer"


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a scripted model is. 0 takes no time at all."""

    load_seconds: float = 0.6
    load_steps: int = 20
    """How often a load reports its progress."""
    prefill_tps: float = 900.0
    prefill_chunk: int = 32
    """Prompt tokens in one step."""
    decode_tps: float = 45.0


NO_DELAY = Pace(load_seconds=0, prefill_tps=0, decode_tps=0)

WELCOME = """\
## This is the scripted engine

No model is loaded: what you read is a **fixed text**, given at a human pace, so that every part of the screen can be \
tried without a download.

1. Press `Ctrl+O` to choose a model.
2. Press `F6` to change how it samples.
3. Press `F7` to leave with a Modelfile.

```python
def decode_speed(tokens: int, seconds: float) -> float:
    \"\"\"Tokens a second, from the first token to the last.\"\"\"
    return (tokens - 1) / seconds
```

| figure | what it is |
|---|---|
| TTFT | from Enter to the first word |
| prefill | prompt tokens computed in a second |
| decode | answer tokens in a second |

> The figures beside this text are those of the script's own pace. They say nothing about your machine.
"""

SECOND = """\
The answer continues the *same* conversation: the tokens that were in the context already are shown as **cached**, and \
only the new ones were computed.

- `Esc` stops an answer; what was written stays.
- `Ctrl+N` begins a new chat.
- `F1` lists every key.
"""


@dataclass(frozen=True, slots=True)
class ScriptedModel:
    """A model that the host can open, and what it will say."""

    entry: ModelEntry
    scripts: tuple[Script, ...]
    """The answers in order; after the last one it begins again."""
    pace: Pace = Pace()
    load_error: WorkbenchError | None = None
    """Raised at the end of the load instead of opening."""
    context: int = DEFAULT_CONTEXT
    """The context where the settings leave it open, in tokens."""
    memory: MemoryUse | None = None
    warnings: tuple[str, ...] = ()
    measured_by: Source = "engine"
    """Who is said to stamp the events."""
    backend: str = "script"


def demo_model() -> ScriptedModel:
    """What the model reference `scripted` opens."""
    entry = ModelEntry("scripted", "scripted", source="built in")
    return ScriptedModel(entry, (Script.of(WELCOME), Script.of(SECOND)))


def _lane(start: int, end: int, index: int, count: int) -> int:
    """The moment at which step `index` of `count` even ones between two moments ends."""
    return start + (end - start) * (index + 1) // count


class _Stopwatch:
    """The clock of one answer: sleeps that a cancel cuts short."""

    def __init__(self, clock: Clock, sleep: Sleep, cancel: CancelToken) -> None:
        self._clock = clock
        self._sleep = sleep
        self._cancelled = asyncio.Event()
        self._start = clock()
        self._loop = asyncio.get_running_loop()
        cancel.on_set(self._wake)

    def _wake(self) -> None:
        # A token that is set after the program's loop has ended has nobody left to wake.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancelled.set)

    def now(self) -> int:
        return self._clock()

    def lane(self, at_ns: int) -> int:
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


class ScriptedEngine(Engine):
    """Plays the scripts of one model.

    Attributes:
        requests: Every request that was made, in order.
        closed: Whether it was closed.
    """

    def __init__(self, model: ScriptedModel, info: EngineInfo, clock: Clock, sleep: Sleep) -> None:
        self._model = model
        self._info = info
        self._clock = clock
        self._sleep = sleep
        self._known: tuple[str, ...] = ()
        self.requests: list[Request] = []
        self.closed = False

    @property
    @override
    def info(self) -> EngineInfo:
        return self._info

    @property
    @override
    def capabilities(self) -> Capabilities:
        return Capabilities(score=False, reload=True)

    def _prompt(self, request: Request) -> tuple[tuple[str, ...], int]:
        """The prompt's tokens and how many messages were left out so that they fit."""
        if request.tokens is not None:
            return tuple(f"<{token}>" for token in request.tokens), 0
        if request.prompt is not None:
            return pieces(request.prompt), 0
        messages = list(request.messages)
        dropped = 0
        tokens = _render(messages)
        while request.when_context_full == "drop_oldest" and len(tokens) >= self._info.settings.num_ctx:
            oldest = next((index for index, message in enumerate(messages[:-1]) if message.role != "system"), None)
            if oldest is None:
                break
            del messages[oldest]
            dropped += 1
            tokens = _render(messages)
        return tokens, dropped

    @override
    async def generate(self, request: Request, cancel: CancelToken) -> AsyncIterator[Batch]:
        script = self._model.scripts[len(self.requests) % len(self._model.scripts)]
        self.requests.append(request)
        watch = _Stopwatch(self._clock, self._sleep, cancel)
        prompt, dropped = self._prompt(request)
        if len(prompt) >= self._info.settings.num_ctx:
            message = f"The prompt has {len(prompt)} tokens, and the context holds {self._info.settings.num_ctx}."
            hint = "Set a longer context length, or begin a new chat."
            yield (Failed(ContextFullError(message, hint), watch.now()),)
            return
        cached = min(_common(prompt, self._known), len(prompt) - 1)
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
        if given < len(script.reasoning) + len(script.answer):
            if cancel.is_set:
                return "cancelled"
            return "length" if given == request.sampling.num_predict else "context"
        return script.finish

    async def _prefill(
        self, watch: _Stopwatch, cancel: CancelToken, total: int, cached: int, dropped: int
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
        self, watch: _Stopwatch, cancel: CancelToken, script: Script, request: Request, prompt: int
    ) -> AsyncIterator[Batch]:
        tps = self._model.pace.decode_tps
        room = self._info.settings.num_ctx - prompt
        wanted = request.sampling.num_predict
        limit = room if wanted < 0 else min(room, wanted)
        tokens = enumerate(islice(script.tokens(), limit))
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
                batch.append(Token(text, zlib.crc32(text.encode()), kind, at_ns, watch.lane(at_ns)))
            yield tuple(batch)
            if isinstance(batch[-1], Failed):
                return
            size = max(1, round(tps * BATCH_SECONDS)) if tps else UNPACED_BATCH

    @override
    async def score(self, tokens: Sequence[int]) -> tuple[float, ...]:
        raise EngineError("The scripted engine cannot score tokens.", "Choose a model for that.")

    @override
    async def close(self) -> None:
        self.closed = True


def _render(messages: Iterable[Message]) -> tuple[str, ...]:
    tokens: list[str] = []
    for message in messages:
        tokens += (f"<{message.role}>", *pieces(message.content), "</>")
    return (*tokens, "<assistant>")


def _common(left: Sequence[str], right: Sequence[str]) -> int:
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return index
    return min(len(left), len(right))


class ScriptedHost(EngineHost, Catalog):
    """Opens scripted models, and is the catalogue of them.

    Args:
        scripted: What there is to open.
        clock: The clock that stamps the events, in nanoseconds.
        sleep: Waits for so many seconds of that clock.

    Attributes:
        opened: Every engine that was opened, in order.
    """

    def __init__(
        self,
        scripted: Sequence[ScriptedModel] = (),
        *,
        clock: Clock = time.perf_counter_ns,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._models = {model.entry.ref: model for model in scripted or (demo_model(),)}
        self._clock = clock
        self._sleep = sleep
        self.opened: list[ScriptedEngine] = []

    @override
    async def models(self) -> Sequence[ModelEntry]:
        return tuple(model.entry for model in self._models.values())

    @override
    async def watch(self, *, again: bool = False) -> AsyncGenerator[LibraryView, None]:
        models = tuple(await self.models())
        yield LibraryView(models, (), len(models), len(models), complete=True)

    @override
    async def name_elsewhere(self, path: str, naming: Naming) -> str:
        raise UnknownModelError(f"{path} has no other name.", "Leave it at the path.")

    @override
    async def find_recipe(self, ref: str) -> Recipe | None:
        model = self._models.get(ref)
        return model.entry.recipe if model else None

    @override
    async def open(
        self, ref: str, settings: LoadSettings, on_progress: ProgressCallback, cancel: CancelToken
    ) -> Engine:
        model = self._models.get(ref)
        if model is None:
            raise UnknownModelError(f"There is no model {ref!r}.", did_you_mean(ref, self._models))
        watch = _Stopwatch(self._clock, self._sleep, cancel)
        start = watch.now()
        for step in range(model.pace.load_steps):
            if cancel.is_set:
                raise CancelledError(f"Loading {model.entry.label} was stopped.")
            on_progress(step / model.pace.load_steps)
            await watch.pause(model.pace.load_seconds / model.pace.load_steps)
        if cancel.is_set:
            raise CancelledError(f"Loading {model.entry.label} was stopped.")
        if model.load_error is not None:
            raise model.load_error
        on_progress(1.0)
        context = settings.num_ctx or min(model.context, model.entry.context_length or model.context)
        info = EngineInfo(
            model.entry,
            replace(settings, num_ctx=context, num_gpu=max(0, settings.num_gpu), num_thread=settings.num_thread or 1),
            backend=model.backend,
            load_ms=(watch.now() - start) / 1e6,
            memory=model.memory,
            vocabulary="script",
            warnings=model.warnings,
            measured_by=model.measured_by,
        )
        engine = ScriptedEngine(model, info, self._clock, self._sleep)
        self.opened.append(engine)
        return engine

    @override
    async def shutdown(self) -> None:
        for engine in self.opened:
            await engine.close()
