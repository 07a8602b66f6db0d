"""NVML in a process of its own.

It is needed in three cases: under WSL, where some drivers' NVML crashes the process that calls it; once the driver was
updated, since the library that this process has loaded never fits it again; and wherever a driver that hangs must not
take anything along. A child costs some 20 MB, so the sampler begins without one where it can.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Any

from workbench.core.telemetry import GpuSample, SourceName
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
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.versions: dict[str, str] = {}
        """The versions of the driver and of the CUDA that it supports, once something was read."""

    def read(self) -> Sequence[GpuSample]:
        """Every GPU that answers.

        Raises:
            SourceError: There is no NVML, no GPU answers, or the child crashed or hangs.
        """
        if self._process is None:
            if not self._there():
                raise SourceError(REASONS[NO_LIBRARY], absent=True, code=NO_LIBRARY)
            self._process, self._answers = _start(self._pid)
        found = self._ask(self._process)
        if "error" in found:
            if found["code"] in STALE_CODES:
                # The next child loads the library anew.
                self.close()
            raise SourceError(found["error"], absent=found["absent"], code=found["code"])
        self.versions = found["versions"]
        return [sample_from_dict(sample) for sample in found["samples"]]

    def close(self) -> None:
        """End the child. A later reading starts another one."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError):
            process.kill()
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        # A process that the driver holds in the kernel is not gone until the driver lets it go.
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)

    def _ask(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdin is not None
        try:
            process.stdin.write("\n")
            process.stdin.flush()
            line = self._answers.get(timeout=self._patience_s)
        except OSError:
            line = ""
        except queue.Empty:
            self.close()
            raise SourceError(
                f"The NVIDIA driver did not answer for {self._patience_s:g} seconds. `nvidia-smi` will hang as well: "
                "restart the machine."
            ) from None
        if not line:
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
            status = process.returncode
            self.close()
            raise SourceError(
                f"The NVIDIA driver's library crashed the process that asked it (exit status {status}): "
                "update the driver."
            )
        answer: dict[str, Any] = json.loads(line)
        return answer


def _start(pid: int) -> tuple[subprocess.Popen[str], queue.SimpleQueue[str]]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", WORKER, str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        # Ctrl+C reaches every process of the terminal's group.
        start_new_session=True,
    )
    assert process.stdout is not None
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(process.stdout, answers), name="nvml answers", daemon=True).start()
    return process, answers


def _listen(stream: IO[str], answers: queue.SimpleQueue[str]) -> None:
    with stream:
        for line in stream:
            answers.put(line)
    answers.put("")


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
