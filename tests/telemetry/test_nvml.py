from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from types import SimpleNamespace

import pytest

from tests.telemetry.stub import GB10, GIB, GTX_770, H200, QUADRO_600, RTX_4090, why_not
from workbench.core.telemetry import GpuSample
from workbench.telemetry.nvml import LOOK_AGAIN_EVERY, NvmlSource, library_is_there
from workbench.telemetry.nvml_device import foreign_pids, throttle_reasons
from workbench.telemetry.source import SourceError


def only(source):
    (sample,) = source.read()
    return sample


def test_every_figure_of_a_common_card(play, nvml):
    play.show(RTX_4090)
    sample = only(nvml)
    gpu = sample.gpu
    assert (gpu.name, gpu.uuid, gpu.key, gpu.index) == ("NVIDIA GeForce RTX 4090", "GPU-4090", "GPU-4090", 0)
    assert (gpu.pci_id, gpu.capability, gpu.unified, gpu.partition) == ("0000:01:00.0", (8, 9), False, "")
    assert (sample.memory_total, sample.memory_used) == (24 * GIB, GIB)
    assert sample.memory_free == 24 * GIB - GIB - GIB // 4
    assert sample.memory_own == GIB // 2
    assert (sample.gpu_percent, sample.memory_percent, sample.temperature_c) == (42, 17, 61)
    assert (sample.power_w, sample.power_limit_w) == (pytest.approx(123.456), 450)
    assert (sample.clock_mhz, sample.memory_clock_mhz) == (2520, 10_501)
    assert sample.throttle == ("power cap",)
    assert sample.energy_mj == 5_000_000
    assert sample.absent == ()


def test_figures_follow_the_device(play, nvml):
    play.show(RTX_4090)
    only(nvml)
    play.change(_0__used=3 * GIB, _0__energy=6_000_000, _0__throttle=0x1 | 0x40)
    sample = only(nvml)
    assert sample.memory_used == 3 * GIB
    assert sample.energy_mj == 6_000_000
    assert sample.throttle == ("idle", "hardware thermal")


def test_an_absent_figure_has_a_reason(play, nvml):
    play.show(RTX_4090 | {"power.error": 3, "temperature.error": 4, "clock.error": 27, "energy": 2**64 - 1})
    sample = only(nvml)
    assert (sample.power_w, sample.temperature_c, sample.clock_mhz, sample.energy_mj) == (None, None, None, None)
    assert why_not(sample, "power_w") == "not supported"
    assert why_not(sample, "temperature_c") == "not permitted"
    assert why_not(sample, "clock_mhz") == "failed"
    assert why_not(sample, "energy_mj") == "implausible"
    assert why_not(sample, "memory_used") is None
    assert sample.memory_used == GIB


@pytest.mark.parametrize("figure", ["total", "util", "temperature", "power", "limit", "energy", "clock", "throttle",
                                    "memory_clock", "compute", "name", "uuid", "pci", "capability"])  # fmt: skip
@pytest.mark.parametrize("code", [2, 3, 4, 6, 7, 13, 17, 23, 25, 27])
def test_an_error_of_one_figure_takes_no_other_along(play, nvml, figure, code):
    play.show(RTX_4090 | {f"{figure}.error": code})
    sample = only(nvml)
    lost = {
        "total": {"memory_total", "memory_used", "memory_free"}, "util": {"gpu_percent", "memory_percent"},
        "temperature": {"temperature_c"}, "power": {"power_w"}, "limit": {"power_limit_w"}, "energy": {"energy_mj"},
        "clock": {"clock_mhz"}, "memory_clock": {"memory_clock_mhz"}, "throttle": {"throttle"},
        "compute": set(), "name": set(), "uuid": set(), "pci": set(), "capability": set(),
    }[figure]  # fmt: skip
    optional = {"spill_total", "spill_used"}
    none = {each.name for each in fields(GpuSample) if getattr(sample, each.name) is None} - optional
    if figure == "total" and sample.gpu.unified:
        assert none == set()
    elif figure == "compute":
        # The other list still answers, and this process is not in it.
        assert none == set()
    else:
        assert none == lost
    assert {name for name, _ in sample.absent} == none


