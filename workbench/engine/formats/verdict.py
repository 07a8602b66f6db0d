"""Judging an answer at its end: whether it has the format that was asked for."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from workbench.core.engine import Request
from workbench.core.errors import FormatError
from workbench.core.events import Batch, Event, Failed, Finished, Token
from workbench.core.formats import Verdict
from workbench.engine.formats.answer_format import AnswerFormat, guided, matcher_for, read_format
from workbench.json_schemas import UndecidedError, mismatch, validator

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_END = 256
"""The token after those of the bytes."""
_TOO_COMPLEX = frozenset({"ParserTooComplex", "LexerTooComplex", "InternalError"})


class _Bytes:
    """A vocabulary of the 256 bytes, as llguidance asks for one."""

    is_tokenizer_wrapper = True
    eos_token_id = _END
    bos_token_id = None
    tokens: Sequence[bytes] = [*(bytes([byte]) for byte in range(256)), b"<end>"]
    special_token_ids: Sequence[int] = [_END]

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


@cache
def _bytes() -> LLTokenizer:
    from llguidance import LLTokenizer

    return LLTokenizer(cast("Any", _Bytes()), slices=[])


def _read(grammar: str, text: str) -> tuple[int, LLMatcher]:
    """How many bytes of `text` a grammar takes, and its state after them."""
    matcher = matcher_for(_bytes(), grammar)
    return matcher.try_consume_tokens(list(text.encode("utf-8", "replace"))), matcher


def judge(form: AnswerFormat, text: str) -> Verdict:
    """Whether `text` has a format, is the beginning of a text that has it, or neither."""
    if form.kind == "grammar":
        return _judge_by_grammar(guided(form), text)
    text = text.strip()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        taken, matcher = _read(_any_json(), text)
        if taken < len(text.encode("utf-8", "replace")):
            where = f"{error.msg}, line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(error)
            return Verdict("invalid", f"it is no JSON ({where})")
        if matcher.is_accepting():
            return Verdict("invalid", "it cannot be read: a number is too long, or it is nested too deep")
        return Verdict("truncated", "it ends in the middle")
    return _judge_by_schema(form.schema, value)


@cache
def _any_json() -> str:
    from llguidance import LLMatcher

    found: str = LLMatcher.grammar_from_json_schema("{}")
    return found


def _judge_by_grammar(grammar: str, text: str) -> Verdict:
    taken, matcher = _read(grammar, text)
    data = text.encode("utf-8", "replace")
    if taken == len(data):
        return Verdict("valid") if matcher.is_accepting() else Verdict("truncated", "it ends in the middle")
    if matcher.stop_reason() in _TOO_COMPLEX:
        return Verdict("invalid", "its grammar is too complex for the text to be checked")
    return Verdict("invalid", f"the grammar has no {data[taken:].decode('utf-8', 'replace')[:20]!r} at byte {taken:,}")


def _judge_by_schema(schema: dict[str, Any], value: object) -> Verdict:
    try:
        problem = mismatch(value, validator(schema))
    except UndecidedError as error:
        return Verdict("invalid", str(error))
    return Verdict("invalid", problem) if problem else Verdict("valid")


class _Text:
    """The text of an answer, from its events."""

    def __init__(self, beginning: str) -> None:
        self._parts = [beginning]

    def take(self, event: Event) -> None:
        if isinstance(event, Token) and event.recast:
            self._parts = []
        if isinstance(event, Token | Finished) and event.kind == "answer":
            self._parts.append(event.text)

    def __str__(self) -> str:
        return "".join(self._parts)


async def judged(batches: AsyncIterator[Batch], request: Request) -> AsyncIterator[Batch]:
    """The batches of an answer to `request`, the end of which has a verdict where a format was asked for."""
    async with aclosing(batches):  # type: ignore[type-var]
        if not request.sampling.format:
            async for batch in batches:
                yield batch
            return
        try:
            form = await asyncio.to_thread(read_format, request.sampling.format)
        except FormatError as error:
            yield (Failed(error, time.perf_counter_ns()),)
            return
        text = _Text(request.messages[-1].content if request.continues else "")
        async for batch in batches:
            for event in batch:
                text.take(event)
            end = batch[-1]
            if isinstance(end, Finished) and form is not None:
                yield (*batch[:-1], replace(end, verdict=await asyncio.to_thread(judge, form, str(text))))
            else:
                yield batch
