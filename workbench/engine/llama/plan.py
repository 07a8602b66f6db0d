"""Choosing what a user left open, and seeing what cannot work, before llama.cpp is asked to load anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from workbench.core.errors import MemoryShortError
from workbench.core.parameters import LoadSettings
from workbench.gguf.header import Header
from workbench.gguf.memory import (
    CacheSettings,
    MemoryEstimate,
    cache_bytes_by_layer,
    estimate,
    largest_context,
    layers_that_fit,
    weights_by_layer,
)
from workbench.gguf.model import describe

DEFAULT_CONTEXT = 8192
"""The context length where none is asked for, as far as the model was trained."""

GPU_MARGIN_BYTES = 512 * 2**20
"""What stays free on a GPU beside the estimate: the driver's own context, and what the estimate does not see."""

UBATCH = 512
"""Prompt tokens in one graph at most; llama.cpp's default, and llama-bench's."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A graphics device, as ggml sees it."""

    name: str
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to compute with."""

    cores: int
    """Physical cores that this process may use."""
    total_bytes: int
    """Memory of the host."""
    available_bytes: int
    """Memory of the host that can be had without swapping."""
    gpus: tuple[Gpu, ...] = ()
    """Devices that this build of llama.cpp can offload to."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model will be loaded."""

    settings: LoadSettings
    """Load settings with nothing left to be chosen."""
    backend: str
    """What will compute: `CPU`, or the GPUs."""
    needed: MemoryEstimate
    warnings: tuple[str, ...]


def gib(size: int) -> str:
    """A size in GiB, for a sentence."""
    return f"{size / 2**30:.1f} GiB"


def make_plan(headers: Sequence[Header], asked: LoadSettings, machine: Machine, *, guard: bool = True) -> Plan:
    """Decide how to load the model in `headers`, one for each part of a split file.

    Args:
        headers: The headers of the file, found sound.
        asked: What the user wants; 0 and -1 leave it to be chosen.
        machine: What there is.
        guard: Whether to refuse what cannot fit.

    Raises:
        MemoryShortError: The model with this context takes more memory than the machine has.
    """
    facts = describe(headers[0], headers[1:])
    warnings = []
    trained = facts.context_length
    n_ctx = asked.num_ctx or min(trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
    if trained and n_ctx > trained:
        warnings.append(f"The context of {n_ctx} tokens is longer than the {trained} that the model was trained for.")
    cache = CacheSettings(
        n_ctx=n_ctx,
        type_k=asked.type_k,
        type_v=asked.type_v,
        ubatch=min(asked.num_batch, UBATCH),
        full_window=True,
        flash_attention=asked.flash_attn != "off",
    )
    needed = estimate(headers, cache)
    layers, on_gpu_bytes = _offload(headers, cache, needed, asked, machine)
    settings = replace(asked, num_ctx=n_ctx, num_thread=asked.num_thread or machine.cores, num_gpu=layers)
    if asked.num_gpu > 0 and not machine.gpus:
        warnings.append(f"{asked.num_gpu} layers were asked for on a GPU; this build of llama.cpp has none to use.")
    host = max(0, needed.total_bytes - on_gpu_bytes)
    if guard and host > machine.total_bytes:
        room = machine.total_bytes - needed.weights_bytes - needed.compute_bytes
        fitting = largest_context(headers[0].metadata, cache, max(0, room))
        raise MemoryShortError(
            f"{headers[0].path} with a context of {n_ctx} tokens needs {gib(host)} of memory, and this machine has "
            f"{gib(machine.total_bytes)}.",
            f"A context of up to {fitting} tokens (num_ctx) fits."
            if fitting
            else "Choose a smaller quantization. To try all the same, set memory_guard = false in the config file.",
        )
    if host > machine.available_bytes:
        warnings.append(
            f"About {gib(host)} of memory are needed and {gib(machine.available_bytes)} are free: it will be slow."
        )
    backend = ", ".join(gpu.name for gpu in machine.gpus) if layers else "CPU"
    return Plan(settings, backend, needed, tuple(warnings))


def _offload(
    headers: Sequence[Header], cache: CacheSettings, needed: MemoryEstimate, asked: LoadSettings, machine: Machine
) -> tuple[int, int]:
    """The layers to put on the GPUs, and about what they take there in bytes."""
    if not machine.gpus or asked.num_gpu == 0:
        return 0, 0
    weights = weights_by_layer(headers)
    caches = cache_bytes_by_layer(headers[0].metadata, cache)
    free = sum(gpu.free_bytes for gpu in machine.gpus)
    if asked.num_gpu > 0:
        share = min(1.0, asked.num_gpu / (len(weights.layers) + 1))
        return asked.num_gpu, round(share * needed.total_bytes)
    reserve = needed.compute_bytes + GPU_MARGIN_BYTES * len(machine.gpus)
    fit = layers_that_fit(weights.layers, caches, weights.output, free, reserve)
    return fit.layers, fit.bytes
