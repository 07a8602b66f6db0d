"""Generation of one answer by a server, in the network's thread."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.errors import ContextFullError, EngineError, ServerAnswerError, WorkbenchError
from workbench.core.events import Event, Failed, Finished, Token, TokenKind
from workbench.engine.outbox import FLUSH_INTERVAL_NS, Outbox
from workbench.engine.remote.answer_parser import NO_ID, AnswerParser
from workbench.engine.remote.dialect import Dialect, Question
from workbench.engine.remote.http import ServerClient
from workbench.engine.remote.problems import cut_short, plain, too_slow
from workbench.engine.remote.response import ErrorStatus
from workbench.engine.remote.streams import FramingError

_logger = logging.getLogger(__name__)

SEEDS = 2**31
"""The exclusive maximum of drawn seeds."""
MOST_REFUSALS = 4
"""How often a question is sent again without the fields that the server refused."""
CLOSING_TOKENS = 40
"""The most tokens of the sentence that closes thoughts at a budget, and belongs to them."""
DROPPED_SHARE = 4
"""Of a conversation that is too long, at least a quarter is dropped at a time, so that it is not sent too often."""
CUT = (
    "The server left out the beginning of this conversation, because its context is full, and did not say so. Load the "
    "model with a longer context (num_ctx), or begin a new chat."
)


@dataclass(slots=True)
class PromptHistory:
    """The last prompt, for noticing that a server drops the beginning of a conversation."""

    messages: tuple[Message, ...] = ()
    prompt_tokens: int | None = None
    """The server's count of their tokens."""


