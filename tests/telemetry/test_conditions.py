from __future__ import annotations

import time

import pytest

from workbench.core.telemetry import GpuInfo, GpuSample, TelemetrySample
from workbench.telemetry.conditions import FRESH_NS, ConditionWatch


class FakeTelemetry:
    def __init__(self, sample):
        self.sample = sample

    def latest(self):
        return self.sample


def gpu(**figures):
    return GpuSample(GpuInfo("0", "nvml", 0), **figures)


def test_own_work_is_no_disturbance():
    watch = ConditionWatch()
    watch.begin()
    deadline = time.process_time() + 0.05
    while time.process_time() < deadline:
        pass
    found = watch.end()
    assert 0 <= found.others_percent <= 100
    assert found.others_s >= 0
    assert found.load_average is None or found.load_average >= 0
    assert found.cpu_mhz is None or found.cpu_mhz > 0
    assert (found.gpu_mhz, found.gpu_throttle, found.gpu_others_bytes) == (None, (), None)


def test_processor_time_of_others_is_what_is_neither_idle_nor_own(monkeypatch):
    watch = ConditionWatch()
    reads = iter([(10.0, 5.0, 2.0), (12.0, 8.0, 4.0)])
    monkeypatch.setattr(watch, "_read", lambda: next(reads))
    monkeypatch.setattr(watch, "_cores", 4)
    watch.begin()
    found = watch.end()
    assert (found.others_s, found.others_percent) == (1.0, 12.5)


def test_gpus_are_looked_at():
    now = time.perf_counter_ns()
    first = gpu(clock_mhz=1500, throttle=("power cap", "software thermal"), memory_used=900, memory_own=600)
    second = gpu(clock_mhz=1200, throttle=("idle",), memory_used=100)
    watch = ConditionWatch(FakeTelemetry(TelemetrySample(now, gpus=(first, second))))
    watch.begin()
    found = watch.end()
    assert (found.gpu_mhz, found.gpu_others_bytes) == (1500, 300)
    assert found.gpu_throttle == ("slowed down by the driver: too hot",)


@pytest.mark.parametrize("sample", [None, TelemetrySample(0, gpus=(gpu(clock_mhz=5),))])
def test_an_old_sample_says_nothing(sample):
    assert time.perf_counter_ns() > FRESH_NS
    watch = ConditionWatch(FakeTelemetry(sample))
    watch.begin()
    assert watch.end().gpu_mhz is None
