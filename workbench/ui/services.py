"""What the screen is handed by the command line, and what it asks for in terms of model files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from workbench.core.config import Config, ConfigProblem
from workbench.core.ports import Catalog, EngineHost, HostMonitor, LoadBook, LogBook, SessionStore
from workbench.gguf.fit import FitModel, Room


class ModelFiles(Protocol):
    """Looks into model files."""

    async def fit_model(self, path: Path) -> FitModel:
        """The model in `path`, to be asked what fits.

        Raises:
            ModelFileError: It cannot be read, or is no model.
        """

    async def room(self) -> Room:
        """What is free on this machine now."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that the screen is handed."""

    engines: EngineHost
    catalog: Catalog
    files: ModelFiles
    loads: LoadBook
    sessions: SessionStore
    monitor: HostMonitor
    logs: LogBook
    config: Config
    config_problems: Sequence[ConfigProblem]
    save_config: Callable[[Mapping[str, object]], None]
    """Write these top-level config keys, and leave the rest of the file as it is. Raises ConfigError."""
    theme_folders: Sequence[Path]
    """Folders with theme files; of two themes with one name the later folder's counts."""
    export_folder: Path
    """Where an export goes when no folder is named."""
    no_model_hint: str = ""
    """How to get a model, for when none is named and none is at hand."""
