"""The model files of this machine: inspection, memory estimates and quantizations."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.errors import TargetError, WorkbenchError
from workbench.gguf.model_files import ModelFiles

if TYPE_CHECKING:
    from workbench.engine.llama.plan import Machine
    from workbench.gguf.fit import FitModel
    from workbench.gguf.header import Array
    from workbench.gguf.inspect import ModelReport
    from workbench.gguf.quantization import PlanListener, ProgressListener, QuantizeJob, QuantizeResult
    from workbench.gguf.shares import Room
    from workbench.gguf.targets import QuantType
    from workbench.gguf.tokenizer import TokenizerFacts

# The modules that read files are imported when one is read, in the thread that reads it, so that they delay neither the
# first paint nor a key.


async def _this_machine() -> Machine:
    from workbench.engine.llama.runtime import current_machine

    return await current_machine()


class LocalFiles(ModelFiles):
    """The model files of this machine. llama.cpp is imported when it is first needed.

    Without a `quantize_folder` quantizations go to the folder of their source. `machine` looks at the hardware; without
    it, this process does.
    """

    fallback: Path | None = None
    """The folder for a quantization whose source is in a managed store; None for the current folder."""

    def __init__(
        self,
        quantize_folder: Path | None = None,
        model_folders: Sequence[Path] = (),
        machine: Callable[[], Awaitable[Machine]] | None = None,
    ) -> None:
        self._machine = machine or _this_machine
        self._quantize_folder = quantize_folder
        self._model_folders = model_folders
        self._repacked: frozenset[str] | None = None

    @override
    async def fit_model(self, path: Path, adapter: Path | None = None) -> FitModel:
        if self._repacked is None:
            # It does not change while the program runs, and llama.cpp's thread may be busy the next time.
            self._repacked = (await self._machine()).repacked
        return await asyncio.to_thread(_fit_model, path, adapter, self._repacked)

    @override
    async def room(self) -> Room:
        from workbench.engine.llama.plan import room_on

        return room_on(await self._machine())

    @override
    async def inspect(self, path: Path) -> ModelReport:
        return await asyncio.to_thread(report, path)

    @override
    async def array(self, path: Path, key: str) -> Array:
        return await asyncio.to_thread(_read_array, path, key)

    @override
    async def plan(
        self, source: Path, kinds: Sequence[QuantType], imatrix: Path | None, on_plan: PlanListener, cancel: CancelToken
    ) -> None:
        from workbench.engine.llama.quantize.quantizer import plan_quantizations

        await plan_quantizations(source, kinds, imatrix, cancel, on_plan)

    @override
    async def quantize(self, job: QuantizeJob, on_progress: ProgressListener, cancel: CancelToken) -> QuantizeResult:
        from workbench.engine.llama.quantize.quantizer import quantize

        if self._is_made_for(job.target.parent):
            await asyncio.to_thread(_make_folder, job.target.parent)
        return await quantize(job, on_progress, cancel)

    @override
    def target(self, source: Path, model: str, kind: QuantType) -> Path:
        from workbench.gguf.quantization import target_folder
        from workbench.gguf.targets import target_name

        fallback = self.fallback or Path.cwd()
        return target_folder(source, self._quantize_folder, self._model_folders, fallback) / target_name(
            source.name, kind, model
        )

    @override
    async def target_problem(self, job: QuantizeJob) -> str:
        if self._is_made_for(job.target.parent):
            return ""
        return await asyncio.to_thread(_target_problem, job)

    def _is_made_for(self, folder: Path) -> bool:
        """Whether `folder` is one for quantizations that is made when it is first needed."""
        return folder in (self._quantize_folder, self.fallback) and not folder.exists()

    @override
    async def free_bytes(self, folder: Path) -> int | None:
        return await asyncio.to_thread(_free_bytes, folder)


def report(path: Path) -> ModelReport:
    """Inspect a model file. It reads the disk: not for the event loop.

    Raises:
        ModelFileError: It cannot be read, or is no model.
    """
    from workbench.gguf.files import read_report

    return read_report(path, _rendered_sample)


def _rendered_sample(template: str, tokenizer: TokenizerFacts) -> str:
    from workbench.engine.llama.template import ChatTemplate
    from workbench.gguf.inspect import SAMPLE

    return ChatTemplate(template, tokenizer.text("bos"), tokenizer.text("eos")).render(SAMPLE, CancelToken())


def _fit_model(path: Path, adapter: Path | None, repacked: frozenset[str]) -> FitModel:
    from workbench.gguf.files import read_fit_model

    return read_fit_model(path, adapter, repacked)


def _read_array(path: Path, key: str) -> Array:
    from workbench.gguf.files import read_array

    return read_array(path, key)


def _target_problem(job: QuantizeJob) -> str:
    from workbench.engine.llama.quantize.target import check_target

    try:
        check_target(job.target, job.source)
    except WorkbenchError as error:
        return error.message
    except OSError as error:
        return f"{job.target}: {error.strerror or error}."
    return ""


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(
            f"{folder}: it cannot be made: {error.strerror or error}.", "Choose another folder."
        ) from None


def _free_bytes(folder: Path) -> int | None:
    for place in (folder, *folder.parents):
        with suppress(OSError, ValueError):
            return shutil.disk_usage(place).free
    return None
