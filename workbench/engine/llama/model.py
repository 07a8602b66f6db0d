"""One model in llama.cpp: its weights, and the context that holds the conversation.

Everything here runs in the runtime's thread.
"""

from __future__ import annotations

import ctypes
import re
import threading
import time
from collections.abc import Mapping, Sequence

from workbench.core.cancel import CancelToken
from workbench.core.engine import ProgressCallback
from workbench.core.errors import EngineError
from workbench.core.memory import MemoryBuffer, Purpose
from workbench.core.models import MemoryUse
from workbench.core.parameters import LoadSettings
from workbench.core.speculation import OFF
from workbench.engine.llama import native
from workbench.engine.llama.checkpoints import CheckpointPool, Checkpoints
from workbench.engine.llama.context_memory import ContextMemory
from workbench.engine.llama.devices import held
from workbench.engine.llama.draft_model import DraftModel
from workbench.engine.llama.native import Pointer, api
from workbench.engine.llama.ngram import NgramDrafter
from workbench.engine.llama.pace import first_pace
from workbench.engine.llama.slot import Aborted, Part, Slot
from workbench.engine.llama.speculation import Speculation
from workbench.engine.llama.thread_pace import AnswerThreads
from workbench.engine.llama.vocabulary import Vocabulary
from workbench.engine.llama.weights import apply_adapter, load_adapter, load_weights, make_context

MOST_STEP_TOKENS = 2048
"""Tokens of a step for several slots; that of llama.cpp, which computes it in micro-batches."""

_DECODED, _NO_SLOT, _ABORTED = 0, 1, 2
_OFFLOADED = re.compile(r"offloaded (\d+)/\d+ layers to GPU")
_BUFFER_LINE = re.compile(r"(\S+)\s+(model|LoRA|KV|RS|DSV4 \w+ state|compute|output) buffer size\s*=\s*([\d.]+) MiB")
_PURPOSES: Mapping[str, Purpose] = {
    "model": "weights", "LoRA": "weights", "KV": "KV", "RS": "states", "compute": "compute", "output": "compute",
}  # fmt: skip
"""What a buffer is for, by llama.cpp's word."""


def _step_tokens(settings: LoadSettings) -> int:
    # Prompts that come together are computed together: their last parts would wait for a step of their own.
    together = min(settings.num_batch * settings.num_parallel, MOST_STEP_TOKENS)
    # A step without room for one token of each sequence would end the process.
    return max(settings.num_batch, together, settings.num_parallel)