def test_unsupported_figures_are_not_requested_again(play, nvml):
    play.show(RTX_4090 | {"power.error": 3, "temperature.error": 4})
    only(nvml)
    play.change(**{"_0__power.error": None, "_0__temperature.error": None})
    sample = only(nvml)
    assert sample.power_w is None
    assert why_not(sample, "power_w") == "not supported"
    assert sample.temperature_c == 61


def test_memory_of_the_first_version(play, nvml):
    play.show(RTX_4090 | {"memory_v2.error": 13})
    assert only(nvml).memory_free == 23 * GIB
    assert only(nvml).absent == ()


def test_a_gpu_that_shares_the_memory_of_the_system(play, nvml):
    play.show(GB10)
    sample = only(nvml)
    assert sample.gpu.unified
    assert (sample.memory_total, sample.memory_free, sample.memory_used) == (128 * GIB, 100 * GIB, 28 * GIB)
    assert sample.memory_own == 1_000_000
    assert why_not(sample, "energy_mj") == "not supported"
    assert sample.gpu.pci_id == "000f:01:00.0"


@pytest.mark.parametrize("total", [0, 2**64 - 1])
def test_a_total_that_means_nothing_counts_as_shared_memory(play, nvml, total):
    play.show(RTX_4090 | {"total": total})
    assert only(nvml).gpu.unified


def test_memory_that_is_not_permitted_is_not_taken_for_shared(play, nvml):
    play.show(RTX_4090 | {"total.error": 4})
    sample = only(nvml)
    assert not sample.gpu.unified
    assert (sample.memory_total, why_not(sample, "memory_total")) == (None, "not permitted")


def test_more_used_than_there_is(play, nvml):
    play.show(RTX_4090 | {"used": 25 * GIB, "free": 0})
    sample = only(nvml)
    assert (sample.memory_total, sample.memory_used, sample.memory_free) == (24 * GIB, None, None)
    assert why_not(sample, "memory_used") == "implausible"


def test_this_process_holds_nothing(play, nvml):
    play.show(RTX_4090 | {"compute": "4711:1000"})
    assert only(nvml).memory_own == 0


def test_what_the_process_of_an_engine_holds_is_its_own(play, nvml, monkeypatch):
    monkeypatch.setattr("workbench.telemetry.nvml_device.engines", {4711})
    play.show(RTX_4090 | {"compute": "4711:1000", "graphics": "self:500"})
    assert only(nvml).memory_own == 1500


def test_a_process_in_two_lists_counts_once(play, nvml):
    play.show(RTX_4090 | {"graphics": f"self:{GIB // 2}"})
    assert only(nvml).memory_own == GIB // 2


def test_a_size_that_windows_does_not_report(play, nvml):
    play.show(RTX_4090 | {"compute": "self:-1"})
    sample = only(nvml)
    assert (sample.memory_own, why_not(sample, "memory_own")) == (None, "not supported")


def test_process_ids_of_another_namespace(play):
    play.show(RTX_4090)
    source = NvmlSource(pids_are_foreign=lambda: True)
    sample = only(source)
    assert (sample.memory_own, why_not(sample, "memory_own")) == (None, "not identified")
    source._forget()


def test_all_lists_of_processes_fail(play, nvml):
    play.show(RTX_4090 | {"compute.error": 4, "graphics.error": 4})
    sample = only(nvml)
    assert (sample.memory_own, why_not(sample, "memory_own")) == (None, "not permitted")


def test_a_split_gpu(play, nvml):
    whole = H200 | {"mig": 1, "parts": 7, "total.error": 4, "util.error": 3}
    play.show(whole)
    parts = {"uuid": "MIG-a", "name": "NVIDIA H200 MIG 1g.18gb", "total": 16 * GIB, "used": GIB}
    play.change(**{f"_0/0__{name}": value for name, value in parts.items()})
    play.change(**{f"_0/3__{name}": value for name, value in (parts | {"uuid": "MIG-b", "used": 2 * GIB}).items()})
    top, first, second = nvml.read()
    assert (top.gpu.partition, top.memory_used, top.gpu.unified) == ("whole", None, False)
    assert top.power_w is not None
    assert (first.gpu.key, first.gpu.partition, first.gpu.index) == ("MIG-a", "part", 0)
    assert (first.memory_total, first.memory_used, first.gpu.pci_id) == (16 * GIB, GIB, "0000:c1:00.0")
    assert first.gpu.capability == (9, 0)
    assert (second.gpu.key, second.gpu.index, second.memory_used) == ("MIG-b", 3, 2 * GIB)
    assert why_not(first, "power_w") == "not supported"


