from __future__ import annotations

import os
import subprocess

import pytest

from workbench.telemetry.nvml import NvmlSource
from workbench.telemetry.nvml_child import NvmlChild

pytestmark = pytest.mark.gpu


def test_what_nvidia_smi_says_is_what_is_read():
    query = "--query-gpu=uuid,memory.total,power.limit,clocks.max.sm"
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    samples = {sample.gpu.uuid: sample for sample in NvmlSource().read()}
    for line in told:
        uuid, total, limit, highest = (word.strip() for word in line.split(","))
        sample = samples[uuid]
        assert abs(sample.memory_total / 2**20 - float(total)) <= 1
        assert abs(sample.power_limit_w - float(limit)) < 1
        assert 0 < sample.clock_mhz <= float(highest)


def test_energy_only_grows():
    source = NvmlSource()
    first, second = source.read()[0].energy_mj, source.read()[0].energy_mj
    assert 0 < first <= second


def test_a_child_sees_the_same_gpus():
    child = NvmlChild(os.getpid())
    try:
        assert [sample.gpu for sample in child.read()] == [sample.gpu for sample in NvmlSource().read()]
    finally:
        child.close()
