"""The queue of quantizations. One that is stopped or fails leaves no file behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from workbench.core.cancel import CancelToken
from workbench.core.errors import QuantizeError, TargetError
from workbench.gguf.model_files import ModelFiles
from workbench.gguf.quantization import ProgressListener, QuantizeJob, QuantizeProgress, QuantizeResult
from workbench.ui.job_queue.queue import JobQueue, QueuedJob

QueuedQuantization: TypeAlias = QueuedJob[QuantizeJob, QuantizeProgress, QuantizeResult]
QuantizeQueue: TypeAlias = JobQueue[QuantizeJob, QuantizeProgress, QuantizeResult]


def quantize_queue(files: ModelFiles, on_end: Callable[[QueuedQuantization], object]) -> QuantizeQueue:
    """A queue of quantizations."""

    async def quantize(job: QuantizeJob, on_progress: ProgressListener, cancel: CancelToken) -> QuantizeResult:
        try:
            return await files.quantize(job, on_progress, cancel)
        except OSError as error:
            raise QuantizeError(f"{job.target}: {error.strerror or error}.", "Try another place.") from error

    return JobQueue(quantize, on_end)


def add_quantization(queue: QuantizeQueue, job: QuantizeJob, model: str) -> QueuedQuantization:
    """Queue a quantization of the model with this name.

    Raises:
        TargetError: A job that waits or runs has the same target file.
    """
    if any(each.work.target == job.target and each.is_active for each in queue.jobs):
        raise TargetError(f"{job.target}: this file is being made already.", "Name another one.")
    queued: QueuedQuantization = QueuedJob(job, f"{model} {job.kind.name}")
    queue.add(queued)
    return queued
