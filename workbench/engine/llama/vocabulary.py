"""The vocabulary of an open model: the tokens of a text. Runs in the runtime's thread."""

from __future__ import annotations

import ctypes
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from workbench.engine.families import MARKS
from workbench.engine.llama import native
from workbench.engine.llama.control_texts import ControlTexts
from workbench.engine.llama.native import Pointer, api

FINGERPRINT_TOKENS = 512
"""The size of the sample of a vocabulary that its fingerprint is computed from."""

LONGEST_PIECE = 20_000
"""Characters that are tokenized in one call where the tokenizer has a pre-tokenizer rule.

Many rules are evaluated by `std::regex`, which recurses once or more for each character of a match (about 315 bytes of
stack each): a long run without a space, or with some rules a long text, would overflow any stack.
"""

LONGEST_NUMBER = 60
"""Digits that are tokenized in one call where the rule groups them from their end, in quadratic time; a multiple of 3.

llama.cpp takes 18 s for 20,000 of them.
"""

LONGEST_MARK = 256
"""Characters of the longest token text that a cut is kept out of."""

CONTROL = api.LLAMA_TOKEN_ATTR_UNKNOWN | api.LLAMA_TOKEN_ATTR_CONTROL
"""The attributes of tokens that stand for no text."""
_LONG_NUMBER = re.compile(rf"\d{{{LONGEST_NUMBER + 1},}}")
_GROUPS_FROM_THE_END = b"superbpe"
_USER_DEFINED = api.LLAMA_TOKEN_ATTR_USER_DEFINED


