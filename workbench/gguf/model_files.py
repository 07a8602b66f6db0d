"""The port of the model files: inspection, memory estimates and quantizations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from workbench.core.cancel import CancelToken

if TYPE_CHECKING:
    # Imported by the screen, whose first paint must not wait for the modules that read files.
    from workbench.gguf.fit import FitModel
    from workbench.gguf.header import Array
    from workbench.gguf.inspect import ModelReport
    from workbench.gguf.quantization import PlanListener, ProgressListener, QuantizeJob, QuantizeResult
    from workbench.gguf.shares import Room
    from workbench.gguf.targets import QuantType


class ModelFiles(Protocol):
    """Reads, estimates and quantizes model files."""

    async def fit_model(self, path: Path, adapter: Path | None = None) -> FitModel:
        """Read the model in `path`, and the LoRA in `adapter`, for memory estimates.

        Raises:
            ModelFileError: It cannot be read, is no model, or does not match the adapter.
        """

    async def room(self) -> Room:
        """The free memory of this machine."""

    async def inspect(self, path: Path) -> ModelReport:
        """Read the metadata, tensors and template of a file.

        Raises:
            ModelFileError: It cannot be read, or is no model.
        """

    async def array(self, path: Path, key: str) -> Array:
        """Read an array of the metadata, with all of its elements.

        Raises:
            ModelFileError: It cannot be read, or does not exist.
        """

    async def plan(
        self, source: Path, kinds: Sequence[QuantType], imatrix: Path | None, on_plan: PlanListener, cancel: CancelToken
    ) -> None:
        """Estimate quantizations of `source`, and call `on_plan` with each of them, in the event loop.

        Raises:
            WorkbenchError: The source cannot be read, or the importance matrix does not match it; CancelledError when
                `cancel` was set.
        """

    async def quantize(self, job: QuantizeJob, on_progress: ProgressListener, cancel: CancelToken) -> QuantizeResult:
        """Make a quantization. If it fails or is stopped, the partial file is deleted.

        Raises:
            WorkbenchError: It cannot be made; CancelledError when `cancel` was set.
        """

    def target(self, source: Path, model: str, kind: QuantType) -> Path:
        """The default path of a quantization of the file `source` of `model`."""

    async def target_problem(self, job: QuantizeJob) -> str:
        """Why the target of `job` cannot be written; empty where no problem is known."""

    async def free_bytes(self, folder: Path) -> int | None:
        """The free space on the disk of `folder`; None where it is unknown."""
