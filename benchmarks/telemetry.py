"""What the meters cost: processor time of one sample, of the sampler at one sample a second, and of the screen.

What a sample costs the screen is measured in the whole program at 120x36 with its panel, idle, on cards whose figures
all change every second: processor time of the thread that draws, less that of a program whose meters are not read.

The GPUs are those of the stub that the tests use, which answers in microseconds: a real driver's own time comes on top.
Needs Linux and a C compiler; without them only the host's own meters are timed.

    python -m benchmarks.telemetry [--rounds 5] [--samples 200] [--seconds 20]
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, Bar, Samples, finish, interleave, parser, print_samples, wait_until_quiet
from benchmarks.program import Program, home_folder
from workbench.telemetry.amd import AmdSource
from workbench.telemetry.apple import AppleSource
from workbench.telemetry.host import PsutilHostMonitor
from workbench.telemetry.nvml import NvmlSource
from workbench.telemetry.sampler import TelemetrySampler

STUB = ROOT / "tests" / "telemetry" / "stub_nvml.c"
BAR_PERCENT = 0.5
BAR_MS = 2.0
WARM_UP = 5
SETTLE_S = 12.0
"""How long the screen takes to come to rest: alarms stay for some seconds."""
UNREAD = "from workbench.telemetry.sampler import TelemetrySampler; TelemetrySampler.start = lambda self: None"
TIMED = """
import atexit, functools, json, os, time
from textual.screen import Screen
from workbench.ui.chat.screen import ChatScreen
from workbench.ui.machine.monitor import MachineMonitor

def timed(owner, name, step):
    inner = getattr(owner, name)
    @functools.wraps(inner)
    def around(self, *arguments):
        began = time.thread_time_ns()
        try:
            return inner(self, *arguments)
        finally:
            times.append((step, began, time.thread_time_ns() - began))
    setattr(owner, name, around)

times = []
timed(MachineMonitor, "look", "look")
timed(ChatScreen, "on_machine_changed", "lay out")
timed(Screen, "_compositor_refresh", "draw")
def write():
    with open(os.environ["BENCH_TIMES"], "w") as file:
        json.dump(times, file)
atexit.register(write)
"""
"""What runs before the program: it times the three steps from a sample to the terminal."""
GPU_COUNTS = (1, 8)
CARD: dict[str, Any] = {
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


def sampler_with(folder: Path, gpus: int) -> tuple[TelemetrySampler, Path]:
    """A sampler, and the file that the stub has to be played by."""
    play = folder / f"{gpus}.txt"
    write_play(play, gpus)
    nvml = NvmlSource() if gpus else NvmlSource(there=lambda: False)
    return TelemetrySampler(PsutilHostMonitor(), [nvml, AmdSource(), AppleSource()]), play


def write_play(play: Path, gpus: int, moved: int = 0) -> None:
    """Write what the stub answers with; `moved` makes other figures of the same cards."""
    lines = [f"count {gpus}"]
    card = {
        **CARD,
        "used": CARD["used"] + (moved << 28),
        "util": (CARD["util"] + 7 * moved) % 100,
        "temperature": CARD["temperature"] + moved % 20,
        "power": CARD["power"] + 3000 * moved,
        "clock": CARD["clock"] - 15 * moved,
    }
    for index in range(gpus):
        lines += [f"{index}.{figure} {value}" for figure, value in card.items()]
        lines += [f"{index}.uuid GPU-{index}", f"{index}.pci 00000000:{index + 1:02X}:00.0"]
    # The stub may read at any time, and has to find all of it.
    beside = play.with_suffix(".new")
    beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    beside.rename(play)


def time_samples(sampler: TelemetrySampler, play: Path, gpus: int, count: int) -> Callable[[], Mapping[str, float]]:
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


def running_percent(sampler: TelemetrySampler, seconds: float) -> float:
    """Processor time of this process while the sampler's thread runs, in per cent of one core."""
    sampler.start()
    # The first sample loads what it needs.
    time.sleep(2)
    before, began = time.process_time(), time.monotonic()
    time.sleep(seconds)
    percent = 100 * (time.process_time() - before) / (time.monotonic() - began)
    sampler.stop()
    return percent


