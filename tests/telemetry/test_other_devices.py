from __future__ import annotations

from dataclasses import replace

from tests.telemetry.stub import GIB, why_not
from workbench.core.telemetry import ComputeDevice, GpuInfo, HostSample
from workbench.telemetry.doctor.gpus import match_devices, unused_gpus
from workbench.telemetry.other_devices import other_devices
from workbench.telemetry.sampler import TelemetrySampler
from workbench.telemetry.source import sample_from_dict, sample_to_dict

ARC = ComputeDevice("Vulkan0", "gpu", "Intel Arc A770", "Vulkan", "0000:03:00.0", 12 * GIB, 16 * GIB, 3 * GIB)
CARD = GpuInfo("GPU-1", "nvml", 0, "NVIDIA GeForce RTX 4090", "GPU-1", "0000:01:00.0", (8, 9))
LLVMPIPE = ComputeDevice("Vulkan0", "gpu", "llvmpipe (LLVM 15.0.6, 256 bits)", "Vulkan", None, None, 2 * GIB, GIB)


def test_a_device_without_a_driver_of_its_own_has_the_figures_of_ggml():
    (sample,) = other_devices([ComputeDevice("CPU"), ARC], [CARD])
    assert (sample.gpu.source, sample.gpu.key, sample.gpu.name) == ("ggml", "Vulkan0", "Intel Arc A770")
    assert (sample.memory_total, sample.memory_free, sample.memory_used) == (16 * GIB, 12 * GIB, 4 * GIB)
    assert sample.memory_own == 3 * GIB
    assert (sample.gpu.unified, sample.gpu.software) == (False, False)
    assert sample_from_dict(sample_to_dict(sample)) == sample


def test_a_gpu_that_a_driver_reads_is_not_there_twice():
    card = ComputeDevice("CUDA0", "gpu", "NVIDIA GeForce RTX 4090", "CUDA", "0000:01:00.0", 1, 2)
    assert other_devices([card], [CARD]) == []
    assert len(other_devices([card], [])) == 1


def test_free_memory_that_is_not_reported_is_unknown_and_what_the_models_hold_is_known():
    (sample,) = other_devices([LLVMPIPE], [])
    assert (sample.memory_total, sample.memory_free, sample.memory_used) == (2 * GIB, None, None)
    assert sample.memory_own == GIB
    assert why_not(sample, "memory_used") == "not supported"
    assert sample.gpu.software
    assert LLVMPIPE.usable_bytes == GIB
    assert replace(LLVMPIPE, held_bytes=3 * GIB).usable_bytes == 0
    assert ARC.usable_bytes == 12 * GIB


def test_a_device_of_ggml_is_no_gpu_of_a_driver():
    (sample,) = other_devices([ARC], [])
    assert match_devices([ARC], [sample.gpu]) == {}
    assert list(unused_gpus([sample.gpu], (), {})) == []


def test_the_sampler_reads_the_devices_only_while_a_model_is_on_one():
    class Host:
        def sample(self):
            return HostSample(1, 2, 3, 4.0)

    asked = []
    sampler = TelemetrySampler(Host(), [], devices=lambda: asked.append(1) or [ARC])
    sampler.use_gpus(False)
    assert sampler.tick().gpus == ()
    assert not asked
    sampler.use_gpus(True)
    assert [each.gpu.key for each in sampler.tick().gpus] == ["Vulkan0"]
