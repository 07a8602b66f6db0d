"""Readings of the GPU of a Mac with an Apple chip. It shares system memory, whose size ggml and psutil report.

Load, power and clocks need private interfaces or administrator rights, and are not read.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields, replace

from typing_extensions import override

from workbench.core.telemetry import ComputeDevice, GpuInfo, GpuSample, SourceName
from workbench.telemetry.host import system_memory
from workbench.telemetry.source import GpuSource, SourceError


def is_apple_chip() -> bool:
    """Whether this is a Mac with an Apple chip."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def sysctl(name: str) -> bytes | None:
    """A kernel value of a Mac; None where there is none of that name."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        size = ctypes.c_size_t(0)
        key = name.encode()
        if libc.sysctlbyname(key, None, ctypes.byref(size), None, ctypes.c_size_t(0)) == 0:
            buffer = ctypes.create_string_buffer(size.value)
            if libc.sysctlbyname(key, buffer, ctypes.byref(size), None, ctypes.c_size_t(0)) == 0:
                return buffer.raw[: size.value]
    return None


class AppleSource(GpuSource):
    """Reads the GPU of an Apple chip.

    `metal` returns ggml's view of it, once known: the memory that Metal allows this process, and how much is free.
    """

    name: SourceName = "apple"

    def __init__(
        self,
        *,
        here: Callable[[], bool] = is_apple_chip,
        metal: Callable[[], ComputeDevice | None] = lambda: None,
        system_memory: Callable[[], tuple[int, int]] = system_memory,
        kernel_value: Callable[[str], bytes | None] = sysctl,
    ) -> None:
        self._here = here
        self._metal = metal
        self._system_memory = system_memory
        self._kernel_value = kernel_value
        self._chip: str | None = None

    @override
    def read(self) -> Sequence[GpuSample]:
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
            # Metal counts the memory of this process alone.
            own = None if metal.free_bytes is None else max(0, metal.total_bytes - metal.free_bytes)
        budget = min(total, limit) if limit else total
        free = min(available, budget)
        info = GpuInfo("apple 0", self.name, 0, self._chip, unified=True)
        sample = GpuSample(info, memory_total=budget, memory_used=budget - free, memory_free=free, memory_own=own)
        unread = (each.name for each in fields(sample) if getattr(sample, each.name) is None)
        return [replace(sample, absent=tuple((name, "not supported") for name in unread))]
