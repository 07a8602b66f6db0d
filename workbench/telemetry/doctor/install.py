"""Commands that install the build of llama.cpp that a GPU needs."""

from __future__ import annotations

import importlib.metadata
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from workbench.core.telemetry import GpuInfo, SourceName
from workbench.telemetry.doctor.cuda_wheels import newest_index

LOWEST_CAPABILITY = (5, 0)
"""The lowest compute capability that CUDA builds of llama.cpp support."""

_NATIVE: dict[SourceName, tuple[str, str, str]] = {
    "nvml": ("cuda", "-DGGML_CUDA=on", "the CUDA toolkit (nvcc)"),
    "amdgpu": ("rocm", "-DGGML_HIP=on", "ROCm (hipcc)"),
    "apple": ("metal", "-DGGML_METAL=on", "Xcode's command line tools (xcode-select --install)"),
}
"""The backend made for the GPUs of a source, its flag of CMake, and what compiling it needs."""
BINDING = "llama-cpp-python"
PIP = f"pip install --force-reinstall --no-cache-dir --no-deps --no-binary {BINDING}"
"""The command that compiles the binding again, before its requirement."""
CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class Advice:
    """How to install a build."""

    command: str
    """The command that compiles it."""
    needs: str
    """What must be installed first."""
    checkout: str = ""
    """The command that installs a prebuilt one, in a checkout of this program; empty where there is none."""

    @property
    def text(self) -> str:
        """The advice as a hint."""
        prebuilt = f"{self.checkout} (prebuilt), or " if self.checkout else ""
        return f"Type: {prebuilt}{self.command} (compiles; needs {self.needs})"


def cuda_index(cuda: str, capability: tuple[int, int] | None) -> str | None:
    """The newest wheel index for a driver, by its CUDA version such as `12.4`, and a GPU; None where none fits."""
    try:
        major, minor = (int(part) for part in cuda.split("."))
    except ValueError:
        return None
    return newest_index((major, minor), () if capability is None else (capability,))


# Called with every sample of the meters, and it reads files.
@lru_cache(maxsize=64)
def advice_for(gpu: GpuInfo, cuda: str = "", *, platform: str = sys.platform, checkout: bool | None = None) -> Advice:
    """How to install a build of llama.cpp with the native backend of `gpu`.

    `cuda` is the CUDA version that the driver supports; a prebuilt wheel is offered where this runs from a checkout.
    """
    assert gpu.source != "ggml", "a device of llama.cpp needs no other build"
    backend, flags, needs = _NATIVE[gpu.source]
    wanted = f"{BINDING}=={installed_version(BINDING) or '0.3.36'}"
    if platform == "win32":
        command = f'{PIP} -C cmake.args="{flags}" {wanted}'
    else:
        command = f'CMAKE_ARGS="{flags}" {PIP} {wanted}'
    if checkout is None:
        checkout = (CHECKOUT / "Makefile").is_file() and (CHECKOUT / "pyproject.toml").is_file()
    prebuilt = ""
    if checkout and backend != "cuda":
        prebuilt = f"make run BACKEND={backend}"
    elif checkout and (index := cuda_index(cuda, gpu.capability)) is not None:
        prebuilt = f"make run BACKEND=cuda CUDA={index}"
    return Advice(command, needs, prebuilt)


def installed_version(package: str) -> str | None:
    """The version of a Python package; None where it is not installed."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def why_too_old(capability: tuple[int, int]) -> str:
    """Why no CUDA build supports a GPU of this compute capability; empty where one does."""
    if capability >= LOWEST_CAPABILITY:
        return ""
    have, need = ("{}.{}".format(*version) for version in (capability, LOWEST_CAPABILITY))
    return f"it has compute capability {have}, and CUDA builds of llama.cpp need at least {need}"
