from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.llama.conftest import answer, chat
from tests.lora import write_lora
from workbench.core.cancel import CancelToken
from workbench.core.errors import MemoryShortError, ModelFileError
from workbench.core.models import ModelEntry, estimate_error
from workbench.core.parameters import LoadSettings
from workbench.core.recipe import Recipe
from workbench.engine.llama.host import LlamaHost
from workbench.engine.llama.plan import Machine, make_plan
from workbench.gguf.check import check_loadable
from workbench.gguf.fit import FitModel
from workbench.gguf.reader import read_header
from workbench.gguf.shares import DeviceRoom, Room


async def open_with(short_demo: Path, adapter: Path | None, **settings: int):
    recipe = Recipe(adapter=str(adapter or ""), notes=("PARSER x is ignored.",))
    host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=str(short_demo), recipe=recipe))
    return host, await host.open("m", LoadSettings(**{"num_ctx": 256, **settings}), lambda _: None, CancelToken())


async def first_tokens(short_demo: Path, adapter: Path | None) -> list[int]:
    host, engine = await open_with(short_demo, adapter)
    try:
        return (await answer(engine, chat("Hello", limit=8))).ids
    finally:
        await host.shutdown()


async def test_an_adapter_changes_what_the_model_says(short_demo, tmp_path):
    plain = await first_tokens(short_demo, None)
    weak = await first_tokens(short_demo, write_lora(tmp_path / "weak.gguf", short_demo, strength=0.0))
    strong = await first_tokens(short_demo, write_lora(tmp_path / "strong.gguf", short_demo, tensors=40, strength=0.5))
    assert weak == plain
    assert strong != plain


async def test_its_memory_is_counted_before_loading_and_after(short_demo, tmp_path):
    adapter = write_lora(tmp_path / "a.gguf", short_demo, tensors=60, rank=64)
    found = []
    for path in (None, adapter):
        host, engine = await open_with(short_demo, path)
        found.append(engine.info)
        await host.shutdown()
    plain, adapted = found
    size = read_header(adapter).tensor_bytes
    assert adapted.estimate.weights_bytes - plain.estimate.weights_bytes == size
    assert adapted.memory.weights_bytes - plain.memory.weights_bytes == pytest.approx(size, abs=2 * 5243)
    assert adapted.memory.by_device == (("CPU", adapted.memory.total_bytes),)
    assert abs(estimate_error(adapted.estimate, adapted.memory)) < 0.03


async def test_what_cannot_fit_with_it_is_refused(short_demo, tmp_path):
    headers = check_loadable(short_demo)
    adapter = read_header(write_lora(tmp_path / "a.gguf", short_demo, tensors=60, rank=64))
    plain = make_plan(headers, LoadSettings(num_ctx=256), Machine(2, 2**40, 2**40))
    total = FitModel(headers).price(FitModel(headers).question(plain.settings), Room(DeviceRoom("CPU", 2**40)))
    machine = Machine(2, total.total_bytes + adapter.tensor_bytes - 1, 2**40)
    make_plan(headers, LoadSettings(num_ctx=256), machine)
    with pytest.raises(MemoryShortError):
        make_plan(headers, LoadSettings(num_ctx=256), machine, adapter=adapter)


async def test_a_swap_does_not_take_the_state_of_the_model_without_it(short_demo, tmp_path):
    adapter = write_lora(tmp_path / "a.gguf", short_demo)
    recipes = {"plain": None, "adapted": Recipe(adapter=str(adapter))}
    host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=str(short_demo), recipe=recipes[ref]))
    try:
        cached = []
        for ref in ("plain", "adapted", "plain"):
            engine = await host.open(ref, LoadSettings(num_ctx=256), lambda _: None, CancelToken())
            cached.append((await answer(engine, chat("Hello there", limit=2))).cached)
            await engine.close()
    finally:
        await host.shutdown()
    assert cached[:2] == [0, 0]
    assert cached[2] > 0


async def test_one_for_another_model_is_refused(short_demo, tmp_path):
    with pytest.raises(ModelFileError, match="'qwen2'"):
        await open_with(short_demo, write_lora(tmp_path / "a.gguf", short_demo, architecture="qwen2"))


async def test_ignored_directives_are_warnings_of_the_model(short_demo):
    host, engine = await open_with(short_demo, None, num_ctx=1_000_000)
    try:
        assert engine.info.warnings[:2] == (
            "PARSER x is ignored.",
            "num_ctx 1000000 is more than the model was trained for, and is reduced to 8192.",
        )
        assert engine.info.settings.num_ctx == 8192
    finally:
        await host.shutdown()
