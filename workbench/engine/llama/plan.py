"""The load plan of a model: open settings chosen, and settings that cannot work refused, before llama.cpp loads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from workbench.core.errors import MemoryShortError, ModelFileError, ParameterError
from workbench.core.memory import Correction
from workbench.core.models import MemoryUse, ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.core.speculation import OFF
from workbench.core.units import size_text
from workbench.gguf.check import check_loadable
from workbench.gguf.compute import NO_FLASH_ATTENTION
from workbench.gguf.draft import Draft
from workbench.gguf.fit import FitModel, FitQuestion
from workbench.gguf.header import Header
from workbench.gguf.lora import check_adapter
from workbench.gguf.model import describe
from workbench.gguf.placement import HOST, check_devices, idle_overrides
from workbench.gguf.shares import DeviceRoom, Fit, Room, Share
from workbench.gguf.weights import host_weights_bytes

GPU_MARGIN_BYTES = 512 * 2**20
"""Memory of a GPU kept free beside the estimate: for the driver's context, and for what the estimate omits."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A graphics device, as ggml sees it."""

    name: str
    free_bytes: int
    software: bool = False
    """Whether it is a program on the processor that takes the place of a GPU."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The hardware of this machine."""

    cores: int
    """Physical cores that this process may use."""
    total_bytes: int
    """Memory of the host."""
    available_bytes: int
    """Memory of the host that is available without swapping."""
    gpus: tuple[Gpu, ...] = ()
    """Devices that this build of llama.cpp can offload to."""
    repacked: frozenset[str] = frozenset()
    """Tensor types that llama.cpp repacks into a copy that the processor computes faster."""


def room_on(machine: Machine) -> Room:
    """The free memory of `machine`."""
    gpus = tuple(DeviceRoom(gpu.name, gpu.free_bytes, GPU_MARGIN_BYTES) for gpu in machine.gpus)
    return Room(DeviceRoom("CPU", machine.available_bytes), gpus)


def read_files(entry: ModelEntry) -> tuple[tuple[Header, ...], Header | None]:
    """The headers of the files of a model, and that of its adapter.

    Raises:
        ModelFileError: It has no file, or one that cannot be loaded.
    """
    if entry.path is None:
        raise ModelFileError(f"{entry.name} has no file to load.", "Name a .gguf file, or `demo`.")
    headers = check_loadable(entry.path)
    adapter = entry.adapter_path
    return headers, None if adapter is None else check_adapter(adapter, headers)


@dataclass(frozen=True, slots=True)
class Plan:
    """The way in which a model will be loaded."""

    settings: LoadSettings
    """Load settings with every open value chosen."""
    backend: str
    """The devices that will compute: `CPU`, or the GPUs."""
    needed: MemoryUse
    """The estimate of the memory that it needs, with the repacked copies and not corrected."""
    warnings: tuple[str, ...]
    draft: LoadSettings | None = None
    """The same of the draft model; None for none."""


def _chosen(gpus: Sequence[Gpu], asked: LoadSettings) -> Sequence[Gpu]:
    """The GPUs that layers may go to."""
    # Without any GPU they have no meaning: settings come from other machines too.
    if not gpus or not asked.num_gpu:
        return gpus
    check_devices(asked, [gpu.name for gpu in gpus])
    if asked.devices:
        by_name = {gpu.name: gpu for gpu in gpus}
        gpus = [by_name[name] for name in asked.devices]
    if asked.main_gpu >= len(gpus):
        names = ", ".join(f"{number} is {gpu.name}" for number, gpu in enumerate(gpus))
        raise ParameterError(f"main_gpu cannot be {asked.main_gpu}: there is no such GPU.", f"Of those here, {names}.")
    return gpus[asked.main_gpu : asked.main_gpu + 1] if asked.split_mode == "none" else gpus


def _idle(asked: LoadSettings, model: FitModel, machine: Machine) -> Iterator[str]:
    """Settings without effect on this model or this machine."""
    elsewhere = [] if machine.gpus else [each for each in asked.override_tensor if not each.endswith(f"={HOST}")]
    if elsewhere:
        yield f"override_tensor {', '.join(elsewhere)} has no effect: there is no GPU to use."
    without = [name for name in ("tensor_split", "devices") if getattr(asked, name) and not machine.gpus]
    if without:
        yield f"{' and '.join(without)} {'have' if without[1:] else 'has'} no effect: there is no GPU to use."
    for override in idle_overrides(asked.override_tensor, model.tensors):
        yield f"override_tensor {override} matches no tensor of this model."
    if asked.num_cpu_moe and not model.expert_layers:
        yield "num_cpu_moe has no effect: this model has no experts."


def _no_speculation(load: LoadSettings, model: FitModel) -> str:
    """Why drafts cannot be verified with these settings; empty where they can, or none are wanted."""
    if load.speculation == OFF:
        return ""
    if load.num_parallel > 1:
        return f"the model computes {load.num_parallel} answers together (num_parallel)"
    if model.has_states:
        return "this model has layers with a recurrent state, which cannot take tokens back"
    return "" if load.ubatch > 1 else "a micro-batch of one token has no room for a draft"


def _beside(
    draft: Draft | None, load: LoadSettings, n_ctx: int, room: Room
) -> tuple[LoadSettings | None, Sequence[Share]]:
    """How a draft model is loaded, and the memory that it takes; none of both for none."""
    return (None, ()) if draft is None else draft.settings(load, n_ctx, room)


