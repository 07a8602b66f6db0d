from __future__ import annotations

import asyncio
import threading

import pytest

from tests.engine.llama.conftest import answer, chat, load
from tests.lora import write_lora
from tests.short_demo import LAYERS
from workbench.core.bench import BenchCase, BenchSettings, BenchTest
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, MemoryShortError, ModelFileError, ModelLoadError, UnknownModelError
from workbench.core.models import ModelEntry
from workbench.core.recipe import Recipe
from workbench.engine.llama.bench import LlamaBencher

CPU = BenchSettings(n_gpu_layers=0)


@pytest.fixture
def bencher(short_demo):
    def resolve(ref):
        if ref == "demo":
            return ModelEntry("demo", "SmolLM2", path=str(short_demo))
        if ref == "server":
            return ModelEntry("server", "server")
        raise UnknownModelError(f"There is no model {ref!r}.")

    return LlamaBencher(resolve)


@pytest.fixture
async def target(bencher):
    opened = await bencher.open(BenchCase("demo", CPU, BenchTest(64)), lambda _: None, CancelToken())
    yield opened
    await opened.close()


async def repeat(target, test, *, settings=CPU, times=1, seed=1):
    run = await target.prepare(settings, test)
    found = [await run.repeat(seed, CancelToken()) for _ in range(times)]
    await run.close()
    return found


async def test_what_was_opened_is_described(target, short_demo):
    model = target.model
    assert model.description.startswith("llama ")
    assert (model.name, model.quant, model.gpu_layers, model.backend) == ("SmolLM2", "Q4_1", 0, "CPU")
    assert model.parameters == 28_312_128 + LAYERS * 3_540_096
    assert 35e6 < model.read_bytes <= model.weights_bytes < model.file_bytes == short_demo.stat().st_size
    assert model.modified_ns == short_demo.stat().st_mtime_ns
    assert model.n_threads >= 1


async def test_the_threads_of_a_context_change_live(target):
    from workbench.engine.llama.native import api
    from workbench.engine.llama.runtime import shared_runtime

    run = await target.prepare(CPU, BenchTest(8, 2))
    await run.use_threads(3, 0)

    def threads():
        context = run._context._ctx
        return api.llama_n_threads(context), api.llama_n_threads_batch(context)

    assert await shared_runtime.do(threads) == (3, 3)
    await run.use_threads(1, 2)
    assert await shared_runtime.do(threads) == (1, 2)
    await run.close()


async def test_the_machine_names_its_build(bencher):
    machine = await bencher.machine()
    assert machine.build_commit
    assert not machine.build_commit.endswith("dirty")
    assert machine.backends
    assert machine.cores >= 1
    assert "llama-cpp-python" in dict(machine.versions)


@pytest.mark.parametrize(
    "test",
    [
        BenchTest(n_prompt=20),
        BenchTest(n_gen=3),
        BenchTest(n_prompt=8, n_gen=2, n_depth=16),
        BenchTest(n_prompt=6, n_gen=2, sequences=3),
        BenchTest(n_prompt=4, n_gen=2, n_depth=8, sequences=2),
        BenchTest(n_prompt=1),
    ],
    ids=lambda test: test.label,
)
async def test_every_kind_of_test_can_be_repeated(target, test):
    for taken in await repeat(target, test, times=2):
        assert (taken.prompt_ns > 0) == (test.n_prompt > 0)
        assert (taken.gen_ns > 0) == (test.n_gen > 0)
        assert taken.wall_ns >= taken.ns


class Spy:
    """Writes down what llama.cpp is asked to decode: for each call the tokens, positions, sequences and outputs."""

    def __init__(self, monkeypatch):
        from workbench.engine.llama import bench_context

        self.calls = []
        decode = bench_context.api.llama_decode

        def spy(ctx, batch):
            rows = range(batch.n_tokens)
            self.calls.append([(batch.token[i], batch.pos[i], batch.seq_id[i][0], batch.logits[i]) for i in rows])
            return decode(ctx, batch)

        monkeypatch.setattr(bench_context.api, "llama_decode", spy)

    def shapes(self):
        return [len(call) for call in self.calls]


