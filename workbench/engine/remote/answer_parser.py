"""The parser of a streamed answer: the state that the parsers of all APIs share.

A client sees no tokens, only pieces of text. One piece counts as one token, as servers send one at a time; where the
server sends a count along, that is used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from workbench.core.alternatives import TokenChoice
from workbench.core.errors import ServerAnswerError
from workbench.core.events import Event, Finished, FinishReason, PromptProgress, Timings, Token, TokenKind, Usage
from workbench.core.servers import ServerAddress
from workbench.engine.remote.problems import error_in_stream, plain
from workbench.engine.remote.streams import DONE
from workbench.engine.text import AnswerText

BYTES_PER_TOKEN = 4
"""An estimate for text whose tokens were not counted: that of English."""
SPARE_TOKENS = 8
"""How many tokens before the end of its context a server may stop."""
NO_ID = -1
_PART_TEXTS = ("text", "thinking", "reasoning", "thought", "content", "summary", "refusal")
"""The names under which a part of a content has its text."""
_MOST_AT_ONCE = 100_000
"""Tokens that a server may claim to have sent in one piece."""


class AnswerParser(ABC):
    """Converts the values of one streamed answer into events.

    Args:
        address: The server.
        model: Its name of the model that writes.
        submitted_ns: `time.perf_counter_ns()` at the request.
        prompt_bytes: The length of the prompt, for servers that do not count its tokens.
        limit: The requested maximum of tokens; negative for no limit.
    """

    def __init__(self, address: ServerAddress, model: str, submitted_ns: int, prompt_bytes: int, limit: int) -> None:
        self._address = address
        self._model = model
        self._submitted_ns = submitted_ns
        self._prompt_bytes = prompt_bytes
        self._limit = limit
        self.n_ctx = 0
        """The context length of the model on the server, in tokens; 0 where it is not known."""
        self._splitter: AnswerText | None = AnswerText()
        """Finds reasoning in the text, until the server turns out to send it apart."""
        self._events: list[Event] = []
        self._choices: tuple[TokenChoice, ...] = ()
        """Those of the next token."""
        self.tokens = 0
        """Tokens so far."""
        self.prompt_tokens: int | None = None
        self.counts_whole_prompt = True
        """Whether `prompt_tokens` includes the cached tokens."""
        self.cached_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.unseen_tokens = 0
        self.thoughts = 0
        """Pieces of reasoning, each a token."""
        """Whether reasoning was sent."""
        self.timings: Timings | None = None
        self.reason: FinishReason | None = None
        """Why the answer ended; None before its end."""
        self.complete = False
        """Whether nothing more will come, not even figures."""

    def feed(self, value: object, at_ns: int) -> list[Event]:
        """The events in one value of the stream, which arrived at `at_ns`.

        Raises:
            WorkbenchError: It is an error, or no part of an answer.
        """
        self._events = []
        if value is DONE:
            self.complete = True
        elif not isinstance(value, dict):
            raise ServerAnswerError(
                f"{self._address.label} sent what is no part of an answer: {plain(value, self._address)[:60]!r}.",
                "The text so far is kept.",
            )
        elif value.get("error") or value.get("object") == "error":
            raise error_in_stream(self._address, value, self._model)
        else:
            self._take(value, at_ns)
        return self._events

    @abstractmethod
    def _take(self, value: Mapping[str, Any], at_ns: int) -> None:
        """Take one value: see `feed`."""

    def rest(self) -> tuple[str, str]:
        """The held text of the reasoning and of the answer; it is returned once."""
        return ("", "") if self._splitter is None else self._splitter.flush()

    def finished(self, at_ns: int, *, cancelled: bool = False) -> Finished:
        """The last event of an answer that ended, or that the user cancelled."""
        thoughts, text = self.rest()
        reason: FinishReason = "cancelled" if cancelled else self.reason or "stop"
        counted = self.completion_tokens
        # Whether the requested limit was not reached. Pieces are too inexact a count: a character of two tokens
        # comes in one.
        unasked = reason == "length" and (self._limit < 0 or (counted is not None and counted < self._limit))
        usage = self._usage()
        if unasked and 0 < self.n_ctx <= usage.prompt_tokens + usage.completion_tokens + SPARE_TOKENS:
            reason, unasked = "context", False
        lane_ns = at_ns - self._submitted_ns
        return Finished(
            reason, usage, at_ns, lane_ns, None, text, "answer", thoughts, self.timings, server_limit=unasked
        )

    def _usage(self) -> Usage:
        if self.tokens and not self.completion_tokens:
            # A server that does not count sends zeros beside the text.
            self.completion_tokens = None
        self.prompt_tokens = self.prompt_tokens or None
        estimated = self.prompt_tokens is None or self.completion_tokens is None
        prompt = -(-self._prompt_bytes // BYTES_PER_TOKEN) if self.prompt_tokens is None else self.prompt_tokens
        completion = self.tokens if self.completion_tokens is None else self.completion_tokens
        return Usage(prompt, self.cached_tokens, completion, estimated, self.unseen_tokens)

    def _text(self, text: object, kind: TokenKind, at_ns: int) -> None:
        """Add a piece of text, which is one token, or a list of parts; anything else is skipped."""
        if isinstance(text, list):
            for part in text:
                self._part(part, kind, at_ns)
            return
        if not isinstance(text, str) or not text:
            return
        if not text.isascii():
            # A server may send half of a surrogate pair, which cannot be encoded.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        recast = False
        if kind == "reasoning":
            # The server separates the two: text that looks like a tag belongs to the answer.
            self._splitter = None
        elif self._splitter is not None:
            piece = self._splitter.push(text.encode())
            text, kind, recast = piece.text, piece.kind, piece.recast
        self._add(text, kind, at_ns, recast=recast)

    def _part(self, part: object, kind: TokenKind, at_ns: int) -> None:
        """Add a part: a text, or an object with its type and a text or list of parts under one of several names."""
        if not isinstance(part, dict):
            self._text(part, kind, at_ns)
            return
        thoughts = any(word in str(part.get("type", "")) for word in ("think", "reason", "thought"))
        inner = next((part[name] for name in _PART_TEXTS if isinstance(part.get(name), str | list)), None)
        self._text(inner, "reasoning" if thoughts else kind, at_ns)

    def _add(self, text: str, kind: TokenKind, at_ns: int, *, recast: bool = False) -> None:
        self.tokens += 1
        self.thoughts += kind == "reasoning"
        choices, self._choices = self._choices, ()
        self._events.append(Token(text, NO_ID, kind, at_ns, at_ns - self._submitted_ns, recast, choices))

    def _counted(self, completion: int, at_ns: int) -> None:
        """Add the tokens that the server has counted beyond the pieces: several may come in one piece."""
        for _ in range(min(completion - self.tokens, _MOST_AT_ONCE)):
            self._add("", "answer", at_ns)

    def _progress(self, done: int, total: int, cached: int, at_ns: int) -> None:
        """Add a progress event, and take the length of the prompt from it until there is a final count."""
        cached = min(cached, total)
        self.prompt_tokens, self.cached_tokens = total, cached
        done = min(max(done, cached), total)
        self._events.append(PromptProgress(done, total, cached, at_ns, at_ns - self._submitted_ns))


def count(value: object) -> int | None:
    """A number of tokens; None for any other value."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def number(value: object) -> float | None:
    """A number that may be a time; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e18:
        return None
    return float(value)
