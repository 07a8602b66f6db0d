from __future__ import annotations

import pytest

from tests.telemetry.stub import GIB, why_not
from workbench.core.telemetry import ComputeDevice
from workbench.telemetry.apple import AppleSource
from workbench.telemetry.source import SourceError


def source(values=None, metal=None, memory=(32 * GIB, 20 * GIB)):
    return AppleSource(
        here=lambda: True, metal=lambda: metal, system_memory=lambda: memory, kernel_value=(values or {}).get
    )


def test_other_platforms_have_no_such_gpu():
    with pytest.raises(SourceError) as caught:
        AppleSource(here=lambda: False).read()
    assert caught.value.absent


def test_before_ggml_was_asked_the_whole_memory_is_the_budget():
    (sample,) = source({"machdep.cpu.brand_string": b"Apple M3 Max\0", "iogpu.wired_limit_mb": b"\0\0\0\0"}).read()
    assert sample.gpu.name == "Apple M3 Max"
    assert sample.gpu.unified
    assert (sample.memory_total, sample.memory_free) == (32 * GIB, 20 * GIB)
    assert (sample.memory_own, why_not(sample, "memory_own")) == (None, "not supported")
    assert why_not(sample, "power_w") == "not supported"


def test_ggml_knows_the_budget_and_the_own_share():
    metal = ComputeDevice("Metal", "gpu", total_bytes=22 * GIB, free_bytes=17 * GIB)
    (sample,) = source(metal=metal).read()
    assert (sample.memory_total, sample.memory_free, sample.memory_used) == (22 * GIB, 20 * GIB, 2 * GIB)
    assert sample.memory_own == 5 * GIB
    assert sample.gpu.name == "Apple GPU"


def test_a_limit_that_the_user_raised():
    metal = ComputeDevice("Metal", "gpu", total_bytes=22 * GIB, free_bytes=22 * GIB)
    (sample,) = source({"iogpu.wired_limit_mb": (28 * 1024).to_bytes(4, "little")}, metal).read()
    assert sample.memory_total == 28 * GIB


@pytest.mark.parametrize("value", [b"", b"\1", b"\1" * 5])
def test_a_limit_of_another_size_is_none(value):
    assert source({"iogpu.wired_limit_mb": value}).read()[0].memory_total == 32 * GIB


def test_free_is_never_more_than_the_budget():
    metal = ComputeDevice("Metal", "gpu", total_bytes=10 * GIB, free_bytes=10 * GIB)
    (sample,) = source(metal=metal).read()
    assert (sample.memory_free, sample.memory_used) == (10 * GIB, 0)
