"""What a server of the tests says, and how fast: conversations, pace, faults.

The servers beside this file know how their originals put it on the wire; what is put on the wire comes from here.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

WORDS_OF_A_MESSAGE = 4
"""Tokens that a chat template puts around a message, for a server that counts words as tokens."""


@dataclass(frozen=True)
class Exchange:
    """A question, and what the model answers to it."""

    question: str
    """The text of the last message."""
    pieces: tuple[str, ...] = ()
    """The tokens of the answer."""
    thoughts: tuple[str, ...] = ()
    """The tokens of the reasoning before it."""
    reason: str = "stop"
    prompt_tokens: int | None = None
    """None: words are counted."""
    cached_tokens: int | None = None
    """None: as many as an earlier prompt had in common with this one."""
    prefill_ns: int | None = None
    """What the server says of its own time; None: what was measured."""
    decode_ns: int | None = None
    error_after: int | None = None
    """The stream says that something went wrong after so many tokens."""
    ends_after: int | None = None
    """The stream ends after so many tokens, as if that were all."""
    recorded: bytes | None = None
    """A whole stream as it was recorded; sent as it is, in the place of one that the server writes."""


@dataclass(frozen=True)
class Pace:
    """How fast a server is. Without figures it is as fast as it can be."""

    prefill_tps: float | None = None
    """Prompt tokens per second, of one request."""
    decode_tps: float | None = None
    """Tokens per second of an answer that has the server for itself."""
    total_tps: float | None = None
    """Tokens per second of all answers together."""
    slots: int | None = None
    """Answers at the same time; further requests wait."""


@dataclass(frozen=True)
class Script:
    """What a server says and does."""

    exchanges: Sequence[Exchange] = ()
    pace: Pace = field(default_factory=Pace)
    key: str | None = None
    """The key without which nothing is answered."""
    cut_seed: int | None = None
    """Streams are cut at random places, also in the middle of a character; None: at the end of each line or event."""
    default_tokens: int = 16
    """The length of answers to questions that no exchange has, where no limit is asked for."""
    context: int = 4096

    def exchange(self, question: str) -> Exchange | None:
        """What is answered to a question; None where the script does not have it."""
        return next((each for each in self.exchanges if each.question == question), None)


@dataclass
class Plan:
    """One answer, as it will be given."""

    exchange: Exchange
    tokens: tuple[tuple[str, str], ...]
    """Pairs of `reasoning` or `answer`, and a text."""
    reason: str
    prompt_tokens: int
    cached_tokens: int
    prefill_ns: int = 0
    decode_ns: int = 0
    queue_ns: int = 0
    given: int = 0
    """Tokens that have been given."""

    @property
    def text(self) -> str:
        return "".join(text for kind, text in self.tokens if kind == "answer")

    @property
    def reasoning(self) -> str:
        return "".join(text for kind, text in self.tokens if kind == "reasoning")

    @property
    def reasoning_tokens(self) -> int:
        return sum(kind == "reasoning" for kind, _ in self.tokens)


class AnswerBrokenError(Exception):
    """The script wants the model to fail here."""


class StreamEndsError(Exception):
    """The script wants the stream to end here, without a word."""


class Model:
    """The model behind a server: it batches what is asked at the same time, as far as it has slots.

    Args:
        script: What it says.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.running = 0
        self.waiting = 0
        self.most_running = 0
        self.finished = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.aborted = 0
        """Answers whose reader went away."""
        self._seen: list[list[str]] = []
        self._slots: asyncio.Semaphore | None = None

    def plan(self, messages: Sequence[Mapping[str, object]], limit: int | None, thinks: bool = True) -> Plan:
        """What will be answered to a conversation; `limit` is the most tokens, None for no limit."""
        words = [word for message in messages for word in text_of(message).split()]
        cached = max((_common(words, earlier) for earlier in self._seen), default=0)
        self._seen.append(words)
        question = text_of(messages[-1]) if messages else ""
        exchange = self.script.exchange(question) or self._filler(question, limit)
        thoughts = exchange.thoughts if thinks else ()
        tokens = tuple(("reasoning", text) for text in thoughts) + tuple(("answer", text) for text in exchange.pieces)
        shortened = limit is not None and limit >= 0 and len(tokens) > limit
        count = len(words) + WORDS_OF_A_MESSAGE * len(messages)
        return Plan(
            exchange,
            tokens[:limit] if shortened else tokens,
            "length" if shortened else exchange.reason,
            exchange.prompt_tokens or count,
            cached if exchange.cached_tokens is None else exchange.cached_tokens,
        )

    def _filler(self, question: str, limit: int | None) -> Exchange:
        length = self.script.default_tokens if limit is None or limit < 0 else limit
        return Exchange(question, tuple(f" {number}" for number in range(length)), reason="length" if limit else "stop")

    async def say(self, plan: Plan) -> AsyncIterator[tuple[str, str]]:
        """The tokens of an answer, at the pace of the script.

        Raises:
            AnswerBrokenError: The script wants it to fail.
            StreamEndsError: The script wants it to end.
        """
        async with self._slot(plan):
            begun = time.perf_counter_ns()
            await self._prefill(plan)
            first = time.perf_counter_ns()
            plan.prefill_ns = plan.exchange.prefill_ns or first - begun
            due = time.perf_counter()
            for kind, text in plan.tokens:
                if plan.given == plan.exchange.error_after:
                    raise AnswerBrokenError
                if plan.given == plan.exchange.ends_after:
                    raise StreamEndsError
                due = await self._wait(due)
                plan.given += 1
                self.completion_tokens += 1
                yield kind, text
            plan.decode_ns = plan.exchange.decode_ns or time.perf_counter_ns() - first
            self.finished += 1

    @asynccontextmanager
    async def _slot(self, plan: Plan) -> AsyncIterator[None]:
        asked = time.perf_counter_ns()
        if self._slots is None:
            self._slots = asyncio.Semaphore(self.script.pace.slots or 2**20)
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        plan.queue_ns = time.perf_counter_ns() - asked
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            yield
        except (GeneratorExit, asyncio.CancelledError):
            self.aborted += 1
            raise
        finally:
            self.running -= 1
            self._slots.release()

    async def _prefill(self, plan: Plan) -> None:
        self.prompt_tokens += plan.prompt_tokens
        speed = self.script.pace.prefill_tps
        await asyncio.sleep(0 if speed is None else (plan.prompt_tokens - plan.cached_tokens) / speed)

    async def _wait(self, due: float) -> float:
        """Wait until the next token is due; gives when the one after it would be measured from."""
        pace = self.script.pace
        speeds = [speed for speed in (pace.decode_tps, pace.total_tps and pace.total_tps / self.running) if speed]
        if not speeds:
            await asyncio.sleep(0)
            return due
        due += 1 / min(speeds)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        return due


def text_of(message: Mapping[str, object]) -> str:
    """The text of a message, whose content is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(part.get("text", "") for part in parts if isinstance(part, dict))


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        count += 1
    return count


async def cut(parts: AsyncIterator[bytes], seed: int | None) -> AsyncIterator[bytes]:
    """The bytes of `parts`, cut elsewhere."""
    if seed is None:
        async for part in parts:
            yield part
        return
    chance = random.Random(seed)
    held = b""
    async for part in parts:
        held += part
        while len(held) > (length := chance.randint(1, 60)):
            yield held[:length]
            held = held[length:]
            # So that it arrives on its own.
            await asyncio.sleep(0)
    if held:
        yield held
