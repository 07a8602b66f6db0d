"""The logits of every position of a text, from models in a child process. The rows come through the pipe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.engine import ProgressCallback
from workbench.core.engine_hosts import PROCESS
from workbench.core.errors import QualityError, WorkbenchError
from workbench.core.models import ModelEntry
from workbench.engine.child.host import InChild, opened
from workbench.engine.child.seats import EngineSeats
from workbench.engine.child.values import ROOT
from workbench.engine.child.wire import Callback
from workbench.lab.quality.logits import Chunk, Floats, LogitHost, LogitModel, LogitModels, ModelSpec, Reduce


class AnyLogitHost(LogitHost):
    """Opens GGUF files for their logits with `here` or in the processes of `seats`; `resolve` is as for `LlamaHost`."""

    def __init__(self, here: LogitHost, resolve: Callable[[str], ModelEntry], seats: EngineSeats) -> None:
        self._here = here
        self._resolve = resolve
        self._seats = seats

    @override
    async def open(
        self, specs: Sequence[ModelSpec], n_ctx: int, on_progress: ProgressCallback, cancel: CancelToken
    ) -> LogitModels:
        first, *others = dict.fromkeys(spec.settings.engine_host for spec in specs)
        if others:
            raise QualityError(
                f"Models are compared position by position in one process, not in {first} and {others[0]}.",
                "Give all of them the same engine_host.",
            )
        if first == PROCESS:
            return await self._here.open(specs, n_ctx, on_progress, cancel)
        models = {spec.ref: await asyncio.to_thread(self._resolve, spec.ref) for spec in specs}
        arguments = models, tuple(specs), n_ctx, Callback(on_progress)
        return _ChildLogits(*await opened(self._seats, first, cancel, "open_logits", *arguments))


class _ChildLogits(LogitModels):
    """Models that are open together in a child process."""

    def __init__(self, held: InChild, models: tuple[LogitModel, ...]) -> None:
        self._held = held
        self.models = models

    @override
    async def tokenize(self, text: str) -> tuple[int, ...]:
        found: tuple[int, ...] = await self._held.call("tokenize", text)
        return found

    @override
    async def texts(self, tokens: Sequence[int]) -> tuple[bytes, ...]:
        found: tuple[bytes, ...] = await self._held.call("texts", tokens)
        return found

    @override
    async def vocabulary(self, model: int) -> tuple[bytes, ...]:
        found: tuple[bytes, ...] = await self._held.call("vocabulary", model)
        return found

    @override
    async def compute(
        self, chunk: Chunk, reduce: Reduce, cancel: CancelToken, on_position: Callable[[int], None]
    ) -> None:
        problems: list[Exception] = []
        stop = CancelToken()
        cancel.on_set(stop.set)

        def reduce_here(position: int, rows: Sequence[Floats]) -> None:
            # The child writes the next rows only when these have been read: it cannot run ahead of this.
            try:
                if not problems:
                    reduce(position, rows)
            except Exception as error:  # noqa: BLE001 - raised where the computation is awaited
                problems.append(error)
                stop.set()

        arguments = chunk, Callback(reduce_here), stop, Callback(on_position)
        try:
            await self._held.process.call(ROOT, "compute_logits", self._held.number, *arguments)
        except WorkbenchError:
            if not problems:
                raise
        except asyncio.CancelledError:
            stop.set()
            raise
        if problems:
            raise problems[0]

    @override
    async def close(self) -> None:
        await self._held.close()