def _on_host(shares: Sequence[Share]) -> int:
    return shares[0].total_bytes if shares else 0


def _overfull(fit: Fit, most: int) -> Iterator[str]:
    """GPUs that have less memory free than their layers need."""
    for share in fit.shares[1:]:
        if not share.fits:
            usable = max(0, share.device.free_bytes - share.device.reserve_bytes)
            yield (
                f"{share.device.name} needs about {size_text(share.total_bytes)} for its layers and has "
                f"{size_text(usable)}: at most {most} layers (num_gpu) fit."
            )


def _software(gpus: Sequence[Gpu]) -> Iterator[str]:
    """Devices that only look like GPUs."""
    for gpu in gpus:
        if gpu.software:
            yield f"{gpu.name} is no GPU but software on the processor: num_gpu=0 is much faster."


def make_plan(
    headers: Sequence[Header],
    asked: LoadSettings,
    machine: Machine,
    *,
    adapter: Header | None = None,
    guard: bool = True,
    correction: Correction = MappingProxyType({}),
    draft: Draft | None = None,
) -> Plan:
    """Decide how to load the model in `headers`, one for each part of a split file, with the LoRA `adapter`.

    In the settings that were asked for, 0 and -1 leave the choice open. `guard` refuses a model that cannot fit.
    `correction` is what the last load of the architecture took beside its estimate: the layers on GPUs depend on it.
    `draft` is the draft model that `asked` names; it gets its memory first.

    Raises:
        MemoryShortError: The model with this context takes more memory than the machine has.
        ModelLoadError: llama.cpp refuses the cache types for this model.
        ParameterError: The settings name a GPU that is not there.
    """
    gpus = _chosen(machine.gpus, asked)
    warnings = []
    trained = describe(headers[0], headers[1:]).context_length
    model, room = FitModel(headers, adapter=adapter), room_on(machine)
    model.correction, question = correction, model.question(asked)
    n_ctx = question.n_ctx
    if trained and n_ctx > trained:
        warnings.append(f"The context of {n_ctx} tokens is longer than the {trained} that the model was trained for.")
    obstacle = _no_speculation(asked, model)
    threads = asked.num_thread or machine.cores
    drafting, beside = _beside(None if obstacle else draft, replace(asked, num_thread=threads), n_ctx, room)
    room = room.without(beside)
    fit = model.price(question, room)
    if fit.refusal is not None:
        raise fit.refusal
    layers = fit.gpu_layers
    # Not where the number was chosen, or little of the work is that of the CPU.
    adapts = asked.adapt_threads and not asked.num_thread and not layers
    settings = replace(asked, num_ctx=n_ctx, num_thread=threads, adapt_threads=adapts, num_gpu=layers)
    if model.architecture in NO_FLASH_ATTENTION:
        settings = replace(settings, flash_attn="off")
        if asked.flash_attn == "on":
            warnings.append(f"llama.cpp has no flash attention for {model.architecture}: it is off.")
    if asked.num_gpu > 0 and not machine.gpus:
        warnings.append(f"{asked.num_gpu} layers were asked for on a GPU; this build of llama.cpp has none to use.")
    if obstacle:
        settings = replace(settings, speculation=OFF)
        warnings.append(f"Speculation is off: {obstacle}.")
    warnings += _idle(asked, model, machine)
    if asked.num_gpu > 0:
        warnings += _overfull(fit, model.most_layers(question, room))
    host = fit.shares[0].total_bytes + _on_host(beside)
    if guard and host > machine.total_bytes:
        whole = Room(DeviceRoom("CPU", machine.total_bytes - _on_host(beside)), room.gpus)
        fitting = model.largest_context(question, whole)
        raise MemoryShortError(
            f"{headers[0].path} with a context of {n_ctx} tokens needs {size_text(host)} of memory, and this machine "
            f"has {size_text(machine.total_bytes)}.",
            f"A context of up to {fitting} tokens (num_ctx) fits."
            if fitting
            else "Choose a smaller quantization. To try it anyway, set memory_guard = false in the config file.",
        )
    if host > machine.available_bytes:
        free = size_text(machine.available_bytes)
        warnings.append(f"About {size_text(host)} of memory are needed and {free} are free: it will be slow.")
    backend = ", ".join(gpu.name for gpu in gpus) if layers else "CPU"
    warnings += _software(gpus[:layers])
    needed = _as_counted(model, question, room, layers, headers, machine.repacked, beside)
    return Plan(settings, backend, needed, tuple(warnings), drafting)


def _as_counted(
    model: FitModel,
    question: FitQuestion,
    room: Room,
    layers: int,
    headers: Sequence[Header],
    repacked: frozenset[str],
    beside: Sequence[Share],
) -> MemoryUse:
    """The estimate that what a load takes is compared with: not corrected, and mapped files as llama.cpp counts them.

    Not part of the checks of the plan: pages that were copied, to a GPU or repacked, can be reclaimed.
    """
    model.correction = {}
    host, *gpus = model.price(replace(question, gpu_layers=layers), room).shares
    if not layers:
        weights = host_weights_bytes(headers, repacked, mapped=question.mapped) + model.adapter_bytes
        host = replace(host, weights_bytes=weights)
    elif question.mapped:
        host = replace(host, weights_bytes=model.mapped_bytes(question, room, layers))
    return MemoryUse.of([buffer for share in (host, *gpus, *beside) for buffer in share.buffers])