class RemoteGeneration:
    """The generation of one answer. `history` is kept from one answer to the next; `n_ctx` is 0 if not known."""

    def __init__(
        self,
        client: ServerClient,
        dialect: Dialect,
        request: Request,
        cancel: CancelToken,
        outbox: Outbox,
        history: PromptHistory,
        n_ctx: int = 0,
    ) -> None:
        self._client = client
        self._dialect = dialect
        if request.sampling.think_budget == 0:
            # Every server can be asked for no thoughts, and only some for few.
            off = replace(request.sampling, think="off", think_budget=-1)
            request = replace(request, sampling=off, given=request.given - {"think_budget"})
        self._request = request
        self._cancel = cancel
        self._outbox = outbox
        self._history = history
        self._n_ctx = n_ctx
        self._submitted_ns = 0
        self._at_ns = 0
        self._parser: AnswerParser | None = None
        self._question: Question | None = None
        self._waits_s = 0.0
        """The timeout for the next event, in seconds."""
        self._text_sent = False
        self._flushing: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Generate. The last event is `Finished` or `Failed`."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._submitted_ns = self._at_ns = time.perf_counter_ns()

        self._cancel.on_set(lambda: loop.call_soon_threadsafe(task.cancel))
        try:
            self._finish(dropped=await self._answer())
        except asyncio.CancelledError:
            self._at_ns = time.perf_counter_ns()
            self._finish(cancelled=True)
        except WorkbenchError as error:
            self._fail(error)
        except Exception as error:
            _logger.exception("An answer failed.")
            self._fail(EngineError(f"The client failed: {error!r}.", "The log (F12) has the details."))
        finally:
            if self._flushing is not None:
                self._flushing.cancel()

    def _finish(self, *, dropped: int = 0, cancelled: bool = False) -> None:
        parser = self._parser or self._dialect.parser(Question("", {}, 0), self._submitted_ns, -1)
        end = parser.finished(self._at_ns, cancelled=cancelled)
        seed = None if self._question is None else self._question.seed
        notice = " ".join(filter(None, (self._notice(end), self._left_out, self._over_budget)))
        self._outbox.put(replace(end, seed=seed, dropped=dropped, notice=notice), at_once=True)

    def _fail(self, error: WorkbenchError) -> None:
        now = time.perf_counter_ns()
        # Text that arrived is kept, also where it might have become a tag.
        thoughts, text = ("", "") if self._parser is None else self._parser.rest()
        rest: tuple[tuple[str, TokenKind], ...] = ((thoughts, "reasoning"), (text, "answer"))
        for held, kind in rest:
            if held:
                self._outbox.put(Token(held, NO_ID, kind, now, now - self._submitted_ns))
        self._outbox.put(Failed(error, now), at_once=True)

    def _notice(self, end: Finished) -> str:
        """The notice where the server has dropped the beginning: the conversation grew, and its token count shrank."""
        parser, messages, before = self._parser, self._request.messages, self._history
        if parser is None or parser.prompt_tokens is None or not parser.counts_whole_prompt or end.dropped:
            return ""
        grew = bool(before.messages) and messages[: len(before.messages)] == before.messages
        cut = grew and before.prompt_tokens is not None and parser.prompt_tokens < before.prompt_tokens
        self._history.messages, self._history.prompt_tokens = messages, parser.prompt_tokens
        return CUT if cut else ""

    @property
    def _left_out(self) -> str:
        """The notice of parameters that the server refused."""
        if self._question is None or not self._question.refused:
            return ""
        return f"The server does not take {', '.join(self._question.refused)}: it answers without."

    @property
    def _over_budget(self) -> str:
        """The notice of thoughts that went on beyond what was asked for."""
        budget = None if self._question is None else self._question.body.get("reasoning_budget_tokens")
        if budget is None or self._parser is None or self._parser.thoughts <= budget + CLOSING_TOKENS:
            return ""
        return "The server did not end the thoughts as asked: it does not know how this model marks their end."

    async def _answer(self) -> int:
        """Ask until the conversation fits; returns the number of dropped messages."""
        request, sampling = self._request, self._request.sampling
        seed = random.randrange(SEEDS) if sampling.seed < 0 else sampling.seed
        while True:
            try:
                await self._ask(request, seed)
            except ContextFullError:
                shorter = without_oldest(request.messages)
                begun = self._parser is not None and self._parser.tokens
                if request.when_context_full != "drop_oldest" or begun or len(shorter) == len(request.messages):
                    raise
                request = replace(request, messages=shorter)
            else:
                return len(self._request.messages) - len(request.messages)

    async def _ask(self, request: Request, seed: int) -> None:
        """Send the question, again without the fields that the server refuses."""
        question = self._dialect.question(request, seed)
        for _ in range(MOST_REFUSALS):
            self._question = question
            try:
                return await self._stream(question, request.sampling.num_predict)
            except ErrorStatus as refusal:
                error = self._client.error(refusal.answer, refusal.path, str(question.body.get("model", "")))
                milder = self._dialect.milder(question, refusal.answer)
            if milder is None:
                break
            question = milder
        raise error

    async def _stream(self, question: Question, most_tokens: int) -> None:
        """Send the question, and deliver its events until the answer is complete."""
        client = self._client
        parser = self._parser = self._dialect.parser(question, self._submitted_ns, most_tokens)
        parser.n_ctx = self._n_ctx
        self._waits_s = client.timeouts.first
        error: WorkbenchError
        try:
            async with asyncio.timeout(self._waits_s) as limit, client.stream(question.path, question.body) as chunks:
                await self._listen(parser, chunks, limit)
            error = cut_short(client.address)
        except TimeoutError:
            what = "it sent no word" if not parser.tokens else "it went silent in the middle of the answer"
            error = too_slow(client.address, what, self._waits_s)
        except FramingError as problem:
            error = ServerAnswerError(
                f"{client.address.label} broke its own stream: {plain(problem, client.address)}.",
                "The text so far is kept. A proxy on the way may have damaged it.",
            )
        except ServerAnswerError as problem:
            error = problem
        # An error after the end of the answer is ignored.
        if parser.reason is None and not parser.complete:
            raise error

    async def _listen(
        self, parser: AnswerParser, chunks: AsyncIterator[tuple[bytes, int]], limit: asyncio.Timeout
    ) -> None:
        loop, frames, timeouts = asyncio.get_running_loop(), self._dialect.frames(), self._client.timeouts
        ended = False
        async for data, at_ns in chunks:
            self._at_ns = at_ns
            found = self._take(frames.push(data), at_ns)
            if parser.complete:
                return
            if found and not ended:
                # Figures may follow the end, with a shorter timeout than text.
                ended = parser.reason is not None
                self._waits_s = timeouts.end if ended else timeouts.between
                limit.reschedule(loop.time() + self._waits_s)
        self._take(frames.end(), self._at_ns)

    def _take(self, values: Iterable[object], at_ns: int) -> bool:
        """Deliver the events of these values; returns whether there were any."""
        assert self._parser is not None
        found = False
        for value in values:
            for event in self._parser.feed(value, at_ns):
                found = True
                self._deliver(event)
            if self._parser.complete:
                break
        if self._outbox.holds and self._flushing is None:
            # The next piece may take long.
            self._flushing = asyncio.get_running_loop().call_later(FLUSH_INTERVAL_NS / 1e9, self._flush)
        return found or self._parser.reason is not None

    def _deliver(self, event: Event) -> None:
        is_text = isinstance(event, Token) and bool(event.text)
        self._outbox.put(event, at_once=not is_text or not self._text_sent)
        self._text_sent = self._text_sent or is_text

    def _flush(self) -> None:
        self._flushing = None
        self._outbox.flush(time.perf_counter_ns())


def without_oldest(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """A conversation without its oldest turns; the system prompt and the last message always stay."""
    first = 1 if messages and messages[0].role == "system" else 0
    end = first + max(1, (len(messages) - first) // DROPPED_SHARE)
    while end < len(messages) - 1 and messages[end].role == "assistant":
        end += 1
    end = min(end, len(messages) - 1)
    return (*messages[:first], *messages[end:]) if end > first else messages
