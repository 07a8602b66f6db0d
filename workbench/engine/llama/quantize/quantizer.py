"""Quantizing with llama.cpp in a child process.

A native abort then ends the child and not the program, the engine's thread stays the only one that computes in this
process, and stopping means killing the child. The file is written under a temporary name in the folder of its target,
and is renamed when it is complete and on the disk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, ImatrixError, QuantizeError, RequantizeError, TargetError
from workbench.engine.llama.quantize.target import (
    check_result,
    check_room,
    check_target,
    give_name,
    temporary_path,
    writing_failed,
)
from workbench.gguf.check import check_loadable
from workbench.gguf.header import Header
from workbench.gguf.imatrix import check_imatrix, read_imatrix
from workbench.gguf.quantization import (
    PlanListener,
    ProgressListener,
    QuantizeJob,
    QuantizePlan,
    QuantizeProgress,
    QuantizeResult,
)
from workbench.gguf.targets import QuantType, TargetSize, target_size
from workbench.processes import ChildProcess, JsonObject, ProcessEndedError

WORKER = "workbench.engine.llama.quantize.worker"
STOPPED = "Quantizing was stopped."


@asynccontextmanager
async def _worker(cancel: CancelToken) -> AsyncIterator[ChildProcess]:
    """Start a child process that quantizes. It has ended when the block is left, in whichever way.

    Raises:
        CancelledError: `cancel` was set, before or in the block.
        QuantizeError: No process starts.
    """
    if cancel.is_set:
        raise CancelledError(STOPPED)
    try:
        child = ChildProcess(WORKER, environment={"GGML_NO_BACKTRACE": "1"})
    except OSError as error:
        raise QuantizeError(f"Quantizing needs a process, and none starts: {error}.", "Close other programs.") from None
    cancel.on_set(child.kill)
    completed = False
    try:
        yield child
        completed = not cancel.is_set
        if not completed:
            raise CancelledError(STOPPED)
    except (QuantizeError, TargetError):
        # Work that a killed process left unfinished is no failure.
        if cancel.is_set:
            raise CancelledError(STOPPED) from None
        raise
    finally:
        if not completed:
            child.kill()
        await asyncio.to_thread(child.close)


async def _events(child: ChildProcess, **order: object) -> AsyncIterator[JsonObject]:
    """The events of an order; the last one of a child that died is a `failed`."""
    try:
        async for event in child.ask(**order):
            yield event
    except ProcessEndedError:
        yield {"event": "failed", "message": "its process ended unexpectedly"}


async def plan_quantizations(
    source: Path,
    kinds: Sequence[QuantType],
    imatrix: Path | None = None,
    cancel: CancelToken | None = None,
    on_plan: PlanListener = lambda _: None,
) -> list[QuantizePlan]:
    """Plan each of `kinds` in one child process: llama.cpp chooses the types of the tensors and computes nothing.

    Planning all of llama.cpp's types takes about a second; `on_plan` is called with each plan when it is ready. The
    source is one file or the first of its parts.

    Raises:
        WorkbenchError: The source cannot be read or the importance matrix does not belong to it; CancelledError when
            `cancel` was set.
    """
    headers = await asyncio.to_thread(_check_source, source, imatrix)
    async with _worker(cancel or CancelToken()) as child:
        return await _plans(child, source, headers, kinds, imatrix, on_plan)


async def quantize(
    job: QuantizeJob, on_progress: ProgressListener = lambda _: None, cancel: CancelToken | None = None
) -> QuantizeResult:
    """Make a quantization. Unless this succeeds, nothing of it remains on the disk.

    `on_progress` is called some ten times a second, in the event loop.

    Raises:
        WorkbenchError: It cannot be made; CancelledError when `cancel` was set.
    """
    began = time.perf_counter()
    cancel = cancel or CancelToken()
    headers = await asyncio.to_thread(_check_source, job.source, job.imatrix)
    check_target(job.target, job.source)
    async with _worker(cancel) as child:
        (plan,) = await _plans(child, job.source, headers, [job.kind], job.imatrix)
        size = _check_plan(job, plan)
        partial = temporary_path(job.target)
        try:
            native_seconds = await _make(child, job, partial, headers, size, on_progress)
            await asyncio.to_thread(check_result, partial, size)
            if cancel.is_set:
                raise CancelledError(STOPPED)
            give_name(partial, job.target)
        finally:
            # A child that still writes would keep the disk space allocated and, on Windows, the file open.
            child.kill()
            await asyncio.to_thread(child.close)
            with suppress(OSError):
                partial.unlink()
    return QuantizeResult(
        path=job.target,
        kind=job.kind,
        size_bytes=job.target.stat().st_size,
        bits_per_weight=size.bits_per_weight,
        seconds=time.perf_counter() - began,
        native_seconds=native_seconds,
        warnings=plan.warnings,
    )


async def _plans(
    child: ChildProcess,
    source: Path,
    headers: Sequence[Header],
    kinds: Sequence[QuantType],
    imatrix: Path | None,
    on_plan: PlanListener = lambda _: None,
) -> list[QuantizePlan]:
    by_number = {kind.file_type: kind for kind in kinds}
    plans = []
    async for event in _events(child, order="plan", source=str(source), types=[*by_number], imatrix=str(imatrix or "")):
        if event["event"] == "failed":
            raise QuantizeError(f"{source}: llama.cpp cannot quantize it: {event['message']}.", "Try another source.")
        plans.append(_plan(by_number[event["type"]], headers, event))
        on_plan(plans[-1])
    return plans


async def _make(
    child: ChildProcess,
    job: QuantizeJob,
    partial: Path,
    headers: Sequence[Header],
    size: TargetSize,
    on_progress: ProgressListener,
) -> float:
    """Order the quantization; returns the seconds that llama.cpp took."""
    sizes = {tensor.name: tensor.size_bytes for header in headers for tensor in header.tensors}
    total_bytes, done_bytes = max(1, sum(sizes.values())), 0
    began = time.perf_counter()
    native_seconds = 0.0
    order = {"source": str(job.source), "target": str(partial), "type": job.kind.file_type}
    async for event in _events(child, order="make", **order, imatrix=str(job.imatrix or ""), threads=job.threads):
        if event["event"] == "failed":
            raise writing_failed(job.target, partial, size, event["message"]) or QuantizeError(
                f"{job.source}: making {job.kind.name} from it failed: {event['message']}.", "Choose another type."
            )
        if event["event"] == "made":
            native_seconds = event["seconds"]
        else:
            done_bytes += sum(sizes.get(name, 0) for name in event["finished"])
            seconds = time.perf_counter() - began
            fraction = done_bytes / total_bytes
            on_progress(
                QuantizeProgress(event["done"], event["total"], event["tensor"], fraction, seconds, total_bytes)
            )
    on_progress(QuantizeProgress(len(sizes), len(sizes), "", 1.0, time.perf_counter() - began, total_bytes))
    return native_seconds


def _check_source(source: Path, imatrix: Path | None) -> tuple[Header, ...]:
    headers = check_loadable(source, writes=False)
    if imatrix is not None:
        check_imatrix(read_imatrix(imatrix), headers)
    return headers


def _plan(kind: QuantType, headers: Sequence[Header], event: Mapping[str, Any]) -> QuantizePlan:
    if event["problem"]:
        return QuantizePlan(kind, None, event["problem"])
    size = target_size(headers, event["chosen"])
    return QuantizePlan(kind, size, "", event["fallbacks"], event["needs_imatrix"])


def _check_plan(job: QuantizeJob, plan: QuantizePlan) -> TargetSize:
    """Refuse a plan that cannot succeed, before anything is written; returns the size of the target."""
    name = job.kind.name
    if plan.size is None:
        raise QuantizeError(f"{job.source}: {name} cannot be made from it: {plan.problem}.", "Choose another type.")
    if plan.size.requantized and not job.allow_requantize:
        raise RequantizeError(
            f"{job.source}: it is quantized already, and making {name} from it loses more than making it from F16.",
            "Take the F32, BF16 or F16 file as the source, or allow it with --allow-requantize.",
        )
    if plan.needs_imatrix:
        raise ImatrixError(
            f"{name} without an importance matrix would be garbage: some tensors get fewer than three bits.",
            "Give one with --imatrix FILE (llama-imatrix makes it), or choose a larger type, such as Q3_K_M.",
        )
    check_room(job.target, plan.size)
    return plan.size
