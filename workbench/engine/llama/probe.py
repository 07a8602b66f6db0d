"""What llama.cpp is and what it computes on, asked in a child process: some backends end the process that asks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from workbench.core.telemetry import ComputeDevice

WORKER = "workbench.engine.llama.probe_worker"
PATIENCE_S = 30.0
"""The first use of CUDA may take seconds: it wakes the GPU, and may compile code for it."""
_ARCHS = re.compile(r"\bARCHS = ([\d, ]+)")


@dataclass(frozen=True, slots=True)
class LlamaBuild:
    """A build of llama.cpp."""

    binding: str
    """The version of llama-cpp-python."""
    ggml: str | None
    commit: str | None
    backends: tuple[str, ...]
    gpu_offload: bool
    """Whether it can put layers on a GPU at all."""
    system_info: str
    """The features of the processor and of the build, as llama.cpp prints them."""

    @property
    def features(self) -> dict[str, bool]:
        """Features of the processor that this build uses or does not use."""
        found = {}
        for part in self.system_info.split("|"):
            name, equals, value = part.partition("=")
            if equals and value.strip() in {"0", "1"}:
                found[name.split(":")[-1].strip()] = value.strip() == "1"
        return found

    @property
    def archs(self) -> tuple[int, ...]:
        """The compute capabilities that it holds CUDA code for, such as 750 for 7.5; empty where it does not say."""
        match = _ARCHS.search(self.system_info)
        return tuple(int(word) for word in re.findall(r"\d+", match[1])) if match else ()


@dataclass(frozen=True, slots=True)
class LlamaProbe:
    """What was found."""

    build: LlamaBuild | None = None
    devices: tuple[ComputeDevice, ...] = ()
    problem: str = ""
    """Why that is not all; empty where it is."""
    warnings: tuple[str, ...] = ()
    """What llama.cpp warned of when it looked for devices."""


def probe_llama(patience_s: float = PATIENCE_S) -> LlamaProbe:
    """Ask a child process. It may take seconds, and never fails: what went wrong is in `problem`.

    Args:
        patience_s: How long to wait for it.
    """
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
    # Without this SYCL cannot tell its memory, and asking for it ends the process.
    environment.setdefault("ZES_ENABLE_SYSMAN", "1")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", WORKER],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
    )
    try:
        told, complaints = process.communicate(timeout=patience_s)
        hung = False
    except subprocess.TimeoutExpired:
        process.kill()
        told, complaints = process.communicate()
        hung = True
    if hung:
        trouble = f"it did not answer for {patience_s:g} seconds"
    elif process.returncode:
        last = next(reversed([line for line in complaints.splitlines() if line.strip()]), "")
        trouble = f"it ended with status {process.returncode}" + (f": {last.strip()}" if last else "")
    else:
        trouble = ""
    return read_answer(told.splitlines(), trouble)


def read_answer(lines: Iterable[str], trouble: str = "") -> LlamaProbe:
    """Make sense of what the child told.

    Args:
        lines: What it printed.
        trouble: How it ended, where that was not well.
    """
    build, devices, warnings, problem = None, [], (), ""
    ended = False
    for line in lines:
        try:
            event: dict[str, Any] = json.loads(line)
            match event.pop("event"):
                case "build":
                    build = LlamaBuild(**event | {"backends": tuple(event["backends"])})
                case "device":
                    devices.append(ComputeDevice(**event))
                case "end":
                    ended, warnings = True, tuple(event["log"])
                case "abort" | "failed":
                    problem = event["message"]
        except (ValueError, KeyError, TypeError, AttributeError):
            # The last line of a process that died may be half a line.
            continue
    if not ended:
        problem = problem or trouble or "it ended before it had told everything"
    return LlamaProbe(build, tuple(devices), problem, warnings)
