"""Conversion of token bytes to the text of an answer: characters, stop strings, and reasoning apart from the answer."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from workbench.core.tool_calls import is_call_mark
from workbench.engine.thoughts import (
    ReasoningSplitter,
    TextPiece,
    control_text,
    held_suffix,
    readable,
    without_control,
)

NOTHING = TextPiece("", "answer")
STILL_THINKING = TextPiece("", "reasoning")


class StopStrings:
    """Finds stop strings in a stream, also across pieces and in control tokens. Empty ones are ignored."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.any = bool(self._stops)
        self.found = False

    def push(self, text: str) -> str:
        """The text that can be released, of `text` and the held text; sets `found` at the first stop string."""
        if not self.any:
            return text
        text = self._held + text
        seen = readable(text)
        # The earliest complete one, so that the result does not depend on how the text is divided.
        matches = [(place + len(stop), place) for stop in self._stops if (place := seen.find(stop)) >= 0]
        if matches:
            self.found, self._held = True, ""
            return text[: min(matches)[1]]
        held = held_suffix(seen, self._stops)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> str:
        """The held text, which was no stop string."""
        held, self._held = self._held, ""
        return held


class AnswerText:
    """Converts token bytes to pieces of text.

    A piece from `push` may belong to earlier tokens: an unfinished character, and text that may yet become a stop
    string or a marker, is held. Stop strings are no part of the answer; the default of `splitter` knows nothing about
    the model.
    """

    def __init__(self, stops: Sequence[str] = (), splitter: ReasoningSplitter | None = None) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._decode = self._decoder.decode
        self._stops = StopStrings(stops)
        self.splitter = splitter or ReasoningSplitter()
        """Knows whether the text is inside of thoughts, and what the markers are."""
        self._ready: list[TextPiece] = []

    def overshoots(self, data: bytes) -> bool:
        """Whether these bytes end the thoughts and have text of the answer too."""
        return self.splitter.overshoots(data.decode("utf-8", "replace"))

    @property
    def is_whole(self) -> bool:
        """Whether no character is unfinished."""
        return not self._decoder.getstate()[0]

    @property
    def may_stop(self) -> bool:
        """Whether it looks for stop strings."""
        return self._stops.any

    @property
    def stopped(self) -> bool:
        """Whether a stop string was found."""
        return self._stops.found

    def push(self, data: bytes) -> TextPiece:
        """Add the bytes of one token; returns the next piece, of one kind only, which may be empty."""
        return self._push(self._decode(data))

    def push_control(self, text: str) -> TextPiece:
        """Add a control token: its text may be a marker or a stop string, and is no text of the answer.

        Where the answer may have calls, their markup is.
        """
        if self.splitter.calls and is_call_mark(text):
            return self._push(text)
        return self._push(control_text(text))

    def _push(self, text: str) -> TextPiece:
        text = self._stops.push(text)
        if self.splitter.done and not self._ready:
            return TextPiece(without_control(text), "answer")
        if text:
            self._ready += self.splitter.push(text)
        if self._ready:
            return self._ready.pop(0)
        return STILL_THINKING if self.splitter.within_thoughts else NOTHING

    def flush(self) -> tuple[str, str]:
        """The rest of the reasoning and of the answer, at its end. The bytes of an unfinished character are dropped."""
        if not self._stops.found:
            self._ready += self.splitter.push(self._stops.flush())
        pieces, self._ready = [*self._ready, self.splitter.flush()], []
        reasoning, answer = ("".join(p.text for p in pieces if p.kind == kind) for kind in ("reasoning", "answer"))
        return reasoning, answer
