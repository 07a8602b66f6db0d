"""Readings of NVIDIA GPUs through NVML in a child process.

It is needed in three cases: under WSL, where NVML of some drivers crashes the calling process; after a driver update,
when the library loaded in this process no longer matches; and where a driver that hangs must not block the caller. A
child takes some 20 MiB, so the sampler starts without one where it can.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from typing_extensions import override

from workbench.core.telemetry import GpuSample, SourceName
from workbench.processes import ChildProcess, engines
from workbench.telemetry.nvml import NO_LIBRARY, REASONS, STALE_CODES, library_is_there
from workbench.telemetry.source import GpuSource, SourceError, sample_from_dict

WORKER = "workbench.telemetry.nvml_worker"
PATIENCE_S = 10.0
"""Time to wait for an answer; the first one may take seconds, because it wakes a suspended GPU."""


class NvmlChild(GpuSource):
    """Reads NVIDIA GPUs in a child process; `pid` is as for `NvmlSource`."""

    name: SourceName = "nvml"

    def __init__(
        self, pid: int | None = None, *, patience_s: float = PATIENCE_S, there: Callable[[], bool] = library_is_there
    ) -> None:
        self._pid = os.getpid() if pid is None else pid
        self._patience_s = patience_s
        self._there = there
        self._child: ChildProcess | None = None
        self.versions: dict[str, str] = {}
        """The versions of the driver and of the CUDA that it supports, after the first reading."""

    @override
    def read(self) -> Sequence[GpuSample]:
        if self._child is None:
            if not self._there():
                raise SourceError(REASONS[NO_LIBRARY], absent=True, code=NO_LIBRARY)
            self._child = ChildProcess(WORKER, str(self._pid))
        found = self._ask(self._child)
        if "error" in found:
            if found["code"] in STALE_CODES:
                # The next child loads the library again.
                self.close()
            raise SourceError(found["error"], absent=found["absent"], code=found["code"])
        self.versions = found["versions"]
        return [sample_from_dict(sample) for sample in found["samples"]]

    def close(self) -> None:
        """Kill the child; a later reading starts another one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.close(1)

    def _ask(self, child: ChildProcess) -> dict[str, Any]:
        child.send(engines=[*engines])
        try:
            found = child.receive(self._patience_s)
        except TimeoutError:
            self.close()
            raise SourceError(
                f"The NVIDIA driver did not respond within {self._patience_s:g} seconds. `nvidia-smi` will hang as "
                "well: restart the machine."
            ) from None
        if found is None:
            status = child.close(1)
            self.close()
            raise SourceError(
                f"The NVIDIA driver's library crashed the process that called it (exit status {status}): "
                "update the driver."
            )
        return found


class NvmlAnywhere(GpuSource):
    """Reads NVIDIA GPUs in this process while that is possible and safe, and otherwise in a child process."""

    name: SourceName = "nvml"

    def __init__(self, here: GpuSource, child: GpuSource, *, only_child: bool) -> None:
        self._source = child if only_child else here
        self._child = child

    @override
    def read(self) -> Sequence[GpuSample]:
        try:
            return self._source.read()
        except SourceError as error:
            if error.code in STALE_CODES:
                self._source = self._child
            raise
