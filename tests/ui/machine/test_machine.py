from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.ui.drive import app_on, press_keys, settle, shown, started, until
from tests.ui.fakes import HOST, FakeAlarms, FakeClock, FakeTelemetry
from workbench.core.logbook import LogBook
from workbench.core.telemetry import (
    Alarm,
    ComputeDevice,
    GpuInfo,
    GpuSample,
    Situation,
    SourceState,
    TelemetryEvent,
)
from workbench.engine.scripted import ScriptedHost
from workbench.ui.machine.dialog import page_lines
from workbench.ui.workspace.machine_watch import PAST_SAMPLES, MachineView, MachineWatch

CARD = GpuInfo("GPU-1", "nvml", 0, "NVIDIA GeForce RTX 4090", pci_id="0000:01:00.0")


def sample(**figures: object) -> GpuSample:
    return replace(GpuSample(CARD, memory_total=1000, memory_used=100, gpu_percent=40.0), **figures)  # type: ignore[arg-type]


def watch_of(telemetry: FakeTelemetry, now_ns: Callable[[], int] = lambda: 0) -> MachineWatch:
    return MachineWatch(telemetry, FakeAlarms, LogBook(), now_ns)


def test_a_sample_is_news_once() -> None:
    telemetry = FakeTelemetry()
    watch = watch_of(telemetry)
    assert watch.look()
    assert watch.view.host == HOST
    assert not watch.look()
    telemetry.show(sample())
    assert watch.look()
    assert [gpu.sample.gpu for gpu in watch.view.gpus] == [CARD]


def test_nothing_is_shown_before_the_first_sample() -> None:
    telemetry = FakeTelemetry()
    telemetry.samples.clear()
    watch = watch_of(telemetry)
    assert not watch.look()
    assert watch.view.host is None


def test_the_past_of_each_gpu_is_its_own_and_has_gaps() -> None:
    telemetry = FakeTelemetry()
    other = replace(sample(gpu_percent=None), gpu=replace(CARD, key="GPU-2"))
    telemetry.show(sample(), other)
    telemetry.show(other)
    telemetry.show(sample(memory_used=2000), other)
    watch = watch_of(telemetry)
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
    watch = watch_of(telemetry, lambda: now)
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
        assert "392.9 MiB" in shown(app)
        telemetry.show(host=replace(HOST, rss_bytes=999_000_000))
        await until(pilot, lambda: "952.7 MiB" in shown(app))
    assert not telemetry.running


HOT = Alarm("throttling", "warning", "The card is too hot. It has 93 °C.", "See to its air.", "GPU-1")
OLD = Alarm("gpu-too-old", "info", "Quadro 600 is too old: the processor computes.")


def test_alarms_are_logged_and_told_once_and_stay_in_view() -> None:
    telemetry, alarms, logs = FakeTelemetry(), FakeAlarms(), LogBook()
    watch = MachineWatch(telemetry, lambda: alarms, logs, lambda: 0)
    alarms.ring(HOT)
    watch.look()
    assert watch.take_news() == [HOT]
    assert watch.take_news() == []
    telemetry.show()
    watch.look()
    assert watch.take_news() == []
    assert watch.view.alarms == (HOT,)
    assert [line.text for line in logs.since(0)] == ["The card is too hot. It has 93 °C. See to its air."]
    alarms.active.clear()
    telemetry.show()
    watch.look()
    assert watch.view.alarms == ()


def test_the_alarms_are_judged_by_what_the_program_does() -> None:
    telemetry, alarms = FakeTelemetry(), FakeAlarms()
    now = 5
    watch = MachineWatch(telemetry, lambda: alarms, LogBook(), lambda: now)
    watch.look(Situation(decoding=True))
    assert alarms.situations[-1] == Situation(decoding=True, settled_ns=5)
    now = 9
    telemetry.show()
    watch.look(Situation(asked_layers=7), changing=True)
    assert alarms.situations[-1] == Situation(asked_layers=7)
    now = 12
    telemetry.show()
    watch.devices = (ComputeDevice("CPU"),)
    watch.look()
    assert alarms.situations[-1] == Situation(settled_ns=12, devices=(ComputeDevice("CPU"),))
    assert watch.view.devices == (ComputeDevice("CPU"),)


