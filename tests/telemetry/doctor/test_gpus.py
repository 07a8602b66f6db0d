from __future__ import annotations

from dataclasses import replace

import pytest

from tests.telemetry.test_checks import CARD, CPU, RADEON
from workbench.core.telemetry import ComputeDevice, GpuInfo
from workbench.telemetry.doctor.gpus import match_devices, unused_gpus

QUADRO = replace(CARD, key="q", name="Quadro 600", pci_id="0000:02:00.0", capability=(2, 1))
GTX_770 = replace(CARD, key="g", name="GTX 770", pci_id="0000:03:00.0", capability=(3, 0))
CUDA0 = ComputeDevice("CUDA0", "gpu", "NVIDIA GeForce RTX 4090", "CUDA", "0000:01:00.0")


# GPUs that are not used


def unused(gpus, devices, environment=None, **more):
    return list(unused_gpus(gpus, devices, environment or {}, **more))


def test_a_gpu_that_the_build_cannot_use():
    (alarm,) = unused([CARD], [CPU], cuda="12.4")
    assert (alarm.id, alarm.severity, alarm.subject) == ("gpu-unused", "warning", "GPU-1")
    assert alarm.text == "This build of llama.cpp cannot use NVIDIA GeForce RTX 4090."
    assert 'CMAKE_ARGS="-DGGML_CUDA=on" pip install' in alarm.hint
    assert "make run BACKEND=cuda CUDA=cu124" in alarm.hint


def test_a_gpu_that_is_used():
    assert unused([CARD], [CPU, CUDA0]) == []


def test_devices_that_were_not_listed():
    assert unused([CARD], None) == []


def test_one_of_two_is_hidden():
    other = replace(CARD, key="GPU-2", pci_id="0000:c1:00.0")
    (alarm,) = unused([CARD, other], [CUDA0], {"CUDA_VISIBLE_DEVICES": "0"})
    assert (alarm.id, alarm.severity, alarm.subject) == ("gpu-hidden", "info", "GPU-2")
    assert "CUDA_VISIBLE_DEVICES is set to '0'" in alarm.text
    assert "unset CUDA_VISIBLE_DEVICES" in alarm.hint


def test_an_empty_variable_hides_as_well():
    assert unused([CARD], [CPU], {"CUDA_VISIBLE_DEVICES": ""})[0].id == "gpu-hidden"


def test_the_backend_is_there_and_the_gpu_is_not_listed():
    other = replace(CARD, key="GPU-2", pci_id="0000:c1:00.0")
    (alarm,) = unused([CARD, other], [CUDA0])
    assert "does not list NVIDIA GeForce RTX 4090" in alarm.text
    assert "pip" not in alarm.hint


@pytest.mark.parametrize(("gpu", "words"), [(QUADRO, "2.1"), (GTX_770, "3.0")])
def test_a_gpu_too_old_for_any_build(gpu, words):
    (alarm,) = unused([gpu], [CPU], {"CUDA_VISIBLE_DEVICES": ""})
    assert (alarm.id, alarm.severity) == ("gpu-too-old", "info")
    assert f"compute capability {words}" in alarm.text
    assert "The CPU computes" in alarm.text
    assert alarm.hint == ""


def test_a_gpu_too_old_for_this_build():
    old = replace(CARD, name="GTX 1080", capability=(6, 1))
    (alarm,) = unused([old], [CPU, replace(CUDA0, pci_id="0000:09:00.0")], archs=(750, 800))
    assert alarm.id == "gpu-too-old"
    assert "it has compute capability 6.1, and the build needs at least 7.5" in alarm.text
    assert "-DGGML_CUDA=on" in alarm.hint


def test_a_new_gpu_is_not_too_old():
    assert unused([CARD], [CPU], archs=(520, 610))[0].id == "gpu-unused"


@pytest.mark.parametrize(("gpu", "flag"), [
    (RADEON, "-DGGML_HIP=on"), (GpuInfo("apple 0", "apple", 0, "Apple M3", unified=True), "-DGGML_METAL=on"),
])  # fmt: skip
def test_each_kind_of_gpu_has_its_command(gpu, flag):
    assert flag in unused([gpu], [CPU])[0].hint


def test_mig_devices_are_not_reported():
    whole = replace(CARD, partition="whole")
    part = replace(CARD, key="MIG-a", partition="part")
    assert unused([whole, part], [CUDA0]) == []
    assert [alarm.subject for alarm in unused([whole, part], [CPU])] == ["GPU-1"]


# Which is which


def test_devices_are_matched_by_address_not_by_order():
    other = replace(CARD, key="GPU-2", index=1, pci_id="0000:c1:00.0")
    devices = [replace(CUDA0, pci_id="0000:c1:00.0"), replace(CUDA0, name="CUDA1")]
    assert {name: gpu.key for name, gpu in match_devices([CPU, *devices], [CARD, other]).items()} == {
        "CUDA0": "GPU-2", "CUDA1": "GPU-1"
    }  # fmt: skip


def test_an_address_that_no_gpu_has():
    assert match_devices([replace(CUDA0, pci_id="0000:99:00.0")], [CARD]) == {}


def test_without_an_address_the_only_one_of_that_name():
    device = replace(CUDA0, pci_id=None)
    assert match_devices([device], [CARD, QUADRO])["CUDA0"] == CARD
    twin = replace(CARD, key="GPU-2", pci_id="0000:c1:00.0")
    assert match_devices([device], [CARD, twin]) == {}


def test_without_an_address_one_device_and_one_gpu():
    device = ComputeDevice("ROCm0", "gpu", "AMD Radeon Graphics", "ROCm")
    assert match_devices([device], [RADEON]) == {"ROCm0": RADEON}
    assert match_devices([device], [CARD]) == {}
    assert match_devices([device, replace(device, name="ROCm1")], [RADEON]) == {}


def test_a_device_that_names_no_backend_is_known_by_its_own_name():
    assert match_devices([ComputeDevice("ROCm0", "gpu")], [RADEON]) == {"ROCm0": RADEON}
    assert match_devices([ComputeDevice("CUDA0", "gpu")], [RADEON]) == {}


def test_one_gpu_through_two_backends():
    vulkan = ComputeDevice("Vulkan0", "gpu", "NVIDIA GeForce RTX 4090", "Vulkan", "0000:01:00.0")
    assert set(match_devices([CUDA0, vulkan], [CARD])) == {"CUDA0", "Vulkan0"}
