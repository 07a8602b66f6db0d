"""The tokens that end the thoughts of an answer: at a budget, or when the user wants the answer now."""

from __future__ import annotations

from collections import deque

from workbench.core.cancel import CancelToken
from workbench.engine.llama import native
from workbench.engine.llama.constraint import FormatSampler
from workbench.engine.llama.sampler import Sampler
from workbench.engine.llama.vocabulary import Vocabulary
from workbench.engine.switches import SHORT_OF_TIME
from workbench.engine.text import AnswerText


class ThoughtLimit:
    """Samples tokens, and ends the thoughts of an answer at a budget of tokens or as soon as `answer_now` is set.

    A budget that is negative is none.
    """

    def __init__(
        self,
        sampler: Sampler | FormatSampler,
        text: AnswerText,
        vocabulary: Vocabulary,
        budget: int,
        answer_now: CancelToken | None,
    ) -> None:
        self._sampler = sampler
        self._text = text
        self._vocabulary = vocabulary
        self._budget = budget
        self._answer_now = answer_now
        self._spent = -1
        self._ended = False
        self._forced: deque[int] = deque()
        self.watches = budget >= 0 or answer_now is not None
        """Whether it looks at the text."""

    def sample(self, ctx: native.Pointer, output: int = -1) -> int:
        """The next token: a sampled one, as `Sampler.sample` says, or one of those that end the thoughts."""
        if not self._forced:
            return self._sampler.sample(ctx, output)
        token = self._forced.popleft()
        self._sampler.accept(token)
        return token

    def look(self) -> None:
        """Count a token of the thoughts, and end them where it is time: after each token, and before the first."""
        if not self.watches or self._forced or not self._text.splitter.thinking:
            return
        self._spent += 1
        spent = 0 <= self._budget <= self._spent
        if self._text.is_whole and (spent or (self._answer_now is not None and self._answer_now.is_set)):
            # A model that opens another block of thoughts has read the phrase already.
            phrase = SHORT_OF_TIME if self._spent and not self._ended else ""
            self._ended = True
            self._forced.extend(self._vocabulary.tokenize_inside(phrase + self._text.splitter.thoughts_end))
