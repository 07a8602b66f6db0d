"""What the meters cost: processor time of one sample, and of the sampler at one sample a second.

The GPUs are those of the stub that the tests use, which answers in microseconds: a real driver's own time comes on top.
Needs Linux and a C compiler; without them only the host's own meters are timed.

    python -m benchmarks.telemetry [--rounds 5] [--samples 200] [--seconds 20]
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.common import (
    ROOT,
    SAMPLE_HEADERS,
    Bar,
    Samples,
    finish,
    interleave,
    parser,
    print_table,
    sample_rows,
    wait_until_quiet,
)
from workbench.telemetry.amd import AmdSource
from workbench.telemetry.apple import AppleSource
from workbench.telemetry.host import HostMonitor
from workbench.telemetry.nvml import NvmlSource
from workbench.telemetry.sampler import Sampler

STUB = ROOT / "tests" / "telemetry" / "stub_nvml.c"
BAR_PERCENT = 0.5
BAR_MS = 2.0
WARM_UP = 5
GPU_COUNTS = (1, 8)
CARD = {
    "name": "NVIDIA Card", "capability": 90, "total": 24 << 30, "used": 1 << 30, "util": 42, "temperature": 61,
    "power": 123_456, "limit": 450_000, "clock": 2520, "memory_clock": 10_501, "throttle": 4, "energy": 5_000_000,
    "compute": "4711:1000000", "mig": 0,
}  # fmt: skip


def load_stub(folder: Path) -> bool:
    """Build the stub and load it under the driver's name; gives whether that worked."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        return False
    target = folder / "libnvidia-ml.so.1"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wl,-soname,libnvidia-ml.so.1", "-o", str(target), str(STUB)]
    subprocess.run(command, check=True)
    ctypes.CDLL(str(target), ctypes.RTLD_GLOBAL)
    return True


def sampler_with(folder: Path, gpus: int) -> tuple[Sampler, Path]:
    """A sampler, and the file that the stub has to be played by."""
    play = folder / f"{gpus}.txt"
    lines = [f"count {gpus}"]
    for index in range(gpus):
        lines += [f"{index}.{figure} {value}" for figure, value in CARD.items()]
        lines += [f"{index}.uuid GPU-{index}", f"{index}.pci 00000000:{index + 1:02X}:00.0"]
    play.write_text("\n".join(lines) + "\n", encoding="utf-8")
    nvml = NvmlSource() if gpus else NvmlSource(there=lambda: False)
    return Sampler(HostMonitor(), [nvml, AmdSource(), AppleSource()]), play


def time_samples(sampler: Sampler, play: Path, gpus: int, count: int) -> Callable[[], Mapping[str, float]]:
    """An arm: so many samples, one after the other."""

    def run() -> dict[str, float]:
        os.environ["FAKE_NVML_FILE"] = str(play)
        for _ in range(WARM_UP):
            sampler.tick()
        latest = sampler.latest()
        if latest is None or len(latest.gpus) != gpus:
            raise SystemExit(f"{gpus} GPUs were expected: {latest}")
        began = time.thread_time()
        for _ in range(count):
            sampler.tick()
        return {"ms": 1000 * (time.thread_time() - began) / count}

    return run


def running_percent(sampler: Sampler, seconds: float) -> float:
    """Processor time of this process while the sampler's thread runs, in per cent of one core."""
    sampler.start()
    # The first sample loads what it needs.
    time.sleep(2)
    before, began = time.process_time(), time.monotonic()
    time.sleep(seconds)
    percent = 100 * (time.process_time() - before) / (time.monotonic() - began)
    sampler.stop()
    return percent


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=5)
    options.add_argument("--samples", type=int, default=200, help="samples a round (default: %(default)s)")
    options.add_argument("--seconds", type=float, default=20, help="how long the thread runs (default: %(default)s)")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        counts = (0, *GPU_COUNTS) if load_stub(folder) else (0,)
        samplers = {gpus: sampler_with(folder, gpus) for gpus in counts}
        arms = {f"{gpus} GPUs": time_samples(*samplers[gpus], gpus, chosen.samples) for gpus in counts}
        timed = interleave(arms, chosen.rounds, "one sample")
        sampler, play = samplers[min(counts[-1], 1)]
        os.environ["FAKE_NVML_FILE"] = str(play)
        wait_until_quiet()
        running = Samples(values={"running %": [running_percent(sampler, chosen.seconds)]})
    print_table(SAMPLE_HEADERS, [*sample_rows(timed), *sample_rows(running)])
    gpus = min(counts[-1], 1)
    bars = [
        Bar(f"one sample with {gpus} GPU", timed.median(f"{gpus} GPUs ms"), BAR_MS, unit="ms"),
        Bar("the sampler at 1 Hz", running.median("running %"), BAR_PERCENT, unit="% of a core"),
    ]
    return finish("telemetry", bars, {"one sample": timed, "running": running}, seconds=chosen.seconds)


if __name__ == "__main__":
    sys.exit(main())
