"""Probing llama.cpp's build and its devices in a child process, because some backends end the process that asks."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from workbench.core.telemetry import ComputeDevice
from workbench.processes import ChildProcess

WORKER = "workbench.engine.llama.probe_worker"
PATIENCE_S = 30.0
"""The first use of CUDA may take seconds: it wakes the GPU, and may compile code for it."""
_ARCHS = re.compile(r"\bARCHS = ([\d, ]+)")


def build_features(system_info: str) -> dict[str, bool]:
    """The features of the processor and the build in llama.cpp's list of them, and whether each is used."""
    parts = (part.partition("=") for part in system_info.split("|"))
    return {
        name.split(":")[-1].strip(): value.strip() == "1" for name, _, value in parts if value.strip() in {"0", "1"}
    }


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
    compiled: tuple[str, ...] = ()
    """Backends for GPUs whose library is in the build, by ggml's names; some of `backends` may not have started."""
    cmake_args: str = ""
    """CMAKE_ARGS that it was compiled with, where `make` has compiled it with any."""

    @property
    def features(self) -> dict[str, bool]:
        """Features of the processor that this build uses or does not use."""
        return build_features(self.system_info)

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
    """Why the findings are incomplete; empty where they are complete."""
    warnings: tuple[str, ...] = ()
    """llama.cpp's warnings from its search for devices."""


def probe_llama(patience_s: float = PATIENCE_S) -> LlamaProbe:
    """Probe llama.cpp in a child process. It may take seconds, and never fails: `problem` says what went wrong."""
    # Without this SYCL cannot report its memory, and asking for it ends the process.
    environment = {"GGML_NO_BACKTRACE": "1", "ZES_ENABLE_SYSMAN": os.environ.get("ZES_ENABLE_SYSMAN", "1")}
    try:
        with tempfile.TemporaryFile() as errors:
            return _ask(ChildProcess(WORKER, environment=environment, errors=errors), patience_s)
    except OSError as error:
        return LlamaProbe(problem=f"no process starts for it: {error}")


def _ask(child: ChildProcess, patience_s: float) -> LlamaProbe:
    deadline = time.monotonic() + patience_s
    events = []
    try:
        while (event := child.receive(max(0.0, deadline - time.monotonic()))) is not None:
            events.append(event)
        status = child.close(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        status = None
    if status is None:
        trouble = f"it did not answer for {patience_s:g} seconds"
        child.kill()
        # A driver that hangs may hold the process even then.
        child.close(1.0)
    elif status:
        last = child.last_error()
        trouble = f"it ended with status {status}" + (f": {last}" if last else "")
    else:
        trouble = ""
    return read_answer(events, trouble)


def read_answer(events: Iterable[Mapping[str, Any]], trouble: str = "") -> LlamaProbe:
    """Read the findings of the child; `trouble` says how it ended, where it did not end well."""
    build, devices, warnings, problem = None, [], (), ""
    ended = False
    for event in events:
        facts = {name: value for name, value in event.items() if name != "event"}
        # What was found is kept, however strange the rest is.
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            match event["event"]:
                case "build":
                    names: dict[str, Any] = {
                        name: tuple(facts[name]) for name in ("backends", "compiled") if name in facts
                    }
                    build = LlamaBuild(**facts | names)
                case "device":
                    devices.append(ComputeDevice(**facts))
                case "end":
                    ended, warnings = True, tuple(facts["log"])
                case "abort" | "failed":
                    problem = facts["message"]
    if not ended:
        problem = problem or trouble or "it ended before its answer was complete"
    return LlamaProbe(build, tuple(devices), problem, warnings)
