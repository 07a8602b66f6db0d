"""Puts the workers together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.core.bench import Bencher, ConditionWatch
from workbench.core.config import Config, ConfigProblem, ServerSetting
from workbench.core.sweep import LoadClients
from workbench.engine.advice import LocalAdviser
from workbench.engine.files import LocalFiles
from workbench.engine.open import AnyHost
from workbench.library.catalog import LibraryCatalog
from workbench.store.config.read import load_config
from workbench.store.config.write import save_config
from workbench.store.loads import FileLoadBook
from workbench.store.paths import Paths, expanded, find_paths
from workbench.store.races import RaceFolder
from workbench.store.sessions.store import DatabaseSessionStore

if TYPE_CHECKING:
    from workbench.core.bench import BenchMachine, MemorySpeed
    from workbench.engine.remote.addresses import AddressBook
    from workbench.engine.remote.catalog import ServedCatalog
    from workbench.engine.remote.session_sender import SessionSender
    from workbench.store.bench_runs import BenchRunFolder

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
        made = [folder for folder in (self._quantize_folder,) if folder is not None]
        own = [folder for folder in (self.paths.models_dir,) if folder.is_dir()]
        return LibraryCatalog(
            [*self._model_folders, *made, *own],
            self._recent_models,
            stores=self.config.model_stores,
            cache=self.paths.library_cache,
        )

    @cached_property
    def sessions(self) -> DatabaseSessionStore:
        """The stored sessions."""
        return DatabaseSessionStore(self.paths.sessions_file)

    @cached_property
    def loads(self) -> FileLoadBook:
        """What loads came to."""
        return FileLoadBook(self.paths.loads_file)

    @cached_property
    def races(self) -> RaceFolder:
        """The kept races."""
        return RaceFolder(self.paths.races_dir)

    @cached_property
    def engines(self) -> AnyHost:
        """Opens models."""
        return AnyHost(
            self.catalog.resolve,
            state_budget_bytes=self.config.state_cache_mb * 2**20,
            memory_guard=self.config.memory_guard,
            address_of=self.addresses.address,
        )

    @cached_property
    def served(self) -> ServedCatalog:
        """The models at hand, with those of servers."""
        from workbench.engine.remote.catalog import ServedCatalog

        def keep(servers: Sequence[ServerSetting]) -> None:
            save_config(self.paths.config_file, {"servers": tuple(servers)})

        return ServedCatalog(self.catalog, self.addresses, lambda: self.engines.remote, keep)

    @cached_property
    def addresses(self) -> AddressBook:
        """The servers that are known, and which key is for whom."""
        from workbench.engine.remote.addresses import AddressBook

        return AddressBook(self.config.servers, os.environ, find=self.config.find_servers)

    @cached_property
    def sender(self) -> SessionSender:
        """Sends conversations to Ollama."""
        from workbench.engine.remote.session_sender import SessionSender
        from workbench.store.export.session import session_text

        return SessionSender(lambda session, base: session_text(session, "modelfile", base), self.addresses)

    @cached_property
    def files(self) -> LocalFiles:
        """Looks into model files, and makes quantizations of them."""
        return LocalFiles(self._quantize_folder, self._model_folders)

    @property
    def _model_folders(self) -> list[Path]:
        return [expanded(Path(folder)) for folder in self.config.model_folders]

    @property
    def _quantize_folder(self) -> Path | None:
        chosen = self.config.quantize_folder
        return expanded(Path(chosen)).absolute() if chosen else None

    @cached_property
    def adviser(self) -> LocalAdviser:
        """Tells what fits in memory together."""
        return LocalAdviser(self.catalog.resolve, self.files)

    @cached_property
    def bencher(self) -> Bencher:
        """Opens models for timing."""
        from workbench.engine.llama.bench import LlamaBencher

        return LlamaBencher(self.catalog.resolve, memory_guard=self.config.memory_guard)

    @cached_property
    def load_clients(self) -> LoadClients:
        """Makes clients that stand for many users of a server."""
        from workbench.engine.remote.load import ChildLoadClients

        return ChildLoadClients(self.addresses.address)

    @cached_property
    def bench_runs(self) -> BenchRunFolder:
        """The kept benchmark runs."""
        from workbench.store.bench_runs import BenchRunFolder

        return BenchRunFolder(self.paths.bench_dir)

    @contextmanager
    def watching(self, machine: BenchMachine) -> Iterator[ConditionWatch]:
        """Sees what goes on beside a measurement, inside the `with` block."""
        from workbench.telemetry.conditions import SystemConditionWatch
        from workbench.telemetry.sampler import system_sampler

        if not machine.gpu_info:
            yield SystemConditionWatch()
            return
        sampler = system_sampler()
        sampler.start()
        try:
            yield SystemConditionWatch(sampler)
        finally:
            sampler.stop()

    def measure_memory(self, machine: BenchMachine) -> MemorySpeed | None:
        """The memory bandwidth of the processors: the best that was ever measured here; None where it cannot be."""
        import psutil

        from workbench.core.bench import MemorySpeed
        from workbench.lab.bench.memory_speed import measure_bandwidth
        from workbench.store.memory_speed import best_memory_speed

        found = measure_bandwidth(machine.cores, psutil.virtual_memory().available)
        measured = None if found is None else MemorySpeed(found.bytes_per_second, found.method)
        return best_memory_speed(self.paths.memory_speed_file, f"{machine.cpu_info}, {machine.cores} cores", measured)

    def _recent_models(self) -> list[str]:
        return self.sessions.recent_model_paths(RECENT_SESSIONS)


def compose() -> Workers:
    """The workers, for this user and environment."""
    paths = find_paths()
    config, problems = load_config(paths.config_file)
    return Workers(paths, config, problems)


def describe_problem(problem: ConfigProblem, path: Path) -> str:
    """A problem of the config file, as one line."""
    place = f"{path}, line {problem.line}" if problem.line else str(path)
    return f"{place}: {problem.message}"
