"""The composition root: makes the workers of all rooms and gives them to each other."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import __version__
from workbench.core.config import Config, ConfigProblem
from workbench.core.errors import ModelFileError
from workbench.core.models import ModelEntry
from workbench.core.user_path import expanded
from workbench.engine.advice import LocalAdviser, draft_candidates
from workbench.engine.files import LocalFiles
from workbench.engine.llama.checkpoints import CheckpointLimits
from workbench.engine.open import AnyHost
from workbench.library.catalog import LibraryCatalog
from workbench.library.places import find_places
from workbench.store.config.models import ModelSettingsFile
from workbench.store.config.read import load_config
from workbench.store.config.write import add_server
from workbench.store.files import make_private, remove_abandoned
from workbench.store.loads import FileLoadBook
from workbench.store.paths import Paths, find_paths
from workbench.store.races import RaceFolder
from workbench.store.sessions.store import DatabaseSessionStore

if TYPE_CHECKING:
    from workbench.core.bench import Bencher, BenchMachine, ConditionWatch, MemorySpeed
    from workbench.core.sweep import LoadClients
    from workbench.engine.llama.plan import Machine
    from workbench.engine.remote.addresses import AddressBook
    from workbench.engine.remote.catalog import ServedCatalog
    from workbench.engine.remote.session_sender import SessionSender
    from workbench.lab.bench.record import BenchRecord
    from workbench.lab.decision.record import DecisionRecord
    from workbench.lab.evals.blind_record import BlindRecord
    from workbench.lab.evals.record import EvalRecord
    from workbench.lab.quality.logits import LogitHost
    from workbench.lab.quality.record import QualityRecord
    from workbench.library.pull.memory import MemoryNow
    from workbench.library.pull.service import PullService
    from workbench.library.sharing import LibrarySharing
    from workbench.store.kept_runs import RunFolder
    from workbench.store.pulled import PulledFiles

RECENT_SESSIONS = 20
"""How many of the last sessions name the recent models."""


def _decision_runs(workers: Workers) -> RunFolder[DecisionRecord]:
    from workbench.core.errors import DecisionError
    from workbench.lab.decision.record import DecisionRecord
    from workbench.store.kept_runs import RunFolder

    return RunFolder(workers.paths.decisions_dir, DecisionRecord, DecisionError, "decision", "workbench decide")


def _logits(workers: Workers) -> LogitHost:
    return workers.engines.logit_host()


def _tune_bencher(workers: Workers) -> Bencher:
    from workbench.engine.child.bench import AnyBencher

    return AnyBencher(workers.bencher, workers.catalog.resolve, workers.engines.more_seats())


@dataclass
class Workers:
    """Everything that commands work with; each is made, and its modules imported, on first use."""

    paths: Paths
    config: Config
    problems: tuple[ConfigProblem, ...]

    @cached_property
    def catalog(self) -> LibraryCatalog:
        """The models of this machine."""
        return LibraryCatalog(
            [*self._model_folders, *filter(None, [self._quantize_folder])],
            lambda: self.sessions.recent_model_paths(RECENT_SESSIONS),
            own=self.paths.models_dir,
            stores=self.config.model_stores,
            cache=self.paths.library_cache,
            kept=self.kept.of,
        )

    @cached_property
    def kept(self) -> ModelSettingsFile:
        """The settings that are kept for models."""
        return ModelSettingsFile(self.paths.models_file)

    @cached_property
    def sessions(self) -> DatabaseSessionStore:
        """The stored sessions."""
        return DatabaseSessionStore(self.paths.sessions_file)

    @cached_property
    def loads(self) -> FileLoadBook:
        """The outcomes of earlier loads."""
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
            checkpoints=CheckpointLimits(self.config.checkpoints, self.config.checkpoint_mb * 2**20),
            memory_guard=self.config.memory_guard,
            typed_control_tokens=self.config.typed_control_tokens,
            address_of=self.addresses.address,
            correction=self.loads.correction,
            builds=self.config.builds,
        )

    @cached_property
    def served(self) -> ServedCatalog:
        """The models of this machine and of servers."""
        from workbench.engine.remote.catalog import ServedCatalog

        keep = partial(add_server, self.paths.config_file)
        return ServedCatalog(self.catalog, self.addresses, lambda: self.engines.remote, keep)

    @cached_property
    def addresses(self) -> AddressBook:
        """The known servers and their keys."""
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
        """Inspects model files, and makes quantizations of them."""
        return LocalFiles(self._quantize_folder, self._model_folders, self._machine)

    async def _machine(self) -> Machine:
        """The hardware, as the configured engine sees it."""
        return await self.engines.machine(self.config.load.engine_host)

    @property
    def _model_folders(self) -> list[Path]:
        return [expanded(folder) for folder in self.config.model_folders]

    @property
    def _quantize_folder(self) -> Path | None:
        chosen = self.config.quantize_folder
        return expanded(chosen).absolute() if chosen else None

    @cached_property
    def adviser(self) -> LocalAdviser:
        """Estimates which models fit in memory together."""
        return LocalAdviser(self.catalog.resolve, self.files)

    @cached_property
    def bencher(self) -> Bencher:
        """Opens models for timing."""
        return self.engines.bencher()

    @cached_property
    def load_clients(self) -> LoadClients:
        """Makes clients that simulate many users of a server."""
        from workbench.engine.remote.load import ChildLoadClients

        return ChildLoadClients(self.addresses.address)

    @cached_property
    def bench_runs(self) -> RunFolder[BenchRecord]:
        """The kept benchmark runs."""
        from workbench.store.kept_runs import bench_runs

        return bench_runs(self.paths.bench_dir)

    @cached_property
    def eval_runs(self) -> RunFolder[EvalRecord]:
        """The kept evaluations."""
        from workbench.store.kept_runs import eval_runs

        return eval_runs(self.paths.evals_dir)

    @cached_property
    def blind_runs(self) -> RunFolder[BlindRecord]:
        """The kept blind tests."""
        from workbench.store.kept_runs import blind_runs

        return blind_runs(self.paths.blind_dir)

    async def digest(self, model: ModelEntry) -> str:
        """The digest of a model's file; empty where it has none."""
        return await self.sessions.digest(model)

    def build_text(self, *, local: bool) -> str:
        """The versions of the program, and with `local` of llama.cpp."""
        parts = [f"workbench {__version__}"]
        if local:
            from workbench.engine.llama.devices import library_version

            parts.append(f"llama.cpp {' '.join(filter(None, library_version()))}")
        return ", ".join(parts)

    @cached_property
    def pulled(self) -> PulledFiles:
        """What is known about fetched files."""
        from workbench.store.pulled import PulledFiles

        return PulledFiles(self.paths.pulled_file, self.paths.pieces_dir)

    @cached_property
    def pulls(self) -> PullService:
        """Pulls models."""
        from workbench.engine.remote.registries import RegistryTransport
        from workbench.library.pull.service import PullService
        from workbench.store.locks import try_lock

        return PullService(
            places=find_places(),
            models_dir=self.paths.models_dir,
            try_lock=try_lock,
            open_transport=RegistryTransport,
            memory=self._memory_now,
            book=self.pulled,
            token=self.config.huggingface_token,
        )

    @cached_property
    def sharing(self) -> LibrarySharing:
        """Shares, joins and deletes model files."""
        from workbench.library.sharing import LibrarySharing

        return LibrarySharing(
            find_places(),
            self.paths.models_dir,
            self._create_in_ollama,
            lambda path, sha256, repository: asyncio.run(self.pulls.adopt(path, sha256, repository)),
        )

    def _create_in_ollama(self, blob: Path, name: str) -> str:
        from workbench.core.cancel import CancelToken
        from workbench.engine.remote.http import ServerClient, Timeouts
        from workbench.engine.remote.ollama_create import create_model
        from workbench.modelfile.meaning import Modelfile

        client = ServerClient(self.addresses.address(self.addresses.ollama), Timeouts())
        work = create_model(client, Modelfile(bases=(str(blob),)), name, lambda _: None, CancelToken())
        return asyncio.run(work).model

    async def _memory_now(self) -> MemoryNow:
        from workbench.engine.llama.plan import room_on
        from workbench.library.pull.memory import MemoryNow

        machine = await self._machine()
        return MemoryNow(room_on(machine), machine.repacked, self.config.load)

    logits = cached_property(_logits)
    """Opens models for their logits."""

    @cached_property
    def quality_runs(self) -> RunFolder[QualityRecord]:
        """The kept measurements of quality."""
        from workbench.core.errors import QualityError
        from workbench.lab.quality.record import QualityRecord
        from workbench.store.kept_runs import RunFolder

        name, command = "measurement of quality", "workbench quality"
        return RunFolder(self.paths.quality_dir, QualityRecord, QualityError, name, command)

    tune_bencher = cached_property(_tune_bencher)
    """Opens models for timing, in a process whose end ends no open model."""

    async def draft_candidates(self, model: ModelEntry) -> Sequence[ModelEntry]:
        """The models of the library that can draft for `model`, the smallest first."""
        return await asyncio.to_thread(draft_candidates, await self.catalog.models(), model)

    decision_runs = cached_property(_decision_runs)
    """The kept decisions."""

    def watching(self, machine: BenchMachine) -> AbstractContextManager[ConditionWatch]:
        """Records disturbances of measurements inside the `with` block."""
        from workbench.telemetry.conditions import system_conditions

        return system_conditions(gpus=bool(machine.gpu_info))

    def measure_memory(self, machine: BenchMachine) -> MemorySpeed | None:
        """The best memory bandwidth ever measured on this machine; None where it cannot be measured."""
        import psutil

        from workbench.core.bench import MemorySpeed
        from workbench.lab.bench.memory_speed import measure_bandwidth
        from workbench.store.memory_speed import best_memory_speed

        found = measure_bandwidth(machine.cores, psutil.virtual_memory().available)
        measured = None if found is None else MemorySpeed(found.bytes_per_second, found.method)
        return best_memory_speed(self.paths.memory_speed_file, f"{machine.cpu_info}, {machine.cores} cores", measured)


def compose() -> Workers:
    """The workers for this user and environment."""
    paths = find_paths()
    config, problems = load_config(paths.config_file)
    make_private(paths.private_folders)
    remove_abandoned((paths.config_dir, paths.cache_dir, *paths.private_folders))
    workers = Workers(paths, config, problems)
    workers.problems += workers.kept.problems()
    return workers


def find_file(workers: Workers, ref: str) -> tuple[ModelEntry, Path]:
    """The model that `ref` names, and its file.

    Raises:
        WorkbenchError: `ref` names no model, or one that has no file.
    """
    entry = workers.catalog.resolve(ref)
    if entry.path is None:
        raise ModelFileError(f"{entry.name} has no file to read.", "Name a .gguf file, or `demo`.")
    return entry, Path(entry.path)
