"""Models: what is known before they are opened, and while they are open."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from workbench.core.engine_hosts import PROCESS
from workbench.core.events import Source
from workbench.core.memory import BufferComparison, Correction, MemoryBuffer, compare_buffers
from workbench.core.parameters import LoadSettings, Value
from workbench.core.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Place:
    """One of the locations of a model file."""

    source: str
    """As in `ModelEntry.source`."""
    path: str
    ref: str
    """The reference by which it is opened from there."""
    name: str = ""
    """Its name there, such as `llama3.2:3b` or `user/repo`; empty where only the file has a name."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be opened."""

    ref: str
    """The reference for `EngineHost.open`."""
    name: str
    quant: str | None = None
    """The label of the quantization, such as `Q4_K_M`; None where it is unknown."""
    path: str | None = None
    size_bytes: int | None = None
    parameters: int | None = None
    architecture: str | None = None
    bits_per_weight: float | None = None
    context_length: int | None = None
    """The context length that the model was trained with, in tokens."""
    source: str = ""
    """Where it was found: a folder, `demo`, `recent`, a store such as `ollama`, or a server."""
    problem: str = ""
    """Why it cannot be opened; empty for no known reason."""
    tensor_quant: str | None = None
    """The tensor type of most weights; it may differ from `quant`, which is only a label."""
    label_mismatch: str = ""
    """How the tensors contradict `quant`; empty if they do not."""
    group: str = ""
    """The same for all quantizations of one base model."""
    digest: str | None = None
    """The SHA-256 of the file, where a store records it."""
    loaded: bool | None = None
    """Whether its server has it in memory; None without a server, or where the server does not report it."""
    places: tuple[Place, ...] = ()
    """All locations of this file; the first is that of `path`. Empty without a file."""
    recipe: Recipe | None = None
    """What accompanies the weights; None where no Modelfile describes the model."""

    @property
    def label(self) -> str:
        """Name and quantization, the form in which models are shown."""
        return f"{self.name} {self.quant}" if self.quant else self.name

    @property
    def adapter_path(self) -> Path | None:
        """The file of the LoRA adapter; None for none."""
        return Path(self.recipe.adapter) if self.recipe is not None and self.recipe.adapter else None

    def is_same(self, other: ModelEntry) -> bool:
        """Whether `other` is the same model in the same file with the same adapter, however it was found."""
        files = self.path, self.adapter_path
        return self.ref == other.ref or (self.path is not None and files == (other.path, other.adapter_path))


def variants_of(entry: ModelEntry, models: Iterable[ModelEntry]) -> list[ModelEntry]:
    """The quantizations of `entry`'s base model among `models`, itself included, the smallest file first."""
    found = [model for model in models if group_of(model) == group_of(entry)]
    return sorted(found, key=lambda model: (model.size_bytes or 0, model.ref))


def group_of(entry: ModelEntry) -> str:
    """The same for all quantizations of one base model."""
    return f"group {entry.group}" if entry.group else f"name {entry.name}"


@dataclass(frozen=True, slots=True)
class ScanProblem:
    """A place that could not be searched."""

    path: Path | str
    """A folder, a file, or the address of a server."""
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, slots=True)
class LibraryView:
    """The models found by a search so far."""

    models: tuple[ModelEntry, ...] = ()
    """In display order."""
    problems: tuple[ScanProblem, ...] = ()
    read: int = 0
    """Model files whose header was read so far."""
    found: int = 0
    """Model files found so far."""
    complete: bool = False


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """The memory of a loaded model in bytes, as llama.cpp reports it."""

    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    device: str = "CPU"
    """The device that holds most of it, by llama.cpp's name."""
    by_device: tuple[tuple[str, int], ...] = ()
    """Bytes by device, under llama.cpp's names; `CPU` is host memory. Empty where it is unknown."""
    buffers: tuple[MemoryBuffer, ...] = ()
    """The same by device and purpose. Empty where it is unknown."""

    @staticmethod
    def of(buffers: Sequence[MemoryBuffer]) -> MemoryUse:
        """The memory that these buffers take, of which there is at least one."""
        purposes, devices = Counter[str](), Counter[str]()
        for each in buffers:
            purposes[each.purpose] += each.size_bytes
            devices[each.device] += each.size_bytes
        return MemoryUse(
            purposes["weights"],
            purposes["KV"] + purposes["states"],
            purposes["compute"],
            max(devices, key=devices.__getitem__),
            tuple(devices.items()),
            tuple(buffers),
        )

    @property
    def total_bytes(self) -> int:
        """The sum."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes

    @property
    def on_gpus(self) -> dict[str, int]:
        """Bytes by device without host memory, under llama.cpp's names."""
        return {name: size for name, size in self.by_device if name != "CPU"}


