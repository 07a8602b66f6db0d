from __future__ import annotations

from dataclasses import replace

from tests.ui.fakes import HOST, FakeClock, FakeTelemetry, app_on, settle, shown, until
from workbench.core.telemetry import GpuInfo, GpuSample
from workbench.engine.scripted import ScriptedHost
from workbench.ui.machine import PAST_SAMPLES, MachineWatch

CARD = GpuInfo("GPU-1", "nvml", 0, "NVIDIA GeForce RTX 4090", pci_id="0000:01:00.0")


def sample(**figures: object) -> GpuSample:
    return replace(GpuSample(CARD, memory_total=1000, memory_used=100, gpu_percent=40.0), **figures)  # type: ignore[arg-type]


def test_a_sample_is_news_once() -> None:
    telemetry = FakeTelemetry()
    watch = MachineWatch(telemetry, lambda: 0)
    assert watch.look()
    assert watch.view.host == HOST
    assert not watch.look()
    telemetry.show(sample())
    assert watch.look()
    assert [gpu.sample.gpu for gpu in watch.view.gpus] == [CARD]


def test_nothing_is_shown_before_the_first_sample() -> None:
    telemetry = FakeTelemetry()
    telemetry.samples.clear()
    watch = MachineWatch(telemetry, lambda: 0)
    assert not watch.look()
    assert watch.view.host is None


def test_the_past_of_each_gpu_is_its_own_and_has_gaps() -> None:
    telemetry = FakeTelemetry()
    other = replace(sample(gpu_percent=None), gpu=replace(CARD, key="GPU-2"))
    telemetry.show(sample(), other)
    telemetry.show(other)
    telemetry.show(sample(memory_used=2000), other)
    watch = MachineWatch(telemetry, lambda: 0)
    watch.look()
    first, second = watch.view.gpus
    assert first.busy == (None, 0.4, None, 0.4)
    assert first.filled == (None, 0.1, None, 1.0)
    assert first.fill == 1.0
    assert second.busy == (None, None, None, None)
    assert second.filled == (None, 0.1, 0.1, 0.1)
    for _ in range(PAST_SAMPLES):
        telemetry.show(sample())
    watch.look()
    assert len(watch.view.gpus[0].busy) == PAST_SAMPLES


def test_figures_that_do_not_change_any_more_are_said_to_be_old() -> None:
    telemetry = FakeTelemetry()
    now = telemetry.samples[0].at_ns
    watch = MachineWatch(telemetry, lambda: now)
    assert watch.look()
    now += 3 * 10**9
    assert not watch.look()
    now += 2 * 10**9
    assert watch.look()
    assert watch.view.age_s == 5
    assert not watch.look()
    now += 10**9
    assert watch.look()
    telemetry.samples.append(replace(telemetry.samples[0], at_ns=now))
    assert watch.look()
    assert watch.view.age_s == 0


async def test_the_meters_run_while_the_program_does(host: ScriptedHost, clock: FakeClock) -> None:
    telemetry = FakeTelemetry()
    app = app_on(host, clock, telemetry=telemetry)
    assert not telemetry.running
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        assert telemetry.running
        assert "412 MB" in shown(app)
        telemetry.show(host=replace(HOST, rss_bytes=999_000_000))
        await until(pilot, lambda: "999 MB" in shown(app))
    assert not telemetry.running
