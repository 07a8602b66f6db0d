"""The timing of an answer's text: enough to replay it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from workbench.core.events import Event, Finished, Token, TokenKind

_UNIT_NS = 100_000
"""Times are kept in tenths of a millisecond."""


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of text, and its time."""

    gap_ms: float
    """Since the piece before it, or since the question was submitted."""
    characters: int
    kind: TokenKind


@dataclass(frozen=True, slots=True)
class Trace:
    """The steps of one answer.

    Each step is two numbers in LEB128, low bits first: the gap in tenths of a millisecond, and twice the number of
    characters, plus one for reasoning. An answer of a thousand tokens takes about three kilobytes.
    """

    data: bytes = b""

    def steps(self) -> Iterator[Step]:
        """Every step in order, up to damaged data: a replay is not worth an error."""
        numbers = _numbers(self.data)
        for gap, coded in zip(numbers, numbers, strict=False):
            yield Step(gap * _UNIT_NS / 1e6, coded >> 1, "reasoning" if coded & 1 else "answer")


class Tracer:
    """Records when the pieces of an answer arrive, from `submitted_ns` on, at constant cost for each."""

    def __init__(self, submitted_ns: int) -> None:
        self._units = submitted_ns // _UNIT_NS
        self._data = bytearray()

    def feed(self, event: Event) -> None:
        """Add one event of the answer."""
        if isinstance(event, Token) and event.recast:
            numbers, self._data = list(_numbers(bytes(self._data))), bytearray()
            for index, number in enumerate(numbers):
                self._put(number | index & 1)
        if isinstance(event, Finished):
            self._step(event.thoughts, "reasoning", event.at_ns)
        if isinstance(event, Token | Finished):
            self._step(event.text, event.kind, event.at_ns)

    def _step(self, text: str, kind: TokenKind, at_ns: int) -> None:
        if text:
            now = at_ns // _UNIT_NS
            self._put(max(0, now - self._units))
            self._put(len(text) << 1 | (kind == "reasoning"))
            self._units = max(now, self._units)

    def _put(self, number: int) -> None:
        while number > 0x7F:
            self._data.append(number & 0x7F | 0x80)
            number >>= 7
        self._data.append(number)

    def trace(self) -> Trace:
        """The steps so far."""
        return Trace(bytes(self._data))


def _numbers(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0
