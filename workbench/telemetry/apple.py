"""The GPU of a Mac with an Apple chip. It computes in the memory of the system; ggml and psutil say how much there is.

Load, power and clocks need private interfaces or administrator rights, and are left out.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from workbench.core.telemetry import Absence, ComputeDevice, GpuInfo, GpuSample, SourceName
from workbench.telemetry.source import SourceError

_NOT_TOLD: tuple[tuple[str, Absence], ...] = tuple(
    (name, "not supported")
    for name in (
        *("spill_total", "spill_used", "gpu_percent", "memory_percent", "temperature_c", "power_w", "power_limit_w"),
        *("clock_mhz", "memory_clock_mhz", "throttle", "energy_mj"),
    )
)


def is_apple_chip() -> bool:
    """Whether this is a Mac with an Apple chip."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def sysctl(name: str) -> bytes | None:
    """A value of the kernel of a Mac; None where it has none of that name."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        size = ctypes.c_size_t(0)
        key = name.encode()
        if libc.sysctlbyname(key, None, ctypes.byref(size), None, ctypes.c_size_t(0)) == 0:
            buffer = ctypes.create_string_buffer(size.value)
            if libc.sysctlbyname(key, buffer, ctypes.byref(size), None, ctypes.c_size_t(0)) == 0:
                return buffer.raw[: size.value]
    return None


def _system_memory() -> tuple[int, int]:
    import psutil

    memory = psutil.virtual_memory()
    return memory.total, memory.available


class AppleSource:
    """Reads the GPU of an Apple chip.

    Args:
        here: Whether there is one.
        metal: What ggml says of it, once that is known: the most that Metal lends to this process, and what of it is
            free.
        system_memory: The total and the available memory of the system.
        kernel_value: A value of the kernel by its name.
    """

    name: SourceName = "apple"

    def __init__(
        self,
        *,
        here: Callable[[], bool] = is_apple_chip,
        metal: Callable[[], ComputeDevice | None] = lambda: None,
        system_memory: Callable[[], tuple[int, int]] = _system_memory,
        kernel_value: Callable[[str], bytes | None] = sysctl,
    ) -> None:
        self._here = here
        self._metal = metal
        self._system_memory = system_memory
        self._kernel_value = kernel_value
        self._chip: str | None = None

    def read(self) -> Sequence[GpuSample]:
        """The GPU.

        Raises:
            SourceError: This is no such machine.
        """
        if not self._here():
            raise SourceError("There is no Apple GPU.", absent=True)
        if self._chip is None:
            brand = self._kernel_value("machdep.cpu.brand_string") or b""
            self._chip = brand.rstrip(b"\0").decode("utf-8", "replace") or "Apple GPU"
        total, available = self._system_memory()
        wired = self._kernel_value("iogpu.wired_limit_mb") or b""
        limit = int.from_bytes(wired, "little") * 2**20 if len(wired) in {4, 8} else 0
        metal = self._metal()
        own = None
        if metal is not None and metal.total_bytes:
            limit = limit or metal.total_bytes
            # Metal counts what this process has taken, and nobody else.
            own = None if metal.free_bytes is None else max(0, metal.total_bytes - metal.free_bytes)
        budget = min(total, limit) if limit else total
        free = min(available, budget)
        info = GpuInfo("apple 0", self.name, 0, self._chip, unified=True)
        absent: tuple[tuple[str, Absence], ...] = () if own is not None else (("memory_own", "not supported"),)
        return [
            GpuSample(
                info,
                memory_total=budget,
                memory_used=budget - free,
                memory_free=free,
                memory_own=own,
                absent=absent + _NOT_TOLD,
            )
        ]
