"""Findings of the doctor: plain functions of the facts that it collected."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from workbench.core.telemetry import Alarm, ComputeDevice, GpuSample, SourceName, SourceState
from workbench.core.units import GIB, size_text
from workbench.telemetry.doctor.gpus import unused_gpus
from workbench.telemetry.doctor.install import BINDING, PIP
from workbench.telemetry.doctor.machine import MachineInfo
from workbench.telemetry.nvml import NO_DRIVER
from workbench.telemetry.pci import AMD_VENDOR, NVIDIA_VENDOR, PciCard

LITTLE_MEMORY = GIB
LITTLE_DISK = GIB
MODEL_FOLDER = "model folder"
"""The name of a folder that is searched for models and need not be writable."""

_USED_FEATURES = {
    "avx2": "AVX2",
    "fma": "FMA",
    "f16c": "F16C",
    "avx512f": "AVX512",
    "avx512_vnni": "AVX512_VNNI",
    "avx512_bf16": "AVX512_BF16",
    "amx_int8": "AMX_INT8",
    "asimddp": "DOTPROD",
    "i8mm": "MATMUL_INT8",
    "sve": "SVE",
}
"""CPU features by Linux's name, and llama.cpp's names for them."""
_GPU_BACKENDS = {
    "CUDA": "Type: nvidia-smi (it lists the GPUs; CUDA_VISIBLE_DEVICES can hide them)",
    "ROCm": "Type: rocminfo (it lists the GPUs; HIP_VISIBLE_DEVICES can hide them)",
    "Vulkan": "Type: vulkaninfo --summary (software devices are used only where GGML_VK_VISIBLE_DEVICES names them)",
    "SYCL": "Type: sycl-ls",
}
"""Backends for GPUs by ggml's name, and what to look at where one finds no device."""
_AGAIN = f"{PIP} {BINDING}"
_MUCH_SLOWER_WITHOUT = frozenset({"avx2", "fma", "f16c", "asimddp"})