class Model:
    """An open model with one context, from a GGUF file whose header was found valid.

    Every value of `settings` has been chosen. `adapter` is the file of a LoRA that fits the model; empty for none.
    `checkpoints` are those of all open models. `draft` is how the draft model is loaded that `settings` name.

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
        draft: LoadSettings | None = None,
    ) -> None:
        self._model: Pointer = None
        self._ctx: Pointer = None
        self._batch: native.TokenBatch | None = None
        self._draft: DraftModel | None = None
        self._held: Mapping[str, int] = {}
        self._checkpoints = [Checkpoints(checkpoints) for _ in range(settings.num_parallel)]
        try:
            with native.log.collect() as lines:
                self._model = load_weights(path, load=settings, on_progress=on_progress, cancel=cancel)
                loaded = load_adapter(self._model, adapter) if adapter else None
                self._ctx = make_context(
                    self._model,
                    settings,
                    n_ctx=settings.num_ctx * settings.num_parallel,
                    n_batch=_step_tokens(settings),
                    n_seq_max=settings.num_parallel,
                    no_perf=True,
                    swa_full=settings.swa_full,
                )
                if loaded is not None:
                    apply_adapter(self._ctx, loaded)
                self.vocabulary = Vocabulary.of(self._model)
                if draft is not None:
                    self._draft = DraftModel(settings.speculation, draft, self.vocabulary.size, cancel)
            self.memory_use = memory_use([text for _, text in lines])
            self._held = self.memory_use.on_gpus if self.memory_use else {}
            held.update(self._held)
            self.n_ctx: int = api.llama_n_ctx_seq(self._ctx)
            """Tokens that one slot can hold."""
            self.step_tokens: int = api.llama_n_batch(self._ctx)
            self.n_batch = min(settings.num_batch, self.step_tokens)
            """Tokens of one slot that a step can compute; `step_tokens` are those of all."""
            self.weights_bytes: int = api.llama_model_size(self._model)
            self.gpu_layers = offloaded_layers([text for _, text in lines])
            self.layers: int = api.llama_model_n_layer(self._model)
            """Without the output layer."""
            self.pieces = native.PieceCache(self.vocabulary.native)
            self.slots = tuple(
                Slot(
                    self,
                    ContextMemory(
                        self._ctx, self._model, self.n_ctx, kept, full_window=settings.swa_full, sequence=sequence
                    ),
                )
                for sequence, kept in enumerate(self._checkpoints)
            )
            """What can be computed together; most models have one."""
            self._speculation = settings.speculation
            # A step that is cut into two would overwrite cells of a sliding window that a cut needs.
            self._draft_tokens = min(settings.draft_tokens, settings.ubatch - 1)
            self._abort = native.AbortFlag(self._ctx)
            self._abort_lock = threading.Lock()
            # Whether a step runs that may be aborted.
            self._abortable = False
            self._one = (api.llama_token * 1)()
            # The batch points at `_one`: decoding the next token is one store and one call.
            self._one_batch = api.llama_batch_get_one(self._one, 1)
            self._batch = native.TokenBatch(self.step_tokens)
            self._batch_threads = batch_threads = settings.num_thread_batch or settings.num_thread

            def use_threads(count: int) -> None:
                api.llama_set_n_threads(self._ctx, count, batch_threads)

            self.threads = AnswerThreads(settings.num_thread, use_threads) if settings.adapt_threads else None
            """The number of threads of answers; None where it is fixed."""
            self.offloaded = settings.num_gpu != 0
            self.gpu_pace = first_pace(self.n_batch, self.weights_bytes, on_gpu=True) if self.offloaded else None
            """The pace of prompts on a GPU, kept from one to the next; None on a CPU, where a step can be aborted."""
        except BaseException:
            self.close()
            raise

    @property
    def native(self) -> Pointer:
        """The native context, for sampling."""
        return self._ctx

    def abort(self) -> None:
        """End the `llama_decode` that runs, on a CPU; from any thread.

        It would cost recurrent layers their state, so there a single token is computed to its end, and so is what
        several slots compute.
        """
        with self._abort_lock:
            if self._abortable:
                self._abort.up()

    def compute(self, parts: Sequence[Part]) -> None:
        """Compute tokens of different slots in one step, `step_tokens` at most, with the logits of each last one.

        Raises:
            Aborted: The abort flag was up. The slots have the tokens that their memory still holds, of which a part
                of a single token is none.
            EngineError: llama.cpp failed.
        """
        threads = self.threads
        if threads is None or not threads.adapts or len(parts) > 1 or len(parts[0][1]) > 1:
            self._compute(parts)
            return
        began = time.perf_counter_ns()
        self._compute(parts)
        threads.step(time.perf_counter_ns() - began)

    def _compute(self, parts: Sequence[Part]) -> None:
        if len(self.slots) == 1:
            self._compute_one(parts[0])
            return
        batch = self._batch
        assert batch is not None
        batch.clear()
        # llama.cpp computes sequences together whose numbers follow one another.
        for slot, tokens in sorted(parts, key=lambda part: part[0].memory.sequence):
            sequence, last = slot.memory.sequence, len(slot.tokens) + len(tokens) - 1
            for position, token in enumerate(tokens, len(slot.tokens)):
                batch.add(token, position, sequence, output=position == last)
            slot.output = batch.size - 1
        self._abortable = len(parts) == 1 and self._can_abort(parts[0])
        self.run(batch.native, parts)

    def _compute_one(self, part: Part) -> None:
        # Once a token, alone: one store and one call.
        _, tokens = part
        self._abortable = self._can_abort(part)
        if len(tokens) == 1:
            self._one[0] = tokens[0]
            self.run(self._one_batch, (part,))
        else:
            array = (api.llama_token * len(tokens))(*tokens)
            self.run(api.llama_batch_get_one(array, len(tokens)), (part,))

    def verify(self, slot: Slot, tokens: Sequence[int]) -> None:
        """Compute drafted tokens in the only slot, with the logits of each; the errors are those of `compute`."""
        fewer = None if self.threads is None else self.threads.fewer
        if fewer is not None:
            # llama.cpp computes several tokens with the threads of prompts.
            api.llama_set_n_threads(self._ctx, fewer, fewer)
        count = len(tokens)
        array = (api.llama_token * count)(*tokens)
        batch = api.llama_batch_get_one(array, count)
        batch.logits = (ctypes.c_int8 * count)(*[1] * count)
        self._abortable = self._can_abort((slot, tokens))
        try:
            self.run(batch, ((slot, tokens),))
        finally:
            if fewer is not None:
                api.llama_set_n_threads(self._ctx, fewer, self._batch_threads)

    def speculation(self, slot: Slot, cancel: CancelToken) -> Speculation | None:
        """The drafts of a new answer in `slot`; None where that is off."""
        if self._speculation == OFF:
            return None
        return Speculation(self, slot, self._draft or NgramDrafter(), self._draft_tokens, cancel)

    def _can_abort(self, part: Part) -> bool:
        slot, tokens = part
        return len(tokens) > 1 or not slot.memory.recurrent

    def run(self, batch: Pointer, parts: Sequence[Part]) -> None:
        """Compute a native batch that has these parts; the errors are those of `compute`."""
        code = api.llama_decode(self._ctx, batch)
        if self.offloaded:
            # Sampling would wait for the GPU with the interpreter lock held.
            api.llama_synchronize(self._ctx)
        with self._abort_lock:
            # The flag must not end the next step, which may be that of another answer.
            self._abortable = False
            if self._abort.is_up:
                self._abort.down()
        if code == _DECODED:
            for slot, tokens in parts:
                slot.tokens += tokens
            return
        if code == _ABORTED:
            for slot, tokens in parts:
                slot.settle(tokens)
            raise Aborted
        if code == _NO_SLOT:
            raise EngineError("llama.cpp found no room in the KV cache.", "Start a new chat or load a longer context.")
        for slot, _ in parts:
            slot.forget()
        raise EngineError(f"llama.cpp failed to compute (code {code}).", "The log (F12) has llama.cpp's own words.")

    def close(self) -> None:
        """Free the memory."""
        for kept in self._checkpoints:
            kept.close()
        if self._batch is not None:
            self._batch.free()
            self._batch = None
        if self._draft is not None:
            self._draft.close()
            self._draft = None
        if self._ctx:
            api.llama_free(self._ctx)
            self._ctx = None
        if self._model:
            api.llama_model_free(self._model)
            self._model = None
            held.subtract(self._held)


def offloaded_layers(lines: Sequence[str]) -> int | None:
    """How many layers llama.cpp put on GPUs, the output counted as one; None where it logged none."""
    return next((int(match[1]) for match in map(_OFFLOADED.search, lines) if match), None)


def memory_use(lines: Sequence[str]) -> MemoryUse | None:
    """The memory that llama.cpp logged; None where it logged none."""
    buffers = []
    for match in filter(None, map(_BUFFER_LINE.search, lines)):
        # `CPU_Mapped` and `CUDA_Host` are in the memory of the host.
        device, _, kind = match[1].partition("_")
        # llama.cpp logs MiB with two decimals, so the figures are good to about 5 KiB.
        size = round(float(match[3]) * 2**20)
        buffers.append(MemoryBuffer("CPU" if kind == "Host" else device, _PURPOSES.get(match[2], "states"), size))
    return MemoryUse.of(buffers) if buffers else None
