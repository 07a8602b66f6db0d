"""Sampling only tokens that an answer of a format can go on with, once its thoughts have ended.

Sampling is free first, and the token is looked up in the grammar; only where it does not fit are all tokens compared.
That is cheap as long as the model wants what the grammar wants, and what llama.cpp's own `common/sampling.cpp` does.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from workbench.core.engine import Request
from workbench.core.errors import FormatError
from workbench.engine.formats.answer_format import check_format, guided, matcher_for
from workbench.engine.llama import native
from workbench.engine.llama.candidates import Logits, Tokens
from workbench.engine.llama.model import Model
from workbench.engine.llama.native import Pointer
from workbench.engine.llama.runtime import Clock, wait_for
from workbench.engine.llama.sampler import Sampler
from workbench.engine.llama.vocabulary import CONTROL, Vocabulary
from workbench.engine.text import AnswerText

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

END = -1
"""In place of a token: the answer is complete, and nothing can follow."""
TOKENS_IN_STEP = 16_384
"""Tokens that are read from the vocabulary in one step."""
MOST_BLANKS = 8
"""White space that is allowed between the thoughts and the answer, in tokens."""


class _Tokens:
    """A vocabulary as llguidance asks for one."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self) -> None:
        self.tokens: list[bytes] = []
        self.special_token_ids: list[int] = []
        """Those that stand for no text of an answer."""
        self.ends: list[int] = []
        self.made: LLTokenizer | None = None

    @property
    def eos_token_id(self) -> int:
        return self.ends[0]

    def __call__(self, text: str | bytes) -> list[int]:
        # For text that a grammar forces. llama.cpp's tokenizer would overflow the stack on a long one.
        return [] if self.made is None else self.made.greedy_tokenize(text if isinstance(text, str) else text.decode())


def _tokenizer(vocabulary: Vocabulary, pieces: native.PieceCache) -> Generator[None, None, LLTokenizer]:
    """The vocabulary for llguidance, made once a model."""
    kept = vocabulary.guide
    if kept:
        found: LLTokenizer = kept[0]
        return found
    from llguidance import LLTokenizer

    words = _Tokens()
    for token in range(vocabulary.size):
        if token % TOKENS_IN_STEP == TOKENS_IN_STEP - 1:
            yield
        is_end, text = vocabulary.is_end(token), pieces.whole(token)
        words.tokens.append(text)
        words.ends += [token] * is_end
        if is_end or not text or native.vocab_get_attr(vocabulary.native, token) & CONTROL:
            words.special_token_ids.append(token)
    if not words.ends:
        raise FormatError("This model has no token that ends an answer, so it cannot have a format.", "Turn it off.")
    words.made = LLTokenizer(cast("Any", words), eos_token=words.ends, slices=[])
    kept.append(words.made)
    return words.made


def matcher_of(job: Clock, request: Request, model: Model) -> Generator[None, None, LLMatcher | None]:
    """What the format of a request allows, at the beginning of its answer; None where there is no format.

    Raises:
        FormatError: The format cannot be read or held exactly, or the answer that is continued does not have it.
    """
    if not request.sampling.format:
        return None
    form = yield from wait_for(job, partial(check_format, request.sampling.format, exact=True))
    if form is None:
        return None
    tokenizer = yield from _tokenizer(model.vocabulary, model.pieces)
    matcher = yield from wait_for(job, partial(matcher_for, tokenizer, guided(form)))
    _check(matcher)
    beginning = request.messages[-1].content.lstrip() if request.continues else ""
    if beginning:
        tokens = tokenizer.greedy_tokenize(beginning)
        if matcher.try_consume_tokens(tokens) < len(tokens):
            raise FormatError(
                "The answer so far does not have the format, so it cannot go on in it.",
                "Ask again (regenerate), or turn the format off (/set format off).",
            )
    return matcher


def _check(matcher: LLMatcher) -> None:
    if matcher.is_error():
        lines = matcher.get_error().strip().splitlines() or ["it failed"]
        raise FormatError(
            f"The format is too complex to go on with: {lines[0][:200]}.", "Write a smaller schema or grammar."
        )


class FormatSampler:
    """Samples tokens: any while the model thinks, and those that the format allows from the answer on."""

    def __init__(self, sampler: Sampler, text: AnswerText, matcher: LLMatcher, model: Model) -> None:
        self._sampler = sampler
        self._text = text
        self._matcher = matcher
        self._vocabulary = model.vocabulary
        self._pieces = model.pieces
        self._begun = text.splitter.answering
        self._blanks = 0
        size = model.vocabulary.size
        self._all = np.arange(size, dtype=np.int32)
        self._mask = np.zeros((size + 31) // 32, dtype=np.int32)

    def sample(self, ctx: Pointer, output: int = -1) -> int:
        """The next token, as `Sampler.sample` says; `END` where nothing can follow.

        Raises:
            FormatError: The grammar has become too complex.
        """
        if self._begun and self._matcher.is_stopped():
            _check(self._matcher)
            return END
        logits = self._sampler.logits(ctx, output)
        token = self._sampler.choose(logits, self._all)
        token = self._constrained(logits, token) if self._begun else self._begin(logits, token)
        self._sampler.accept(token)
        return token

    def accept(self, token: int) -> None:
        """Count a token that was not sampled: one of those that end the thoughts."""
        self._sampler.accept(token)

    def _begin(self, logits: Logits, token: int) -> int:
        """`token`, or the one in its place, before the answer has begun."""
        text, choices = self._text, self._all
        while text.splitter.thinking and text.overshoots(self._pieces[token]):
            # It would end the thoughts and begin the answer, in which the grammar looks at whole tokens.
            choices = choices[choices != token]
            token = self._sampler.choose(logits, choices)
        if text.splitter.thinking or self._is_markup(token):
            return token
        if rest := text.splitter.marker_rest:
            # The beginning of a marker was written, with which no answer begins.
            return self._vocabulary.tokenize_inside(rest)[0]
        self._begun = True
        return self._constrained(logits, token)

    def _is_markup(self, token: int) -> bool:
        """Whether a token belongs to the markup around thoughts, or to the white space after them."""
        text, data = self._text, self._pieces[token]
        if text.splitter.in_header or self._vocabulary.is_end(token):
            return text.splitter.in_header
        if not data:
            return text.splitter.may_become_marker(self._pieces.control(token))
        piece = data.decode("utf-8", "replace")
        if text.splitter.family_known and not piece.strip():
            self._blanks += 1
            return self._blanks <= MOST_BLANKS
        # A single character is more likely the beginning of an answer, where it can be one.
        return text.splitter.may_become_marker(piece) and (len(piece.strip()) > 1 or not self._fits(token))

    def _constrained(self, logits: Logits, token: int) -> int:
        if not self._fits(token):
            token = self._sampler.choose(logits, self._allowed())
        if not self._vocabulary.is_end(token):
            self._matcher.consume_token(token)
            _check(self._matcher)
        return token

    def _fits(self, token: int) -> bool:
        if self._vocabulary.is_end(token):
            return bool(self._matcher.is_accepting())
        fits: bool = self._matcher.validate_tokens([token]) == 1
        return fits

    def _allowed(self) -> Tokens:
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        _check(self._matcher)
        bits = np.unpackbits(self._mask.view(np.uint8), bitorder="little")[: self._all.size]
        found = np.flatnonzero(bits).astype(np.int32)
        if not found.size:
            raise FormatError("No token of this model can go on with this format.", "Write another schema or grammar.")
        return found
