"""A sequence in the context of a model, and the computation of what follows in it. Runs in the runtime's thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from workbench.core.events import CachedFrom
from workbench.engine.llama import native
from workbench.engine.llama.candidates import logits_of
from workbench.engine.llama.context_memory import ContextMemory
from workbench.engine.llama.native import Pointer
from workbench.engine.llama.vocabulary import Vocabulary


class Aborted(Exception):
    """`llama_decode` returned early because the abort flag was up."""


class ComputingModel(Protocol):
    """The model that a slot belongs to."""

    vocabulary: Vocabulary

    @property
    def native(self) -> Pointer:
        """The native context."""

    def compute(self, parts: Sequence[Part]) -> None:
        """Compute tokens at the ends of slots."""

    def run(self, batch: Pointer, parts: Sequence[Part]) -> None:
        """Compute a native batch that has these parts."""


class Slot:
    """One sequence: the tokens of a conversation, and their memory."""

    def __init__(self, model: ComputingModel, memory: ContextMemory) -> None:
        self._model = model
        self.memory = memory
        self.tokens = memory.tokens
        """The tokens that the sequence holds; always the same list."""
        self.output = -1
        """The index of its last logits in the batch that was computed last."""

    def compute(self, tokens: Sequence[int]) -> None:
        """Compute several more tokens alone: see `Model.compute`."""
        self._model.compute(((self, tokens),))

    def settle(self, tokens: Sequence[int]) -> None:
        """After a step that was aborted: have the tokens agree with the memory, which may hold some of `tokens`."""
        memory = self.memory
        done = memory.length - len(self.tokens)
        if not memory.recurrent and 0 <= done < len(tokens):
            self.tokens += tokens[:done]
        else:
            # The state of recurrent layers is that of an unfinished batch, whatever the positions say.
            memory.go_back(len(self.tokens))

    def forget(self) -> None:
        """Empty the sequence."""
        self.memory.forget()

    def rewind(self, tokens: Sequence[int]) -> CachedFrom:
        """See `ContextMemory.rewind`."""
        return self.memory.rewind(tokens)

    def logprobs(self, tokens: Sequence[int], targets: Sequence[int]) -> list[float]:
        """Add `tokens`, at most `n_batch`, to the sequence; returns the natural-log probability of each target.

        `targets` has for each token the id of the one after it, and may be one shorter.
        """
        model = self._model
        batch = native.TokenBatch(len(tokens))
        try:
            for position, token in enumerate(tokens, len(self.tokens)):
                batch.add(token, position, self.memory.sequence, output=True)
            model.run(batch.native, ((self, tokens),))
        finally:
            batch.free()
        found = []
        for index, target in enumerate(targets):
            logits = logits_of(model.native, index, model.vocabulary.size)
            top = logits.max()
            found.append(float(logits[target] - top - np.log(np.exp(logits - top, dtype=np.float64).sum())))
        return found


Part = tuple[Slot, Sequence[int]]
"""Tokens that are computed at the end of a slot."""