def test_a_driver_that_is_down_is_told_and_stays_in_view() -> None:
    telemetry = FakeTelemetry()
    state = SourceState("nvml", "down", "The GPU fell off the bus.", 15)
    telemetry.samples.append(replace(telemetry.samples[0], at_ns=2**63, sources=(state,)))
    telemetry.told.append(
        TelemetryEvent(1, 0, "down", "There are no figures of NVIDIA GPUs: the GPU fell off the bus.")
    )
    watch = watch_of(telemetry)
    watch.look()
    assert [alarm.severity for alarm in watch.take_news()] == ["warning"]
    assert [alarm.id for alarm in watch.view.alarms] == ["no-figures"]
    telemetry.show()
    watch.look()
    assert watch.take_news() == []
    assert watch.view.alarms == ()


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_an_alarm_is_told_marked_shown_with_its_hint_and_put_off(
    host: ScriptedHost, clock: FakeClock, size: tuple[int, int]
) -> None:
    telemetry, alarms = FakeTelemetry(sample()), FakeAlarms()
    app = app_on(host, clock, telemetry=telemetry, alarms=alarms)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert "▲" not in shown(app)
        alarms.ring(HOT)
        telemetry.show(sample())
        await until(pilot, lambda: "The card is too hot." in shown(app))
        assert shown(app).count("▲") == 2
        await press_keys(pilot, "f10")
        assert "See to its air." in shown(app)
        assert "RTX 4090" in shown(app)
        await press_keys(pilot, "escape")
        assert "The card is too hot." not in shown(app)
        assert "▲" in shown(app)


async def test_escape_puts_an_alarm_off(host: ScriptedHost, clock: FakeClock) -> None:
    telemetry, alarms = FakeTelemetry(), FakeAlarms()
    async with started(host, clock, telemetry=telemetry, alarms=alarms) as (app, pilot):
        alarms.ring(HOT)
        telemetry.show()
        await until(pilot, lambda: "The card is too hot." in shown(app))
        await press_keys(pilot, "escape")
        assert "The card is too hot." not in shown(app)
        assert "▲ 1 alarm F10" in shown(app)


FULL = Alarm("spill", "warning", "The memory of the card is full.", "Choose a smaller quantization.", "GPU-1")


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_of_several_alarms_the_newest_is_told_and_how_many_more_there_are(
    host: ScriptedHost, clock: FakeClock, size: tuple[int, int]
) -> None:
    telemetry, alarms = FakeTelemetry(), FakeAlarms()
    app = app_on(host, clock, telemetry=telemetry, alarms=alarms)

    def line() -> str:
        return app.chat.status.lines[0].plain

    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        alarms.ring(HOT)
        telemetry.show()
        await until(pilot, lambda: "The card is too hot." in line())
        assert line().endswith("F10 more  Esc hides it")
        alarms.ring(OLD, FULL)
        telemetry.show()
        await until(pilot, lambda: "The memory of the card is full." in line())
        assert line().endswith("+2 more: F10 lists them  Esc hides it")
        assert len(line()) <= size[0] - 4
        # Once it is shown, it stays, and the count is the current one.
        app.chat.status.clear()
        alarms.active.remove(OLD)
        telemetry.show()
        await until(pilot, lambda: line().endswith("+1 more: F10 lists them  Esc hides it"))
        assert line().startswith("▲ The memory of the card is full.")
        await pilot.press("escape")
        await until(pilot, lambda: not line())


