"""The stub of NVML: compiling it, and playing cards and troubles with it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("stub_nvml.c")
GIB = 2**30

RTX_4090 = {
    "name": "NVIDIA GeForce RTX 4090", "uuid": "GPU-4090", "pci": "00000000:01:00.0", "capability": 89,
    "total": 24 * GIB, "used": GIB, "reserved": GIB // 4, "util": 42, "memory_util": 17, "temperature": 61,
    "power": 123_456, "limit": 450_000, "clock": 2520, "memory_clock": 10_501, "throttle": 4, "energy": 5_000_000,
    "compute": f"self:{GIB // 2} 4711:{GIB // 4}", "mig.error": 3,
}  # fmt: skip
H200 = RTX_4090 | {
    "name": "NVIDIA H200", "uuid": "GPU-h200", "pci": "00000000:C1:00.0", "capability": 90, "total": 141 * GIB,
    "mig": 0, "mig.error": 0,
}  # fmt: skip
QUADRO_600 = {
    "name": "Quadro 600", "uuid": "GPU-600", "pci": "00000000:02:00.0", "capability": 21, "total": GIB, "used": 0,
    "temperature": 50,
}  # fmt: skip
GTX_770 = QUADRO_600 | {"name": "NVIDIA GeForce GTX 770", "uuid": "GPU-770", "pci": "00000000:03:00.0",
                        "capability": 30, "total": 2 * GIB}  # fmt: skip
GB10 = {
    "name": "NVIDIA GB10", "uuid": "GPU-gb10", "pci": "0000000F:01:00.0", "capability": 121, "util": 3, "power": 4_500,
    "temperature": 40, "compute": "self:1000000",
}  # fmt: skip


def compile_stub(folder, *flags):
    """Build the stub library in `folder`, or skip the test where that cannot be done."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    target = folder / "libnvidia-ml.so.1"
    command = [compiler, "-shared", "-fPIC", "-O1", *flags, "-Wl,-soname,libnvidia-ml.so.1", "-o", target, SOURCE]
    subprocess.run(command, check=True, capture_output=True)
    return target


class Play:
    """What the stub answers with. May change while it is used."""

    def __init__(self, path) -> None:
        self.path = path
        self.values = {}
        self.show()

    def show(self, *gpus, **values):
        """These GPUs, and nothing of what was before."""
        self.values = {"count": len(gpus)} | values
        for index, gpu in enumerate(gpus):
            self.values |= {f"{index}.{figure}": value for figure, value in gpu.items()}
        self._write()

    def change(self, **values):
        """Double underscores stand for dots, and a leading one goes before a number: `_0__used`."""
        names = {name.removeprefix("_").replace("__", "."): value for name, value in values.items()}
        self.values |= names
        self.values = {name: value for name, value in self.values.items() if value is not None}
        self._write()

    def _write(self):
        # The stub may read at any time, and has to find all of it.
        beside = self.path.with_suffix(".new")
        beside.write_text("".join(f"{name} {value}\n" for name, value in self.values.items()))
        beside.rename(self.path)


def why_not(sample, field):
    """The reason why a figure is absent; None where it is not."""
    return dict(sample.absent).get(field)
