"""Drafts by a small model with the same vocabulary. Runs in the runtime's thread."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.errors import EngineError
from workbench.core.parameters import LoadSettings
from workbench.engine.llama.candidates import logits_of
from workbench.engine.llama.native import Pointer, api
from workbench.engine.llama.runtime import Clock
from workbench.engine.llama.speculation import Drafter
from workbench.engine.llama.weights import load_weights, make_context

P_MIN = 0.4
"""A draft ends before a token that is less likely: a wrong one costs a row of the next step."""
CPU_CHUNK = 64
"""Tokens of a prompt that are read in one step on a CPU, which nothing aborts."""


class DraftModel(Drafter):
    """A model, and a context that follows the sequence that is drafted for.

    The settings are all chosen; `n_vocab` is the number of tokens of the other model.

    Raises:
        CancelledError: The load was cancelled.
        ModelLoadError: llama.cpp refuses the model.
        MemoryShortError: There is no room for it.
    """

    def __init__(self, path: str, settings: LoadSettings, n_vocab: int, cancel: CancelToken) -> None:
        self._model: Pointer = load_weights(path, load=settings, on_progress=lambda _: None, cancel=cancel)
        self._ctx: Pointer = None
        try:
            self._ctx = make_context(self._model, settings, n_seq_max=1, no_perf=True, swa_full=True)
        except BaseException:
            self.close()
            raise
        self._memory = api.llama_get_memory(self._ctx)
        self._size: int = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self._model))
        self._n_vocab = n_vocab
        self._chunk: int = api.llama_n_batch(self._ctx) if settings.num_gpu else CPU_CHUNK
        self._tokens: list[int] = []

    @override
    def draft(
        self, job: Clock, tokens: Sequence[int], most: int, cancel: CancelToken
    ) -> Generator[None, None, Sequence[int]]:
        self._go_back(tokens)
        while (done := len(self._tokens)) < len(tokens):
            if done + self._chunk < len(tokens):
                yield
            if cancel.is_set or not self._compute(tokens[done : done + self._chunk]):
                return ()
        draft: list[int] = []
        while (token := self._likely()) >= 0:
            draft.append(token)
            if len(draft) == most or not self._compute((token,)):
                break
        return draft

    def _go_back(self, tokens: Sequence[int]) -> None:
        """Keep what the context has in common with `tokens`, of which at least the last one is computed again."""
        held, most = self._tokens, len(tokens) - 1
        shared = min(len(held), most)
        if held[:shared] != tokens[:shared]:
            shared = next(index for index in range(shared) if held[index] != tokens[index])
        if shared < len(held):
            if not api.llama_memory_seq_rm(self._memory, 0, shared, -1):
                api.llama_memory_clear(self._memory, True)
                shared = 0
            del held[shared:]

    def _compute(self, tokens: Sequence[int]) -> bool:
        """Add tokens to the context; False where it does not know one of them."""
        if max(tokens) >= self._size:
            return False
        array = (api.llama_token * len(tokens))(*tokens)
        if api.llama_decode(self._ctx, api.llama_batch_get_one(array, len(tokens))):
            api.llama_memory_clear(self._memory, True)
            self._tokens.clear()
            raise EngineError("llama.cpp failed to compute a draft.", "Turn it off: /set speculation off.")
        self._tokens += tokens
        return True

    def _likely(self) -> int:
        """The likeliest next token; -1 where it is not likely, or the other model does not know it."""
        logits = logits_of(self._ctx, -1, self._size)
        token = int(logits.argmax())
        share = 1 / float(np.exp(logits - logits[token]).sum())
        return token if share >= P_MIN and token < self._n_vocab else -1

    def close(self) -> None:
        """Free the memory."""
        if self._ctx:
            api.llama_free(self._ctx)
            self._ctx = None
        if self._model:
            api.llama_model_free(self._model)
            self._model = None