async def test_an_alarm_goes_with_its_cause(host: ScriptedHost, clock: FakeClock) -> None:
    telemetry, alarms = FakeTelemetry(), FakeAlarms()
    async with started(host, clock, telemetry=telemetry, alarms=alarms) as (app, pilot):
        alarms.ring(FULL)
        telemetry.show()
        await until(pilot, lambda: FULL.text in shown(app))
        alarms.active.remove(FULL)
        telemetry.show()
        await until(pilot, lambda: FULL.text not in shown(app))


async def test_an_information_does_not_hide_an_active_warning(host: ScriptedHost, clock: FakeClock) -> None:
    telemetry, alarms = FakeTelemetry(), FakeAlarms()
    async with started(host, clock, telemetry=telemetry, alarms=alarms) as (app, pilot):
        alarms.ring(HOT, OLD)
        telemetry.show()
        await until(pilot, lambda: "Quadro 600" in shown(app))
        app.chat.status.clear()
        telemetry.show()
        await until(pilot, lambda: "The card is too hot." in shown(app))
        assert "+1 more: F10 lists them" in shown(app)


def test_a_source_that_is_down_is_not_counted_beside_itself() -> None:
    down = Alarm("no-figures", "warning", "There are no figures of the NVIDIA GPUs.", subject="nvml")
    told = Alarm("meters", "warning", "There are no figures of NVIDIA GPUs: it fell off the bus.")
    view = MachineView(alarms=(down, HOT))
    assert view.others(told) == 1
    assert view.holds(told)
    assert not MachineView(alarms=(HOT,)).holds(told)
    assert view.others(replace(HOT, text="It has 94 °C now.")) == 1


async def test_an_alarm_is_shown_on_other_screens_too(host: ScriptedHost, clock: FakeClock) -> None:
    telemetry, alarms = FakeTelemetry(), FakeAlarms()
    app = app_on(host, clock, telemetry=telemetry, alarms=alarms)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await settle(pilot)
        await press_keys(pilot, "f3")
        alarms.ring(HOT, OLD)
        telemetry.show()
        await until(pilot, lambda: "▲ 2 alarms" in shown(app))
        assert sorted(note.severity for note in app._notifications) == ["information", "warning"]
        await press_keys(pilot, "f2")
        assert "Quadro 600" in shown(app)


async def test_the_devices_are_asked_for_once_and_only_beside_a_gpu(host: ScriptedHost, clock: FakeClock) -> None:
    telemetry = FakeTelemetry()
    asked = []

    def find() -> tuple[ComputeDevice, ...]:
        asked.append(threading.current_thread())
        return (ComputeDevice("CPU", description="EPYC"),)

    async with started(host, clock, telemetry=telemetry, find_devices=find) as (app, pilot):
        telemetry.show()
        await until(pilot, lambda: not app.monitor.look())
        assert asked == []
        telemetry.show(sample())
        await until(pilot, lambda: app.workspace.machine.devices)
        assert asked[0] is not threading.main_thread()
        telemetry.show(sample())
        await until(pilot, lambda: app.workspace.machine.view.devices)
        await press_keys(pilot, "f10")
        assert "EPYC" in shown(app)
        assert len(asked) == 1


def test_the_page_has_every_reading_and_fits() -> None:
    telemetry = FakeTelemetry(
        sample(throttle=("software thermal",), temperature_c=93.0, absent=(("energy_mj", "not supported"),)),
    )
    for width in (40, 92):
        watch = MachineWatch(telemetry, FakeAlarms, LogBook(), lambda: 0)
        watch.look()
        view = replace(watch.view, alarms=(HOT, OLD), sources=(SourceState("amdgpu", "absent", "No such card."),))
        lines = page_lines(view, None, width)
        assert all(line.cell_length <= width for line in lines)
        text = " ".join(" ".join(line.plain for line in lines).split())
        for words in (
            "See to its air.",
            "93 °C",
            "slowed down by the driver: too hot",
            "energy (not supported)",
            "AMD",
        ):
            assert words in text
    empty = "\n".join(line.plain for line in page_lines(MachineView(), None, 60))
    assert "None. `workbench doctor` checks more" in empty
