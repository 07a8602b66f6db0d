"""The sampler of this machine, with every source that there may be."""

from __future__ import annotations

from collections.abc import Callable

from workbench.core.telemetry import ComputeDevice
from workbench.telemetry.amd import AmdSource
from workbench.telemetry.apple import AppleSource
from workbench.telemetry.host import HostMonitor
from workbench.telemetry.nvml_child import nvml_anywhere
from workbench.telemetry.sampler import Sampler


def system_sampler(metal: Callable[[], ComputeDevice | None] = lambda: None) -> Sampler:
    """A sampler that is not started yet. No driver is touched before its thread runs.

    Args:
        metal: What ggml says of the GPU of an Apple chip, once that is known. It must not ask llama.cpp itself: the
            sampler calls it in its own thread.
    """
    return Sampler(HostMonitor(), [nvml_anywhere(), AmdSource(), AppleSource(metal=metal)])
