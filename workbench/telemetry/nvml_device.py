"""Reading of one NVIDIA GPU through NVML, figure by figure.

An error makes only its own figure absent. The errors in `STATE_ERRORS` mean that the device or the driver is lost, and
are raised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from workbench.core.telemetry import Absence, GpuInfo, GpuSample, Throttle, normal_pci_id
from workbench.processes import engines
from workbench.telemetry.source import is_known

UNINITIALIZED = 1
NOT_SUPPORTED = 3
NO_PERMISSION = 4
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
VERSION_MISMATCH = 18
ARGUMENT_VERSION_MISMATCH = 25
UNKNOWN = 999
STATE_ERRORS = frozenset({UNINITIALIZED, GPU_IS_LOST, RESET_REQUIRED, VERSION_MISMATCH, UNKNOWN})
"""Errors of the device or the driver, not of one figure."""

_ABSENCE: dict[int, Absence] = {
    NOT_SUPPORTED: "not supported",
    FUNCTION_NOT_FOUND: "not supported",
    ARGUMENT_VERSION_MISMATCH: "not supported",
    NO_PERMISSION: "not permitted",
}
_FOR_GOOD = frozenset({NOT_SUPPORTED, FUNCTION_NOT_FOUND, ARGUMENT_VERSION_MISMATCH})
"""Permanent errors: such a figure is not requested again."""

_THROTTLE: tuple[tuple[int, Throttle], ...] = (
    (0x1, "idle"),
    (0x2, "application clocks"),
    (0x4, "power cap"),
    (0x8, "hardware slowdown"),
    (0x10, "sync boost"),
    (0x20, "software thermal"),
    (0x40, "hardware thermal"),
    (0x80, "power brake"),
    (0x100, "display clocks"),
)
_CLOCK_SM, _CLOCK_MEMORY, _SENSOR_GPU = 1, 2, 0
_MOST_PLAUSIBLE = {
    "gpu_percent": 200,
    "memory_percent": 200,
    "temperature_c": 200,
    "power_w": 10**8,
    "power_limit_w": 10**8,
    "clock_mhz": 10**5,
    "memory_clock_mhz": 10**5,
    "parts": 64,
}
"""Limits of figures in NVML's units, above which a figure counts as unknown."""

_PROCESS_LISTS = (
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetGraphicsRunningProcesses",
    "nvmlDeviceGetMPSComputeRunningProcesses",
)
_FIRST_PID_NAMESPACE = "pid:[4026531836]"
"""The kernel's fixed number of the initial namespace, whose process ids drivers report."""

_T = TypeVar("_T")
Nvml: TypeAlias = Any
"""The module pynvml or one of its objects, which have no types."""
SystemMemory = Callable[[], tuple[int, int]]
"""Returns the total and the available memory of the system, in bytes."""


def foreign_pids(link: Path = Path("/proc/self/ns/pid")) -> bool:
    """Whether this process runs in a container, where its id differs from the one that the driver reports."""
    try:
        return str(link.readlink()) != _FIRST_PID_NAMESPACE
    except OSError:  # Not Linux, or no namespaces.
        return False


def throttle_reasons(bits: int) -> tuple[Throttle, ...]:
    """The reasons in a bit mask; unknown bits are ignored."""
    return tuple(reason for bit, reason in _THROTTLE if bits & bit)


@dataclass(frozen=True)
class Reader:
    """What all devices share."""

    nvml: Nvml
    """The module pynvml."""
    pid: int
    """The process whose share of the memory is read."""
    foreign_pids: bool
    former_lists: bool
    """Whether process lists must be read with version 2 of the functions."""
    system_memory: SystemMemory


