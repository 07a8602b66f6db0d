from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.telemetry.stub import GB10, GIB, H200, RTX_4090
from workbench.core.telemetry import THROTTLE_WORDS, GpuInfo, GpuSample
from workbench.telemetry.nvml_child import NvmlAnywhere, NvmlChild
from workbench.telemetry.source import SourceError, sample_from_dict, sample_to_dict

SIZES = st.none() | st.integers(0, 2**63 - 1)


@given(st.builds(
    GpuSample, gpu=st.builds(GpuInfo, key=st.text(), source=st.just("nvml"), index=st.integers(0, 9),
                             capability=st.none() | st.tuples(st.integers(1, 20), st.integers(0, 9))),
    memory_total=SIZES, memory_own=SIZES, energy_mj=SIZES, power_w=st.none() | st.floats(0, 1000),
    throttle=st.none() | st.lists(st.sampled_from(sorted(THROTTLE_WORDS)), max_size=3).map(tuple),
    absent=st.lists(st.tuples(st.sampled_from(["memory_used", "clock_mhz"]), st.just("gone")), max_size=1).map(tuple),
))  # fmt: skip
def test_a_sample_survives_the_wire(sample):
    assert sample_from_dict(json.loads(json.dumps(sample_to_dict(sample)))) == sample


@pytest.fixture
def child(play, stub_library, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", str(stub_library.parent))
    source = NvmlChild(4711, patience_s=20, there=lambda: True)
    yield source
    source.close()


def test_a_child_reads_as_this_process_would(play, child):
    play.show(RTX_4090, GB10)
    card, shared = child.read()
    assert (card.gpu.name, card.gpu.capability, card.memory_used) == ("NVIDIA GeForce RTX 4090", (8, 9), GIB)
    assert card.throttle == ("power cap",)
    assert card.memory_own in {GIB // 4, None}
    assert shared.gpu.unified
    assert child.versions["driver"] == "570.86.15"
    process = child._child
    play.change(_0__used=2 * GIB)
    assert child.read()[0].memory_used == 2 * GIB
    assert child._child is process


def test_an_updated_driver_gets_a_new_child(play, child):
    play.show(RTX_4090)
    child.read()
    first = child._child
    play.change(error=18, init=18)
    with pytest.raises(SourceError) as caught:
        child.read()
    assert caught.value.code == 18
    assert first.status is not None
    play.change(error=None, init=None)
    assert child.read()[0].memory_used == GIB


def test_another_failure_keeps_the_child(play, child):
    play.show(init=9)
    with pytest.raises(SourceError) as caught:
        child.read()
    assert caught.value.absent
    process = child._child
    play.show(H200)
    assert child.read()[0].gpu.name == "NVIDIA H200"
    assert child._child is process


def test_a_library_that_crashes_takes_only_the_child_along(play, child):
    play.show(RTX_4090, crash=1)
    with pytest.raises(SourceError, match=r"crashed the process that called it \(exit status -6\)"):
        child.read()
    play.show(RTX_4090)
    assert len(child.read()) == 1


def test_a_driver_that_hangs(play, child):
    child._patience_s = 0.2
    play.show(RTX_4090, block_ms=60_000)
    with pytest.raises(SourceError, match="did not respond"):
        child.read()
    assert child._child is None


def test_without_a_library_no_child_is_started():
    source = NvmlChild(there=lambda: False)
    with pytest.raises(SourceError) as caught:
        source.read()
    assert caught.value.absent
    assert source._child is None
    source.close()


class FakeSource:
    name = "nvml"

    def __init__(self, *answers):
        self.answers = list(answers)

    def read(self):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize("code", [18, 999])
def test_after_the_library_went_stale_the_child_reads(code):
    source = NvmlAnywhere(FakeSource(["here"], SourceError("x", code=code)), FakeSource(["child"]), only_child=False)
    assert source.read() == ["here"]
    with pytest.raises(SourceError):
        source.read()
    assert source.read() == ["child"]


def test_a_gpu_that_is_lost_is_asked_here_again():
    source = NvmlAnywhere(FakeSource(SourceError("x", code=15), ["here"]), FakeSource(), only_child=False)
    with pytest.raises(SourceError):
        source.read()
    assert source.read() == ["here"]


def test_where_it_is_not_safe_only_the_child_reads():
    source = NvmlAnywhere(FakeSource(), FakeSource(["child"]), only_child=True)
    assert source.read() == ["child"]