def watch_screen(folder: Path, gpus: int, seconds: int, *, read: bool) -> Callable[[], Mapping[str, float]]:
    """An arm: the program with its panel, idle, while the cards' figures change every second."""

    def run() -> dict[str, float]:
        play, times = folder / "screen.txt", folder / "times.json"
        write_play(play, gpus)
        env = {"FAKE_NVML_FILE": str(play), "BENCH_TIMES": str(times), "LD_LIBRARY_PATH": str(folder)}
        with home_folder() as home, Program(home, "scripted", env=env, python=TIMED if read else UNREAD) as program:
            program.wait_until_ready()
            program.drain(SETTLE_S)
            if read and gpus and "Card" not in program.text:
                raise SystemExit(f"the panel shows no GPU:\n{program.text}")
            before = main_thread_ms(program)
            for second in range(seconds):
                write_play(play, gpus, moved=second)
                program.drain(1)
            spent = main_thread_ms(program) - before
            program.quit()
        found = {"all, ms/s": spent / seconds}
        if read:
            steps = json.loads(times.read_text(encoding="utf-8"))
            # Both clocks count the time of this thread.
            first, last = before * 1e6, (before + spent) * 1e6
            for step in ("look", "lay out", "draw"):
                taken = sum(ns for name, began, ns in steps if name == step and first <= began < last)
                found[f"{step}, ms/s"] = taken / 1e6 / seconds
        return found

    return run


def main_thread_ms(program: Program) -> float:
    """Processor time of the thread that draws, to the nanosecond, as Linux counts it."""
    text = Path(f"/proc/{program.pid}/task/{program.pid}/schedstat").read_text(encoding="utf-8")
    return int(text.split()[0]) / 1e6


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=5)
    options.add_argument("--samples", type=int, default=200, help="samples a round (default: %(default)s)")
    options.add_argument("--seconds", type=float, default=20, help="how long the thread runs (default: %(default)s)")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        has_stub = load_stub(folder)
        counts = (0, *GPU_COUNTS) if has_stub else (0,)
        samplers = {gpus: sampler_with(folder, gpus) for gpus in counts}
        arms = {f"{gpus} GPUs": time_samples(*samplers[gpus], gpus, chosen.samples) for gpus in counts}
        timed = interleave(arms, chosen.rounds, "one sample")
        sampler, play = samplers[min(counts[-1], 1)]
        os.environ["FAKE_NVML_FILE"] = str(play)
        wait_until_quiet()
        running = Samples(values={"running %": [running_percent(sampler, chosen.seconds)]})
        arms = {"meters not read": watch_screen(folder, 0, int(chosen.seconds), read=False)}
        for gpus in counts:
            arms[f"{gpus} GPUs"] = watch_screen(folder, gpus, int(chosen.seconds), read=True)
        screen = interleave(arms, chosen.rounds, "the screen") if sys.platform == "linux" else Samples()
    parts = {"one sample": timed, "running": running, "screen": screen}
    print_samples(*parts.values())
    gpus = min(counts[-1], 1)
    bars = [
        Bar(f"one sample with {gpus} GPU", timed.median(f"{gpus} GPUs ms"), BAR_MS, unit="ms"),
        Bar("the sampler at 1 Hz", running.median("running %"), BAR_PERCENT, unit="% of a core"),
    ]
    if screen.values:
        pairs = zip(screen.values[f"{gpus} GPUs all, ms/s"], screen.values["meters not read all, ms/s"], strict=True)
        spent = statistics.median(read - unread for read, unread in pairs)
        bars.append(Bar(f"one sample on the screen's thread with {gpus} GPU", spent, BAR_MS, unit="ms"))
    return finish("telemetry", bars, parts, seconds=chosen.seconds)


if __name__ == "__main__":
    sys.exit(main())
