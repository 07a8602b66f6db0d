from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.snapshots.test_screens import SIZES, SnapCompare, after_answer, after_start, ask
from tests.ui.drive import app_on
from tests.ui.fakes import FakeAlarms, FakeClock, FakeTelemetry, card, models
from workbench.core.models import MemoryUse, ModelEntry
from workbench.core.telemetry import Alarm, GpuInfo, GpuSample
from workbench.engine.scripted import WELCOME, Pace, Script, ScriptedHost, ScriptedModel
from workbench.ui.app import WorkbenchApp

GB = 10**9
RTX_4090 = card(
    gpu=GpuInfo("GPU-4090", "nvml", 0, "NVIDIA GeForce RTX 4090", pci_id="0000:01:00.0", capability=(8, 9)),
    memory_total=25_757_220_864,
    memory_used=9_400_000_000,
    memory_free=16_088_000_000,
    memory_own=8_100_000_000,
    throttle=("power cap",),
)
HOT_3060 = card(
    gpu=GpuInfo("GPU-3060", "nvml", 1, "NVIDIA GeForce RTX 3060", pci_id="0000:02:00.0", capability=(8, 6)),
    memory_total=12_884_901_888, memory_used=12_500_000_000, memory_free=384_901_888, memory_own=None,
    gpu_percent=88.0, memory_percent=None, temperature_c=93.0, power_w=151.0, power_limit_w=170.0, clock_mhz=1320,
    throttle=("software thermal",),
)  # fmt: skip

TOO_HOT = Alarm(
    "throttling",
    "warning",
    "NVIDIA GeForce RTX 3060 is slowed down by the driver: too hot. It has 93 °C.",
    "Figures that are measured now are too low. See to its air, its fans and its power cables.",
    "GPU-3060",
)


def on_gpus(*gpus: GpuSample) -> WorkbenchApp:
    """A model on GPUs, half a minute after it was loaded."""
    telemetry = FakeTelemetry()
    for second in range(40):
        wave = 50 + 50 * math.sin(second / 4)
        loaded = min(1.0, second / 10)
        telemetry.show(
            *(replace(gpu, gpu_percent=wave, memory_used=round((gpu.memory_used or 0) * loaded)) for gpu in gpus)
        )
    telemetry.show(*gpus)
    clock = FakeClock()
    entry = ModelEntry("qwen:Q4_K_M", "Qwen3-8B", "Q4_K_M", "/m/q4", 5_030_000_000, 8_190_000_000, "qwen3", 4.91)
    memory = MemoryUse(
        5_030_000_000, 1_208_000_000, 312_000_000, "CUDA0", (("CUDA0", 6_100_000_000), ("CPU", 450_000_000))
    )
    model = ScriptedModel(entry, (Script.of(WELCOME),), Pace(prefill_tps=6400, decode_tps=112), memory=memory)
    host = ScriptedHost([model, *models()], clock=clock, sleep=clock.sleep)
    alarms = FakeAlarms()
    if HOT_3060 in gpus:
        alarms.ring(TOO_HOT)
    return app_on(host, clock, "qwen:Q4_K_M", telemetry=telemetry, alarms=alarms)


@pytest.mark.parametrize("size", SIZES)
def test_one_gpu(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    assert snap_compare(on_gpus(RTX_4090), terminal_size=size, run_before=ask)


@pytest.mark.parametrize("size", SIZES)
def test_two_gpus(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    assert snap_compare(on_gpus(RTX_4090, HOT_3060), terminal_size=size, run_before=ask)


@pytest.mark.parametrize("size", SIZES)
def test_a_race_on_a_gpu(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    assert snap_compare(on_gpus(RTX_4090), terminal_size=size, run_before=after_start(["f3"]))


@pytest.mark.parametrize("size", SIZES)
def test_what_is_wrong(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    app = on_gpus(HOT_3060)
    assert snap_compare(app, terminal_size=size, run_before=after_answer(["f10"]))


@pytest.mark.parametrize("size", SIZES)
def test_an_alarm(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    assert snap_compare(on_gpus(HOT_3060), terminal_size=size, run_before=ask)
