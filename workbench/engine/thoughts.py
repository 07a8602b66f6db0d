"""Thoughts apart from the answer: the markers that families of models write around them, found in streamed text.

The markers are those of the chat templates that the models are published with. A marker may be plain text or the text
of a control token; the text of control tokens comes in characters of its own (`control_text`), so that those that are
no marker can be dropped.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import dataclass

from workbench.core.events import TokenKind
from workbench.core.tool_calls import HARMONY_CALL
from workbench.engine.families import FAMILIES, HARMONY, WRAPPERS, Family, State

_LETTERS = (*map(chr, range(0x20, 0x7F)), *"\n｜▁◁▷")
_CONTROL = {ord(letter): 0xDC00 + index for index, letter in enumerate(_LETTERS)}
_UNKNOWN = 0xDC00 + len(_LETTERS)
_READ: dict[int, str | int] = {0xDC00 + index: letter for index, letter in enumerate(_LETTERS)} | {_UNKNOWN: 0xFFFD}
_CONTROL_LETTERS = re.compile(f"[\udc00-{chr(_UNKNOWN)}]+")


def control_text(text: str) -> str:
    """The text of a control token in lone surrogates, which no decoded text has."""
    return "".join(chr(_CONTROL.get(ord(letter), _UNKNOWN)) for letter in text)


def readable(text: str) -> str:
    """Text with that of its control tokens in plain characters; its length stays the same."""
    return text if text.isascii() else text.translate(_READ)


def without_control(text: str) -> str:
    """Text without that of control tokens."""
    return text if text.isascii() else _CONTROL_LETTERS.sub("", text)


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Text of one kind."""

    text: str
    kind: TokenKind
    recast: bool = False
    """Whether all text before it turns out to be reasoning."""


_THOUGHT_CHANNELS = ("analysis", "thought", "to=self")
_CALLED = re.compile(r"functions\.([\w.-]+)")
_LONGEST_HEADER = 256
_JOINTS: Mapping[TokenKind, str] = {"reasoning": "\n\n", "answer": " "}
"""What is put between two blocks of one kind."""


def _first_markers() -> dict[str, tuple[State, Family]]:
    """The markers at the very beginning of an answer. One that could only follow another is text there."""
    found: dict[str, tuple[State, Family]] = {}
    for family in FAMILIES:
        for marker, state in family.moves["start"].items():
            if marker not in {"<|end|>", "<|message|>", "<|begin|>"}:
                found.setdefault(marker, (state, family))
    return found


_FIRST = _first_markers()

_UNOPENED: dict[str, Family] = {
    **{family.closing: family for family in FAMILIES if family.closing != "<|end|>"},
    HARMONY.written: HARMONY,
}
"""What shows that the text before it was thoughts, where the prompt had opened them without being seen."""
_UNOPENED_MARK = re.compile("|".join(map(re.escape, _UNOPENED)))
_MENTION = re.compile(r"[^\S\n]\Z|[\"'`´‘’“”(\[{<«]\Z")
"""The end of a text before which a marker is only mentioned."""


def _wrapper_end(family: Family) -> str:
    return next((end for beginning, end in WRAPPERS.items() if family.written.endswith(beginning)), "")


def held_suffix(text: str, targets: Collection[str]) -> int:
    """Length of the longest end of `text` that one of `targets`, none of them empty, begins with and is longer than."""
    if not targets:
        return 0
    # This runs once a token: few characters can begin a target.
    length, firsts = len(text), {target[0] for target in targets}
    for start in range(max(0, length - max(map(len, targets)) + 1), length):
        if text[start] in firsts and any(target.startswith(text[start:]) for target in targets):
            return length - start
    return 0


