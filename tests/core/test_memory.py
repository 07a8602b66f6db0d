from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.memory import PURPOSES, MemoryBuffer, compare_buffers, correction_of
from workbench.core.models import MemoryUse

MIB = 2**20
BUFFERS = (
    MemoryBuffer("CUDA0", "weights", 40 * MIB),
    MemoryBuffer("CPU", "compute", 3 * MIB),
    MemoryBuffer("CPU", "weights", 50 * MIB),
    MemoryBuffer("CPU", "weights", 10 * MIB),
    MemoryBuffer("CPU", "states", MIB),
    MemoryBuffer("CPU", "KV", 8 * MIB),
)


def test_the_memory_of_buffers():
    use = MemoryUse.of(BUFFERS)
    assert (use.weights_bytes, use.kv_bytes, use.compute_bytes) == (100 * MIB, 9 * MIB, 3 * MIB)
    assert (use.device, dict(use.by_device)) == ("CPU", {"CUDA0": 40 * MIB, "CPU": 72 * MIB})
    assert sum(size for _, size in use.by_device) == use.total_bytes


def test_each_buffer_is_compared_with_its_estimate():
    taken = (*BUFFERS[1:], MemoryBuffer("CUDA1", "weights", 40 * MIB))
    found = compare_buffers(BUFFERS, taken)
    assert [(each.device, each.purpose, each.estimated // MIB, each.taken // MIB) for each in found] == [
        ("CPU", "weights", 60, 60), ("CPU", "KV", 8, 8), ("CPU", "states", 1, 1), ("CPU", "compute", 3, 3),
        ("CUDA0", "weights", 40, 0), ("CUDA1", "weights", 0, 40),
    ]  # fmt: skip
    assert [each.error for each in found] == [0, 0, 0, 0, None, -1]
    assert compare_buffers((), taken) == compare_buffers(BUFFERS, ()) == ()


@given(st.dictionaries(st.sampled_from(PURPOSES), st.tuples(st.integers(1, 2**40), st.floats(0.3, 3.9))))
def test_a_corrected_estimate_is_what_was_taken(sizes):
    estimated = [MemoryBuffer("CPU", purpose, size) for purpose, (size, _) in sizes.items()]
    taken = [MemoryBuffer("CUDA0", purpose, round(size * part)) for purpose, (size, part) in sizes.items()]
    factors = correction_of(compare_buffers(estimated, taken))
    for before, after in zip(estimated, taken, strict=True):
        corrected = before.size_bytes * factors.get(before.purpose, 1)
        assert corrected == pytest.approx(after.size_bytes, abs=2**16)


def test_what_was_not_the_same_load_corrects_nothing():
    (compute,) = compare_buffers([MemoryBuffer("CPU", "compute", 100 * MIB)], [MemoryBuffer("CPU", "compute", MIB)])
    assert correction_of([compute]) == {}
    assert correction_of(()) == {}