def test_a_gpu_that_will_be_split_after_a_reset_is_whole_until_then(play, nvml):
    play.show(H200 | {"mig": 0, "mig_pending": 1, "parts": 7})
    assert only(nvml).gpu.partition == ""


def test_a_load_above_all_of_it(play, nvml):
    play.show(RTX_4090 | {"util": 101, "memory_util": 103})
    sample = only(nvml)
    assert (sample.gpu_percent, sample.memory_percent) == (100, 100)


UNKNOWN_32 = [65_535, 2**31 - 1, 2**31, 2**32 - 1]
UNKNOWN_64 = [*UNKNOWN_32[:2], 2**32 - 1, 2**63 - 1, 2**64 - 1]


@pytest.mark.parametrize(
    ("figure", "field", "value"),
    [
        *((figure, field, value)
          for figure, field in (("util", "gpu_percent"), ("memory_util", "memory_percent"), ("limit", "power_limit_w"),
                                ("temperature", "temperature_c"), ("power", "power_w"), ("clock", "clock_mhz"),
                                ("memory_clock", "memory_clock_mhz"))
          for value in UNKNOWN_32),
        *((figure, field, value)
          for figure, field in (("energy", "energy_mj"), ("used", "memory_used"), ("throttle", "throttle"))
          for value in UNKNOWN_64),
        ("util", "gpu_percent", 255), ("temperature", "temperature_c", 255),
    ],
)  # fmt: skip
def test_a_number_that_stands_for_an_unknown_figure(play, nvml, figure, field, value):
    play.show(RTX_4090 | {figure: value})
    sample = only(nvml)
    lost = {"memory_used", "memory_free"} if figure == "used" else {field}
    assert {each.name for each in fields(GpuSample) if getattr(sample, each.name) is None} == lost | {
        "spill_total", "spill_used"
    }  # fmt: skip
    assert {name for name, _ in sample.absent} == lost
    assert why_not(sample, field) == "implausible"


@pytest.mark.parametrize("value", UNKNOWN_64)
def test_an_unknown_size_of_a_process(play, nvml, value):
    play.show(RTX_4090 | {"compute": f"self:{value}"})
    sample = only(nvml)
    assert (sample.memory_own, why_not(sample, "memory_own")) == (None, "not supported")


def test_unknown_counts_of_gpus_and_parts(play, nvml):
    play.show(H200 | {"mig": 1, "parts": 2**32 - 1})
    assert [sample.gpu.partition for sample in nvml.read()] == ["whole"]
    nvml._forget()
    play.show(RTX_4090, count=2**32 - 1)
    assert nvml.read() == []


def test_unknown_versions_and_capability(play, nvml):
    play.show(RTX_4090 | {"capability": -1}, cuda=-1)
    assert only(nvml).gpu.capability is None
    assert nvml.versions() == {"driver": "570.86.15"}


def test_several_cards(play, nvml):
    play.show(QUADRO_600, GTX_770, RTX_4090)
    samples = nvml.read()
    assert [sample.gpu.capability for sample in samples] == [(2, 1), (3, 0), (8, 9)]
    assert [sample.gpu.index for sample in samples] == [0, 1, 2]
    assert why_not(samples[0], "energy_mj") == "not supported"


@pytest.mark.parametrize("code", [15, 16])
def test_one_of_two_cards_is_lost_and_comes_back(play, nvml, code):
    play.show(RTX_4090, H200)
    assert len(nvml.read()) == 2
    play.change(_0__error=code)
    for _ in range(3):
        assert [sample.gpu.key for sample in nvml.read()] == ["GPU-h200"]
    play.change(_0__error=None)
    found = [len(nvml.read()) for _ in range(LOOK_AGAIN_EVERY)]
    assert found[0] == 1
    assert found[-1] == 2


