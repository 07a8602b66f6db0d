"""What is known of a model: before it is opened, and once it is."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.core.parameters import LoadSettings


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be opened."""

    ref: str
    """What `EngineHost.open` takes."""
    name: str
    quant: str | None = None
    """The quantization, such as `Q4_K_M`; None where it is not known."""
    path: str | None = None
    size_bytes: int | None = None
    parameters: int | None = None
    architecture: str | None = None
    bits_per_weight: float | None = None
    context_length: int | None = None
    """The longest context that the model was trained for, in tokens."""
    source: str = ""
    """Where it was found: a folder, `demo`, or the name of a server."""
    problem: str = ""
    """Why it cannot be opened; empty where nothing is known against it."""

    @property
    def label(self) -> str:
        """Name and quantization, as shown wherever a model is named."""
        return f"{self.name} {self.quant}" if self.quant else self.name


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What a loaded model takes, in bytes, by llama.cpp's own account."""

    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    device: str = "CPU"
    """The device that holds most of it, as llama.cpp names it."""

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes


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
    has_template: bool = True
    """Whether the model brings a chat template of its own."""
    warnings: tuple[str, ...] = ()
    """What the user ought to know: a context longer than trained for, a template that does not compile, …"""
