"""Readings of NVIDIA GPUs through NVML. pynvml is imported only once the library of the driver has been found."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from typing_extensions import override

from workbench.core.telemetry import GpuSample, SourceName
from workbench.telemetry.host import system_memory
from workbench.telemetry.nvml_device import (
    GPU_IS_LOST,
    RESET_REQUIRED,
    UNKNOWN,
    VERSION_MISMATCH,
    Nvml,
    NvmlDevice,
    Reader,
    SystemMemory,
    foreign_pids,
)
from workbench.telemetry.pci import SYS, is_asleep, pci_device
from workbench.telemetry.resting import asleep
from workbench.telemetry.source import GpuSource, SourceError, is_known

LIBRARY = "libnvidia-ml.so.1"
NO_LIBRARY = 12
NO_DRIVER = 9
_INSUFFICIENT_RESOURCES = 23
_NOT_READY = 27

STALE_CODES = frozenset({UNKNOWN, VERSION_MISMATCH})
"""Errors after which only a new process can continue: the loaded library no longer matches the driver."""

_LOST = frozenset({GPU_IS_LOST, RESET_REQUIRED})
_MOST_DEVICES = 1024
"""A larger number of GPUs counts as unknown."""
LOOK_AGAIN_EVERY = 30
"""Readings after which the devices are counted again."""

CORRUPTED = (
    "The Python module pynvml is not NVIDIA's: an old package of that name replaces it. "
    "Type: pip uninstall --yes nvidia-ml-py3 pynvml && pip install --force-reinstall nvidia-ml-py"
)

REASONS = {
    NO_LIBRARY: "No NVIDIA driver library was found.",
    NO_DRIVER: "The NVIDIA driver is not loaded. Type: sudo modprobe nvidia",
    VERSION_MISMATCH: "The NVIDIA driver was updated and the old one is still loaded: restart the machine.",
    GPU_IS_LOST: "The GPU fell off the bus: the machine has to be restarted.",
    RESET_REQUIRED: "The GPU has to be reset. Type: sudo nvidia-smi --gpu-reset",
    4: "This user may not access the NVIDIA driver: permission to the device files /dev/nvidia* is missing.",
    _INSUFFICIENT_RESOURCES: "The NVIDIA driver has run out of resources.",
    _NOT_READY: "The NVIDIA driver is not ready yet.",
    UNKNOWN: (
        "The NVIDIA driver does not respond (unknown error). In a container this happens when the host reloads its "
        "services: start the container again."
    ),
}
"""Error messages by NVML error code."""


def library_is_there() -> bool:
    """Whether NVML can be loaded; takes microseconds where it cannot."""
    if sys.platform == "darwin":
        return False
    if sys.platform == "win32":
        places = [
            Path(os.environ.get("WINDIR", "C:/Windows")) / "System32/nvml.dll",
            Path(os.environ.get("PROGRAMFILES", "C:/Program Files")) / "NVIDIA Corporation/NVSMI/nvml.dll",
        ]
        return any(map(Path.is_file, places))
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


def _load() -> Nvml:
    import pynvml

    return pynvml


class NvmlSource(GpuSource):
    """Reads NVIDIA GPUs in this process; `pid` is the process whose share of memory is read, this one by default."""

    name: SourceName = "nvml"

    def __init__(
        self,
        pid: int | None = None,
        *,
        load: Callable[[], Nvml] = _load,
        there: Callable[[], bool] = library_is_there,
        pids_are_foreign: Callable[[], bool] = foreign_pids,
        system_memory: SystemMemory = system_memory,
        sys: Path = SYS,
    ) -> None:
        self._sys = sys
        self._pid = os.getpid() if pid is None else pid
        self._load = load
        self._there = there
        self._pids_are_foreign = pids_are_foreign
        self._system_memory = system_memory
        self._nvml: Nvml = None
        self._devices: list[NvmlDevice] | None = None
        self._count = 0
        self._lost = 0
        self._readings = 0

    @override
    def read(self) -> Sequence[GpuSample]:
        if self._nvml is None:
            self._nvml = self._start()
        try:
            return self._sample()
        except self._nvml.NVMLError as error:
            self._forget()
            raise _source_error(error) from None

    def versions(self) -> dict[str, str]:
        """The versions of the driver and of the CUDA that it supports, after the first reading."""
        found: dict[str, str] = {}
        if self._nvml is None:
            return found
        with suppress(self._nvml.NVMLError):
            found["driver"] = str(self._nvml.nvmlSystemGetDriverVersion())
        with suppress(self._nvml.NVMLError):
            cuda = self._nvml.nvmlSystemGetCudaDriverVersion()
            if is_known(cuda) and cuda:
                found["cuda"] = f"{cuda // 1000}.{cuda % 1000 // 10}"
        return found

    def _start(self) -> Nvml:
        if not self._there():
            raise SourceError(REASONS[NO_LIBRARY], absent=True, code=NO_LIBRARY)
        nvml = self._load()
        if not callable(getattr(nvml, "nvmlInitWithFlags", None)):
            raise SourceError(CORRUPTED)
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            raise _source_error(error) from None
        return nvml

    def _sample(self) -> list[GpuSample]:
        self._readings += 1
        due = self._devices is not None and self._readings % LOOK_AGAIN_EVERY == 0
        if self._devices is None or (due and (self._lost or self._device_count() != self._count)):
            self._devices = self._find()
        samples = []
        lost: list[NvmlDevice] = []
        failure = None
        for device in self._devices:
            if device.info.pci_id and is_asleep(pci_device(device.info.pci_id, self._sys)):
                samples.append(asleep(device.info))
                continue
            try:
                samples.append(device.sample())
            except self._nvml.NVMLError as error:
                if error.value not in _LOST:
                    raise
                failure = error
                lost.append(device)
        if lost:
            self._devices = [device for device in self._devices if device not in lost]
            self._lost += len(lost)
        if failure is not None and not samples:
            raise failure
        return samples

    def _find(self) -> list[NvmlDevice]:
        nvml = self._nvml
        reader = Reader(nvml, self._pid, self._pids_are_foreign(), _wants_former_lists(nvml), self._system_memory)
        found: list[NvmlDevice] = []
        self._count = self._device_count()
        self._lost = 0
        failure = None
        for index in range(self._count):
            try:
                device = NvmlDevice(reader, nvml.nvmlDeviceGetHandleByIndex(index), index)
                found += [device, *device.parts()]
            except nvml.NVMLError as error:
                # One card may be lost or not permitted while others work.
                failure = error
                self._lost += 1
        if failure is not None and not found:
            raise failure
        return found

    def _device_count(self) -> int:
        count: int = self._nvml.nvmlDeviceGetCount()
        return count if is_known(count, _MOST_DEVICES) else 0

    def _forget(self) -> None:
        """Start afresh with the next reading."""
        nvml, self._nvml, self._devices = self._nvml, None, None
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _wants_former_lists(nvml: Nvml) -> bool:
    """Whether this driver lays out version 3 of its process lists differently: it has only one of two functions."""

    def has(symbol: str) -> bool:
        try:
            nvml._nvmlGetFunctionPointer(symbol)
        except nvml.NVMLError:
            return False
        return True

    return has("nvmlDeviceGetConfComputeMemSizeInfo") and not has("nvmlDeviceGetRunningProcessDetailList")


def _source_error(error: Nvml) -> SourceError:
    code = error.value
    reason = REASONS.get(code, f"The NVIDIA driver reports an error: {error}.")
    return SourceError(reason, absent=code in {NO_LIBRARY, NO_DRIVER}, code=code)
