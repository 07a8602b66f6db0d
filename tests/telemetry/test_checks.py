from __future__ import annotations

from dataclasses import replace

import pytest

from tests.telemetry.stub import GIB
from workbench.core.memory import MemoryBuffer
from workbench.core.models import EngineInfo, MemoryUse, ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.core.telemetry import ComputeDevice, GpuInfo, GpuSample, HostSample, Situation, TelemetrySample
from workbench.core.units import MIB
from workbench.telemetry import checks
from workbench.telemetry.alarms import CALM_LOOKS, AlarmBook, TelemetryAlarmWatch

S = 10**9
CARD = GpuInfo("GPU-1", "nvml", 0, "NVIDIA GeForce RTX 4090", "GPU-1", "0000:01:00.0", (8, 9))
RADEON = GpuInfo("a", "amdgpu", 0, "Radeon RX 7900 XTX", None, "0000:05:00.0")
CPU = ComputeDevice("CPU", "cpu", backend="CPU")
CUDA0 = ComputeDevice("CUDA0", "gpu", "NVIDIA GeForce RTX 4090", "CUDA", "0000:01:00.0")


def info(layers=30, gpu_layers=31, memory=None):
    return EngineInfo(ModelEntry("m", "m"), LoadSettings(), "CUDA0", 1.0, memory=memory, layers=layers,
                      gpu_layers=gpu_layers)  # fmt: skip


def history(*gpus, gpu=CARD, swap=None):
    """One sample a second; each GPU's figures as a dictionary."""
    host = (lambda index: HostSample(1, 2, 3, 4.0, swap[index], 8 * GIB)) if swap else (lambda index: None)
    count = max(len(gpus), len(swap or ()))
    return [
        TelemetrySample(index * S, host(index), (GpuSample(gpu, **gpus[index]),) if gpus else ())
        for index in range(count)
    ]


# Layers


@pytest.mark.parametrize(("asked", "got", "told"), [
    (99, 31, False), (31, 31, False), (20, 20, False), (20, 25, False), (-1, 5, False), (0, 0, False), (None, 0, False),
    (99, 30, True), (20, 19, True), (20, 0, True),
])  # fmt: skip
def test_fewer_layers(asked, got, told):
    alarms = checks.fewer_layers(info(gpu_layers=got), asked)
    assert [alarm.id for alarm in alarms] == ["fewer-layers"] * told


def test_fewer_layers_in_words():
    (alarm,) = checks.fewer_layers(info(gpu_layers=12), 99)
    assert alarm.text == "12 of the 31 requested layers are on the GPU."
    (alarm,) = checks.fewer_layers(info(gpu_layers=0), 20)
    assert alarm.text.startswith("None of the 20 requested layers are on any GPU;")
    assert "workbench doctor" in alarm.hint


def test_layers_are_not_known():
    assert list(checks.fewer_layers(None, 99)) == []
    assert list(checks.fewer_layers(info(gpu_layers=None), 99)) == []


def on_device(name, size):
    return MemoryUse.of([MemoryBuffer("CPU", "weights", 10), MemoryBuffer(name, "weights", size)])


@pytest.mark.parametrize(("estimated", "taken", "seen"), [(1000, 1000, False), (1000, 995, False), (1000, 700, True)])
def test_weights_that_the_gpu_does_not_take(estimated, taken, seen):
    """llama.cpp says that all layers are on the GPU."""
    loaded = replace(info(memory=on_device("Vulkan0", taken * MIB)), estimate=on_device("Vulkan0", estimated * MIB))
    for asked in (-1, 31, None):
        alarms = list(checks.fewer_layers(loaded, asked))
        assert [alarm.id for alarm in alarms] == ["left-on-host"] * seen
    if seen:
        assert alarms[0].text.startswith("300.0 MiB of the weights")


def test_weights_on_the_host_are_no_alarm_without_a_gpu():
    host = MemoryUse.of([MemoryBuffer("CPU", "weights", 10)])
    assert list(checks.fewer_layers(replace(info(gpu_layers=0, memory=host), estimate=host), -1)) == []


# Throttling


