"""Speculative decoding: drafted tokens are computed in one step, and those that the model would choose are kept.

The answer is sampled row by row with the chain that it has without drafts, so that it is the same, but for what another
size of a batch rounds differently. Source of the loop: llama.cpp's `tools/server`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

from workbench.core.cancel import CancelToken
from workbench.core.errors import EngineError
from workbench.core.speculation import SpeculationFigures
from workbench.engine.llama.runtime import Clock
from workbench.engine.llama.slot import Aborted, Slot

FIRST_DRAFT = 3
"""Tokens of the first draft: the length doubles when all were right, and falls to those that were."""


class Drafter(Protocol):
    """Guesses how a sequence goes on."""

    def draft(
        self, job: Clock, tokens: Sequence[int], most: int, cancel: CancelToken
    ) -> Generator[None, None, Sequence[int]]:
        """At most `most` tokens that may follow `tokens`, or none; yields between two steps that take long."""


class VerifyingModel(Protocol):
    """The model whose slot is computed."""

    n_ctx: int

    def verify(self, slot: Slot, tokens: Sequence[int]) -> None:
        """Compute tokens at the end of a slot, with the logits of each."""


class Speculation:
    """The drafts of one answer in `slot`; at most `most` tokens each."""

    def __init__(self, model: VerifyingModel, slot: Slot, drafter: Drafter, most: int, cancel: CancelToken) -> None:
        self._model = model
        self._slot = slot
        self._drafter = drafter
        self._most = most
        self._cancel = cancel
        self._wanted = min(FIRST_DRAFT, most)
        self._draft: Sequence[int] = ()
        self._accepted = 0
        """Tokens of the draft that were sampled."""
        self.figures = SpeculationFigures()

    def verify(self, job: Clock, token: int, left: int) -> Generator[None, None, bool]:
        """Compute `token` and a draft of what follows; False, with nothing computed, where there is no draft.

        `left` is the number of tokens that may still be written; below 0 there is no limit.

        Raises:
            Aborted: The abort flag was up; the slot is as it was.
        """
        slot = self._slot
        known = len(slot.tokens)
        most = min(self._wanted, self._model.n_ctx - known - 1, left - 1 if left >= 0 else self._most)
        tokens = [*slot.tokens, token]
        draft = (yield from self._drafter.draft(job, tokens, most, self._cancel)) if most > 0 else ()
        if not draft:
            return False
        try:
            self._model.verify(slot, (token, *draft))
        except Aborted:
            self._cut(known)
            raise
        self._draft, self._accepted, slot.output = draft, 0, 0
        return True

    def follows(self, token: int) -> bool:
        """Whether the sampled `token` is the drafted one, after which the logits are known.

        Otherwise, or at the end of a draft, the rest of it is dropped.
        """
        if self._accepted < len(self._draft) and token == self._draft[self._accepted]:
            self._accepted += 1
            self._slot.output += 1
            return True
        self.drop()
        return False

    def drop(self) -> None:
        """Drop the drafted tokens that were not sampled."""
        drafted, accepted = len(self._draft), self._accepted
        if not drafted:
            return
        self._draft, self._slot.output = (), -1
        self.figures = self.figures.with_step(drafted, accepted)
        self._wanted = min(self._most, 2 * drafted) if accepted == drafted else max(1, accepted)
        self._cut(len(self._slot.tokens) - drafted + accepted)

    def _cut(self, length: int) -> None:
        slot = self._slot
        # A step that failed has emptied it.
        if len(slot.tokens) > length and not slot.memory.cut(length):
            slot.forget()
            raise EngineError("llama.cpp did not drop drafted tokens.", "Turn it off: /set speculation off.")