async def test_a_prompt_is_computed_in_batches_with_the_logits_of_the_last_token(target, monkeypatch):
    spy = Spy(monkeypatch)
    await repeat(target, BenchTest(n_prompt=20), settings=BenchSettings(n_gpu_layers=0, n_batch=8, n_ubatch=4))
    assert spy.shapes() == [8, 8, 4]
    assert [position for call in spy.calls for _, position, _, _ in call] == list(range(20))
    assert [[logits for *_, logits in call].index(1) for call in spy.calls] == [7, 7, 3]


async def test_tokens_are_generated_one_at_a_time_with_logits_behind_the_depth(target, monkeypatch):
    spy = Spy(monkeypatch)
    await repeat(target, BenchTest(n_gen=3, n_depth=10))
    assert spy.shapes() == [10, 1, 1, 1]
    assert [(position, logits) for call in spy.calls[1:] for _, position, _, logits in call] == [
        (10, 1),
        (11, 1),
        (12, 1),
    ]


async def test_the_depth_is_computed_once_and_then_restored(target, monkeypatch):
    spy = Spy(monkeypatch)
    await repeat(target, BenchTest(n_gen=2, n_depth=10), times=3)
    assert spy.shapes() == [10, 1, 1, 1, 1, 1, 1]


async def test_sequences_are_computed_together(target, monkeypatch):
    spy = Spy(monkeypatch)
    await repeat(target, BenchTest(n_prompt=5, n_gen=2, sequences=3))
    assert spy.shapes() == [15, 3, 3]
    prompt, *steps = spy.calls
    assert [(position, sequence) for _, position, sequence, _ in prompt] == [(p, s) for s in range(3) for p in range(5)]
    assert [logits for *_, logits in prompt] == [0, 0, 0, 0, 1] * 3
    assert [(position, sequence, logits) for _, position, sequence, logits in steps[1]] == [(6, s, 1) for s in range(3)]


async def test_the_tokens_are_random_and_the_same_for_the_same_seed(target, monkeypatch):
    spy = Spy(monkeypatch)
    for seed in (3, 3, 4):
        await repeat(target, BenchTest(n_prompt=30), seed=seed)
    first, again, other = ([token for token, *_ in call] for call in spy.calls)
    assert first == again != other
    assert len(set(first)) > 20


async def test_warming_up_is_the_prompt_and_one_token(target, monkeypatch):
    spy = Spy(monkeypatch)
    run = await target.prepare(CPU, BenchTest(n_prompt=6, n_gen=5))
    assert await run.warm_up(CancelToken()) > 0
    assert spy.shapes() == [6, 1]


async def test_stopping_works_within_a_batch(target, monkeypatch):
    from workbench.engine.llama import bench_context

    cancel, codes = CancelToken(), []
    decode = bench_context.api.llama_decode

    def stopped(*call) -> int:
        cancel.set()
        codes.append(decode(*call))
        return codes[-1]

    run = await target.prepare(CPU, BenchTest(n_prompt=200))
    with monkeypatch.context() as patch:
        patch.setattr(bench_context.api, "llama_decode", stopped)
        with pytest.raises(CancelledError):
            await run.repeat(1, cancel)
    assert codes == [2], "llama.cpp left the batch"
    # The context is as good as before.
    assert (await (await target.prepare(CPU, BenchTest(n_gen=1))).repeat(1, CancelToken())).ns > 0


async def test_a_flag_that_was_raised_between_two_runs_does_not_end_the_next(target):
    run = await target.prepare(CPU, BenchTest(n_gen=2))
    cancel = CancelToken()
    await run.repeat(1, cancel)
    cancel.set()
    with pytest.raises(CancelledError):
        await run.repeat(1, cancel)
    assert (await run.repeat(1, CancelToken())).ns > 0


async def test_closing_under_a_run_ends_it(target, monkeypatch):
    from workbench.engine.llama import bench_context

    computes, closes = asyncio.Event(), threading.Event()
    loop, decode = asyncio.get_running_loop(), bench_context.api.llama_decode

    def held(*call) -> int:
        loop.call_soon_threadsafe(computes.set)
        closes.wait()
        return decode(*call)

    run = await target.prepare(CPU, BenchTest(n_gen=500))
    monkeypatch.setattr(bench_context.api, "llama_decode", held)
    task = asyncio.create_task(run.repeat(1, CancelToken()))
    await computes.wait()
    closing = asyncio.create_task(run.close())
    await asyncio.sleep(0)
    closes.set()
    await closing
    with pytest.raises(CancelledError):
        await task
    await run.close()


