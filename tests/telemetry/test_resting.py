from __future__ import annotations

import pytest

from tests.telemetry.stub import GB10, RTX_4090, why_not
from workbench.core.telemetry import GpuInfo, GpuSample
from workbench.telemetry.amd import AmdSource
from workbench.telemetry.nvml import NvmlSource
from workbench.telemetry.pci import NVIDIA_VENDOR, cards_asleep, is_asleep, pci_device
from workbench.telemetry.resting import REST_S, RestingSource
from workbench.telemetry.sampler import TelemetrySampler

CARD = "0000:01:00.0"


@pytest.fixture
def sysfs(tmp_path):
    """Puts a PCI device into a tree like that of /sys; gives the tree."""

    def put(status, pci_id=CARD, vendor="0x10de", kind="0x030200"):
        device = pci_device(pci_id, tmp_path / "sys")
        (device / "power").mkdir(parents=True, exist_ok=True)
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{kind}\n")
        if status is not None:
            (device / "power" / "runtime_status").write_text(f"{status}\n")
        return tmp_path / "sys"

    return put


class Counted:
    """A source that counts how often it is asked."""

    name = "nvml"

    def __init__(self) -> None:
        self.asked = 0

    def read(self):
        self.asked += 1
        return [GpuSample(GpuInfo("GPU-1", "nvml", 0, "RTX", "GPU-1", CARD), memory_used=1, energy_mj=7)]


class Bench:
    """A resting source, its clock, and whether the program is on a GPU."""

    def __init__(self, sys) -> None:
        self.inner, self.now, self.used = Counted(), 0.0, False
        self.source = RestingSource(
            self.inner, lambda: self.used, lambda: cards_asleep(NVIDIA_VENDOR, sys), lambda: self.now
        )

    def pass_seconds(self, count):
        for _ in range(count):
            self.now += 1
            found = self.source.read()
        return found


@pytest.mark.parametrize("status", ["suspended", "suspending"])
def test_a_sleeping_gpu_is_left_asleep(sysfs, status):
    bench = Bench(sysfs(status))
    (sample,) = bench.pass_seconds(60)
    assert bench.inner.asked == 0
    assert (sample.asleep, sample.gpu.pci_id, sample.memory_used) == (True, CARD, None)
    bench.used = True  # A model is loading, but not on this GPU: it would be awake.
    bench.pass_seconds(10)
    assert bench.inner.asked == 0


@pytest.mark.parametrize("status", ["active", "resuming", "unsupported", "error", "", None])
def test_a_gpu_that_is_awake_or_unknown_is_asked_rarely(sysfs, status):
    bench = Bench(sysfs(status))
    (sample,) = bench.pass_seconds(40)
    assert REST_S >= 10
    assert bench.inner.asked == 3
    assert (sample.asleep, sample.memory_used, sample.energy_mj) == (False, 1, None)


def test_a_gpu_in_use_is_asked_every_time_and_falls_asleep_after_it(sysfs):
    sys = sysfs("active")
    bench = Bench(sys)
    bench.used = True
    (sample,) = bench.pass_seconds(10)
    assert (bench.inner.asked, sample.energy_mj) == (10, 7)
    bench.used = False
    sysfs("suspended")
    (sample,) = bench.pass_seconds(30)
    assert bench.inner.asked == 10
    assert (sample.asleep, sample.gpu.name, sample.memory_used) == (True, "RTX", None)
    sysfs("active")
    (sample,) = bench.pass_seconds(1)
    assert (bench.inner.asked, sample.asleep) == (11, False)


def test_no_tree_and_other_devices(sysfs, tmp_path):
    assert cards_asleep(NVIDIA_VENDOR, tmp_path / "nothing") == {}
    sysfs("suspended", "0000:01:00.1", kind="0x040300")  # its sound device
    sysfs("suspended", "0000:02:00.0", vendor="0x8086")
    sysfs("suspended", "0000:03:00.0", vendor="what")
    sys = sysfs("active")
    assert cards_asleep(NVIDIA_VENDOR, sys) == {CARD: False}
    assert not is_asleep(tmp_path / "nothing")


def test_nvml_is_not_even_started(sysfs, play):
    play.show(RTX_4090)
    started = []
    inner = NvmlSource(there=lambda: started.append(1) or True)
    source = RestingSource(inner, lambda: False, lambda: cards_asleep(NVIDIA_VENDOR, sysfs("suspended")))
    assert source.read()[0].asleep
    assert not started


def test_of_two_nvidia_gpus_the_sleeping_one_is_not_read(sysfs, play):
    play.show(RTX_4090, GB10 | {"pci": "00000000:02:00.0"})
    source = NvmlSource(pids_are_foreign=lambda: False, sys=sysfs("suspended"))
    try:
        first, second = source.read()
        assert (first.asleep, first.gpu.name, first.power_w) == (True, RTX_4090["name"], None)
        assert (second.asleep, second.power_w) == (False, 4.5)
    finally:
        source._forget()


def test_a_sleeping_amd_gpu_is_not_read(tmp_path):
    device = tmp_path / "class" / "drm" / "card0" / "device"
    (device / "power").mkdir(parents=True)
    (device / "vendor").write_text("0x1002\n")
    (device / "uevent").write_text(f"PCI_SLOT_NAME={CARD}\n")
    (device / "gpu_busy_percent").write_text("7\n")
    (device / "power" / "runtime_status").write_text("suspended\n")
    source = AmdSource(tmp_path, tmp_path / "fdinfo")
    (sample,) = source.read()
    assert (sample.asleep, sample.gpu.pci_id, sample.gpu_percent) == (True, CARD, None)
    (device / "power" / "runtime_status").write_text("active\n")
    (sample,) = source.read()
    assert (sample.asleep, sample.gpu_percent) == (False, 7)
    assert why_not(sample, "power_w") == "not supported"


def test_a_gpu_that_wakes_is_no_new_one(sysfs):
    bench = Bench(sysfs("suspended"))
    sampler = TelemetrySampler(None, [bench.source])
    assert sampler.tick().gpus[0].asleep
    sysfs("active")
    assert not sampler.tick().gpus[0].asleep
    assert sampler.events() == ()
