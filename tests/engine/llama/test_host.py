from __future__ import annotations

import asyncio
import os
import threading

import pytest

from tests.engine.llama.conftest import answer, chat, load
from tests.gguf.conftest import write_model
from tests.short_demo import LAYERS
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, MemoryShortError, ModelFileError, ModelLoadError
from workbench.core.events import Failed
from workbench.core.models import ModelEntry
from workbench.engine.llama.host import LlamaHost


async def test_a_load_reports_its_progress(host):
    seen = []
    engine = await load(host, on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    info = engine.info
    assert info.load_ms > 0
    assert (info.model.architecture, info.model.quant, info.model.context_length) == ("llama", "Q4_1", 8192)
    assert info.settings.num_thread > 0
    assert info.layers == LAYERS


async def test_a_load_can_be_stopped(host):
    cancel = CancelToken()
    with pytest.raises(CancelledError):
        await load(host, on_progress=lambda fraction: cancel.set(), cancel=cancel)
    assert (await answer(await load(host), chat("Hello", limit=2))).text


async def test_a_load_whose_caller_is_gone_is_stopped(host):
    loads, leaves = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def note(_: float) -> None:
        loop.call_soon_threadsafe(loads.set)
        leaves.wait()

    task = asyncio.create_task(load(host, on_progress=note))
    await loads.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    leaves.set()
    assert (await answer(await load(host), chat("Hello", limit=2))).text


async def test_shutdown_closes_everything_and_copies_no_caches(models):
    host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=models[ref]))
    engine = await load(host)
    await answer(engine, chat("Hello", limit=1))
    await host.shutdown()
    (batch,) = [batch async for batch in engine.generate(chat("Hello"), CancelToken())]
    assert isinstance(batch[-1], Failed)
    assert host.states.size_bytes == 0


BAD_FILES = {
    "no GGUF": b"this is no model" * 10,
    "empty": b"",
    "unknown version": b"GGUF\xff\x00\x00\x00" + b"\x00" * 64,
    "version 1": b"GGUF\x01\x00\x00\x00" + b"\x00" * 64,
}


@pytest.mark.parametrize("name", BAD_FILES)
async def test_a_file_that_is_no_model_is_refused_before_llama_cpp_sees_it(host, models, tmp_path, name):
    path = tmp_path / "bad model ü.gguf"
    path.write_bytes(BAD_FILES[name])
    models["bad"] = str(path)
    with pytest.raises(ModelFileError) as caught:
        await load(host, "bad")
    assert str(path) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("share", [0.2, 0.999])
async def test_a_truncated_file_is_refused(host, models, short_demo, tmp_path, share):
    path = tmp_path / "cut.gguf"
    with short_demo.open("rb") as source:
        path.write_bytes(source.read(int(short_demo.stat().st_size * share)))
    models["cut"] = str(path)
    with pytest.raises(ModelFileError):
        await load(host, "cut")


async def test_a_missing_file_a_folder_and_no_permission(host, models, tmp_path):
    models["missing"], models["folder"] = str(tmp_path / "none.gguf"), str(tmp_path)
    for ref in ("missing", "folder"):
        with pytest.raises(ModelFileError):
            await load(host, ref)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may read everything")
async def test_no_permission(host, models, tmp_path):
    path = tmp_path / "secret.gguf"
    path.write_bytes(b"GGUF")
    path.chmod(0)
    models["secret"] = str(path)
    with pytest.raises(ModelFileError, match="permission"):
        await load(host, "secret")


async def test_a_path_with_spaces_and_other_scripts(host, models, short_demo, tmp_path):
    path = tmp_path / "моя модель 模型.gguf"
    path.symlink_to(short_demo)
    models["spaced"] = str(path)
    assert (await answer(await load(host, "spaced"), chat("Hello", limit=2))).text


async def test_an_architecture_that_llama_cpp_does_not_know(host, models, tmp_path):
    models["odd"] = str(write_model(tmp_path / "odd.gguf", architecture="nonesuch"))
    with pytest.raises(ModelFileError, match=r"does not know its architecture .nonesuch"):
        await load(host, "odd")


async def test_a_context_that_no_machine_holds(host):
    with pytest.raises(MemoryShortError, match="needs"):
        await load(host, num_ctx=2**31 - 1)
    assert (await answer(await load(host), chat("Hello", limit=2))).text


async def test_settings_that_llama_cpp_refuses_are_an_error(host):
    with pytest.raises(ModelLoadError) as caught:
        await load(host, type_v="q4_0", flash_attn="off")
    assert "flash_attn" in caught.value.hint


async def test_quantized_caches_work(host):
    engine = await load(host, type_k="q8_0", type_v="q8_0")
    assert engine.info.memory.kv_bytes < 2048 * 30 * 2 * 3 * 64 * 2
    assert (await answer(engine, chat("Hello", limit=4))).text


async def test_a_context_longer_than_trained_for_loads_with_a_warning(host):
    engine = await load(host, num_ctx=9000)
    assert engine.info.settings.num_ctx >= 9000
    assert any("trained" in warning for warning in engine.info.warnings)


async def test_a_file_without_mmap(host):
    assert (await answer(await load(host, use_mmap=False), chat("Hello", limit=2))).text
