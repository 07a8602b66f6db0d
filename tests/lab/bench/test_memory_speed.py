from __future__ import annotations

import itertools
import os

import pytest

from workbench.lab.bench.memory_speed import measure_bandwidth


class Ticks:
    def __init__(self, step):
        self.values = itertools.count(0, step)

    def __call__(self):
        return next(self.values)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("reads", [True, False])
def test_memory_is_gone_through(threads, reads):
    if reads and os.name == "nt":
        pytest.skip("no such function there")
    found = measure_bandwidth(threads, 2**40, buffer_bytes=2**22, budget_s=0.01, reads=reads)
    assert found.threads == threads
    assert found.buffer_bytes == 2**22 // threads // 4096 * 4096 * threads
    assert found.passes >= 1
    assert found.bytes_per_second > 2**20
    assert ("reading" if reads else "copying") in found.method


def test_the_rate_is_bytes_over_the_time_of_the_fastest_pass():
    found = measure_bandwidth(1, 2**40, buffer_bytes=2**20, budget_s=10, clock=Ticks(1.0))
    assert found.bytes_per_second == 2**20
    assert 1 < found.passes < 10


def test_too_little_memory_says_nothing():
    assert measure_bandwidth(2, 100 * 2**20) is None
    assert measure_bandwidth(2, 0) is None
