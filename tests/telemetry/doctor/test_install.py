from __future__ import annotations

import importlib.metadata

import pytest

from workbench.core.telemetry import GpuInfo
from workbench.telemetry.doctor.install import advice_for, cuda_index, why_too_old

CARD = GpuInfo("GPU-1", "nvml", 0, capability=(8, 9))


@pytest.mark.parametrize(("cuda", "capability", "index"), [
    ("12.4", (8, 9), "cu124"), ("12.8", (9, 0), "cu125"), ("13.0", (9, 0), "cu130"), ("13.1", (12, 1), "cu130"),
    ("13.2", (7, 0), "cu125"), ("13.2", (6, 1), "cu125"), ("11.8", (8, 9), "cu118"), ("11.8", (9, 0), None),
    ("11.4", (8, 0), None), ("13.2", (5, 2), None), ("12.6", None, "cu125"), ("", (8, 9), None), ("x.y", None, None),
])  # fmt: skip
def test_the_wheel_index_that_driver_and_gpu_take(cuda, capability, index):
    assert cuda_index(cuda, capability) == index


def test_the_command_compiles_the_version_that_is_installed():
    advice = advice_for(CARD, platform="linux", checkout=False)
    version = importlib.metadata.version("llama-cpp-python")
    assert advice.command == (
        'CMAKE_ARGS="-DGGML_CUDA=on" pip install --force-reinstall --no-cache-dir --no-deps '
        f"--no-binary llama-cpp-python llama-cpp-python=={version}"
    )
    assert advice.checkout == ""
    assert "nvcc" in advice.text


def test_the_command_in_a_shell_without_variables_before_it():
    assert advice_for(CARD, platform="win32", checkout=False).command.startswith("pip install")
    assert '-C cmake.args="-DGGML_CUDA=on"' in advice_for(CARD, platform="win32", checkout=False).command


def test_in_a_checkout_there_is_a_prebuilt_one():
    assert advice_for(CARD, "12.4", checkout=True).checkout == "make run BACKEND=cuda CUDA=cu124"
    assert advice_for(CARD, "10.2", checkout=True).checkout == ""
    radeon = GpuInfo("a", "amdgpu", 0)
    assert advice_for(radeon, checkout=True).checkout == "make run BACKEND=rocm"
    assert advice_for(radeon, checkout=True).text.startswith("Type: make run BACKEND=rocm (prebuilt), or CMAKE_ARGS=")


@pytest.mark.parametrize(("capability", "old"), [((2, 1), True), ((3, 0), True), ((3, 7), True), ((5, 0), False),
                                                 ((12, 1), False)])  # fmt: skip
def test_gpus_that_are_too_old(capability, old):
    assert bool(why_too_old(capability)) is old
