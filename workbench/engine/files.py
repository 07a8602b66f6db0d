"""The model files of this machine: inspection, memory estimates and quantizations."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.core.cancel import CancelToken
from workbench.core.errors import TargetError, WorkbenchError

if TYPE_CHECKING:
    from workbench.gguf.fit import FitModel, Room
    from workbench.gguf.header import Array
    from workbench.gguf.inspect import ModelReport
    from workbench.gguf.quantization import ProgressListener, QuantizeJob, QuantizePlan, QuantizeResult
    from workbench.gguf.targets import QuantType
    from workbench.gguf.tokenizer import TokenizerFacts

# The modules that read files are imported when one is read, so that they do not delay the first paint.


class LocalFiles:
    """The model files of this machine. llama.cpp is imported when it is first needed.

    Args:
        quantize_folder: The folder for quantizations; None for that of their source.
        model_folders: The user's folders with models.
        fallback: The folder for a quantization whose source is in a managed store; None for the current folder.
    """

    def __init__(
        self, quantize_folder: Path | None = None, model_folders: Sequence[Path] = (), fallback: Path | None = None
    ) -> None:
        self._quantize_folder = quantize_folder
        self._model_folders = model_folders
        self.fallback = fallback
        self._repacked: frozenset[str] | None = None

    async def fit_model(self, path: Path, adapter: Path | None = None) -> FitModel:
        """The model in `path`, to be asked what fits.

        Args:
            path: Its file.
            adapter: That of the LoRA that is put on; None for none.

        Raises:
            ModelFileError: It cannot be read, is no model, or the adapter does not fit it.
        """
        from workbench.engine.llama.plan import current_machine
        from workbench.gguf.files import read_fit_model

        if self._repacked is None:
            # It does not change while the program runs, and llama.cpp's thread may be busy the next time.
            self._repacked = (await current_machine()).repacked
        return await asyncio.to_thread(read_fit_model, path, adapter, self._repacked)

    async def room(self) -> Room:
        """What is free on this machine now. It is asked in llama.cpp's own thread, between two of its steps."""
        from workbench.engine.llama.plan import current_machine, room_on

        return room_on(await current_machine())

    async def inspect(self, path: Path) -> ModelReport:
        """Everything that the file says of itself.

        Raises:
            ModelFileError: It cannot be read, or is no model.
        """
        return await asyncio.to_thread(report, path)

    async def array(self, path: Path, key: str) -> Array:
        """An array of the metadata, with all of its elements.

        Raises:
            ModelFileError: It cannot be read, or is not there.
        """
        from workbench.gguf.files import read_array

        return await asyncio.to_thread(read_array, path, key)

    async def plan(
        self,
        source: Path,
        kinds: Sequence[QuantType],
        imatrix: Path | None,
        on_plan: Callable[[QuantizePlan], None],
        cancel: CancelToken,
    ) -> None:
        """Work out what quantizations would come to; nothing is written.

        Args:
            source: The file of the source, or the first of its parts.
            kinds: What would be made of it.
            imatrix: An importance matrix.
            on_plan: Told each as it comes, in the event loop.
            cancel: Stops it.

        Raises:
            WorkbenchError: The source cannot be read or the importance matrix does not belong to it; CancelledError
                when `cancel` was set.
        """
        from workbench.engine.llama.quantize.quantizer import plan_quantizations

        await plan_quantizations(source, kinds, imatrix, cancel, on_plan)

    async def quantize(self, job: QuantizeJob, on_progress: ProgressListener, cancel: CancelToken) -> QuantizeResult:
        """Make a quantization. When this ends in any other way than well, nothing is left of it on the disk.

        Args:
            job: What to make.
            on_progress: Told how far it has come, in the event loop.
            cancel: Stops it, within the time that it takes to end a process.

        Raises:
            WorkbenchError: It cannot be made; CancelledError when `cancel` was set.
        """
        from workbench.engine.llama.quantize.quantizer import quantize

        if self._is_made_for(job.target.parent):
            await asyncio.to_thread(_make_folder, job.target.parent)
        return await quantize(job, on_progress, cancel)

    def target(self, source: Path, model: str, kind: QuantType) -> Path:
        """Where a quantization is written if nobody says where.

        Args:
            source: The file of the source.
            model: The name of the model, for a source whose file name does not tell it.
            kind: What is made of it.
        """
        from workbench.gguf.quantization import target_folder
        from workbench.gguf.targets import target_name

        fallback = self.fallback or Path.cwd()
        return target_folder(source, self._quantize_folder, self._model_folders, fallback) / target_name(
            source.name, kind, model
        )

    async def target_problem(self, job: QuantizeJob) -> str:
        """Why nothing can be written to the target of `job`; empty where nothing is known against it."""
        if self._is_made_for(job.target.parent):
            return ""
        return await asyncio.to_thread(_target_problem, job)

    def _is_made_for(self, folder: Path) -> bool:
        """Whether `folder` is one for quantizations that is made when it is first needed."""
        return folder in (self._quantize_folder, self.fallback) and not folder.exists()

    async def free_bytes(self, folder: Path) -> int | None:
        """What is free on the disk of `folder`, be it there or still to be made; None where that cannot be told."""
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

    return ChatTemplate(template, tokenizer.text("bos"), tokenizer.text("eos")).render(SAMPLE)


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
