"""What is known of a model: before it is opened, and once it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from workbench.core.events import Source
from workbench.core.parameters import LoadSettings
from workbench.core.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Place:
    """One of the places where a model lies."""

    source: str
    """As in `ModelEntry.source`."""
    path: str
    ref: str
    """The name by which it is opened from there."""
    name: str = ""
    """What it is called there, such as `llama3.2:3b` or `user/repo`; empty where only its file has a name."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be opened."""

    ref: str
    """What `EngineHost.open` takes."""
    name: str
    quant: str | None = None
    """The quantization by its label, such as `Q4_K_M`; None where it is not known."""
    path: str | None = None
    size_bytes: int | None = None
    parameters: int | None = None
    architecture: str | None = None
    bits_per_weight: float | None = None
    context_length: int | None = None
    """The longest context that the model was trained for, in tokens."""
    source: str = ""
    """Where it was found: a folder, `demo`, `recent`, the name of a store such as `ollama`, or that of a server."""
    problem: str = ""
    """Why it cannot be opened; empty where nothing is known against it."""
    tensor_quant: str | None = None
    """The tensor type that most weights have; it may differ from `quant`, which is only a label."""
    label_mismatch: str = ""
    """How the tensors contradict `quant`; empty where they do not."""
    group: str = ""
    """The same for all quantizations of one base model."""
    digest: str | None = None
    """SHA-256 of the file, where a store names it."""
    loaded: bool | None = None
    """Whether the server that has it holds it in memory; None for what no server has, or where it does not say."""
    places: tuple[Place, ...] = ()
    """Everywhere that this file lies; the first one is that of `path`. Empty for what has no file."""
    recipe: Recipe | None = None
    """What goes with the weights; None where no Modelfile describes the model."""

    @property
    def label(self) -> str:
        """Name and quantization, as shown wherever a model is named."""
        return f"{self.name} {self.quant}" if self.quant else self.name

    @property
    def adapter_path(self) -> Path | None:
        """The file of the LoRA that goes with the weights; None where none does."""
        return Path(self.recipe.adapter) if self.recipe is not None and self.recipe.adapter else None

    def is_same(self, other: ModelEntry) -> bool:
        """Whether `other`, which may have been found in another way, is the same model in the same file."""
        return self.ref == other.ref or (self.path is not None and self.path == other.path)


def variants_of(entry: ModelEntry, models: Iterable[ModelEntry]) -> list[ModelEntry]:
    """The quantizations of `entry`'s base model among `models`, itself included, the smallest file first."""
    found = [model for model in models if group_of(model) == group_of(entry)]
    return sorted(found, key=lambda model: (model.size_bytes or 0, model.ref))


def group_of(entry: ModelEntry) -> str:
    """The same for all quantizations of one base model."""
    return f"group {entry.group}" if entry.group else f"name {entry.name}"


@dataclass(frozen=True, slots=True)
class ScanProblem:
    """A place that could not be looked at."""

    path: Path | str
    """A folder, a file, or the address of a server."""
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, slots=True)
class LibraryView:
    """The models at hand, as far as a search has come."""

    models: tuple[ModelEntry, ...] = ()
    """In the order to show."""
    problems: tuple[ScanProblem, ...] = ()
    """What could not be looked at."""
    read: int = 0
    """Model files that are understood so far."""
    found: int = 0
    """Model files that were found so far."""
    complete: bool = False
    """Whether the search is over."""


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What a loaded model takes, in bytes, by llama.cpp's own account."""

    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    device: str = "CPU"
    """The device that holds most of it, as llama.cpp names it."""
    by_device: tuple[tuple[str, int], ...] = ()
    """What each device holds, by llama.cpp's name of it; `CPU` is the memory of the host. Empty where nobody said."""

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes

    @property
    def on_gpus(self) -> dict[str, int]:
        """What each device holds beside the memory of the host, by llama.cpp's name of it."""
        return {name: size for name, size in self.by_device if name != "CPU"}


def estimate_error(estimate: MemoryUse | None, taken: MemoryUse | None) -> float | None:
    """By what fraction an estimate was too high (positive) or too low; None where it or the truth is not known."""
    if estimate is None or taken is None or not taken.total_bytes:
        return None
    return estimate.total_bytes / taken.total_bytes - 1


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """An open model."""

    model: ModelEntry
    settings: LoadSettings
    """The settings in force: what was left to be chosen (0, -1) is filled in."""
    backend: str
    """What computes: `CPU`, `CUDA0`, …"""
    load_ms: float
    memory: MemoryUse | None = None
    estimate: MemoryUse | None = None
    """What it was expected to take, before it was loaded."""
    layers: int | None = None
    gpu_layers: int | None = None
    vocabulary: str = ""
    """The same for models whose tokens mean the same; empty where that is not known."""
    has_template: bool = True
    """Whether the model brings a chat template of its own."""
    warnings: tuple[str, ...] = ()
    """What the user ought to know: a context longer than trained for, a template that does not compile, …"""
    measured_by: Source = "engine"
    """Who stamps the events of its answers."""


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """What became of one load: what was expected, what it took, and how fast it was."""

    path: str
    """The file of the model."""
    settings: LoadSettings
    """The settings that were in force, with nothing left to be chosen."""
    backend: str
    memory: MemoryUse
    estimate: MemoryUse | None
    at: float
    """When it was loaded, in seconds since 1970."""
    decode_tps: float | None = None
    """The speed of its last answer, in tokens per second; None before the first."""

    @property
    def error(self) -> float | None:
        """As `estimate_error` has it."""
        return estimate_error(self.estimate, self.memory)


Naming = Literal["ollama", "hf"]
"""Whose name a model goes by: that of Ollama's own store, or that of Hugging Face, which Ollama takes as `hf.co/…`."""


class Catalog(Protocol):
    """The models that can be opened."""

    async def models(self) -> Sequence[ModelEntry]:
        """Every model: the demo model first, then recently opened ones, then all others by name."""

    def watch(self, *, again: bool = False) -> AsyncGenerator[LibraryView, None]:
        """Views of the models: at once the known ones, then more as a search finds them; the last view is complete.

        Args:
            again: Whether to search even where the last search is still current.
        """

    async def name_elsewhere(self, path: str, naming: Naming) -> str:
        """The name of the model file `path` in another program, for a Modelfile.

        Raises:
            UnknownModelError: The file has no known name there.
        """

    async def find_recipe(self, ref: str) -> Recipe | None:
        """The recipe of the model that `ref` stands for; None where no Modelfile describes it.

        Raises:
            WorkbenchError: The Modelfile cannot be read, or is not valid.
        """


class LoadBook(Protocol):
    """Remembers what loads came to."""

    async def remember(self, record: LoadRecord) -> None:
        """Keep `record` in the place of an earlier one of the same file and settings. A full disk is no error."""

    async def recall(self, path: str) -> Sequence[LoadRecord]:
        """What is known of the file `path`, newest first."""
