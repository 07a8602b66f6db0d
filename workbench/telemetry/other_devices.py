"""Samples of the devices that llama.cpp computes on and no driver's source reads, by ggml's own figures.

These are GPUs of makers without a source here, those whose driver does not answer, and software devices.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.core.telemetry import Absence, ComputeDevice, GpuInfo, GpuSample
from workbench.telemetry.doctor.gpus import match_devices


def other_devices(devices: Sequence[ComputeDevice], known: Sequence[GpuInfo]) -> Sequence[GpuSample]:
    """A sample of each of `devices` that is none of the GPUs that are `known`."""
    matched = match_devices(devices, known)
    return [
        _sample(index, device) for index, device in enumerate(devices) if device.is_gpu and device.name not in matched
    ]


def _sample(index: int, device: ComputeDevice) -> GpuSample:
    free, total = device.free_bytes, device.total_bytes
    used = None if free is None or total is None else max(0, total - free)
    name = device.description or device.name
    unified = device.kind == "integrated" or device.is_software
    info = GpuInfo(device.name, "ggml", index, name, None, device.pci_id, unified=unified, software=device.is_software)
    figures = {"memory_total": total, "memory_used": used, "memory_free": free}
    reason: Absence = "not supported"
    absent = tuple((name, reason) for name, figure in figures.items() if figure is None)
    return GpuSample(info, total, used, free, device.held_bytes or None, absent=absent)
