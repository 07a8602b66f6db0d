from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.telemetry.stub import GIB
from workbench.core.telemetry import ComputeDevice, GpuInfo, GpuSample, SourceState
from workbench.telemetry.doctor.findings import MODEL_FOLDER, Facts, Folder, find, look_at_folder
from workbench.telemetry.doctor.machine import MachineInfo
from workbench.telemetry.pci import PciCard

MACHINE = MachineInfo(
    "Linux", "6.8", "x86_64", "a processor", ("avx2", "fma", "f16c", "avx512f"), 8, 16, 16, False, False
)
BUILD = {"AVX2": True, "FMA": True, "F16C": True, "AVX512": True}
CPU = ComputeDevice("CPU", "cpu", backend="CPU")
SOUND = Facts(MACHINE, 32 * GIB, 20 * GIB, build_features=BUILD, devices=(CPU,))
CARD = GpuSample(GpuInfo("GPU-1", "nvml", 0, "RTX 4090", pci_id="0000:01:00.0", capability=(8, 9)))


def ids(**changes):
    return [alarm.id for alarm in find(replace(SOUND, **changes))]


def only(**changes):
    (alarm,) = find(replace(SOUND, **changes))
    return alarm


def test_nothing_is_wrong():
    assert find(SOUND) == []


def test_a_gpu_that_the_build_cannot_use():
    alarm = only(gpus=(CARD,), cuda="12.4")
    assert alarm.id == "gpu-unused"
    assert "GGML_CUDA=on" in alarm.hint


def test_after_a_crash_unused_gpus_are_unknown():
    assert ids(gpus=(CARD,), engine_problem="it ended with status -6") == ["engine"]


def test_llama_cpp_does_not_load():
    alarm = only(engine_problem="OSError: libcudart.so.12", build_features=None, devices=None)
    assert alarm.severity == "error"
    assert "does not load: OSError: libcudart.so.12" in alarm.text
    assert "pip install" in alarm.hint


def test_llama_cpp_fails_when_it_looks_for_devices():
    assert "while it looked for devices: GGML_ASSERT" in only(engine_problem="GGML_ASSERT").text


def test_each_warning_of_llama_cpp_once():
    found = find(replace(SOUND, engine_warnings=("no kernel image", "no kernel image", "other")))
    assert [alarm.text for alarm in found] == ["llama.cpp warns: no kernel image", "llama.cpp warns: other"]


def test_a_driver_that_is_down_and_one_that_is_absent():
    states = (SourceState("nvml", "down", "restart the machine", 18), SourceState("amdgpu", "absent", "none"))
    alarm = only(sources=states)
    assert (alarm.id, alarm.text, alarm.subject) == ("gpu-driver", "restart the machine", "nvml")


NO_DRIVER = SourceState("nvml", "absent", "no library", 12)


@pytest.mark.parametrize(("driver", "words"), [("nouveau", "uses nouveau for it"), (None, "no driver for it")])
def test_a_card_without_the_driver_that_computing_needs(driver, words):
    alarm = only(cards=(PciCard("0000:01:00.0", 0x10DE, driver),), sources=(NO_DRIVER,))
    assert (alarm.id, alarm.subject) == ("gpu-driver", "0000:01:00.0")
    assert words in alarm.text
    assert "nvidia-driver" in alarm.hint


def test_a_card_that_is_seen_or_of_no_interest_or_has_another_finding():
    nvidia, intel = PciCard("0000:01:00.0", 0x10DE, "nvidia"), PciCard("0000:02:00.0", 0x8086, "i915")
    assert ids(cards=(intel,), sources=(NO_DRIVER,)) == []
    down = SourceState("nvml", "down", "restart", 18)
    assert [alarm.subject for alarm in find(replace(SOUND, cards=(nvidia,), sources=(down,)))] == ["nvml"]
    assert ids(cards=(nvidia,), gpus=(CARD,), sources=(NO_DRIVER,), devices=None) == []


@pytest.mark.parametrize("cards", [(), (PciCard("0000:01:00.0", 0x10DE, None),)])
def test_an_installed_driver_that_is_not_loaded(cards):
    not_loaded = SourceState("nvml", "absent", "not loaded: sudo modprobe nvidia", 9)
    alarm = only(cards=cards, sources=(not_loaded,))
    assert (alarm.id, alarm.text, alarm.subject) == ("gpu-driver", "not loaded: sudo modprobe nvidia", "nvml")
    assert "apt install" not in alarm.hint


