"""Which device of llama.cpp is which GPU of the driver. The two count in different orders, so by PCI address."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.core.telemetry import ComputeDevice, GpuInfo, SourceName

_BACKENDS: dict[SourceName, frozenset[str]] = {
    "nvml": frozenset({"cuda", "vulkan", "opencl"}),
    "amdgpu": frozenset({"rocm", "hip", "vulkan", "opencl"}),
    "apple": frozenset({"metal", "mtl", "vulkan"}),
}
"""The backends of ggml that can drive the GPUs of a source."""


def match_devices(devices: Sequence[ComputeDevice], gpus: Sequence[GpuInfo]) -> dict[str, GpuInfo]:
    """The GPU of each device, by the device's name, as far as it can be told.

    Where ggml names no address, the name of the GPU decides if it is the only one of that name, and with one device and
    one GPU that fit there is nothing to decide.
    """
    gpus = [gpu for gpu in gpus if gpu.partition != "part"]
    by_address = {gpu.pci_id: gpu for gpu in gpus if gpu.pci_id is not None}
    found: dict[str, GpuInfo] = {}
    unknown = []
    for device in devices:
        if not device.is_gpu:
            continue
        if device.pci_id is not None:
            gpu = by_address.get(device.pci_id)
            if gpu is not None:
                found[device.name] = gpu
        else:
            unknown.append(device)
    # One GPU may be two devices, where a build has two backends.
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
    return backend in _BACKENDS[gpu.source]


def _same_name(one: str, other: str) -> bool:
    first, second = (text.lower().removeprefix("nvidia ").strip() for text in (one, other))
    return first == second
