"""The sampler of this machine, with every source that there may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workbench.core.telemetry import ComputeDevice, HostMonitor
from workbench.telemetry.sampler import TelemetrySampler
from workbench.telemetry.source import GpuSource


def system_sampler(metal: Callable[[], ComputeDevice | None] = lambda: None) -> TelemetrySampler:
    """A sampler that is not started yet. No driver is touched, and no binding imported, before its thread runs.

    Args:
        metal: What ggml says of the GPU of an Apple chip, once that is known. It must not ask llama.cpp itself: the
            sampler calls it in its own thread.
    """

    def open_meters() -> tuple[HostMonitor, Sequence[GpuSource]]:
        from workbench.telemetry import amd, apple, host, nvml_child

        sources: list[GpuSource] = [nvml_child.nvml_anywhere(), amd.AmdSource(), apple.AppleSource(metal=metal)]
        return host.PsutilHostMonitor(), sources

    return TelemetrySampler.late(open_meters)
