"""What the screen is handed by the command line, and what it asks for in terms of model files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    """Looks into model files."""

    async def fit_model(self, path: Path, adapter: Path | None = None) -> FitModel:
        """The model in `path`, to be asked what fits; with the LoRA in `adapter`, where there is one.

        Raises:
            ModelFileError: It cannot be read, is no model, or the adapter does not fit it.
        """

    async def room(self) -> Room:
        """What is free on this machine now."""

    async def inspect(self, path: Path) -> ModelReport:
        """Everything that the file says of itself.

        Raises:
            ModelFileError: It cannot be read, or is no model.
        """

    async def array(self, path: Path, key: str) -> Array:
        """An array of the metadata, with all of its elements.

        Raises:
            ModelFileError: It cannot be read, or is not there.
        """

    async def plan(
        self,
        source: Path,
        kinds: Sequence[QuantType],
        imatrix: Path | None,
        on_plan: Callable[[QuantizePlan], None],
        cancel: CancelToken,
    ) -> None:
        """Work out what quantizations of `source` would come to, and tell each as it comes, in the event loop.

        Raises:
            WorkbenchError: The source cannot be read or the importance matrix does not belong to it; CancelledError
                when `cancel` was set.
        """

    async def quantize(self, job: QuantizeJob, on_progress: ProgressListener, cancel: CancelToken) -> QuantizeResult:
        """Make a quantization. When this ends in any other way than well, nothing is left of it on the disk.

        Raises:
            WorkbenchError: It cannot be made; CancelledError when `cancel` was set.
        """

    def target(self, source: Path, model: str, kind: QuantType) -> Path:
        """Where a quantization of the file `source` of `model` is written if nobody says where."""

    async def target_problem(self, job: QuantizeJob) -> str:
        """Why nothing can be written to the target of `job`; empty where nothing is known against it."""

    async def free_bytes(self, folder: Path) -> int | None:
        """What is free on the disk of `folder`; None where that cannot be told."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that the screen is handed."""

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
    """The meters of the machine; the screen starts and stops them."""
    make_alarms: Callable[[], AlarmWatch]
    """Makes what tells of trouble in what the meters show."""
    find_devices: Callable[[], Sequence[ComputeDevice] | None]
    """Asks what llama.cpp computes on, which may take seconds; None where that cannot be told. For a thread."""
    logs: LogBook
    config: Config
    config_problems: Sequence[ConfigProblem]
    save_config: Callable[[Mapping[str, object]], None]
    """Write these top-level config keys, and leave the rest of the file as it is. Raises ConfigError."""
    theme_folders: Sequence[Path]
    """Folders with theme files; of two themes with one name the later folder's counts."""
    export_folder: Path
    """Where an export goes when no folder is named."""
    keep_copy: Callable[[str], Path]
    """Write a text that was copied to a file of its own in the export folder. Raises WorkbenchError. For a thread."""
    session_text: Callable[[Session, ExportFormat], str]
    """A session in one of the forms. Raises WorkbenchError where the form cannot hold one of its values."""
    no_model_hint: str = ""
    """How to get a model, for when none is named and none is at hand."""
    servers: Servers | None = None
    """The servers whose models are in the catalog; None where none can be asked."""
