"""What to type to get the build of llama.cpp that a GPU needs."""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from workbench.core.telemetry import GpuInfo

Backend = Literal["cuda", "rocm", "metal", "vulkan"]

CUDA_INDEXES = {
    (11, 8): "cu118",
    (12, 1): "cu121",
    (12, 2): "cu122",
    (12, 3): "cu123",
    (12, 4): "cu124",
    (12, 5): "cu125",
    (13, 0): "cu130",
    (13, 2): "cu132",
}
"""The CUDA versions that llama-cpp-python publishes wheels for, by the names of their indexes."""

CUDA_CAPABILITY = {11: ((6, 0), (8, 9)), 12: ((6, 0), (99, 0)), 13: ((7, 5), (99, 0))}
"""The compute capabilities, lowest and highest, that the wheels of a CUDA major version run on."""

LOWEST_CAPABILITY = (5, 0)
"""No CUDA build of llama.cpp runs below this."""

LOWEST_OF_WHEELS = min(low for low, _ in CUDA_CAPABILITY.values())

_FLAGS: dict[Backend, str] = {
    "cuda": "-DGGML_CUDA=on",
    "rocm": "-DGGML_HIP=on",
    "metal": "-DGGML_METAL=on",
    "vulkan": "-DGGML_VULKAN=on",
}
_NEEDS: dict[Backend, str] = {
    "cuda": "the CUDA toolkit (nvcc)",
    "rocm": "ROCm (hipcc)",
    "metal": "Xcode's command line tools (xcode-select --install)",
    "vulkan": "the Vulkan development files and glslc",
}
BINDING = "llama-cpp-python"
CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class Advice:
    """How to get a build."""

    command: str
    """Compiles it."""
    needs: str
    """What has to be installed for that."""
    checkout: str = ""
    """Takes a prebuilt one instead, in a checkout of this program; empty where there is none."""

    @property
    def text(self) -> str:
        """All of it, as a hint."""
        prebuilt = f"{self.checkout} (prebuilt), or " if self.checkout else ""
        return f"Type: {prebuilt}{self.command} (compiles; needs {self.needs})"


def backend_of(gpu: GpuInfo) -> Backend:
    """The backend that is meant for a GPU."""
    backends: dict[str, Backend] = {"nvml": "cuda", "amdgpu": "rocm", "apple": "metal"}
    return backends[gpu.source]


def cuda_index(cuda: str, capability: tuple[int, int] | None) -> str | None:
    """The newest wheel index that a driver and a GPU take; None where none fits or the driver is not known.

    Args:
        cuda: The CUDA version that the driver supports, such as `12.4`.
        capability: The compute capability of the GPU.
    """
    try:
        major, minor = (int(part) for part in cuda.split("."))
    except ValueError:
        return None
    fitting = [
        name
        for version, name in CUDA_INDEXES.items()
        if version <= (major, minor)
        and (capability is None or CUDA_CAPABILITY[version[0]][0] <= capability <= CUDA_CAPABILITY[version[0]][1])
    ]
    return fitting[-1] if fitting else None


# Alarms ask for it with every sample of the meters, and it reads files.
@lru_cache(maxsize=64)
def advice_for(
    gpu: GpuInfo,
    cuda: str = "",
    *,
    backend: Backend | None = None,
    platform: str = sys.platform,
    checkout: bool | None = None,
) -> Advice:
    """How to get a build of llama.cpp for `gpu`.

    Args:
        gpu: The GPU.
        cuda: The CUDA version that the driver supports, where that is known.
        backend: The backend, where it is not the one that is meant for this GPU.
        platform: As `sys.platform`.
        checkout: Whether this program runs from a checkout; found out by default.
    """
    backend = backend or backend_of(gpu)
    flags = _FLAGS[backend]
    pip = f"pip install --force-reinstall --no-cache-dir --no-deps --no-binary {BINDING}"
    wanted = f"{BINDING}=={_version()}"
    if platform == "win32":
        command = f'{pip} -C cmake.args="{flags}" {wanted}'
    else:
        command = f'CMAKE_ARGS="{flags}" {pip} {wanted}'
    if checkout is None:
        checkout = (CHECKOUT / "Makefile").is_file() and (CHECKOUT / "pyproject.toml").is_file()
    prebuilt = ""
    if checkout:
        index = cuda_index(cuda, gpu.capability) if backend == "cuda" else None
        if backend != "cuda":
            prebuilt = f"make run BACKEND={backend}"
        elif index is not None:
            prebuilt = f"make run BACKEND=cuda CUDA={index}"
    return Advice(command, _NEEDS[backend], prebuilt)


def _version() -> str:
    try:
        return importlib.metadata.version(BINDING)
    except importlib.metadata.PackageNotFoundError:
        return "0.3.36"


def why_too_old(capability: tuple[int, int]) -> str:
    """Why a GPU of this compute capability cannot be used by any CUDA build; empty where one can."""
    if capability >= LOWEST_CAPABILITY:
        return ""
    have, need = ("{}.{}".format(*version) for version in (capability, LOWEST_CAPABILITY))
    return f"it has compute capability {have}, and llama.cpp's CUDA code needs {need} at least"