def test_throttling_needs_more_than_a_dip():
    hot = {"throttle": ("software thermal", "power cap"), "temperature_c": 91.0}
    fine = {"throttle": ("power cap",)}
    assert list(checks.throttled(history(fine, fine, fine, hot, hot))) == []
    (alarm,) = checks.throttled(history(fine, fine, hot, hot, hot))
    assert alarm.text == "NVIDIA GeForce RTX 4090 is slowed down by the driver: too hot. It is at 91 °C."
    assert list(checks.throttled(history(hot, hot, hot, hot, fine))) == []


def test_several_reasons_at_once():
    hot = {"throttle": ("hardware slowdown", "power brake")}
    (alarm,) = checks.throttled(history(hot, hot, hot))
    assert "brake signal) and slowed down by the power supply's" in alarm.text


@pytest.mark.parametrize("reason", ["idle", "application clocks", "power cap", "sync boost", "display clocks"])
def test_normal_clock_limits_are_not_throttling(reason):
    assert list(checks.throttled(history(*[{"throttle": (reason,)}] * 5))) == []


@pytest.mark.parametrize("figures", [{}, {"throttle": None}, {"throttle": ()}])
def test_throttling_that_is_not_known(figures):
    assert list(checks.throttled(history(*[figures] * 5))) == []
    assert list(checks.throttled([])) == []


# Spilling