@dataclass(frozen=True)
class Vocabulary:
    """A model's vocabulary."""

    native: Pointer
    size: int
    bos: str
    """The text of the token that begins a sequence; empty where the model has none."""
    eos: str
    adds_bos: bool
    groups_from_the_end: bool
    """Whether its rule divides a number into groups of three digits, counted from the end."""
    guide: list[Any] = field(default_factory=list)
    """The vocabulary as llguidance sees it, once it was needed."""

    @classmethod
    def of(cls, model: Pointer) -> Vocabulary:
        """The vocabulary of a native model."""
        vocab = api.llama_model_get_vocab(model)
        rule = ctypes.create_string_buffer(len(_GROUPS_FROM_THE_END) + 2)
        api.llama_model_meta_val_str(model, b"tokenizer.ggml.pre", rule, len(rule))
        return cls(
            native=vocab,
            size=api.llama_vocab_n_tokens(vocab),
            bos=_text(vocab, api.llama_vocab_bos(vocab)),
            eos=_text(vocab, api.llama_vocab_eos(vocab)),
            adds_bos=api.llama_vocab_get_add_bos(vocab),
            groups_from_the_end=rule.value == _GROUPS_FROM_THE_END,
        )

    @cached_property
    def suppressed(self) -> tuple[int, ...]:
        """The tokens that the file says are never to be written (`tokenizer.ggml.suppress_tokens`)."""
        count = ctypes.c_int32()
        tokens = api.llama_vocab_get_suppress_tokens(self.native, ctypes.byref(count))
        return tuple(token for token in tokens[: count.value] if 0 <= token < self.size) if tokens else ()

    def tokenize_prompt(self, *parts: str) -> list[int]:
        """The tokens of a rendered prompt. A BOS that the template has written is not added again.

        No token spans two of its `parts`.
        """
        doubled = self.adds_bos and bool(self.bos) and parts[0].startswith(self.bos)
        return self._tokenize(*parts, add_special=not doubled)

    def tokenize_raw(self, text: str) -> list[int]:
        """The tokens of a text for raw completion, with the BOS that the model requires."""
        return self._tokenize(text, add_special=True)

    def tokenize_inside(self, text: str) -> list[int]:
        """The tokens of a text that is not the beginning, from a tokenizer that may add a space to the beginning."""
        before = native.tokenize(self.native, "\n")
        tokens = native.tokenize(self.native, "\n" + text)
        return tokens[len(before) :] if tokens[: len(before)] == before else native.tokenize(self.native, text)

    def tokenize_text(self, text: str) -> list[int]:
        """The tokens of a text in which the texts of control tokens are words, with the BOS that the model requires."""
        return self._tokenize(text, add_special=True, parse_special=False)

    def controls(self, template: str) -> ControlTexts:
        """The texts that only `template` may use as tokens, of those that llama.cpp finds in any text.

        User-defined tokens that neither the template nor the markup of a family has are ordinary, such as runs of
        blanks.
        """
        control, user_defined = self._whole_texts
        return ControlTexts(control, [text for text in user_defined if text in template or text in MARKS])

    def _tokenize(self, *parts: str, add_special: bool, parse_special: bool = True) -> list[int]:
        if self.groups_from_the_end:
            parts = tuple(piece for part in parts for piece in numbers_apart(part))
        text, *more = parts
        # The other kinds of tokenizer have no rule, and some add a space to the beginning of every call.
        has_rule = api.llama_vocab_type(self.native) == api.LLAMA_VOCAB_TYPE_BPE
        if not more and not (has_rule and len(text) > LONGEST_PIECE):
            return native.tokenize(self.native, text, add_special=add_special, parse_special=parse_special)
        if has_rule:
            pieces = (piece for part in (text, *more) for piece in self.pieces(part))
            words = (native.tokenize(self.native, piece, parse_special=parse_special) for piece in pieces)
            tokens = [token for found in words for token in found]
        else:
            tokens = native.tokenize(self.native, text)
            for part in more:
                tokens += self.tokenize_inside(part)
        if add_special and self.adds_bos:
            tokens.insert(0, api.llama_vocab_bos(self.native))
        if add_special and api.llama_vocab_get_add_eos(self.native):
            tokens.append(api.llama_vocab_eos(self.native))
        return tokens

    def pieces(self, text: str, longest: int = LONGEST_PIECE) -> Iterator[str]:
        """`text`, cut into pieces of at most `longest` characters.

        The cuts are before a single space between words, where every known rule ends a match: the tokens are those of
        the whole text. A piece without such a place is cut anywhere, but never inside the text of a control token.
        """
        start = 0
        while len(text) - start > longest:
            end = self._cut(text, start, start + longest)
            yield text[start:end]
            start = end
        yield text[start:]

    def _cut(self, text: str, start: int, limit: int) -> int:
        place = limit
        while (place := text.rfind(" ", start + 1, place)) > 0:
            if not text[place - 1].isspace() and not text[place + 1].isspace() and self._outside(text, place) == place:
                return place
        return max(self._outside(text, limit), start + 1)

    def _outside(self, text: str, place: int) -> int:
        """`place`, or the beginning of the token text that it is inside of."""
        for match in self._marks.finditer(text, max(0, place - LONGEST_MARK), place + LONGEST_MARK):
            if match.start() < place < match.end():
                return match.start()
        return place

    @cached_property
    def _marks(self) -> re.Pattern[str]:
        """Matches the texts that llama.cpp finds before it applies the rule: control and user-defined tokens."""
        found = (text for texts in self._whole_texts for text in texts)
        texts = sorted((text for text in found if 1 < len(text) <= LONGEST_MARK), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, texts)) or "(?!)")

    @cached_property
    def _whole_texts(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The texts of the control tokens (and of the unknown one), and those of the user-defined tokens."""
        attributes = [(native.vocab_get_attr(self.native, token), token) for token in range(self.size)]
        control = tuple(_text(self.native, token) for found, token in attributes if found & CONTROL)
        return control, tuple(_text(self.native, token) for found, token in attributes if found & _USER_DEFINED)

    @property
    def fingerprint(self) -> str:
        """A checksum of a sample of the tokens, equal for vocabularies with the same tokens."""
        step = max(1, self.size // FINGERPRINT_TOKENS)
        texts = (api.llama_vocab_get_text(self.native, token) or b"" for token in range(0, self.size, step))
        return f"{self.size}-{zlib.crc32(b' '.join(texts)):08x}"

    def is_end(self, token: int) -> bool:
        """Whether the model ends its answer with this token."""
        ends: bool = native.vocab_is_eog(self.native, token)
        return ends


def numbers_apart(text: str) -> Iterator[str]:
    """`text`, cut inside of long numbers before groups of three digits, counted from the end."""
    start = 0
    for number in _LONG_NUMBER.finditer(text):
        first = number.end() - (len(number[0]) - 1) // LONGEST_NUMBER * LONGEST_NUMBER
        for place in range(first, number.end(), LONGEST_NUMBER):
            yield text[start:place]
            start = place
    yield text[start:]


def _text(vocab: Pointer, token: int) -> str:
    found: bytes | None = api.llama_vocab_get_text(vocab, token) if token >= 0 else None
    return (found or b"").decode("utf-8", "replace")
