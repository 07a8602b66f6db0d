from __future__ import annotations

import time
from contextlib import contextmanager

import pytest

from workbench.core.telemetry import GpuInfo, GpuSample, TelemetrySample
from workbench.telemetry.conditions import SystemConditionWatch


class FakeTelemetry:
    def __init__(self, *samples):
        self.samples = list(samples)
        self.pauses = 0

    async def fresh(self):
        assert not self.pauses
        return self.samples.pop(0)

    @contextmanager
    def paused(self):
        self.pauses += 1
        yield
        self.pauses -= 1


def gpu(**figures):
    return GpuSample(GpuInfo("0", "nvml", 0), **figures)


async def test_own_work_is_no_disturbance():
    watch = SystemConditionWatch()
    await watch.begin()
    deadline = time.process_time() + 0.05
    while time.process_time() < deadline:
        pass
    found = await watch.end()
    assert 0 <= found.others_percent <= 100
    assert found.others_s >= 0
    assert found.load_average is None or found.load_average >= 0
    assert found.cpu_mhz is None or found.cpu_mhz > 0
    assert (found.gpu_mhz, found.gpu_throttle, found.gpu_others_bytes) == (None, (), None)


async def test_processor_time_of_others_is_what_is_neither_idle_nor_own(monkeypatch):
    watch = SystemConditionWatch()
    reads = iter([(10.0, 5.0, 2.0), (12.0, 8.0, 4.0)])
    monkeypatch.setattr(watch, "_read", lambda: next(reads))
    monkeypatch.setattr(watch, "_cores", 4)
    await watch.begin()
    found = await watch.end()
    assert (found.others_s, found.others_percent) == (1.0, 12.5)


async def test_gpus_are_looked_at_before_and_after_and_never_in_between():
    first = gpu(clock_mhz=1500, throttle=("power cap", "software thermal"), memory_used=900, memory_own=600)
    second = gpu(clock_mhz=1200, throttle=("idle",), memory_used=100)
    meters = FakeTelemetry(TelemetrySample(1), TelemetrySample(2, gpus=(first, second)))
    watch = SystemConditionWatch(meters)
    await watch.begin()
    assert meters.pauses == 1
    found = await watch.end()
    assert meters.pauses == 0
    assert (found.gpu_mhz, found.gpu_others_bytes, found.gpu_joules) == (1500, 300, None)
    assert found.gpu_throttle == ("slowed down by the driver: too hot",)


@pytest.mark.parametrize("samples", [(None, None), (None, TelemetrySample(1)), (TelemetrySample(1), None)])
async def test_meters_that_do_not_respond_give_no_sample(samples):
    watch = SystemConditionWatch(FakeTelemetry(*samples))
    await watch.begin()
    found = await watch.end()
    assert (found.gpu_mhz, found.gpu_joules) == (None, None)


async def test_energy_is_what_the_counters_say():
    samples = (TelemetrySample(at, gpus=(gpu(energy_mj=energy),)) for at, energy in ((1, 5_000), (2, 47_500)))
    watch = SystemConditionWatch(FakeTelemetry(*samples))
    await watch.begin()
    assert (await watch.end()).gpu_joules == 42.5
