"""Make llama-cpp-python with the Vulkan backend once, and run a command with it: `make test-vulkan` does.

    python3 -m scripts.vulkan [--include FOLDER] -- COMMAND…         in the checkout's folder

The build is kept in the user's cache, by version, arguments and system; the environment of the program is not changed.
Where something is missing, one sentence says what, and the command does not run.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from scripts.bootstrap import BINDING, SetupError, build_environment, estimate, has_compilers, output_of

OLDEST_HEADERS = 272
"""The first version of Vulkan's headers (1.3.272) that llama.cpp compiles with."""
TOOLS = ("scikit-build-core>=0.9.2", "cmake>=3.21", "ninja")
"""What builds the wheel, in an environment of its own."""
VISIBLE = "GGML_VK_VISIBLE_DEVICES"
"""Software devices are used only where it names them; `0,0` makes two devices of one."""


class _InstanceInfo(ctypes.Structure):
    """`VkInstanceCreateInfo`, with nothing asked for."""

    _fields_ = (
        ("kind", ctypes.c_int), ("next", ctypes.c_void_p), ("flags", ctypes.c_uint32), ("application", ctypes.c_void_p),
        ("layers", ctypes.c_uint32), ("layer_names", ctypes.c_void_p),
        ("extensions", ctypes.c_uint32), ("extension_names", ctypes.c_void_p),
    )  # fmt: skip


def device_count() -> int:
    """How many devices Vulkan has here, software included."""
    try:
        vulkan = ctypes.CDLL("libvulkan.so.1")
    except OSError:
        return 0
    instance, count = ctypes.c_void_p(), ctypes.c_uint32()
    if vulkan.vkCreateInstance(ctypes.byref(_InstanceInfo(kind=1)), None, ctypes.byref(instance)):
        return 0
    vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
    vulkan.vkDestroyInstance(instance, None)
    return count.value


def headers_version(include: Path) -> int | None:
    """The version of Vulkan's headers in a folder, such as 309 for 1.4.309; None where there are none."""
    try:
        text = (include / "vulkan" / "vulkan_core.h").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^#define VK_HEADER_VERSION (\d+)", text, re.MULTILINE)
    return int(found[1]) if found else None


def check(include: Path) -> None:
    """See that a build is possible and of use.

    Raises:
        SetupError: Something is missing.
    """
    if not device_count():
        raise SetupError("Vulkan finds no device (Debian, Ubuntu: apt install mesa-vulkan-drivers has a software one).")
    if not has_compilers():
        raise SetupError("there is no C++ compiler (Debian, Ubuntu: apt install build-essential).")
    if shutil.which("glslc") is None:
        raise SetupError("there is no glslc (Debian, Ubuntu: apt install glslc spirv-headers libvulkan-dev).")
    version = headers_version(include)
    if version is None:
        raise SetupError(f"{include} has no Vulkan headers (Debian, Ubuntu: apt install libvulkan-dev).")
    if version < OLDEST_HEADERS:
        raise SetupError(
            f"the Vulkan headers in {include} are too old ({version}, {OLDEST_HEADERS} is needed): name newer ones "
            "with VULKAN_INCLUDE=FOLDER (scripts/vulkan_headers.sh fetches those of a later Debian)."
        )


def folder_of(arguments: str, include: Path) -> Path:
    """Where the build is kept, by what it depends on."""
    version = metadata.version(BINDING)
    parts = (
        version, arguments, platform.machine(), *platform.libc_ver(), str(headers_version(include)),
        output_of(os.environ.get("CXX", "c++"), "-dumpfullversion"), _processor(),
    )  # fmt: skip
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "workbench-builds" / f"{BINDING}-{version}-vulkan-{digest}"


def _processor() -> str:
    """The features of the processor, which llama.cpp is compiled for."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def build(folder: Path, arguments: str) -> Path:
    """Compile, unless it was done before; returns a folder for PYTHONPATH.

    Raises:
        SetupError: Compiling failed.
    """
    site, log = folder / "site", folder / "build.log"
    if site.is_dir():
        return site
    folder.mkdir(parents=True, exist_ok=True)
    print(f"Compiling llama.cpp with Vulkan takes twice what it takes without ({estimate()}): {log}", flush=True)
    environment = build_environment() | {"CMAKE_ARGS": arguments}
    tools = folder / "tools"
    pip = (str(tools / "bin" / "python"), "-m", "pip")
    with tempfile.TemporaryDirectory() as sources, log.open("wb") as lines:

        def run(*command: str) -> None:
            if subprocess.run(command, stdout=lines, stderr=lines, env=environment, check=False).returncode:
                tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
                raise SetupError("compiling failed:\n" + "\n".join(f"  | {line}" for line in tail))

        run(sys.executable, "-m", "venv", str(tools))
        run(*pip, "install", *TOOLS)
        environment["PATH"] = f"{tools / 'bin'}{os.pathsep}{environment['PATH']}"
        wanted = f"{BINDING}=={metadata.version(BINDING)}"
        # Without pip's cache: it would give the kept wheel without Vulkan, or keep this one for everybody.
        fetch = ("download", "--no-cache-dir", "--no-deps", "--no-build-isolation", "--no-binary", BINDING)
        run(*pip, *fetch, "-d", sources, wanted)
        (source,) = Path(sources).iterdir()
        make = ("wheel", "--no-cache-dir", "--no-deps", "--no-build-isolation")
        # With the objects kept, an interrupted build goes on from there.
        run(*pip, *make, "-C", f"build-dir={folder / 'objects'}", "-w", str(folder), str(source))
        install(folder, next(folder.glob("*.whl")))
    shutil.rmtree(folder / "objects", ignore_errors=True)
    shutil.rmtree(tools, ignore_errors=True)
    return site


def install(folder: Path, wheel: Path) -> None:
    """Unpack the wheel beside it, all or nothing."""
    unpacked = folder / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    shutil.unpack_archive(wheel, unpacked, "zip")
    unpacked.rename(folder / "site")


def main() -> int:
    """Build, and run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--include", default=os.environ.get("VULKAN_INCLUDE") or "/usr/include",
                        help="the folder with the Vulkan headers; /usr/include by default")  # fmt: skip
    parser.add_argument("--visible", default=os.environ.get(VISIBLE) or "0,0", help=f"the value of {VISIBLE}")
    parser.add_argument("command", nargs="*", help="what runs with the build; its folder is printed without one")
    options = parser.parse_args()
    include = Path(options.include).absolute()
    arguments = "-DGGML_VULKAN=on -DLLAVA_BUILD=off" + (
        f" -DVulkan_INCLUDE_DIR={include}" if options.include != "/usr/include" else ""
    )
    try:
        check(include)
        site = build(folder_of(arguments, include), arguments)
    except SetupError as error:
        print(f"Nothing runs on Vulkan here: {error}")
        return 0 if "compiling failed" not in str(error) else 1
    if not options.command:
        print(site)
        return 0
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    os.execvpe(options.command[0], options.command, os.environ | {"PYTHONPATH": path, VISIBLE: options.visible})


if __name__ == "__main__":
    sys.exit(main())
