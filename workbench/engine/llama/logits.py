"""The logits of every position of a text, from several models in lock-step, in the thread that owns llama.cpp.

Each model computes the same piece of the text, and the rows of all are reduced to a few figures before the next piece
overwrites them: no logits are stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.engine import ProgressCallback
from workbench.core.errors import CancelledError, EngineError, QualityError
from workbench.core.models import ModelEntry
from workbench.engine.llama.plan import Plan, make_plan, read_files
from workbench.engine.llama.runtime import Job, current_machine, shared_runtime
from workbench.gguf.header import Header
from workbench.gguf.model import describe
from workbench.lab.quality.logits import Chunk, Floats, LogitHost, LogitModel, LogitModels, ModelSpec, Reduce

if TYPE_CHECKING:
    from workbench.engine.llama.native import AbortFlag, Pointer

PIECE = 256
"""Tokens that are computed in one step. Their rows take 256 MB with the largest vocabularies."""

_DECODED, _ABORTED = 0, 2


@dataclass(frozen=True)
class _Planned:
    """A model that can be loaded."""

    entry: ModelEntry
    headers: tuple[Header, ...]
    adapter: str
    plan: Plan

    @property
    def weights_key(self) -> tuple[object, ...]:
        """The same for contexts that can share weights."""
        chosen = self.plan.settings
        place = chosen.num_gpu, chosen.split_mode, chosen.main_gpu, chosen.devices, chosen.tensor_split
        tensors = chosen.num_cpu_moe, chosen.override_tensor
        return self.headers[0].path, *place, *tensors, chosen.reading


class LlamaLogitHost(LogitHost):
    """Opens GGUF files for their logits. The arguments are those of `LlamaHost`."""

    def __init__(self, resolve: Callable[[str], ModelEntry], *, memory_guard: bool = True) -> None:
        self._resolve = resolve
        self._guard = memory_guard

    @override
    async def open(
        self, specs: Sequence[ModelSpec], n_ctx: int, on_progress: ProgressCallback, cancel: CancelToken
    ) -> LogitModels:
        planned = [await self._plan(spec, n_ctx) for spec in specs]
        load = partial(_Loaded, planned, n_ctx, on_progress, cancel)
        loaded = await shared_runtime.load(load, lambda unwanted: unwanted.free(), cancel)
        return LlamaLogits(tuple(map(_describe, planned)), loaded)

    async def _plan(self, spec: ModelSpec, n_ctx: int) -> _Planned:
        entry = await asyncio.to_thread(self._resolve, spec.ref)
        headers, adapter = await asyncio.to_thread(read_files, entry)
        asked = replace(spec.settings, num_ctx=n_ctx, num_batch=PIECE)
        plan = make_plan(headers, asked, await current_machine(), adapter=adapter, guard=self._guard)
        return _Planned(entry, headers, "" if adapter is None else adapter.path, plan)


def _describe(planned: _Planned) -> LogitModel:
    entry, headers, plan = planned.entry, planned.headers, planned.plan
    size = sum(header.file_size for header in headers)
    quant = entry.quant or describe(headers[0], headers[1:]).quant
    return LogitModel(replace(entry, quant=quant, size_bytes=size), plan.settings, plan.backend, plan.warnings)


class LlamaLogits(LogitModels):
    """Models that are open together."""

    def __init__(self, models: tuple[LogitModel, ...], loaded: _Loaded) -> None:
        self.models = models
        self._loaded = loaded

    @override
    async def tokenize(self, text: str) -> tuple[int, ...]:
        return await shared_runtime.do(lambda: tuple(self._loaded.vocabulary.tokenize_text(text)))

    @override
    async def texts(self, tokens: Sequence[int]) -> tuple[bytes, ...]:
        return await shared_runtime.do(self._loaded.texts, tokens)

    @override
    async def vocabulary(self, model: int) -> tuple[bytes, ...]:
        return await shared_runtime.do(self._loaded.token_texts, model)

    @override
    async def compute(
        self, chunk: Chunk, reduce: Reduce, cancel: CancelToken, on_position: Callable[[int], None]
    ) -> None:
        def steps(_: Job) -> Generator[None, None, None]:
            for position in self._loaded.compute(chunk, reduce, cancel):
                on_position(position)
                yield

        cancel.on_set(self._loaded.abort)
        try:
            await shared_runtime.run(steps)
        except asyncio.CancelledError:
            cancel.set()
            raise

    @override
    async def close(self) -> None:
        await shared_runtime.do(self._loaded.free)


def _report(on_progress: ProgressCallback, index: int, count: int, fraction: float) -> None:
    on_progress((index + fraction) / count)


class _Loaded:
    """The native models and their contexts. Everything but `abort` runs in the runtime's thread."""

    def __init__(
        self, planned: Sequence[_Planned], n_ctx: int, on_progress: ProgressCallback, cancel: CancelToken
    ) -> None:
        from workbench.engine.llama.native import PieceCache
        from workbench.engine.llama.vocabulary import Vocabulary

        self._weights: dict[tuple[object, ...], Pointer] = {}
        self._adapters: dict[tuple[object, ...], Pointer] = {}
        """By the weights that they are for, and their file; freed with the weights."""
        self._contexts: list[Pointer] = []
        self._flags: list[AbortFlag] = []
        try:
            for index, each in enumerate(planned):
                self._open(each, n_ctx, partial(_report, on_progress, index, len(planned)), cancel)
            self._vocabularies = [Vocabulary.of(self._weights[each.weights_key]) for each in planned]
            self.vocabulary = self._vocabularies[0]
            self._pieces = PieceCache(self.vocabulary.native)
        except BaseException:
            self.free()
            raise

    def _open(self, planned: _Planned, n_ctx: int, on_progress: ProgressCallback, cancel: CancelToken) -> None:
        from workbench.engine.llama.native import AbortFlag
        from workbench.engine.llama.weights import apply_adapter, load_adapter, load_weights, make_context

        settings, key = planned.plan.settings, planned.weights_key
        if key not in self._weights:
            path = planned.headers[0].path
            self._weights[key] = load_weights(path, load=settings, on_progress=on_progress, cancel=cancel)
        native, adapter = self._weights[key], (*key, planned.adapter)
        if planned.adapter and adapter not in self._adapters:
            self._adapters[adapter] = load_adapter(native, planned.adapter)
        ctx = make_context(
            native,
            settings,
            n_ctx=n_ctx,
            n_batch=PIECE,
            n_ubatch=PIECE,
            n_seq_max=1,
            no_perf=True,
            swa_full=False,
        )
        self._contexts.append(ctx)
        if planned.adapter:
            # It belongs to the context: others of the same weights do without.
            apply_adapter(ctx, self._adapters[adapter])
        self._flags.append(AbortFlag(ctx))

    def texts(self, tokens: Sequence[int]) -> tuple[bytes, ...]:
        """The bytes of each token."""
        self._check_open()
        return tuple(self._pieces[token] for token in tokens)

    def token_texts(self, model: int) -> tuple[bytes, ...]:
        """See `LogitModels.vocabulary`."""
        from workbench.engine.llama.native import api

        self._check_open()
        vocabulary, text = self._vocabularies[model], api.llama_vocab_get_text
        return tuple(text(vocabulary.native, token) or b"" for token in range(vocabulary.size))

    def abort(self) -> None:
        """End the `llama_decode` that runs, on a CPU; from any thread."""
        for flag in self._flags:
            flag.up()

    def compute(self, chunk: Chunk, reduce: Reduce, cancel: CancelToken) -> Iterator[int]:
        """See `LogitModels.compute`; one native step for each `next`, which gives the positions that are done."""
        from workbench.engine.llama.native import api

        ids = list(chunk.tokens)
        if chunk.part and self.vocabulary.adds_bos:
            ids[0] = api.llama_vocab_bos(self.vocabulary.native)
        for flag, ctx in zip(self._flags, self._contexts, strict=True):
            flag.down()
            api.llama_memory_clear(api.llama_get_memory(ctx), True)
        for start in range(0, len(ids), PIECE):
            end = min(start + PIECE, len(ids))
            wanted = range(max(chunk.first, start), min(end, len(ids) - 1))
            rows: list[Floats] = []
            for number in range(len(self._contexts)):
                self._check_open(cancel)
                rows += self._decode(number, ids[start:end], start, wanted)
                yield start + (end - start) * number // len(self._contexts)
            self._check_open(cancel)
            if wanted:
                reduce(wanted.start, rows)
            yield end

    def _decode(self, number: int, ids: Sequence[int], start: int, wanted: range) -> list[Floats]:
        from workbench.engine.llama.native import TokenBatch, api

        ctx, size = self._contexts[number], self._vocabularies[number].size
        batch = TokenBatch(len(ids))
        try:
            for position, token in enumerate(ids, start):
                batch.add(token, position, 0, output=position in wanted)
            code = api.llama_decode(ctx, batch.native)
            if code == _ABORTED:
                raise CancelledError("The measurement was stopped.")
            if code != _DECODED:
                raise EngineError(
                    f"llama.cpp failed to compute (code {code}).", "The log (F12) has llama.cpp's own words."
                )
            if not wanted:
                return []
            pointer = api.llama_get_logits_ith(ctx, wanted.start - start)
            if not pointer:
                raise QualityError("The model gives no logits for every position.", "Choose a generative model.")
            # The rows of the positions that were asked for lie one after the other.
            return [np.ctypeslib.as_array(pointer, (len(wanted), size))]
        finally:
            batch.free()

    def _check_open(self, cancel: CancelToken | None = None) -> None:
        if not self._contexts or (cancel is not None and cancel.is_set):
            raise CancelledError("The measurement was stopped.")

    def free(self) -> None:
        """Free the native memory; work that has not ended ends as cancelled."""
        from workbench.engine.llama.native import api

        contexts, self._contexts, self._flags = self._contexts, [], []
        for ctx in contexts:
            api.llama_free(ctx)
        weights, self._weights = self._weights, {}
        for native in weights.values():
            api.llama_model_free(native)