_WANTED_DRIVERS: dict[int, tuple[str, SourceName, str]] = {
    NVIDIA_VENDOR: (
        "NVIDIA",
        "nvml",
        "Install NVIDIA's own driver (Debian: sudo apt install nvidia-driver; Ubuntu: sudo ubuntu-drivers install; "
        "Fedora: sudo dnf install akmod-nvidia) and restart. In a container: start it with --gpus all.",
    ),
    AMD_VENDOR: ("AMD", "amdgpu", "Type: sudo modprobe amdgpu"),
}
"""By PCI vendor id: the maker, the source that needs its driver, and how to get the driver."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that the program uses."""

    name: str
    path: Path
    exists: bool
    writable: bool
    """Whether it can be written, or created where it is missing."""
    free_bytes: int | None
    total_bytes: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that the doctor checks."""

    machine: MachineInfo
    total_bytes: int
    free_bytes: int
    swap_used_bytes: int | None = None
    limit_bytes: int | None = None
    """The memory limit of a container, where it is below the total."""
    cpu_quota: float | None = None
    """The CPU time limit of a container, in cores."""
    engine_problem: str = ""
    engine_warnings: tuple[str, ...] = ()
    build_features: Mapping[str, bool] | None = None
    """None where llama.cpp could not be loaded."""
    archs: tuple[int, ...] = ()
    backends: tuple[str, ...] = ()
    """What the build can compute with, such as `CPU` and `CUDA`."""
    compiled: tuple[str, ...] = ()
    """Backends for GPUs whose library is in the build; those that did not start are not in `backends`."""
    devices: tuple[ComputeDevice, ...] | None = None
    gpus: tuple[GpuSample, ...] = ()
    sources: tuple[SourceState, ...] = ()
    cards: tuple[PciCard, ...] = ()
    """All graphics cards on the PCI bus, with or without a driver."""
    cuda: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[Folder, ...] = ()
    config_problems: tuple[str, ...] = ()


def look_at_folder(name: str, path: Path) -> Folder:
    """A folder, and the free space of its disk."""
    import psutil

    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    free = total = None
    with suppress(OSError):
        usage = psutil.disk_usage(str(there))
        free, total = usage.free, usage.total
    return Folder(name, path, path.exists(), os.access(there, os.W_OK), free, total)


def find(facts: Facts) -> list[Alarm]:
    """All problems, the worst first."""
    found = [
        *_engine(facts),
        *(Alarm("gpu-driver", "warning", state.reason, subject=state.source)
          for state in facts.sources if state.status == "down"),
        *_undriven(facts),
        *_idle_backends(facts),
        *_software_devices(facts.devices or ()),
        *unused_gpus(
            [sample.gpu for sample in facts.gpus],
            # After a crash the list is incomplete.
            None if facts.engine_problem else facts.devices,
            facts.environment,
            cuda=facts.cuda,
            archs=facts.archs,
        ),
        *_features(facts.machine, facts.build_features),
        *_cores(facts),
        *_memory(facts),
        *_variables(facts.environment),
        *_folders(facts.folders),
        *(Alarm("config", "warning", problem, "Correct the file; until then the setting keeps its default.", problem)
          for problem in facts.config_problems),
    ]  # fmt: skip
    return sorted(found, key=lambda alarm: ["error", "warning", "info"].index(alarm.severity))


def _engine(facts: Facts) -> list[Alarm]:
    alarms = [
        Alarm("engine-warning", "warning", f"llama.cpp warns: {text.strip()}", subject=text)
        for text in dict.fromkeys(facts.engine_warnings)
    ]
    if not facts.engine_problem:
        return alarms
    if facts.build_features is None:
        text, hint = f"llama.cpp does not load: {facts.engine_problem}", f"Type: {_AGAIN}"
    else:
        text = f"llama.cpp failed while it looked for devices: {facts.engine_problem}"
        hint = f"Update the driver of the GPU; or, to compute on the processor, type: {_AGAIN}"
    return [Alarm("engine", "error", text, hint), *alarms]


def _idle_backends(facts: Facts) -> Iterator[Alarm]:
    """Backends for GPUs that are in the build and find no device."""
    if facts.engine_problem or facts.devices is None or any(device.is_gpu for device in facts.devices):
        return
    for backend in dict.fromkeys((*facts.backends, *facts.compiled)):
        if (check := _GPU_BACKENDS.get(backend)) is not None:
            outcome = "finds no device" if backend in facts.backends else "does not start"
            text = f"This build of llama.cpp has the backend {backend}, which {outcome}: the CPU computes."
            yield Alarm("backend-idle", "warning", text, check, backend)


def _software_devices(devices: Sequence[ComputeDevice]) -> Iterator[Alarm]:
    for device in devices:
        if device.is_software:
            yield Alarm(
                "software-device",
                "warning",
                f"{device.name} ({device.description}) is no GPU but software on the processor, much slower than "
                "llama.cpp's own code for it.",
                "Type: unset GGML_VK_VISIBLE_DEVICES (or set num_gpu to 0)",
                device.name,
            )


def _undriven(facts: Facts) -> Iterator[Alarm]:
    """Drivers that are not loaded, and cards without one. A driver that is down has its own finding."""
    seen = {sample.gpu.pci_id for sample in facts.gpus}
    absent = {state.source for state in facts.sources if state.status == "absent"}
    for state in facts.sources:
        # The library of the driver is installed: the advice to install the driver would be wrong.
        if state.source == "nvml" and state.status == "absent" and state.code == NO_DRIVER:
            absent.discard(state.source)
            yield Alarm("gpu-driver", "warning", state.reason, subject=state.source)
    for card in facts.cards:
        maker, source, hint = _WANTED_DRIVERS.get(card.vendor, ("", "", ""))
        if source not in absent or card.pci_id in seen:
            continue
        has = f"the kernel uses {card.driver} for it" if card.driver else "the kernel has no driver for it"
        yield Alarm(
            "gpu-driver",
            "warning",
            f"The {maker} GPU at {card.pci_id} lacks the driver that computing needs; {has}.",
            hint,
            card.pci_id,
        )


def _features(machine: MachineInfo, build: Mapping[str, bool] | None) -> Iterator[Alarm]:
    if build is None or machine.features is None:
        return
    unused = [name for name in machine.features if name in _USED_FEATURES and not build.get(_USED_FEATURES[name])]
    if not unused:
        return
    slow = not _MUCH_SLOWER_WITHOUT.isdisjoint(unused)
    cost = "computing is much slower than it could be" if slow else "some models run slower than they could"
    yield Alarm(
        "cpu-features",
        "warning" if slow else "info",
        f"This build of llama.cpp does not use CPU features that the processor has ({', '.join(unused)}): {cost}.",
        f'Type: CMAKE_ARGS="-DGGML_NATIVE=on" {_AGAIN}',
    )


def _cores(facts: Facts) -> Iterator[Alarm]:
    machine = facts.machine
    cores = machine.cores or machine.logical_cores
    if cores and machine.allowed_cores is not None and machine.allowed_cores < cores:
        yield Alarm(
            "cores", "info", f"This process may use {machine.allowed_cores} of the {cores} cores of this machine."
        )
    usable = min(filter(None, (cores, machine.allowed_cores)), default=None)
    if facts.cpu_quota is not None and usable is not None and facts.cpu_quota < usable:
        threads = max(1, int(facts.cpu_quota))
        yield Alarm(
            "cpu-quota",
            "warning",
            f"The container is limited to the CPU time of {facts.cpu_quota:g} cores and sees {usable}: with one "
            "thread per core, all of them are throttled.",
            f"Type: workbench --set num_thread={threads}",
        )


def _memory(facts: Facts) -> Iterator[Alarm]:
    if facts.limit_bytes is not None and facts.limit_bytes < facts.total_bytes:
        yield Alarm(
            "memory-limit",
            "info",
            f"The container allows {size_text(facts.limit_bytes)} of this machine's {size_text(facts.total_bytes)} "
            "of memory; a process that needs more is killed.",
        )
    if facts.free_bytes < LITTLE_MEMORY:
        swap = f", and {size_text(facts.swap_used_bytes)} is in swap" if facts.swap_used_bytes else ""
        yield Alarm(
            "memory",
            "warning",
            f"{size_text(facts.free_bytes)} of memory is free{swap}.",
            "Close other programs, or choose a smaller model; `workbench fit FILE` shows how much one needs.",
        )


def _variables(environment: Mapping[str, str]) -> Iterator[Alarm]:
    if environment.get("OMP_WAIT_POLICY", "").strip().lower() == "passive":
        yield Alarm(
            "omp-wait-policy",
            "warning",
            "OMP_WAIT_POLICY is set to passive: decoding runs at about a third of its speed, because the threads "
            "sleep between steps.",
            "Type: unset OMP_WAIT_POLICY",
        )
    if environment.get("GGML_CUDA_ENABLE_UNIFIED_MEMORY"):
        yield Alarm(
            "unified-memory",
            "info",
            "GGML_CUDA_ENABLE_UNIFIED_MEMORY is set: data that does not fit on the GPU goes to system memory "
            "without notice, where access is many times slower.",
            "Type: unset GGML_CUDA_ENABLE_UNIFIED_MEMORY",
        )


def _folders(folders: Sequence[Folder]) -> Iterator[Alarm]:
    disks: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
    for folder in folders:
        if folder.name == MODEL_FOLDER and not folder.exists:
            text = f"The model folder {folder.path} does not exist."
            hint = "Correct model_folders in the config file, or connect the disk that it is on."
            yield Alarm("model-folder", "warning", text, hint, str(folder.path))
        elif folder.name != MODEL_FOLDER and not folder.writable:
            text = f"{folder.path} ({folder.name}) is not writable."
            hint = "Make it writable, or move all folders with WORKBENCH_HOME=/another/folder."
            yield Alarm("folder", "error", text, hint, folder.name)
        if folder.free_bytes is not None and folder.total_bytes is not None and folder.free_bytes < LITTLE_DISK:
            disks[folder.free_bytes, folder.total_bytes].append(folder.name)
    for (free, _), on_it in disks.items():
        names = ", ".join(dict.fromkeys(on_it))
        yield Alarm("disk", "warning", f"{size_text(free)} is free on the disk of {names}.", "Free some space.", names)
