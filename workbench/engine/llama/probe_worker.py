"""The child process that reports llama.cpp's build and its devices, each as soon as it is known.

Some backends end the process when they are asked; what was reported before is not lost.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

from workbench.processes import ParentChannel

MOST_LINES = 50
_LIBRARIES = {"cuda": "CUDA", "hip": "ROCm", "vulkan": "Vulkan", "sycl": "SYCL"}
"""ggml's name of a backend for GPUs, by the name of its library."""


def _cmake_args() -> str:
    """What `make` has noted beside the environment: see scripts/bootstrap.py."""
    try:
        noted = json.loads((Path(sys.prefix) / "workbench-setup.json").read_text(encoding="utf-8"))
        return str(noted.get("cmake_args", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _compiled(folder: Path) -> list[str]:
    """The backends for GPUs that have a library in the folder of the build."""
    found = (path.name for path in folder.glob("*ggml-*"))
    return sorted({_LIBRARIES[word] for name in found for word in _LIBRARIES if f"ggml-{word}." in name})


def _report(channel: ParentChannel) -> None:
    from workbench.engine.llama import native
    from workbench.engine.llama.aborts import abort_hooks
    from workbench.engine.llama.devices import backend_names, library_version, list_devices

    abort_hooks.append(lambda message: channel.emit(event="abort", message=message))
    with native.log.collect() as lines:
        version, commit = library_version()
        channel.emit(
            event="build",
            binding=importlib.metadata.version("llama-cpp-python"),
            ggml=version,
            commit=commit,
            # Backends are registered by the first question about them.
            backends=backend_names(),
            compiled=_compiled(Path(native.api.__file__).parent / "lib"),
            gpu_offload=bool(native.api.llama_supports_gpu_offload()),
            system_info=native.api.llama_print_system_info().decode("utf-8", "replace"),
            cmake_args=_cmake_args(),
        )
        for device in list_devices():
            channel.emit(event="device", **asdict(device))
    warnings = [text for level, text in lines if level >= logging.WARNING]
    channel.emit(event="end", log=warnings[:MOST_LINES])


def main() -> None:
    """Report everything, then exit."""
    channel = ParentChannel()
    try:
        _report(channel)
    except Exception as error:  # noqa: BLE001 - the parent reports it, whichever it is
        channel.emit(event="failed", message=f"{type(error).__name__}: {error}")
    channel.exit()


if __name__ == "__main__":
    main()