class ReasoningSplitter:
    """Separates reasoning from the answer by the markers around it, which are removed.

    An opening counts only where the answer has no text yet, so that an answer may mention the markers. `opened` is the
    family of a block that the prompt opens, `own` that of the model where it is known; the prompt may have `begun` the
    answer of that family. The answer, or the open block, may be `continued`, and has text already.

    Where the answer may have `calls`, one whose header names the tool gets `HARMONY_CALL` and the name before its text.

    A closing without its opening shows that all text before it was reasoning. It is no mention: it stands neither in
    code nor after a space or a quote.
    """

    def __init__(
        self,
        opened: Family | None = None,
        own: Family | None = None,
        *,
        begun: bool = False,
        continued: bool = False,
        calls: bool = False,
    ) -> None:
        self._family = opened or (own if begun or continued else None)
        self._own = own
        ends = _wrapper_end(own) if own and not opened and (begun or continued) else ""
        self._wrapper = ends
        """What ends the answer, where something has opened it."""
        self._state: State = "reasoning" if opened else "answer" if continued else "start"
        has_ends = bool(ends) or (self._family is not None and "answer" in self._family.moves)
        self._may_recast = opened is None and not continued and not has_ends
        self._strip = opened is not None and not continued
        """Whether white space is skipped, because the block has no text yet."""
        self._header = ""
        self.calls = calls
        self._called = ""
        """The beginning of a call, whose text follows."""
        self._held = ""
        self._given: set[TokenKind] = set()
        self._last = ""
        """The last character of the answer."""
        self._backticks = 0

    @property
    def thinking(self) -> bool:
        """Whether the text is inside of thoughts."""
        return self._state == "reasoning"

    @property
    def within_thoughts(self) -> bool:
        """Whether the text is inside of thoughts that have text."""
        return self._state == "reasoning" and "reasoning" in self._given

    @property
    def answering(self) -> bool:
        """Whether the answer has begun."""
        return self._state == "answer" and not self._strip

    @property
    def family_known(self) -> bool:
        """Whether the markers of a family were seen, or the prompt has opened its thoughts."""
        return self._family is not None

    @property
    def marker_rest(self) -> str:
        """What completes the marker whose beginning is held before the answer; empty where none is."""
        held = readable(self._held).lstrip() if self._state == "start" else ""
        return next((marker[len(held) :] for marker in self._starts() if held and marker.startswith(held)), "")

    @property
    def in_header(self) -> bool:
        """Whether the text is that of a header, which says what follows it."""
        return self._state == "header"

    def may_become_marker(self, text: str) -> bool:
        """Whether the answer has not begun, and `text` may be a part of a marker instead.

        Of a family that nothing has shown, only a whole marker is believed.
        """
        if self._state != "start":
            return False
        text = (readable(self._held) + text).lstrip()
        starts = self._starts()
        if self._family is None and self._own is None:
            return text.rstrip() in starts
        return bool(text) and any(marker.startswith(text) or text.startswith(marker) for marker in starts)

    def overshoots(self, text: str) -> bool:
        """Whether `text` ends the thoughts and has text of the answer too; it is not taken."""
        last = {marker[-1] for marker in self._ends}
        if self._state != "reasoning" or not any(letter in last for letter in text.rstrip()[:-1]):
            return False
        ahead = copy(self)
        ahead._given = set(self._given)
        return any(piece.kind == "answer" for piece in [*ahead.push(text), ahead.flush()] if piece.text.strip())

    @property
    def thoughts_end(self) -> str:
        """What this family writes between its thoughts and its answer."""
        return (self._family or self._own or FAMILIES[0]).written

    @property
    def done(self) -> bool:
        """Whether all further text is the answer, unchanged but for that of control tokens."""
        return self._state == "answer" and not (self._strip or self._may_recast or self._ends)

    @property
    def _ends(self) -> Mapping[str, State]:
        """The markers that end the present state."""
        if self._state == "answer" and self._wrapper:
            return {self._wrapper: "answer"}
        return self._family.moves.get(self._state, {}) if self._family else {}

    def push(self, text: str) -> list[TextPiece]:
        """The pieces that can be released, in order."""
        text, self._held = self._held + text, ""
        pieces: list[TextPiece] = []
        while text:
            if self._state == "start":
                text = self._start(text)
            elif self._may_recast:
                text = self._look_back(text, pieces)
            else:
                text = self._look_for_end(text, pieces)
        return pieces

    def _start(self, text: str) -> str:
        """What follows a marker, or the whole text where it is none; a text that may become one is held."""
        seen = readable(text)
        stripped = seen.lstrip()
        skipped = len(seen) - len(stripped)
        for marker, (state, family) in self._starts().items():
            if stripped.startswith(marker):
                self._family, self._strip, self._may_recast = family, True, False
                self._wrapper = WRAPPERS.get(marker, "")
                self._move(state)
                return text[skipped + len(marker) :]
        if not stripped or any(marker.startswith(stripped) for marker in self._starts()):
            self._held = text
            return ""
        if _CONTROL_LETTERS.match(text, skipped):
            return text[:skipped] + text[skipped + 1 :]
        self._move("answer")
        return text

    def _starts(self) -> Mapping[str, tuple[State, Family]]:
        if self._family is None:
            own = self._own
            if self.calls and own is HARMONY:
                return _FIRST | {"to=": ("header", HARMONY)}
            return _FIRST if own is None else _FIRST | {own.opening: ("reasoning", own)}
        family = self._family
        found: dict[str, tuple[State, Family]] = {
            marker: (state, family) for marker, state in family.moves["start"].items()
        }
        return found | {wrapper: ("answer", family) for wrapper in WRAPPERS}

    def _move(self, state: State) -> None:
        if state == "message":
            thought = any(name in self._header for name in _THOUGHT_CHANNELS)
            if self.calls and (called := _CALLED.search(self._header)):
                self._called, thought = f"{HARMONY_CALL}{called[1]} ", False
            state, self._header = "reasoning" if thought else "answer", ""
        self._state = state

    def _look_for_end(self, text: str, pieces: list[TextPiece]) -> str:
        """Release the text up to the marker that ends this state; returns what follows it."""
        seen, ends = readable(text), self._ends
        found = [(place, -len(marker), marker) for marker in ends if (place := seen.find(marker)) >= 0]
        if found:
            place, _, marker = min(found)
            self._take(text[:place], pieces, last=True)
            self._strip = True
            self._move(ends[marker])
            self._wrapper = ""
            return text[place + len(marker) :]
        end = len(text) - held_suffix(seen, ends)
        if ends:
            end = len(seen[:end].rstrip())
        self._held = text[end:]
        self._take(text[:end], pieces)
        return ""

    def _take(self, text: str, pieces: list[TextPiece], *, last: bool = False) -> None:
        if self._state == "header":
            self._header += readable(text)
            if len(self._header) > _LONGEST_HEADER:
                self._state, text, self._header = "answer", self._header, ""
        if self._state == "reasoning":
            self._release(text.rstrip() if last else text, "reasoning", pieces)
        elif self._state == "answer":
            self._release(text.rstrip() if last else text, "answer", pieces)

    def _look_back(self, text: str, pieces: list[TextPiece]) -> str:
        """Release the answer up to a closing without opening; returns what follows it."""
        seen = readable(text)
        done = 0
        for match in _UNOPENED_MARK.finditer(seen):
            before = seen[done : match.start()]
            self._backticks += before.count("`")
            self._last = before[-1:] or self._last
            mentioned = self._backticks % 2 or _MENTION.search(self._last)
            if not mentioned:
                recast = bool(self._given)
                self._given = {"reasoning"} if recast else set()
                self._release(text[: match.start()].rstrip(), "reasoning", pieces, recast=recast)
                self._family, self._may_recast, self._strip = _UNOPENED[match.group()], False, True
                self._state = "answer" if match.group() == HARMONY.written else "start"
                return text[match.end() :]
            done = match.end()
            self._last = match.group()[-1]
        held = held_suffix(seen, _UNOPENED)
        end = max(done, len(seen[: len(text) - held].rstrip()))
        self._backticks += seen.count("`", done, end)
        self._last = seen[end - 1 : end] or self._last
        self._held = text[end:]
        self._release(text[:end], "answer", pieces)
        return ""

    def _release(self, text: str, kind: TokenKind, pieces: list[TextPiece], *, recast: bool = False) -> None:
        text = without_control(text)
        if self._strip:
            text = text.lstrip()
            if text and kind in self._given:
                text = _JOINTS[kind] + text
        if text:
            if kind == "answer":
                text, self._called = self._called + text, ""
            self._strip = False
            self._given.add(kind)
        if text or recast:
            pieces.append(TextPiece(text, kind, recast))

    def flush(self) -> TextPiece:
        """The held text."""
        held, self._held = without_control(self._held), ""
        if self._strip:
            held = held.lstrip()
        if self._state == "header":
            held = ""
        if self._state == "reasoning":
            return TextPiece(held.rstrip(), "reasoning")
        return TextPiece(held, "answer")


def split_whole(content: str) -> tuple[str, str]:
    """The reasoning and the answer of a whole text."""
    splitter = ReasoningSplitter()
    pieces = [*splitter.push(content), splitter.flush()]
    texts = {"reasoning": "", "answer": ""}
    for piece in pieces:
        if piece.recast:
            texts = {"reasoning": texts["reasoning"] + texts["answer"], "answer": ""}
        texts[piece.kind] += piece.text
    return texts["reasoning"], texts["answer"]
