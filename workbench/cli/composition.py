"""Puts the workers together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from workbench.core.config import Config, ConfigProblem
from workbench.core.ports import EngineHost
from workbench.engine.files import LocalFiles
from workbench.library.catalog import LibraryCatalog
from workbench.store.config import load_config
from workbench.store.loads import FileLoadBook
from workbench.store.paths import Paths, expanded, find_paths
from workbench.store.sessions import FileSessionStore, SessionFolder

RECENT_SESSIONS = 20
"""So many of the last sessions are looked at for the models that were opened lately."""


@dataclass
class Workers:
    """Everything that commands work with, made when it is first asked for."""

    paths: Paths
    config: Config
    problems: tuple[ConfigProblem, ...]

    @cached_property
    def catalog(self) -> LibraryCatalog:
        """The models at hand."""
        folders = [expanded(Path(folder)) for folder in self.config.model_folders]
        return LibraryCatalog(folders, self._recent_models)

    @cached_property
    def sessions(self) -> FileSessionStore:
        """The stored sessions."""
        return FileSessionStore(self.paths.sessions_dir)

    @cached_property
    def loads(self) -> FileLoadBook:
        """What loads came to."""
        return FileLoadBook(self.paths.loads_file)

    @cached_property
    def engines(self) -> EngineHost:
        """Opens models."""
        from workbench.engine.open import LocalHost

        return LocalHost(
            self.catalog.resolve,
            state_budget_bytes=self.config.state_cache_mb * 2**20,
            memory_guard=self.config.memory_guard,
        )

    @cached_property
    def files(self) -> LocalFiles:
        """Looks into model files, and makes quantizations of them."""
        chosen = self.config.quantize_folder
        folders = [expanded(Path(folder)) for folder in self.config.model_folders]
        return LocalFiles(expanded(Path(chosen)).absolute() if chosen else None, folders)

    def _recent_models(self) -> list[str]:
        folder = SessionFolder(self.paths.sessions_dir)
        newest = sorted(folder.ids(), reverse=True)[:RECENT_SESSIONS]
        paths = (folder.story(session_id).session().model_path for session_id in newest)
        return list(dict.fromkeys(path for path in paths if path))


def compose() -> Workers:
    """The workers, for this user and environment."""
    paths = find_paths()
    config, problems = load_config(paths.config_file)
    return Workers(paths, config, problems)


def describe_problem(problem: ConfigProblem, path: Path) -> str:
    """A problem of the config file, as one line."""
    place = f"{path}, line {problem.line}" if problem.line else str(path)
    return f"{place}: {problem.message}"
