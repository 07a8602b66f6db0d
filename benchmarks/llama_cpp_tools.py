"""Builds llama.cpp's own tools from the very source that the installed llama-cpp-python was built from.

The options are those of its wheel: a release build with shared libraries, for the processor of this machine, without
curl. The build is kept in the cache, one folder for each version.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from benchmarks.common import cache_folder, log
from scripts.bootstrap import build_environment

OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=ON",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_BUILD_COMMON=ON",
    "-DLLAMA_BUILD_TOOLS=ON",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_SERVER=ON",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
)


def tool(name: str) -> Path:
    """The program `name`, such as `llama-bench`; built if it is not there yet, which takes some minutes.

    Raises:
        SystemExit: The source cannot be had, or cmake is not there.
    """
    version = importlib.metadata.version("llama-cpp-python")
    build = cache_folder() / f"build-{version}"
    program = build / "bin" / name
    if program.exists():
        return program
    if shutil.which("cmake") is None:
        raise SystemExit(
            f"Building {name} needs cmake: install it (Debian, Ubuntu: sudo apt install cmake ninja-build)"
        )
    log(f"building {name} of llama-cpp-python {version}, about {max(1, round(7 / (os.cpu_count() or 1)))} minutes …")
    generator = ("-G", "Ninja") if shutil.which("ninja") else ()
    source = _source(version) / "vendor" / "llama.cpp"
    with (cache_folder() / "build.log").open("ab") as output:
        for command in (
            ("cmake", "-S", str(source), "-B", str(build), *generator, *OPTIONS),
            ("cmake", "--build", str(build), "--target", name, "--parallel", str(os.cpu_count() or 1)),
        ):
            if subprocess.run(command, stdout=output, stderr=output, env=build_environment(), check=False).returncode:
                raise SystemExit(f"{name} could not be built: see {output.name}")
    return program


def source_folder() -> Path:
    """The source of llama.cpp that the installed llama-cpp-python was built from; fetched where it is not there."""
    return _source(importlib.metadata.version("llama-cpp-python")) / "vendor" / "llama.cpp"


def _source(version: str) -> Path:
    """The unpacked source distribution."""
    folder = cache_folder() / "src"
    unpacked = folder / f"llama_cpp_python-{version}"
    if not unpacked.exists():
        archive = folder / f"{unpacked.name}.tar.gz"
        if not archive.exists():
            log("fetching its source …")
            download = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "llama-cpp-python"]
            subprocess.run([*download, "--dest", str(folder), f"llama-cpp-python=={version}"], check=True, stdout=2)
        with tarfile.open(archive) as content:
            content.extractall(folder, filter="data")
    # It names a repository that is not there: cmake would configure again and again for its sake.
    (unpacked / "vendor" / "llama.cpp" / ".git").unlink(missing_ok=True)
    return unpacked
