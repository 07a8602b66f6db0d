from __future__ import annotations

import pytest

from tests.engine.llama.conftest import answer, chat, watching
from workbench.core.cancel import CancelToken
from workbench.core.events import PromptProgress
from workbench.engine.llama.pace import GPU_CHUNK, LARGE_BYTES, first_pace

STEP_NS = 500_000_000


def chunks(pace, tokens_per_s, count=4):
    found = []
    for _ in range(count):
        found.append(pace.tokens)
        pace.measure(pace.tokens, int(pace.tokens / tokens_per_s * 1e9), STEP_NS)
    return found


def test_a_gpu_begins_with_a_small_chunk_and_takes_what_a_step_can_do():
    assert chunks(first_pace(2048, 1, on_gpu=True), 10_000) == [GPU_CHUNK, 2048, 2048, 2048]
    assert chunks(first_pace(2048, 1, on_gpu=True), 300) == [GPU_CHUNK, 144, 144, 144]


def test_a_slow_device_stays_at_the_smallest_chunk():
    assert chunks(first_pace(2048, LARGE_BYTES, on_gpu=True), 3) == [GPU_CHUNK] * 4


def test_a_first_step_that_compiles_code_does_not_count_for_long():
    pace = first_pace(2048, 1, on_gpu=True)
    pace.measure(GPU_CHUNK, 6 * 10**9, STEP_NS)
    assert chunks(pace, 2000, 3) == [GPU_CHUNK, 1000, 1000]


@pytest.mark.parametrize(("size", "first"), [(1, 512), (LARGE_BYTES, 128)])
def test_a_cpu_begins_with_a_chunk_by_the_size_of_the_model(size, first):
    assert first_pace(512, size, on_gpu=False).tokens == first


@pytest.mark.parametrize("on_gpu", [True, False])
def test_no_chunk_is_larger_than_the_batch(on_gpu):
    assert set(chunks(first_pace(4, 1, on_gpu=on_gpu), 1)) == {4}


def test_a_few_last_tokens_tell_nothing():
    pace = first_pace(2048, 1, on_gpu=True)
    pace.measure(1, 6 * 10**9, STEP_NS)
    pace.measure(GPU_CHUNK, 10**6, STEP_NS)
    pace.measure(1, 6 * 10**9, STEP_NS)
    assert pace.tokens == 2048


@pytest.mark.parametrize("reached", [lambda event: event.done > event.cached, lambda event: event.done == event.total])
async def test_cancelling_on_a_gpu_ends_with_the_chunk_and_without_a_token(engine, monkeypatch, reached):
    monkeypatch.setattr(engine._model, "gpu_pace", first_pace(2048, 1, on_gpu=True))
    # A step there cannot be aborted.
    monkeypatch.setattr(engine._model, "abort", lambda: None)
    cancel = CancelToken()
    with watching(lambda event: cancel.set() if isinstance(event, PromptProgress) and reached(event) else None):
        result = await answer(engine, chat("Count to ten, and then back to one: " + "again and again " * 20), cancel)
    first, second = result.of(PromptProgress)[:2]
    assert second.done - first.done == GPU_CHUNK
    assert result.end.reason == "cancelled"
    assert result.end.usage.completion_tokens == 0
