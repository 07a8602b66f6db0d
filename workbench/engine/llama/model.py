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
from workbench.core.models import MemoryUse
from workbench.core.parameters import LoadSettings
from workbench.engine.llama import native
from workbench.engine.llama.native import Pointer, api
from workbench.engine.llama.states import SequenceState, common_prefix, new_buffer
from workbench.engine.llama.vocabulary import Vocabulary
from workbench.engine.llama.weights import apply_adapter, load_adapter, load_weights, make_context
from workbench.gguf.fit import UBATCH

SEQUENCE = 0
"""The one sequence of the context."""

_DECODED, _NO_SLOT, _ABORTED = 0, 1, 2
_BUFFER_LINE = re.compile(r"(\S+)\s+(model|LoRA|KV|RS|compute|output) buffer size\s*=\s*([\d.]+) MiB")


class Aborted(Exception):
    """`llama_decode` returned early because the abort flag was up."""


class Model:
    """An open model with one context, from a GGUF file whose header was found valid.

    Every value of `settings` has been chosen. `adapter` is the file of a LoRA that fits the model; empty for none.

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
        adapter: str = "",
    ) -> None:
        self._model: Pointer = None
        self._ctx: Pointer = None
        try:
            with native.log.collect() as lines:
                self._model = load_weights(
                    path,
                    gpu_layers=settings.num_gpu,
                    split_mode=settings.split_mode,
                    main_gpu=settings.main_gpu,
                    use_mmap=settings.use_mmap,
                    on_progress=on_progress,
                    cancel=cancel,
                )
                loaded = load_adapter(self._model, adapter) if adapter else None
                self._ctx = make_context(
                    self._model,
                    settings,
                    settings.num_ctx,
                    settings.num_thread,
                    n_batch=settings.num_batch,
                    n_ubatch=min(settings.num_batch, UBATCH),
                    n_seq_max=1,
                    no_perf=True,
                    # A sliding window cache that holds only the window cannot go back to an earlier turn.
                    swa_full=True,
                )
                if loaded is not None:
                    apply_adapter(self._ctx, loaded)
            self._memory = api.llama_get_memory(self._ctx)
            self.memory = memory_use([text for _, text in lines])
            self.n_ctx: int = api.llama_n_ctx(self._ctx)
            self.n_batch: int = api.llama_n_batch(self._ctx)
            self.weights_bytes: int = api.llama_model_size(self._model)
            self.layers: int = api.llama_model_n_layer(self._model)
            """Without the output layer."""
            self.vocabulary = Vocabulary.of(self._model)
            self.pieces = native.PieceCache(self.vocabulary.native)
            self.tokens: list[int] = []
            """The tokens that the context holds."""
            self.can_truncate = not (
                api.llama_model_is_recurrent(self._model) or api.llama_model_is_hybrid(self._model)
            )
            """Whether the context can drop the end of its tokens. A recurrent layer has only its latest state."""
            self._window: int = api.llama_model_n_swa(self._model)
            self._abortable = self.can_truncate
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
            self._abortable = self.can_truncate
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
            done = self._length - len(self.tokens)
            if self.can_truncate and 0 <= done <= len(tokens):
                self.tokens += tokens[:done]
            else:
                # The state of recurrent layers is that of an unfinished batch, whatever the positions say.
                self.forget()
            raise Aborted
        if code == _NO_SLOT:
            raise EngineError("llama.cpp found no room in the KV cache.", "Start a new chat or load a longer context.")
        self.forget()
        raise EngineError(f"llama.cpp failed to compute (code {code}).", "The log (F12) has llama.cpp's own words.")

    @property
    def _length(self) -> int:
        """The length of the sequence in the context, in tokens, as llama.cpp counts it."""
        last: int = api.llama_memory_seq_pos_max(self._memory, SEQUENCE)
        return last + 1

    def reusable(self, held: Sequence[int], tokens: Sequence[int]) -> int:
        """How many tokens of a context with `held` can be kept for `tokens`.

        At least the last one of `tokens` remains to be computed, because sampling needs its logits.
        """
        shared = min(common_prefix(held, tokens), len(tokens) - 1)
        return shared if self.can_truncate or shared == len(held) else 0

    def rewind(self, tokens: Sequence[int]) -> int:
        """Keep what the context has in common with `tokens`; returns its length."""
        self._abort.down()
        if self._length != len(self.tokens):
            self.forget()
        keep = self.reusable(self.tokens, tokens)
        if keep < len(self.tokens) and not self._truncate(keep):
            self.forget()
            return 0
        del self.tokens[keep:]
        return keep

    def _truncate(self, length: int) -> bool:
        # A cache of a sliding window is cut even where it no longer has the window before the cut.
        first = api.llama_memory_seq_pos_min(self._memory, SEQUENCE)
        complete = first <= max(0, length - self._window)
        return complete and bool(api.llama_memory_seq_rm(self._memory, SEQUENCE, length, -1))

    def forget(self) -> None:
        """Empty the context."""
        self._abort.down()
        api.llama_memory_clear(self._memory, True)
        self.tokens.clear()

    @property
    def state_bytes(self) -> int:
        """Size of the state that `save_state` would copy, in bytes; 0 for an empty context."""
        size: int = api.llama_state_seq_get_size(self._ctx, SEQUENCE) if self.tokens else 0
        return size

    def save_state(self) -> SequenceState | None:
        """A copy of the context; None where it is empty or in doubt, llama.cpp provides none, or memory is short."""
        size = self.state_bytes
        if not size or self._length != len(self.tokens):
            return None
        try:
            data = new_buffer(size)
        except OSError:
            return None
        if api.llama_state_seq_get_data(self._ctx, data, size, SEQUENCE) != size:
            return None
        return SequenceState(tuple(self.tokens), data)

    def restore_state(self, state: SequenceState) -> bool:
        """Replace the context by a saved state. False where that cannot be done: the context is as before."""
        if len(state.tokens) >= self.n_ctx:
            return False
        before = self.save_state()
        if self._load(state):
            return True
        if before is not None:
            self._load(before)
        return False

    def _load(self, state: SequenceState) -> bool:
        self.forget()
        size = len(state.data)
        read = api.llama_state_seq_set_data(self._ctx, state.data, size, SEQUENCE)
        if read != size or self._length != len(state.tokens):
            self.forget()
            return False
        self.tokens = list(state.tokens)
        return True

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
        if self._ctx:
            api.llama_free(self._ctx)
            self._ctx = None
        if self._model:
            api.llama_model_free(self._model)
            self._model = None


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
