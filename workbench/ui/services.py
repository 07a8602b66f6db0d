"""The services that the command line hands to the screens, and the port of the model files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from workbench.core.cancel import CancelToken
from workbench.core.config import Config, ConfigProblem
from workbench.core.engine import EngineHost, MemoryAdviser
from workbench.core.logbook import LogBook
from workbench.core.models import Catalog, LoadBook
from workbench.core.prompt_text import PromptBook
from workbench.core.sending import ModelSender
from workbench.core.servers import Servers
from workbench.core.session import ExportFormat, Session, SessionStore
from workbench.core.telemetry import AlarmWatch, Telemetry
from workbench.lab.bench.job import BenchTools
from workbench.lab.race.report import RaceBook

if TYPE_CHECKING:
    from workbench.core.telemetry import ComputeDevice
    from workbench.gguf.fit import FitModel, Room
    from workbench.gguf.header import Array
    from workbench.gguf.inspect import ModelReport
    from workbench.gguf.quantization import ProgressListener, QuantizeJob, QuantizePlan, QuantizeResult
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
        self,
        source: Path,
        kinds: Sequence[QuantType],
        imatrix: Path | None,
        on_plan: Callable[[QuantizePlan], None],
        cancel: CancelToken,
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


@dataclass(frozen=True, slots=True)
class Services:
    """All services of the program."""

    engines: EngineHost
    catalog: Catalog
    files: ModelFiles
    loads: LoadBook
    adviser: MemoryAdviser
    prompts: PromptBook
    races: RaceBook
    bench: BenchTools
    sessions: SessionStore
    sender: ModelSender
    telemetry: Telemetry
    """The meters of the machine; the program starts and stops them."""
    make_alarms: Callable[[], AlarmWatch]
    """Makes the alarm rules."""
    find_devices: Callable[[], Sequence[ComputeDevice] | None]
    """Lists the devices that llama.cpp computes on; None where they are unknown. Takes seconds: for a thread."""
    logs: LogBook
    config: Config
    config_problems: Sequence[ConfigProblem]
    save_config: Callable[[Mapping[str, object]], None]
    """Writes these top-level config keys, and leaves the rest of the file unchanged. Raises ConfigError."""
    theme_folders: Sequence[Path]
    """Folders with theme files; of two themes with one name, the one in the later folder counts."""
    export_folder: Path
    """The default folder of exports."""
    write_document: Callable[[Path, str], Awaitable[Path]]
    """Writes a text to a path, or to a numbered name beside it where that is taken; returns the path written.

    Raises WorkbenchError.
    """
    keep_copy: Callable[[str], Path]
    """Writes a copied text to a new file in the export folder. Raises WorkbenchError. For a thread."""
    session_text: Callable[[Session, ExportFormat], str]
    """Writes a session in a format. Raises WorkbenchError where the format cannot hold one of its values."""
    no_model_hint: str = ""
    """How to get a model, where none is named and none is found."""
    servers: Servers | None = None
    """The servers whose models are in the catalog; None where there are none."""
