"""What a streamed answer says, whichever API it comes by: the state that every dialect of it shares.

Nobody who stands outside of a server sees its tokens, only pieces of text. One piece is taken for one token, as servers
send one at a time; where the server counts along, its count is believed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from workbench.core.events import Event, Finished, FinishReason, PromptProgress, Timings, Token, TokenKind, Usage
from workbench.engine.text import AnswerText

BYTES_PER_TOKEN = 4
"""A guess, for where nobody counts: that of English text."""
NO_ID = -1
_MOST_AT_ONCE = 100_000
"""Tokens that a server may claim to have sent in one piece."""


class AnswerParser(ABC):
    """Turns the values of one streamed answer into events.

    Args:
        submitted_ns: `time.perf_counter_ns()` when it was asked for.
        prompt_bytes: How long the prompt is, for where the server does not count its tokens.
        limit: The most tokens that were asked for; negative for no limit.
    """

    def __init__(self, submitted_ns: int, prompt_bytes: int, limit: int) -> None:
        self._submitted_ns = submitted_ns
        self._prompt_bytes = prompt_bytes
        self._limit = limit
        self._splitter: AnswerText | None = AnswerText()
        """Finds reasoning in the text, until the server turns out to tell it apart itself."""
        self._events: list[Event] = []
        self.tokens = 0
        """Tokens that were seen."""
        self.prompt_tokens: int | None = None
        self.counts_whole_prompt = True
        """Whether the cached tokens are in that."""
        self.cached_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.unseen_tokens = 0
        self.thought = False
        """Whether reasoning was sent."""
        self.timings: Timings | None = None
        self.reason: FinishReason | None = None
        """Why the answer ended; None while it goes on."""
        self.complete = False
        """Whether nothing more is to come, not even figures."""

    def feed(self, value: object, at_ns: int) -> list[Event]:
        """Take one value of the stream, which arrived at `at_ns`; gives the events that it means.

        Raises:
            WorkbenchError: It is an error.
        """
        self._events = []
        self._take(value, at_ns)
        return self._events

    @abstractmethod
    def _take(self, value: object, at_ns: int) -> None:
        """Take one value: see `feed`."""

    def rest(self) -> tuple[str, TokenKind]:
        """The text that is still held, and its kind. It is given once."""
        if self._splitter is None:
            return "", "answer"
        piece = self._splitter.flush()
        return piece.text, piece.kind

    def finished(self, at_ns: int, *, cancelled: bool = False) -> Finished:
        """The end of the answer as it stands.

        Args:
            at_ns: When it ended.
            cancelled: Whether the user ended it.
        """
        text, kind = self.rest()
        reason: FinishReason = "cancelled" if cancelled else self.reason or "stop"
        counted = self.completion_tokens
        if reason == "length" and (self._limit < 0 or (counted is not None and counted < self._limit)):
            # It was not the limit that was asked for, so it was that of the context. Pieces are too poor a count for
            # this: a character of two tokens comes in one.
            reason = "context"
        lane_ns = at_ns - self._submitted_ns
        return Finished(reason, self._usage(), at_ns, lane_ns, None, text, kind, self.timings)

    def _usage(self) -> Usage:
        estimated = self.prompt_tokens is None or self.completion_tokens is None
        prompt = -(-self._prompt_bytes // BYTES_PER_TOKEN) if self.prompt_tokens is None else self.prompt_tokens
        completion = self.tokens if self.completion_tokens is None else self.completion_tokens
        return Usage(prompt, self.cached_tokens, completion, estimated, self.unseen_tokens)

    def _text(self, text: object, kind: TokenKind, at_ns: int) -> None:
        """Add a piece of text, which is one token; what is no text is passed over."""
        if not isinstance(text, str) or not text:
            return
        if not text.isascii():
            # A server may send half of a surrogate pair, which nothing can be done with afterwards.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if kind == "reasoning":
            # The server tells the two apart: what looks like a tag in the answer belongs to it.
            self._splitter = None
        elif self._splitter is not None:
            piece = self._splitter.push(text.encode())
            text, kind = piece.text, piece.kind
        self._add(text, kind, at_ns)

    def _add(self, text: str, kind: TokenKind, at_ns: int) -> None:
        self.tokens += 1
        self.thought |= kind == "reasoning"
        self._events.append(Token(text, NO_ID, kind, at_ns, at_ns - self._submitted_ns))

    def _counted(self, completion: int, at_ns: int) -> None:
        """Believe the server's count of the tokens that were sent so far: several may come in one piece."""
        for _ in range(min(completion - self.tokens, _MOST_AT_ONCE)):
            self._add("", "answer", at_ns)

    def _progress(self, done: int, total: int, cached: int, at_ns: int) -> None:
        """Tell how far the prompt is, and take its length from that until there is a final count."""
        cached = min(cached, total)
        self.prompt_tokens, self.cached_tokens = total, cached
        done = min(max(done, cached), total)
        self._events.append(PromptProgress(done, total, cached, at_ns, at_ns - self._submitted_ns))


def count(value: object) -> int | None:
    """A number of tokens; None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def number(value: object) -> float | None:
    """A number that may be a time; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e18:
        return None
    return float(value)