def test_spilling_on_amd():
    def card(used, spill):
        return {"memory_total": 24 * GIB, "memory_used": used, "spill_used": spill}

    full = 24 * GIB - 1
    assert list(checks.spilled(history(card(GIB, 0), card(full, GIB // 8), gpu=RADEON), None)) == []
    assert list(checks.spilled(history(card(GIB, 0), card(GIB, GIB), gpu=RADEON), None)) == []
    (alarm,) = checks.spilled(history(card(GIB, GIB // 8), card(full, 2 * GIB), gpu=RADEON), None)
    assert alarm.text.startswith("1.9 GiB of its data spilled into system memory")
    unified = replace(RADEON, unified=True)
    assert list(checks.spilled(history(card(GIB, GIB // 8), card(full, 2 * GIB), gpu=unified), None)) == []


def test_a_model_that_is_larger_than_the_gpu():
    figures = {"memory_total": 8 * GIB, "memory_used": 7 * GIB}
    memory = MemoryUse(9 * GIB, GIB, GIB, "CUDA0")
    (alarm,) = checks.spilled(history(figures), info(memory=memory))
    assert alarm.text.startswith("About 3.0 GiB of the model")
    split = replace(memory, by_device=(("CPU", 2 * GIB), ("CUDA0", 9 * GIB)))
    (alarm,) = checks.spilled(history(figures), info(memory=split))
    assert alarm.text.startswith("About 1.0 GiB of the model")
    assert list(checks.spilled(history(figures), info(memory=memory, gpu_layers=10))) == []
    assert list(checks.spilled(history(figures), info(memory=replace(memory, device="CPU")))) == []
    assert list(checks.spilled(history(figures, gpu=replace(CARD, unified=True)), info(memory=memory))) == []


# Other programs


def memory(used, own, free=GIB):
    return {"memory_total": 24 * GIB, "memory_used": used, "memory_free": free, "memory_own": own}


def test_another_program_takes_the_memory():
    (alarm,) = checks.memory_taken(history(memory(10 * GIB, 9 * GIB), memory(23 * GIB, 9 * GIB)), None)
    assert alarm.text == ("Another program has taken 13.0 GiB of NVIDIA GeForce RTX 4090's memory; 1.0 GiB is free.")
    assert "nvidia-smi" in alarm.hint


def test_this_program_takes_the_memory():
    assert list(checks.memory_taken(history(memory(10 * GIB, 9 * GIB), memory(23 * GIB, 22 * GIB)), None)) == []


def test_enough_memory_is_left():
    assert list(checks.memory_taken(history(memory(GIB, 0), memory(12 * GIB, 0, 12 * GIB)), None)) == []


def test_without_the_own_share_it_counts_what_comes_after_the_load():
    samples = history(memory(GIB, None), memory(20 * GIB, None), memory(23 * GIB, None))
    assert list(checks.memory_taken(samples, None)) == []
    assert list(checks.memory_taken(samples, 2 * S)) == []
    (alarm,) = checks.memory_taken(samples, 1 * S)
    assert "3.0 GiB" in alarm.text


def test_memory_that_is_shared_with_the_system_belongs_to_all():
    samples = history(memory(GIB, 0), memory(23 * GIB, 0), gpu=replace(CARD, unified=True))
    assert list(checks.memory_taken(samples, None)) == []


# Swap


def test_swap_that_grows_while_an_answer_is_written():
    samples = history(swap=[GIB, GIB, 2 * GIB])
    (alarm,) = checks.swapping(samples, decoding=True)
    assert "1.0 GiB" in alarm.text
    assert list(checks.swapping(samples, decoding=False)) == []
    assert list(checks.swapping(history(swap=[2 * GIB, 2 * GIB]), decoding=True)) == []
    assert list(checks.swapping(history(swap=[None, None]), decoding=True)) == []
    assert list(checks.swapping([], decoding=True)) == []


# Telling once


def alarm(name, subject=""):
    return checks.Alarm(name, "warning", f"{name} {subject}", subject=subject)


def test_each_alarm_is_reported_once_and_again_after_it_has_ended():
    book = AlarmBook(calm_looks=3)
    assert book.update([alarm("a"), alarm("b")]) == [alarm("a"), alarm("b")]
    assert book.update([alarm("a"), alarm("b", "x")]) == [alarm("b", "x")]
    for _ in range(2):
        assert book.update([]) == []
    assert book.update([alarm("a")]) == []
    for _ in range(3):
        assert book.update([]) == []
    assert book.active == ()
    assert book.update([alarm("a")]) == [alarm("a")]


def test_the_words_of_an_alarm_that_holds_are_the_newest():
    book = AlarmBook()
    book.update([alarm("a")])
    newer = replace(alarm("a"), text="newer")
    assert book.update([newer]) == []
    assert book.active == (newer,)


def test_without_news_no_alarm_ends():
    book = AlarmBook(calm_looks=1)
    book.update([alarm("a")])
    book.update([], fresh=False)
    assert book.active == (alarm("a"),)


class FakeTelemetry:
    def __init__(self, samples=()):
        self.samples = list(samples)

    def history(self):
        return tuple(self.samples)


def test_only_swap_during_this_answer_is_reported():
    telemetry = FakeTelemetry(history(swap=[0, 2 * GIB]))
    watch = TelemetryAlarmWatch(telemetry, environment={})
    assert watch.look(Situation()) == []
    assert watch.look(Situation(decoding=True)) == []
    more = history(swap=[0, 0, 2 * GIB, 3 * GIB])
    telemetry.samples = more
    assert [each.id for each in watch.look(Situation(decoding=True))] == ["swapping"]
    assert watch.look(Situation(decoding=True)) == []
    assert [each.id for each in watch.active] == ["swapping"]


def test_the_watch_counts_samples_and_not_looks():
    hot = {"throttle": ("hardware thermal",)}
    telemetry = FakeTelemetry(history(*[hot] * 3))
    watch = TelemetryAlarmWatch(telemetry, environment={})
    assert len(watch.look(Situation())) == 1
    telemetry.samples += [TelemetrySample(10 * S)]
    for _ in range(CALM_LOOKS * 2):
        assert watch.look(Situation()) == []
    assert len(watch.active) == 1
    for number in range(CALM_LOOKS):
        telemetry.samples.append(TelemetrySample((11 + number) * S))
        watch.look(Situation())
    assert watch.active == ()


def test_alarms_of_the_engine_need_no_samples():
    watch = TelemetryAlarmWatch(FakeTelemetry(), environment={})
    situation = Situation(info(gpu_layers=3), asked_layers=99)
    assert watch.look(Situation()) == []
    assert [each.id for each in watch.look(situation)] == ["fewer-layers"]
    assert watch.look(situation) == []


def test_the_watch_sees_unused_gpus():
    telemetry = FakeTelemetry(history({}))
    watch = TelemetryAlarmWatch(telemetry, environment={"CUDA_VISIBLE_DEVICES": "-1"})
    assert watch.look(Situation()) == []
    assert [each.id for each in watch.look(Situation(devices=(CPU,)))] == ["gpu-hidden"]


def test_the_watch_ignores_old_samples():
    early, late = history(memory(GIB, 0), memory(23 * GIB, 0))
    telemetry = FakeTelemetry([early, replace(late, at_ns=3600 * S)])
    assert TelemetryAlarmWatch(telemetry, environment={}).look(Situation()) == []