@pytest.mark.parametrize(("build", "severity"), [
    ({}, "warning"), (BUILD | {"AVX2": False}, "warning"), (BUILD | {"AVX512": False}, "info"),
])  # fmt: skip
def test_a_build_for_lesser_processors(build, severity):
    alarm = only(build_features=build)
    assert (alarm.id, alarm.severity) == ("cpu-features", severity)
    assert "GGML_NATIVE=on" in alarm.hint


def test_unknown_cpu_features():
    assert ids(machine=replace(MACHINE, features=None)) == []


def test_fewer_cores_than_there_are():
    assert only(machine=replace(MACHINE, allowed_cores=4)).text == (
        "This process may use 4 of the 8 cores of this machine."
    )
    assert ids(machine=replace(MACHINE, cores=None, logical_cores=None)) == []


def test_less_time_than_cores():
    alarm = only(cpu_quota=2.5)
    assert "CPU time of 2.5 cores" in alarm.text
    assert alarm.hint == "Type: workbench --set num_thread=2"
    assert only(cpu_quota=0.5).hint.endswith("num_thread=1")
    assert ids(cpu_quota=8.0) == []


def test_memory():
    assert only(free_bytes=GIB // 2, swap_used_bytes=GIB).text == (
        "512.0 MiB of memory is free, and 1.0 GiB is in swap."
    )
    assert only(limit_bytes=4 * GIB).id == "memory-limit"
    assert ids(limit_bytes=64 * GIB) == []


@pytest.mark.parametrize(("variables", "found"), [
    ({"OMP_WAIT_POLICY": "PASSIVE"}, ["omp-wait-policy"]), ({"OMP_WAIT_POLICY": "active"}, []),
    ({"GGML_CUDA_ENABLE_UNIFIED_MEMORY": "1"}, ["unified-memory"]), ({"CUDA_VISIBLE_DEVICES": ""}, []),
])  # fmt: skip
def test_variables(variables, found):
    assert ids(environment=variables) == found


def folder(name="data_dir", **changes):
    return replace(Folder(name, Path("/x"), True, True, 5 * GIB, 10 * GIB), **changes)


def test_folders():
    assert ids(folders=(folder(),)) == []
    assert only(folders=(folder(writable=False),)).severity == "error"
    assert ids(folders=(folder(free_bytes=None, total_bytes=None),)) == []
    full = folder(free_bytes=GIB // 2), folder("cache_dir", free_bytes=GIB // 2)
    assert only(folders=full).text == "512.0 MiB is free on the disk of data_dir, cache_dir."


def test_a_model_folder_may_be_read_only_and_must_be_there():
    assert ids(folders=(folder(MODEL_FOLDER, writable=False),)) == []
    assert ids(folders=(folder(MODEL_FOLDER, exists=False),)) == ["model-folder"]


def test_the_worst_comes_first():
    found = find(
        replace(SOUND, limit_bytes=GIB, environment={"OMP_WAIT_POLICY": "passive"}, folders=(folder(writable=False),))
    )
    assert [alarm.severity for alarm in found] == ["error", "warning", "info"]


def test_a_problem_of_the_config_file():
    assert only(config_problems=("config.toml, line 3: no such key",)).text.endswith("line 3: no such key")


def test_a_folder_that_is_not_made_yet(tmp_path):
    found = look_at_folder("data_dir", tmp_path / "a/b/c")
    assert (found.exists, found.writable) == (False, True)
    assert 0 < found.free_bytes <= found.total_bytes


def test_a_backend_without_a_device_is_named() -> None:
    (alarm,) = find(replace(SOUND, backends=("CPU", "Vulkan")))
    assert (alarm.id, alarm.subject) == ("backend-idle", "Vulkan")
    assert "vulkaninfo" in alarm.hint
    assert find(replace(SOUND, backends=("CPU", "Vulkan"), devices=(CPU, ComputeDevice("Vulkan0", "gpu")))) == []


def test_a_backend_that_does_not_start_is_a_finding():
    (alarm,) = find(replace(SOUND, backends=("CPU",), compiled=("Vulkan",), devices=(CPU,)))
    assert alarm.id == "backend-idle"
    assert "the backend Vulkan, which does not start" in alarm.text


def test_software_in_the_place_of_a_gpu_is_a_finding():
    device = ComputeDevice("Vulkan0", "gpu", "llvmpipe (LLVM 15.0.6, 256 bits)", "Vulkan")
    (alarm,) = find(replace(SOUND, backends=("CPU", "Vulkan"), devices=(CPU, device)))
    assert (alarm.id, alarm.subject) == ("software-device", "Vulkan0")
    assert "is no GPU but software" in alarm.text
    assert "GGML_VK_VISIBLE_DEVICES" in alarm.hint
    assert find(replace(SOUND, backends=("CPU",))) == []
