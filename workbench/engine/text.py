"""Conversion of token bytes to the text of an answer: characters, stop strings, and reasoning apart from the answer."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.core.chat import Message
from workbench.core.events import TokenKind

REASONING_TAGS = (("<think>", "</think>"), ("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]"))
"""The tags that models write around their reasoning; the first pair is by far the most common."""

_OPENING = tuple(opening for opening, _ in REASONING_TAGS)


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Text of one kind."""

    text: str
    kind: TokenKind


NOTHING = TextPiece("", "answer")


def held_suffix(text: str, targets: Sequence[str]) -> int:
    """Length of the longest end of `text` that one of `targets` begins with, and is longer than."""
    longest = max((len(target) for target in targets), default=0) - 1
    for length in range(min(longest, len(text)), 0, -1):
        end = text[-length:]
        if any(target.startswith(end) for target in targets):
            return length
    return 0


def open_reasoning_tag(prompt: str) -> str | None:
    """The closing tag of a reasoning block that a rendered prompt leaves open at its end, or None."""
    tail = prompt.rstrip()
    for opening, closing in REASONING_TAGS:
        if tail.endswith(opening):
            return closing
    return None


def with_beginning(prompt: str, answer: Message) -> tuple[str, str | None]:
    """A rendered prompt with the beginning of its answer, and the closing tag of a block of reasoning left open."""
    opened = open_reasoning_tag(prompt)
    opening, closing = REASONING_TAGS[0]
    if opened is not None:
        opening, closing = "", opened
    if not answer.reasoning and opened is None:
        return prompt + answer.content, None
    block = f"{prompt}{opening}{answer.reasoning}"
    return (f"{block}\n{closing}\n\n{answer.content}", None) if answer.content else (block, closing)


class StopStrings:
    """Finds stop strings in a stream, also across the borders of pieces. Empty ones are ignored."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """The text that can be released, of `text` and the held text; sets `found` at the first stop string."""
        if not self._stops:
            return text
        text = self._held + text
        # The earliest complete one, so that the result does not depend on how the text is divided.
        matches = [(place + len(stop), place) for stop in self._stops if (place := text.find(stop)) >= 0]
        if matches:
            self.found, self._held = True, ""
            return text[: min(matches)[1]]
        held = held_suffix(text, self._stops)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> str:
        """The held text, which was no stop string."""
        held, self._held = self._held, ""
        return held


class ReasoningSplitter:
    """Separates reasoning from the answer by the tags around it, which are removed.

    An opening tag counts only at the very start, so that an answer may mention the tags. `closing` is the closing tag
    of a block that the prompt opens; the answer, or the open block, may be `continued`, and has text already.
    """

    def __init__(self, closing: str | None = None, *, continued: bool = False) -> None:
        self._closing = closing or ""
        self._state: Literal["start", "reasoning", "answer"] = "answer" if continued else "start"
        if closing:
            self._state = "reasoning"
        self._strip = closing is not None and not continued
        """Whether white space is skipped, because the block has no text yet."""
        self._held = ""

    @property
    def done(self) -> bool:
        """Whether all further text is the answer, unchanged."""
        return self._state == "answer" and not self._strip

    def push(self, text: str) -> list[TextPiece]:
        """The pieces that can be released, in order: at most one of reasoning and then one of the answer."""
        text, self._held = self._held + text, ""
        pieces: list[TextPiece] = []
        if self._state == "start":
            text = self._look_for_opening(text)
        if self._state == "reasoning":
            reasoning, answer = self._look_for_closing(text)
            self._release(reasoning, "reasoning", pieces)
            if answer is not None:
                self._state, self._strip = "answer", True
                self._release(answer, "answer", pieces)
        elif self._state == "answer":
            self._release(text, "answer", pieces)
        return pieces

    def _look_for_opening(self, text: str) -> str:
        """What follows the opening tag, or the whole text of an answer without one; the rest is held."""
        stripped = text.lstrip()
        for opening, closing in REASONING_TAGS:
            if stripped.startswith(opening):
                self._state, self._closing, self._strip = "reasoning", closing, True
                return stripped[len(opening) :]
        if not stripped or held_suffix(stripped, _OPENING) == len(stripped):
            self._held = text
            return ""
        self._state = "answer"
        return text

    def _look_for_closing(self, text: str) -> tuple[str, str | None]:
        """The reasoning that can be released, and the text after the closing tag, if there is one; the rest is held."""
        reasoning, tag, answer = text.partition(self._closing)
        if tag:
            return reasoning.rstrip(), answer
        released = text[: len(text) - held_suffix(text, (self._closing,))].rstrip()
        self._held = text[len(released) :]
        return released, None

    def _release(self, text: str, kind: TokenKind, pieces: list[TextPiece]) -> None:
        if self._strip:
            text = text.lstrip()
        if text:
            self._strip = False
            pieces.append(TextPiece(text, kind))

    def flush(self) -> TextPiece:
        """The held text."""
        held, self._held = self._held, ""
        return TextPiece(held.rstrip(), "reasoning") if self._state == "reasoning" else TextPiece(held, "answer")


class AnswerText:
    """Converts token bytes to pieces of text.

    A piece from `push` may belong to earlier tokens: an unfinished character, and text that may yet become a stop
    string or a tag, is held. Stop strings are no part of the answer; the others are arguments of `ReasoningSplitter`.
    """

    def __init__(self, stops: Sequence[str] = (), closing: str | None = None, *, continued: bool = False) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._stops = StopStrings(stops)
        self._splitter = ReasoningSplitter(closing, continued=continued)
        self._ready: list[TextPiece] = []

    @property
    def stopped(self) -> bool:
        """Whether a stop string was found."""
        return self._stops.found

    def push(self, data: bytes) -> TextPiece:
        """Add the bytes of one token; returns the next piece, of one kind only, which may be empty."""
        text = self._stops.push(self._decode(data))
        if self._splitter.done and not self._ready:
            return TextPiece(text, "answer")
        if text:
            self._ready += self._splitter.push(text)
        return self._ready.pop(0) if self._ready else NOTHING

    def flush(self) -> TextPiece:
        """The rest, at the end of the answer: of one kind. The bytes of an unfinished character are dropped."""
        if not self._stops.found:
            self._ready += self._splitter.push(self._stops.flush())
        self._ready.append(self._splitter.flush())
        pieces = [piece for piece in self._ready if piece.text]
        self._ready = []
        if not pieces:
            return NOTHING
        return TextPiece("".join(piece.text for piece in pieces), pieces[-1].kind)