async def test_an_answer_continues_during_a_benchmark(target, short_demo):
    from workbench.engine.llama.host import LlamaHost

    host = LlamaHost(lambda ref: ModelEntry(ref=ref, name="demo", path=str(short_demo)))
    engine = await load(host)
    run = await target.prepare(CPU, BenchTest(n_gen=30))
    timed = asyncio.create_task(run.repeat(1, CancelToken()))
    said = await answer(engine, chat("Hello", limit=8))
    taken = await timed
    await host.shutdown()
    assert said.metrics.completion_tokens
    assert taken.wall_ns > taken.ns


async def test_two_models_are_open_at_once(bencher, target):
    other = await bencher.open(BenchCase("demo", CPU, BenchTest(64)), lambda _: None, CancelToken())
    first, second = await target.prepare(CPU, BenchTest(n_gen=2)), await other.prepare(CPU, BenchTest(n_prompt=4))
    for _ in range(2):
        assert (await first.repeat(1, CancelToken())).gen_ns > 0
        assert (await second.repeat(1, CancelToken())).prompt_ns > 0
    await other.close()
    assert (await first.repeat(1, CancelToken())).gen_ns > 0


async def test_progress_and_stopping_of_a_load(bencher):
    told = []
    opened = await bencher.open(BenchCase("demo", CPU, BenchTest(64)), told.append, CancelToken())
    await opened.close()
    await opened.close()
    assert told[-1] == 1.0
    cancel = CancelToken()
    with pytest.raises(CancelledError):
        await bencher.open(BenchCase("demo", CPU, BenchTest(64)), lambda _: cancel.set(), cancel)


async def test_what_cannot_be_opened(bencher, tmp_path):
    with pytest.raises(UnknownModelError):
        await bencher.open(BenchCase("nothing", CPU, BenchTest(64)), lambda _: None, CancelToken())
    with pytest.raises(ModelFileError):
        await bencher.open(BenchCase("server", CPU, BenchTest(64)), lambda _: None, CancelToken())


async def test_what_does_not_fit_is_refused_before_it_is_tried(target):
    with pytest.raises(MemoryShortError):
        await target.prepare(CPU, BenchTest(n_prompt=9_000_000))


async def test_a_test_that_does_not_fit_keeps_no_model_from_being_opened(bencher):
    opened = await bencher.open(BenchCase("demo", CPU, BenchTest(9_000_000)), lambda _: None, CancelToken())
    await opened.close()


async def test_what_llama_cpp_refuses_is_an_error(target):
    with pytest.raises(ModelLoadError, match="needs flash attention"):
        await target.prepare(BenchSettings(n_gpu_layers=0, type_v="q8_0", flash_attn="off"), BenchTest(n_gen=1))


async def test_more_sequences_than_a_batch_holds_end_no_process(target):
    small = BenchSettings(n_gpu_layers=0, n_batch=2, n_ubatch=1)
    (taken,) = await repeat(target, BenchTest(n_prompt=2, n_gen=1, sequences=5), settings=small)
    assert taken.gen_ns > 0


async def test_an_adapter_is_on_in_every_context(short_demo, tmp_path, monkeypatch):
    from workbench.engine.llama import bench_context

    put = []

    def apply_adapter(ctx, adapter, real=bench_context.apply_adapter):
        put.append(adapter)
        real(ctx, adapter)

    monkeypatch.setattr(bench_context, "apply_adapter", apply_adapter)
    lora = write_lora(tmp_path / "lora.gguf", short_demo, tensors=40)
    recipes = {"plain": None, "adapted": Recipe(adapter=str(lora))}
    both = LlamaBencher(lambda ref: ModelEntry(ref, ref, path=str(short_demo), recipe=recipes[ref]))
    models = {}
    for ref in recipes:
        opened = await both.open(BenchCase(ref, CPU, BenchTest(8)), lambda _: None, CancelToken())
        models[ref] = opened.model
        await repeat(opened, BenchTest(n_prompt=8))
        await repeat(opened, BenchTest(n_gen=1))
        await opened.close()
    assert len(put) == 2
    assert models["adapted"].description == f"{models['plain'].description} + lora.gguf"
    assert 0 < models["adapted"].read_bytes - models["plain"].read_bytes < lora.stat().st_size
    assert models["adapted"].file_bytes == short_demo.stat().st_size + lora.stat().st_size
