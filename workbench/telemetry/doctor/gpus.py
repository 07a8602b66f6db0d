"""GPUs of the driver and compute devices of llama.cpp: which is which, and why a GPU is not used.

The two number GPUs in different orders, so they are matched by PCI address.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from workbench.core.telemetry import Alarm, ComputeDevice, GpuInfo, SourceName
from workbench.telemetry.doctor.install import advice_for, why_too_old

_BACKENDS: Mapping[SourceName, frozenset[str]] = {
    "nvml": frozenset({"cuda", "vulkan", "opencl"}),
    "amdgpu": frozenset({"rocm", "hip", "vulkan", "opencl"}),
    "apple": frozenset({"metal", "mtl", "vulkan"}),
}
"""The ggml backends that can use the GPUs of a source."""
_HIDING = {
    "nvml": ("CUDA_VISIBLE_DEVICES",),
    "amdgpu": ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    "apple": (),
}
"""Environment variables that hide GPUs of a source."""


def gpu_name(gpu: GpuInfo) -> str:
    """The name of a GPU in a sentence."""
    return gpu.name or f"GPU {gpu.index}"


def match_devices(devices: Sequence[ComputeDevice], gpus: Sequence[GpuInfo]) -> dict[str, GpuInfo]:
    """The GPU of each device, by the name of the device, as far as it can be determined.

    Where ggml reports no address, a unique name of a GPU decides, and else a single candidate.
    """
    gpus = [gpu for gpu in gpus if gpu.partition != "part" and gpu.source != "ggml"]
    by_address = {gpu.pci_id: gpu for gpu in gpus if gpu.pci_id is not None}
    found: dict[str, GpuInfo] = {}
    unknown = []
    for device in devices:
        if not device.is_gpu:
            continue
        if device.pci_id is None:
            unknown.append(device)
        elif device.pci_id in by_address:
            found[device.name] = by_address[device.pci_id]
    # With two backends in a build, one GPU is two devices.
    for device in unknown:
        fitting = [gpu for gpu in gpus if _may_drive(device, gpu)]
        same_name = [gpu for gpu in fitting if gpu.name and _same_name(gpu.name, device.description)]
        rivals = [other for other in unknown if other.backend == device.backend]
        if len(same_name) == 1:
            found[device.name] = same_name[0]
        elif len(fitting) == 1 and len(rivals) == 1:
            found[device.name] = fitting[0]
    return found


def _may_drive(device: ComputeDevice, gpu: GpuInfo) -> bool:
    backend = (device.backend or device.name.rstrip("0123456789")).lower()
    return gpu.source != "ggml" and backend in _BACKENDS[gpu.source]


def _same_name(one: str, other: str) -> bool:
    first, second = (text.lower().removeprefix("nvidia ").strip() for text in (one, other))
    return first == second


def unused_gpus(
    gpus: Sequence[GpuInfo],
    devices: Sequence[ComputeDevice] | None,
    environment: Mapping[str, str],
    *,
    cuda: str = "",
    archs: Sequence[int] = (),
) -> Iterator[Alarm]:
    """GPUs that this build of llama.cpp does not use, each with the fix; none where `devices` is unknown (None).

    `archs` are the compute capabilities that the build has code for, such as 750; empty where they are unknown.
    """
    if devices is None:
        return
    used = {gpu.key for gpu in match_devices(devices, gpus).values()}
    backends = {device.backend.lower() for device in devices if device.is_gpu}
    for gpu in gpus:
        # MIG devices have no address of their own to be matched by.
        if gpu.key in used or gpu.partition == "part" or gpu.source == "ggml":
            continue
        yield _too_old(gpu, archs) or _hidden(gpu, gpu.source, environment) or _unused(gpu, gpu.source, backends, cuda)


def _too_old(gpu: GpuInfo, archs: Sequence[int]) -> Alarm | None:
    if gpu.source != "nvml" or gpu.capability is None:
        return None
    reason = why_too_old(gpu.capability)
    if reason:
        return Alarm("gpu-too-old", "info", f"{gpu_name(gpu)} is too old: {reason}. The CPU computes.", "", gpu.key)
    have = gpu.capability[0] * 100 + gpu.capability[1] * 10
    if archs and have < min(archs):
        lowest = f"{min(archs) // 100}.{min(archs) % 100 // 10}"
        return Alarm(
            "gpu-too-old",
            "warning",
            f"{gpu_name(gpu)} is too old for this build of llama.cpp: it has compute capability "
            f"{'{}.{}'.format(*gpu.capability)}, and the build needs at least {lowest}.",
            advice_for(gpu).text,
            gpu.key,
        )
    return None


def _hidden(gpu: GpuInfo, source: SourceName, environment: Mapping[str, str]) -> Alarm | None:
    for name in _HIDING[source]:
        if name in environment:
            return Alarm(
                "gpu-hidden",
                "info",
                f"{gpu_name(gpu)} is not used: {name} is set to {environment[name]!r}.",
                f"Type: unset {name} (unless it is intended)",
                gpu.key,
            )
    return None


def _unused(gpu: GpuInfo, source: SourceName, backends: set[str], cuda: str) -> Alarm:
    text, hint = f"This build of llama.cpp cannot use {gpu_name(gpu)}.", advice_for(gpu, cuda).text
    if backends & {"nvml": {"cuda"}, "amdgpu": {"rocm", "hip"}, "apple": {"metal", "mtl"}}[source]:
        text = f"llama.cpp does not list {gpu_name(gpu)}, although this build has the backend for it."
        hint = "Read the log of llama.cpp (F12 in the program). Often the driver is older than the build."
    return Alarm("gpu-unused", "warning", text, hint, gpu.key)