class NvmlDevice:
    """A GPU, or a MIG device of the partitioned GPU `whole`. `handle` and `index` are NVML's."""

    def __init__(self, reader: Reader, handle: object, index: int, whole: GpuInfo | None = None) -> None:
        self._nvml = reader.nvml
        self._reader = reader
        self._handle = handle
        self._never: dict[str, Absence] = {}
        self._absent: dict[str, Absence] = {}
        self._former_lists = set(_PROCESS_LISTS if reader.former_lists else ())
        self._memory_v2 = True
        self.info = self._look(index, whole)

    def _look(self, index: int, whole: GpuInfo | None) -> GpuInfo:
        nvml = self._nvml
        uuid = self._ask("uuid", nvml.nvmlDeviceGetUUID)
        name = self._ask("name", nvml.nvmlDeviceGetName)
        if whole is not None:
            key, name = uuid or f"{whole.key}/{index}", name or whole.name
            return GpuInfo(key, "nvml", index, name, uuid, whole.pci_id, whole.capability, partition="part")
        pci = self._ask("pci_id", nvml.nvmlDeviceGetPciInfo)
        bus_id = "" if pci is None else pci.busId
        pci_id = normal_pci_id(bus_id.decode("ascii", "replace") if isinstance(bus_id, bytes) else bus_id)
        mig = self._ask("mig", nvml.nvmlDeviceGetMigMode)
        split = mig is not None and mig[0] == 1
        capability = self._ask("capability", nvml.nvmlDeviceGetCudaComputeCapability)
        return GpuInfo(
            key=uuid or pci_id or f"nvml {index}",
            source="nvml",
            index=index,
            name=name,
            uuid=uuid,
            pci_id=pci_id,
            capability=capability if capability is not None and all(map(is_known, capability)) else None,
            unified=not split and self._memory() is None and self._absent["memory"] == "not supported",
            partition="whole" if split else "",
        )

    def parts(self) -> list[NvmlDevice]:
        """The MIG devices of a partitioned GPU."""
        if self.info.partition != "whole":
            return []
        most = self._number("parts", self._nvml.nvmlDeviceGetMaxMigDeviceCount) or 0
        parts = []
        for index in range(most):
            try:
                handle = self._nvml.nvmlDeviceGetMigDeviceHandleByIndex(self._handle, index)
                parts.append(NvmlDevice(self._reader, handle, index, self.info))
            except self._nvml.NVMLError:  # A slot without a MIG device.
                continue
        return parts

    def sample(self) -> GpuSample:
        """Read every figure.

        Raises:
            NVMLError: The device or the driver is lost.
        """
        self._absent = {}
        nvml = self._nvml
        total, used, free = self._memory_figures()
        rates = self._ask("gpu_percent", nvml.nvmlDeviceGetUtilizationRates)
        sample = GpuSample(
            gpu=self.info,
            memory_total=total,
            memory_used=used,
            memory_free=free,
            memory_own=self._own_memory(),
            gpu_percent=None if rates is None else self._percent("gpu_percent", rates.gpu),
            memory_percent=None if rates is None else self._percent("memory_percent", rates.memory),
            temperature_c=self._number("temperature_c", nvml.nvmlDeviceGetTemperature, _SENSOR_GPU),
            power_w=self._watts("power_w", nvml.nvmlDeviceGetPowerUsage),
            power_limit_w=self._watts("power_limit_w", nvml.nvmlDeviceGetEnforcedPowerLimit),
            clock_mhz=self._number("clock_mhz", nvml.nvmlDeviceGetClockInfo, _CLOCK_SM),
            memory_clock_mhz=self._number("memory_clock_mhz", nvml.nvmlDeviceGetClockInfo, _CLOCK_MEMORY),
            throttle=self._throttle(),
            energy_mj=self._number("energy_mj", nvml.nvmlDeviceGetTotalEnergyConsumption),
        )
        if rates is None:
            self._absent["memory_percent"] = self._absent["gpu_percent"]
        named = {each.name for each in fields(GpuSample)}
        absent = tuple((name, reason) for name, reason in self._absent.items() if name in named)
        return replace(sample, absent=absent)

    def _memory_figures(self) -> tuple[int | None, int | None, int | None]:
        if self.info.unified:
            self._absent.pop("memory", None)
            total, available = self._reader.system_memory()
            return total, total - available, available
        memory = self._memory()
        if memory is None:
            reason = self._absent.pop("memory", "not supported")
            self._absent.update(memory_total=reason, memory_used=reason, memory_free=reason)
            return None, None, None
        total, used, free = memory
        if max(used, free) > total or not (is_known(used) and is_known(free)):
            self._absent.update(memory_used="implausible", memory_free="implausible")
            return total, None, None
        return total, used, free

    def _memory(self) -> tuple[int, int, int] | None:
        """Total, used and free bytes; None where NVML has none, as for GPUs that share system memory."""
        memory = None
        if self._memory_v2:
            # Version 2 excludes memory reserved by the driver; old drivers lack it.
            memory = self._ask("memory_v2", self._nvml.nvmlDeviceGetMemoryInfo, self._nvml.nvmlMemory_v2)
            self._memory_v2 = "memory_v2" not in self._never
            self._absent.pop("memory_v2", None)
        if memory is None:
            memory = self._ask("memory", self._nvml.nvmlDeviceGetMemoryInfo)
        if memory is None:
            return None
        if not (is_known(memory.total) and memory.total):
            self._absent["memory"] = "not supported"
            return None
        return memory.total, memory.used, memory.free

    def _own_memory(self) -> int | None:
        """Bytes that this process and those of its engines hold on the device."""
        if self._reader.foreign_pids:
            self._absent["memory_own"] = "not identified"
            return None
        held: dict[int, int | None] = {}
        own = {self._reader.pid, *engines}
        answered = False
        for name in _PROCESS_LISTS:
            processes = self._ask(name, self._processes, name)
            reason = self._absent.pop(name, None)
            if processes is None:
                self._absent.setdefault("memory_own", reason or "failed")
                continue
            answered = True
            # A process with compute and graphics contexts is in two lists, with the same size.
            held |= {process.pid: process.usedGpuMemory for process in processes if process.pid in own}
        if not answered:
            return None
        if not all(map(is_known, held.values())):
            self._absent["memory_own"] = "not supported"
            return None
        self._absent.pop("memory_own", None)
        return sum(filter(None, held.values()))

    def _processes(self, handle: object, name: str) -> Sequence[Nvml]:
        nvml = self._nvml
        found: Sequence[Nvml]
        if name not in self._former_lists:
            try:
                found = getattr(nvml, name)(handle)
                return found
            except nvml.NVMLLibraryMismatchError:
                self._former_lists.add(name)
        found = getattr(nvml, f"{name}_v2")(handle)
        return found

    def _throttle(self) -> tuple[Throttle, ...] | None:
        nvml = self._nvml
        bits = self._ask("throttle", nvml.nvmlDeviceGetCurrentClocksEventReasons)
        if bits is None:
            # Older drivers have the figure under its former name.
            former = getattr(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", None)
            bits = None if former is None else self._ask("throttle_former", former)
            self._absent.pop("throttle_former", None)
        if bits is None:
            return None
        self._absent.pop("throttle", None)
        if not is_known(bits):
            self._absent["throttle"] = "implausible"
            return None
        return throttle_reasons(bits)

    def _percent(self, figure: str, value: int) -> float | None:
        # Some drivers report a little more than 100.
        known = self._known(figure, value)
        return None if known is None else min(100.0, float(known))

    def _watts(self, figure: str, call: Callable[..., int]) -> float | None:
        milliwatts = self._number(figure, call)
        return None if milliwatts is None else milliwatts / 1000

    def _number(self, figure: str, call: Callable[..., int], *arguments: object) -> int | None:
        value = self._ask(figure, call, *arguments)
        return None if value is None else self._known(figure, value)

    def _known(self, figure: str, value: int) -> int | None:
        """`value`; None, with the reason recorded, where it stands for an unknown figure."""
        if is_known(value, _MOST_PLAUSIBLE.get(figure)):
            return value
        self._absent[figure] = "implausible"
        return None

    def _ask(self, figure: str, call: Callable[..., _T], *arguments: object) -> _T | None:
        """One figure; where it is absent, record why."""
        reason = self._never.get(figure)
        if reason is not None:
            self._absent[figure] = reason
            return None
        try:
            return call(self._handle, *arguments)
        except self._nvml.NVMLError as error:
            code = error.value
            if code in STATE_ERRORS:
                raise
            reason = _ABSENCE.get(code, "failed")
            if code in _FOR_GOOD:
                self._never[figure] = reason
            self._absent[figure] = reason
            return None
