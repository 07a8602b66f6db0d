"""Speed by context depth."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lab.tune.scripted import MODEL, Tools
from tests.lab.tune.test_tune import quiet
from workbench.core.engine import DeviceNeed, Footprint, Needs
from workbench.core.errors import MemoryShortError, ModelLoadError
from workbench.core.load_settings import LoadSettings
from workbench.core.units import GIB
from workbench.lab.tune.depth import ANSWER, PROMPT, DepthJob, DepthPlan, as_json, as_markdown, depths_to
from workbench.lab.tune.depth_plot import Strip, strip_rows


def slower_with_depth(way, work):
    factor = 1 + work.n_depth / 10_000
    return factor, factor * (2 if way.type_k == "q8_0" else 1)


def price(load):
    refusal = ModelLoadError("A quantized V cache needs flash attention.") if load.type_v == "q4_0" else None
    return Needs((DeviceNeed("CPU", GIB + load.num_ctx * 2**16, 2**40),), load.num_ctx, refusal=refusal)


class Files(Tools):
    largest = 10_000

    async def footprint(self, model, load):
        return Footprint(GIB, self.largest)


async def measured(*caches, largest=10_000, depths=()):
    tools = Files(quiet(slower_with_depth), price)
    tools.largest = largest
    job = DepthJob(DepthPlan(MODEL, LoadSettings(), caches, depths), tools)
    await job.run()
    return job


async def test_speed_and_memory_from_an_empty_context_to_the_longest_that_fits():
    record = (await measured("f16", "q8_0")).record
    points = {(point.cache, point.depth): point for point in record.points}
    longest = 10_000 - PROMPT - ANSWER
    assert [depth for cache, depth in points if cache == "f16"] == [0, 1216, 2432, 4864, longest]
    first, last = points["f16", 0], points["f16", longest]
    assert last.decode_tps / first.decode_tps == pytest.approx(1 / (1 + longest / 10_000), rel=0.06)
    assert last.memory_bytes - first.memory_bytes == longest * 2**16
    assert points["q8_0", 0].decode_tps == pytest.approx(first.decode_tps / 2, rel=0.06)
    assert len(as_json(record)["points"]) == len(points)
    text = as_markdown(record)
    assert "● f16   ◆ q8_0" in text
    assert "decode t/s" in text
    assert "9,728" in text


async def test_chosen_depths_need_no_estimate_of_the_longest():
    record = (await measured("f16", depths=(0, 512), largest=0)).record
    assert [point.depth for point in record.points] == [0, 512]


async def test_a_cache_type_that_is_refused_is_a_note():
    record = (await measured("f16", "q4_0", depths=(0,))).record
    assert [point.cache for point in record.points] == ["f16"]
    assert record.notes == ("q4_0: A quantized V cache needs flash attention.",)


async def test_a_model_that_does_not_fit():
    job = await measured("f16", largest=0)
    assert isinstance(job.error, MemoryShortError)
    assert job.record.points == ()


@settings(max_examples=30)
@given(st.integers(0, 2**22))
def test_depths_double_up_to_the_longest(longest):
    depths = depths_to(longest)
    assert (depths[0], depths[-1]) == (0, longest)
    assert list(depths) == sorted(set(depths))
    assert len(depths) <= 8


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1e6)), max_size=8), st.integers(0, 120), st.integers(0, 9)
)
def test_a_plot_has_room_or_is_left_out(points, width, height):
    rows = strip_rows([Strip("decode", (("f16", tuple(sorted(points))),))], width, height)
    assert all(len("".join(text for text, _ in row)) <= max(width, 9 + 20) for row in rows)