def estimate_error(estimate: MemoryUse | None, taken: MemoryUse | None) -> float | None:
    """The relative error of an estimate, positive where it was too high; None where either figure is unknown."""
    if estimate is None or taken is None or not taken.total_bytes:
        return None
    return estimate.total_bytes / taken.total_bytes - 1


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """An open model."""

    model: ModelEntry
    settings: LoadSettings
    """The settings in force, with automatic values (0, -1) resolved."""
    backend: str
    """The device that computes: `CPU`, `CUDA0`, …"""
    load_ms: float
    memory: MemoryUse | None = None
    estimate: MemoryUse | None = None
    layers: int | None = None
    gpu_layers: int | None = None
    vocabulary: str = ""
    """An id shared by models with the same tokens; empty where it is unknown."""
    has_template: bool = True
    warnings: tuple[str, ...] = ()
    """Notes to the user: a context longer than trained, a template that does not compile, …"""
    recommended: tuple[tuple[str, Value], ...] = ()
    """The sampling parameters that the author recommends in the model's file, by name."""
    measured_by: Source = "engine"
    """Who timestamps the events of its answers."""

    @property
    def where(self) -> str:
        """The device, and the process where it is another one: `CPU`, `CPU in child`, `Vulkan0 in vulkan`."""
        host = self.settings.engine_host
        return self.backend if host == PROCESS or self.model.path is None else f"{self.backend} in {host}"


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """One load: the estimate, the memory in use, and the speed."""

    path: str
    settings: LoadSettings
    """The settings in force, with automatic values resolved."""
    backend: str
    memory: MemoryUse
    estimate: MemoryUse | None
    at: float
    """When it was loaded, in seconds since 1970."""
    decode_tps: float | None = None
    """The decode speed of its last answer, in tokens/s; None before the first."""
    architecture: str = ""

    @property
    def compared(self) -> tuple[BufferComparison, ...]:
        """Each buffer beside its estimate; none where either is unknown."""
        return compare_buffers(self.estimate.buffers if self.estimate else (), self.memory.buffers)

    @property
    def error(self) -> float | None:
        """See `estimate_error`."""
        return estimate_error(self.estimate, self.memory)


DEMO = "demo"
"""The name of the demo model."""
SCRIPTED = "scripted"
"""The reference of the scripted engine."""
Naming = Literal["ollama", "hf"]
"""Whose name for a model: that of Ollama's store, or that of Hugging Face, which Ollama accepts as `hf.co/…`."""


class Catalog(Protocol):
    """The models that can be opened."""

    async def models(self) -> Sequence[ModelEntry]:
        """Every model: the demo model first, then recently opened ones, then all others by name."""

    def watch(self, *, again: bool = False) -> AsyncGenerator[LibraryView, None]:
        """Views of the models: at once the known ones, then more as a search finds them; the last view is complete.

        With `again` it searches even where the last search is still current.
        """

    async def name_elsewhere(self, path: str, naming: Naming) -> str:
        """The name of the model file `path` in another program, for a Modelfile.

        Raises:
            UnknownModelError: The file has no known name there.
        """

    async def find_recipe(self, ref: str) -> Recipe | None:
        """The recipe of the model that `ref` stands for, with what the user keeps for it; None where there is nothing.

        Raises:
            WorkbenchError: The Modelfile cannot be read, or is not valid.
        """


class LoadBook(Protocol):
    """Records the memory and the speed of loads."""

    async def remember(self, record: LoadRecord) -> None:
        """Store `record`, replacing one of the same file and settings. A full disk is not an error."""

    async def recall(self, path: str) -> Sequence[LoadRecord]:
        """The records of the file `path`, newest first."""

    async def correction(self, architecture: str) -> Correction:
        """What the last load of a model of an architecture took, in parts of its estimate."""