def test_a_card_that_cannot_be_opened_does_not_hide_the_other(play, nvml):
    play.show(RTX_4090 | {"handle.error": 4}, H200)
    assert [sample.gpu.key for sample in nvml.read()] == ["GPU-h200"]


def test_a_card_appears(play, nvml):
    play.show(RTX_4090)
    nvml.read()
    play.show(RTX_4090, H200)
    assert [len(nvml.read()) for _ in range(LOOK_AGAIN_EVERY)][-1] == 2


def test_no_cards(play, nvml):
    play.show()
    assert nvml.read() == []


@pytest.mark.parametrize("code", [1, 15, 18, 999])
def test_the_driver_goes_and_comes_back(play, nvml, code):
    play.show(RTX_4090)
    nvml.read()
    play.change(error=code, init=code)
    for _ in range(2):
        with pytest.raises(SourceError) as caught:
            nvml.read()
        assert caught.value.code == code
        assert not caught.value.absent
        assert caught.value.reason
    play.change(error=None, init=None)
    assert only(nvml).memory_used == GIB


def test_a_driver_that_is_not_loaded_is_not_reported(play, nvml):
    play.show(init=9)
    with pytest.raises(SourceError) as caught:
        nvml.read()
    assert caught.value.absent
    assert caught.value.code == 9


def test_an_error_without_words(play, nvml):
    play.show(init=24)
    with pytest.raises(SourceError, match="reports an error"):
        nvml.read()


def test_no_library():
    source = NvmlSource(there=lambda: False, load=lambda: pytest.fail("the binding was loaded"))
    with pytest.raises(SourceError) as caught:
        source.read()
    assert caught.value.absent
    assert caught.value.code == 12


def test_an_old_package_of_the_same_name():
    source = NvmlSource(there=lambda: True, load=lambda: SimpleNamespace())
    with pytest.raises(SourceError, match="pip uninstall"):
        source.read()


def test_versions(play, nvml):
    assert nvml.versions() == {}
    play.show(RTX_4090, cuda=12_080)
    nvml.read()
    assert nvml.versions() == {"driver": "570.86.15", "cuda": "12.8"}


READ = """
from workbench.telemetry.nvml import NvmlSource
for sample in NvmlSource(pids_are_foreign=lambda: False).read():
    print(sample.gpu.name, sample.memory_used, sample.memory_own is not None, sample.throttle, sample.absent)
"""


def test_a_driver_without_the_newer_functions(old_stub_library, play):
    play.show(RTX_4090)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(old_stub_library.parent)}
    done = subprocess.run([sys.executable, "-c", READ], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"NVIDIA GeForce RTX 4090 {GIB} True ('power cap',) ()\n"


def test_asking_whether_the_library_is_there_loads_no_binding():
    code = (
        "import sys; from workbench.telemetry.nvml import library_is_there; library_is_there(); "
        "assert 'pynvml' not in sys.modules; assert 'psutil' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_library_is_there(play):
    assert library_is_there()


@pytest.mark.parametrize(("bits", "reasons"), [
    (0, ()), (0x1, ("idle",)), (0x4 | 0x20, ("power cap", "software thermal")), (0x200, ()),
    (0x1FF, ("idle", "application clocks", "power cap", "hardware slowdown", "sync boost", "software thermal",
             "hardware thermal", "power brake", "display clocks")),
])  # fmt: skip
def test_throttle_reasons(bits, reasons):
    assert throttle_reasons(bits) == reasons


@pytest.mark.parametrize(("target", "foreign"), [("pid:[4026531836]", False), ("pid:[4026532297]", True)])
def test_a_container_is_known_by_its_namespace(tmp_path, target, foreign):
    (tmp_path / "pid").symlink_to(target)
    assert foreign_pids(tmp_path / "pid") is foreign
    assert not foreign_pids(tmp_path / "missing")
