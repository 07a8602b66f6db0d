"""One model in llama.cpp: its weights, and the context that holds the conversation.

Everything here runs in the runtime's thread.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from workbench.core.cancel import CancelToken
from workbench.core.engine import ProgressCallback
from workbench.core.errors import EngineError
from workbench.core.events import CachedFrom
from workbench.core.models import MemoryUse
from workbench.core.parameters import LoadSettings
from workbench.engine.llama import native
from workbench.engine.llama.checkpoints import CheckpointPool, Checkpoints
from workbench.engine.llama.context_memory import SEQUENCE, ContextMemory
from workbench.engine.llama.native import Pointer, api
from workbench.engine.llama.vocabulary import Vocabulary
from workbench.engine.llama.weights import apply_adapter, load_adapter, load_weights, make_context

_DECODED, _NO_SLOT, _ABORTED = 0, 1, 2
_OFFLOADED = re.compile(r"offloaded (\d+)/\d+ layers to GPU")
_BUFFER_LINE = re.compile(r"(\S+)\s+(model|LoRA|KV|RS|compute|output) buffer size\s*=\s*([\d.]+) MiB")


class Aborted(Exception):
    """`llama_decode` returned early because the abort flag was up."""


class Model:
    """An open model with one context, from a GGUF file whose header was found valid.

    Every value of `settings` has been chosen. `adapter` is the file of a LoRA that fits the model; empty for none.
    `checkpoints` are those of all open models.

    Raises:
        CancelledError: The load was cancelled.
        ModelLoadError: llama.cpp refuses the model or the adapter.
        MemoryShortError: There is no room for the context.
    """

    def __init__(
        self,
        path: str,
        settings: LoadSettings,
        on_progress: ProgressCallback,
        cancel: CancelToken,
        adapter: str,
        checkpoints: CheckpointPool,
    ) -> None:
        self._model: Pointer = None
        self._ctx: Pointer = None
        kept = self._checkpoints = Checkpoints(checkpoints)
        try:
            with native.log.collect() as lines:
                self._model = load_weights(path, load=settings, on_progress=on_progress, cancel=cancel)
                loaded = load_adapter(self._model, adapter) if adapter else None
                self._ctx = make_context(
                    self._model,
                    settings,
                    n_seq_max=1,
                    no_perf=True,
                    swa_full=settings.swa_full,
                )
                if loaded is not None:
                    apply_adapter(self._ctx, loaded)
            self.memory_use = memory_use([text for _, text in lines])
            self.n_ctx: int = api.llama_n_ctx(self._ctx)
            self.n_batch: int = api.llama_n_batch(self._ctx)
            self.weights_bytes: int = api.llama_model_size(self._model)
            self.gpu_layers = offloaded_layers([text for _, text in lines])
            self.layers: int = api.llama_model_n_layer(self._model)
            """Without the output layer."""
            self.vocabulary = Vocabulary.of(self._model)
            self.pieces = native.PieceCache(self.vocabulary.native)
            self.memory = ContextMemory(self._ctx, self._model, self.n_ctx, kept, full_window=settings.swa_full)
            self.tokens = self.memory.tokens
            """The tokens that the context holds."""
            self._abortable = not self.memory.recurrent
            self._abort = native.AbortFlag(self._ctx)
            self._one = (api.llama_token * 1)()
            # The batch points at `_one`: decoding the next token is one store and one call.
            self._one_batch = api.llama_batch_get_one(self._one, 1)
            self.offloaded = settings.num_gpu != 0
        except BaseException:
            self.close()
            raise

    @property
    def native(self) -> Pointer:
        """The native context, for sampling."""
        return self._ctx

    def abort(self) -> None:
        """End the `llama_decode` that runs, on a CPU; from any thread.

        It would cost recurrent layers their state, so there a single token is computed to its end.
        """
        if self._abortable:
            self._abort.up()

    def decode(self, token: int) -> None:
        """Compute one more token.

        Raises:
            Aborted: The abort flag was up; nothing changed.
        """
        self._one[0] = token
        self._run(self._one_batch)
        self.tokens.append(token)

    def prefill(self, tokens: Sequence[int]) -> None:
        """Compute several more tokens, at most `n_batch`.

        Raises:
            Aborted: The abort flag was up. `tokens` has what the context still holds.
        """
        array = (api.llama_token * len(tokens))(*tokens)
        self._abortable = True
        try:
            self._run(api.llama_batch_get_one(array, len(tokens)), tokens)
        finally:
            self._abortable = not self.memory.recurrent
        self.tokens += tokens

    def _run(self, batch: Pointer, tokens: Sequence[int] = ()) -> None:
        code = api.llama_decode(self._ctx, batch)
        if self.offloaded:
            # Sampling would wait for the GPU with the interpreter lock held.
            api.llama_synchronize(self._ctx)
        if code == _DECODED:
            return
        if code == _ABORTED:
            self._abort.down()
            done = self.memory.length - len(self.tokens)
            if not self.memory.recurrent and 0 <= done <= len(tokens):
                self.tokens += tokens[:done]
            else:
                # The state of recurrent layers is that of an unfinished batch, whatever the positions say.
                self.memory.go_back(len(self.tokens))
            raise Aborted
        if code == _NO_SLOT:
            raise EngineError("llama.cpp found no room in the KV cache.", "Start a new chat or load a longer context.")
        self.forget()
        raise EngineError(f"llama.cpp failed to compute (code {code}).", "The log (F12) has llama.cpp's own words.")

    def forget(self) -> None:
        """Empty the context."""
        self._abort.down()
        self.memory.forget()

    def rewind(self, tokens: Sequence[int]) -> CachedFrom:
        """See `ContextMemory.rewind`."""
        self._abort.down()
        return self.memory.rewind(tokens)

    def logprobs(self, tokens: Sequence[int], targets: Sequence[int]) -> list[float]:
        """Add `tokens`, at most `n_batch`, to the context; returns the natural-log probability of each target.

        `targets` has for each token the id of the one after it, and may be one shorter.
        """
        batch = native.TokenBatch(len(tokens))
        try:
            for position, token in enumerate(tokens, len(self.tokens)):
                batch.add(token, position, SEQUENCE, output=True)
            self._run(batch.native, tokens)
        finally:
            batch.free()
        self.tokens += tokens
        found = []
        for index, target in enumerate(targets):
            logits = np.ctypeslib.as_array(api.llama_get_logits_ith(self._ctx, index), (self.vocabulary.size,))
            top = logits.max()
            found.append(float(logits[target] - top - np.log(np.exp(logits - top, dtype=np.float64).sum())))
        return found

    def close(self) -> None:
        """Free the memory."""
        self._checkpoints.close()
        if self._ctx:
            api.llama_free(self._ctx)
            self._ctx = None
        if self._model:
            api.llama_model_free(self._model)
            self._model = None


def offloaded_layers(lines: Sequence[str]) -> int | None:
    """How many layers llama.cpp put on GPUs, the output counted as one; None where it logged none."""
    return next((int(match[1]) for match in map(_OFFLOADED.search, lines) if match), None)


def memory_use(lines: Sequence[str]) -> MemoryUse | None:
    """The memory that llama.cpp logged; None where it logged none."""
    by_purpose: Counter[str] = Counter()
    by_device: Counter[str] = Counter()
    for match in filter(None, map(_BUFFER_LINE.search, lines)):
        # llama.cpp logs MiB with two decimals, so the figures are good to about 5 KiB.
        size = round(float(match[3]) * 2**20)
        by_purpose[{"LoRA": "model", "RS": "KV", "output": "compute"}.get(match[2], match[2])] += size
        # `CPU_Mapped` and `CUDA_Host` lie in the memory of the host.
        device, _, kind = match[1].partition("_")
        by_device["CPU" if kind == "Host" else device] += size
    if not by_device:
        return None
    largest = max(by_device, key=by_device.__getitem__)
    return MemoryUse(by_purpose["model"], by_purpose["KV"], by_purpose["compute"], largest, tuple(by_device.items()))
