"""NVML in a process of its own.

It is needed in three cases: under WSL, where some drivers' NVML crashes the process that calls it; once the driver was
updated, since the library that this process has loaded never fits it again; and wherever a driver that hangs must not
take anything along. A child costs some 20 MB, so the sampler begins without one where it can.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from workbench.core.telemetry import GpuSample, SourceName
from workbench.processes import ChildProcess
from workbench.telemetry.nvml import NO_LIBRARY, REASONS, STALE_CODES, NvmlSource, is_wsl, library_is_there
from workbench.telemetry.source import GpuSource, SourceError
from workbench.telemetry.wire import sample_from_dict

WORKER = "workbench.telemetry.nvml_worker"
PATIENCE_S = 10.0
"""The first call may take seconds: it wakes a GPU that sleeps."""


class NvmlChild:
    """Reads NVIDIA GPUs in a child process.

    Args:
        pid: The process whose share of the memory is wanted; this one by default.
        patience_s: How long to wait for an answer.
        there: Whether the driver's library is there.
    """

    name: SourceName = "nvml"

    def __init__(
        self,
        pid: int | None = None,
        *,
        patience_s: float = PATIENCE_S,
        there: Callable[[], bool] = library_is_there,
    ) -> None:
        self._pid = os.getpid() if pid is None else pid
        self._patience_s = patience_s
        self._there = there
        self._child: ChildProcess | None = None
        self.versions: dict[str, str] = {}
        """The versions of the driver and of the CUDA that it supports, once something was read."""

    def read(self) -> Sequence[GpuSample]:
        """Every GPU that answers.

        Raises:
            SourceError: There is no NVML, no GPU answers, or the child crashed or hangs.
        """
        if self._child is None:
            if not self._there():
                raise SourceError(REASONS[NO_LIBRARY], absent=True, code=NO_LIBRARY)
            self._child = ChildProcess(WORKER, str(self._pid))
        found = self._ask(self._child)
        if "error" in found:
            if found["code"] in STALE_CODES:
                # The next child loads the library anew.
                self.close()
            raise SourceError(found["error"], absent=found["absent"], code=found["code"])
        self.versions = found["versions"]
        return [sample_from_dict(sample) for sample in found["samples"]]

    def close(self) -> None:
        """End the child. A later reading starts another one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.close(1)

    def _ask(self, child: ChildProcess) -> dict[str, Any]:
        child.send()
        try:
            found = child.receive(self._patience_s)
        except TimeoutError:
            self.close()
            raise SourceError(
                f"The NVIDIA driver did not answer for {self._patience_s:g} seconds. `nvidia-smi` will hang as well: "
                "restart the machine."
            ) from None
        if found is None:
            status = child.close(1)
            self.close()
            raise SourceError(
                f"The NVIDIA driver's library crashed the process that asked it (exit status {status}): "
                "update the driver."
            )
        return found


class NvmlAnywhere:
    """Reads NVIDIA GPUs in this process as long as that works, and in a child process where it cannot.

    Args:
        here: Reads in this process.
        child: Reads in a child process.
        only_child: Whether it is not safe to read in this process.
    """

    name: SourceName = "nvml"

    def __init__(self, here: GpuSource, child: GpuSource, *, only_child: bool) -> None:
        self._source = child if only_child else here
        self._child = child

    def read(self) -> Sequence[GpuSample]:
        """Every GPU that answers.

        Raises:
            SourceError: There is no NVML, or no GPU answers.
        """
        try:
            return self._source.read()
        except SourceError as error:
            if error.code in STALE_CODES:
                self._source = self._child
            raise


def nvml_anywhere() -> NvmlAnywhere:
    """The source of this machine."""
    return NvmlAnywhere(NvmlSource(), NvmlChild(), only_child=is_wsl())
