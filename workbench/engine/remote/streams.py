"""Framing: the JSON values in the bytes of a streamed answer, which may be divided anywhere.

Two framings are in use. Ollama writes one JSON value a line (`application/x-ndjson`). Everybody else writes
server-sent events, as https://html.spec.whatwg.org/multipage/server-sent-events.html describes them, whose data is a
JSON value, or `[DONE]` at the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, Protocol

from typing_extensions import override

LONGEST_LINE = 8 * 2**20
"""In bytes; the limit of Ollama's own client."""

_SHOWN = 60


class FramingError(Exception):
    """The framing of a stream is broken; the text says how."""


class EndOfStream:
    """The mark at the end of a stream of events."""


DONE: Final = EndOfStream()


class Frames(Protocol):
    """Finds the values in a stream. Values before an error are yielded first."""

    def push(self, data: bytes) -> Iterator[object]:
        """The values that are complete with these bytes.

        Raises:
            FramingError: A line is too long, or a value is no JSON.
        """

    def end(self) -> Iterator[object]:
        """The value that the end of the stream completes.

        Raises:
            FramingError: The stream was cut inside a value.
        """


class LineBuffer:
    """Splits bytes into lines of at most `longest` bytes, which end with LF, CR LF or CR."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._length = 0
        self._after_cr = False

    def push(self, data: bytes) -> Iterator[bytes]:
        """The lines that are complete with these bytes, without their ends.

        Raises:
            FramingError: A line is too long.
        """
        if self._after_cr and data:
            # The CR at the end of the last chunk has ended the line.
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = data.split(b"\n")
        if lines:
            self._parts.append(lines[0])
            lines[0] = b"".join(self._parts)
            self._parts, self._length = [], 0
        if rest:
            self._parts.append(rest)
            self._length += len(rest)
        for line in lines:
            if len(line) > self._longest:
                raise self._too_long()
            yield line
        if self._length > self._longest:
            raise self._too_long()

    def _too_long(self) -> FramingError:
        return FramingError(f"a line is longer than {self._longest // 2**20} MiB")

    def rest(self) -> bytes:
        """The bytes after the last line end."""
        rest, self._parts, self._length = b"".join(self._parts), [], 0
        return rest


def _value(text: bytes | str) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        cut = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
        raise FramingError(f"it is no JSON: {cut!r}") from None
    return found


class JsonLines(Frames):
    """Finds the values of a stream with one a line, of at most `longest` bytes. Empty lines are skipped."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._lines = LineBuffer(longest)

    @override
    def push(self, data: bytes) -> Iterator[object]:
        return (_value(line) for line in self._lines.push(data) if line.strip())

    @override
    def end(self) -> Iterator[object]:
        rest = self._lines.rest()
        if rest.strip():
            yield _value(rest)


class ServerSentEvents(Frames):
    """Finds the values of a stream of server-sent events.

    Comments, which servers send as pings, and unused fields are skipped. An event called `error` gives `{"error": …}`.
    Lines and events have at most `longest` bytes.
    """

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._lines = LineBuffer(longest)
        self._longest = longest
        self._data: list[bytes] = []
        self._held = 0
        self._is_error = False
        self._begun = False

    @override
    def push(self, data: bytes) -> Iterator[object]:
        for line in self._lines.push(data):
            if not self._begun:
                # A byte order mark may stand at the very beginning.
                self._begun = True
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line:
                self._take(line)
            elif self._data:
                yield from self._dispatch()
            else:
                self._is_error = False

    @override
    def end(self) -> Iterator[object]:
        rest = self._lines.rest()
        if rest:
            self._take(rest)
        if self._data:
            yield from self._dispatch()

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._held += len(value)
            if self._held > self._longest:
                raise FramingError(f"an event is longer than {self._longest // 2**20} MiB")
        elif name == b"event":
            self._is_error = value.strip() == b"error"

    def _dispatch(self) -> list[object]:
        lines, self._data, self._held = self._data, [], 0
        is_error, self._is_error = self._is_error, False
        text = b"\n".join(lines)
        if not text.strip():
            return []
        if text.strip() == b"[DONE]":
            return [DONE]
        try:
            values = [_value(text)]
        except FramingError:
            # Some servers forget the empty line between two events.
            if len(lines) == 1:
                raise
            values = [DONE if line.strip() == b"[DONE]" else _value(line) for line in lines if line.strip()]
        if is_error:
            return [
                value if isinstance(value, dict) and "error" in value else {"error": _message(value)}
                for value in values
            ]
        return values


def _message(value: object) -> object:
    return value.get("message", value) if isinstance(value, dict) else value
