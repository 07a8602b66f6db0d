"""Benchmarks of models in the thread that owns llama.cpp.

llama.cpp is imported with the first model. The weights stay loaded for several tests; every test has a context of its
own.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from typing_extensions import override

from workbench.core.bench import (
    BenchCase,
    Bencher,
    BenchMachine,
    BenchModel,
    BenchRun,
    BenchSettings,
    BenchTarget,
    BenchTest,
    RunTime,
)
from workbench.core.bench_loading import as_load_settings
from workbench.core.cancel import CancelToken
from workbench.core.engine import ProgressCallback
from workbench.core.errors import CancelledError, EngineError
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.engine.llama.plan import Plan, make_plan, read_files
from workbench.engine.llama.runtime import Job, current_machine, shared_runtime
from workbench.gguf.header import Header
from workbench.gguf.model import describe
from workbench.gguf.weights import decode_bytes

if TYPE_CHECKING:
    from workbench.engine.llama.bench_context import BenchContext
    from workbench.engine.llama.native import Pointer

Result = TypeVar("Result")

_PACKAGES = ("workbench", "llama-cpp-python")


class LlamaBencher(Bencher):
    """Opens GGUF files for benchmarks. The arguments are those of `LlamaHost`."""

    def __init__(self, resolve: Callable[[str], ModelEntry], *, memory_guard: bool = True) -> None:
        self._resolve = resolve
        self._guard = memory_guard

    @override
    async def machine(self) -> BenchMachine:
        return await shared_runtime.do(_describe_machine)

    @override
    async def open(self, case: BenchCase, on_progress: ProgressCallback, cancel: CancelToken) -> LlamaBenchTarget:
        entry = await asyncio.to_thread(self._resolve, case.ref)
        headers, adapter = await asyncio.to_thread(read_files, entry)
        machine = await current_machine()
        # Each test checks the memory of its own context.
        least = as_load_settings(case.settings, BenchTest(n_prompt=1))
        make_plan(headers, least, machine, adapter=adapter, guard=self._guard)
        plan = make_plan(headers, as_load_settings(case.settings, case.test), machine, adapter=adapter, guard=False)
        if cancel.is_set:
            raise CancelledError("Loading was stopped.")
        model = _describe(entry, headers, plan)
        lora = "" if adapter is None else adapter.path
        load = partial(_load, headers[0].path, lora, plan.settings, on_progress, cancel)
        native, native_adapter, description = await shared_runtime.load(load, lambda loaded: _free(loaded[0]), cancel)
        model = replace(model, description=description)
        if adapter is not None:
            # Its matrices are read for every token too.
            model = replace(
                model,
                description=f"{description} + {Path(adapter.path).name}",
                file_bytes=model.file_bytes + adapter.file_size,
                read_bytes=None if model.read_bytes is None else model.read_bytes + adapter.tensor_bytes,
            )
        return LlamaBenchTarget((native, native_adapter), model, headers, adapter, guard=self._guard)


class LlamaBenchTarget(BenchTarget):
    """A model opened for a benchmark: the native model with its native adapter, and their headers.

    `guard` refuses a context that cannot fit in memory.
    """

    def __init__(
        self,
        weights: tuple[Pointer, Pointer | None],
        model: BenchModel,
        headers: Sequence[Header],
        adapter: Header | None,
        *,
        guard: bool,
    ) -> None:
        self._weights: tuple[Pointer, Pointer | None] | None = weights
        self.model = model
        self._headers = headers
        self._adapter = adapter
        self._guard = guard
        self._contexts: list[BenchContext] = []
        """Of all runs, closed ones too. Used in the runtime's thread."""

    @override
    async def prepare(self, settings: BenchSettings, test: BenchTest) -> LlamaBenchRun:
        machine = await current_machine()
        # llama.cpp has been imported in its thread.
        from workbench.engine.llama.bench_context import BenchContext

        asked = as_load_settings(replace(settings, n_gpu_layers=self.model.gpu_layers), test)
        plan = make_plan(self._headers, asked, machine, adapter=self._adapter, guard=self._guard)

        def make() -> BenchContext:
            if self._weights is None:
                raise EngineError("This model has been closed.", "Open it again.")
            native, adapter = self._weights
            self._contexts.append(BenchContext(native, plan.settings, test, adapter))
            return self._contexts[-1]

        return LlamaBenchRun(await shared_runtime.load(make, lambda unwanted: unwanted.close(), CancelToken()))

    @override
    async def close(self) -> None:
        def free() -> None:
            weights, self._weights = self._weights, None
            for context in self._contexts:
                context.close()
            if weights is not None:
                _free(weights[0])

        await shared_runtime.do(free)


class LlamaBenchRun(BenchRun):
    """A context that is ready for one test."""

    def __init__(self, context: BenchContext) -> None:
        self._context = context

    @override
    async def warm_up(self, cancel: CancelToken) -> float:
        return await self._do(lambda job: self._context.warm_up(job, cancel), cancel)

    @override
    async def repeat(self, seed: int, cancel: CancelToken) -> RunTime:
        return await self._do(lambda job: self._context.repeat(job, seed, cancel), cancel)

    @override
    async def use_threads(self, decode: int, prompt: int) -> None:
        usual = (await current_machine()).cores
        await shared_runtime.do(lambda: self._context.use_threads(decode or usual, prompt or decode or usual))

    @override
    async def close(self) -> None:
        await shared_runtime.do(self._context.close)

    async def _do(self, work: Callable[[Job], Generator[None, None, Result]], cancel: CancelToken) -> Result:
        def steps(job: Job) -> Generator[None, None, Result]:
            # Each run lowers the abort flag when it begins: set between two runs, it would end the next one.
            cancel.on_set(self._context.abort)
            return (yield from work(job))

        try:
            return await shared_runtime.run(steps)
        except asyncio.CancelledError:
            cancel.set()
            raise


def _load(
    path: str, adapter: str, settings: LoadSettings, on_progress: ProgressCallback, cancel: CancelToken
) -> tuple[Pointer, Pointer | None, str]:
    """The native model with its adapter, and llama.cpp's description of it."""
    from workbench.engine.llama.weights import describe_weights, load_adapter, load_weights

    model = load_weights(path, load=settings, on_progress=on_progress, cancel=cancel)
    try:
        return model, load_adapter(model, adapter) if adapter else None, describe_weights(model)
    except BaseException:
        _free(model)
        raise


def _free(native: Pointer) -> None:
    from workbench.engine.llama.native import api

    api.llama_model_free(native)


def _describe(entry: ModelEntry, headers: Sequence[Header], plan: Plan) -> BenchModel:
    """The model, but for llama.cpp's description."""
    facts = describe(headers[0], headers[1:])
    path = Path(headers[0].path)
    return BenchModel(
        ref=entry.ref,
        name=entry.name,
        quant=entry.quant or facts.quant,
        path=str(path),
        file_bytes=sum(header.file_size for header in headers),
        modified_ns=path.stat().st_mtime_ns,
        digest=entry.digest,
        description="",
        weights_bytes=facts.weights_bytes,
        parameters=facts.parameters,
        backend=plan.backend,
        gpu_layers=plan.settings.num_gpu,
        n_threads=plan.settings.num_thread,
        read_bytes=decode_bytes(headers),
        warnings=plan.warnings,
    )


def _describe_machine() -> BenchMachine:
    from workbench.engine.llama.devices import library_version, list_devices, look_at_machine

    devices = list(list_devices())
    machine = look_at_machine()
    gpus = [device for device in devices if device.is_gpu]
    versions = []
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions.append((package, metadata.version(package)))
    return BenchMachine(
        build_commit=(library_version()[1] or "").removesuffix("-dirty"),
        cpu_info=", ".join(device.description for device in devices if not device.is_gpu),
        gpu_info=", ".join(device.description for device in gpus),
        backends=",".join(dict.fromkeys(device.name.rstrip("0123456789") for device in gpus)) or "CPU",
        cores=machine.cores,
        memory_bytes=machine.total_bytes,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        versions=tuple(versions),
    )
