"""Closing: no use of a closed model, and no native memory left over."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.engine.llama.conftest import answer, chat, held_back, load
from tests.engine.llama.toys import write_toy
from workbench.core.bench import BenchCase, BenchSettings, BenchTest
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, EngineError
from workbench.core.events import Failed
from workbench.core.models import ModelEntry
from workbench.engine.llama.bench import LlamaBencher
from workbench.engine.llama.runtime import shared_runtime

AFTER_CLOSE = """
import asyncio, sys
from workbench.core.cancel import CancelToken
from workbench.core.engine import Request
from workbench.core.errors import WorkbenchError
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.engine.llama.host import LlamaHost

async def main():
    host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=ref))
    engine = await host.open(sys.argv[1], LoadSettings(num_ctx=2048, num_batch=64), lambda _: None, CancelToken())

    async def score():
        try:
            await engine.score(list(range(5, 200)) * 9)
            return "scored"
        except WorkbenchError as error:
            return type(error).__name__

    async def generate():
        async for batch in engine.generate(Request(prompt="word " * 300), CancelToken()):
            last = batch[-1]
        return getattr(last, "reason", None) or type(last.error).__name__

    # The work that was asked for before is refused or ends, in whichever order.
    before = [asyncio.create_task(work()) for work in (score, generate, score, generate)]
    await asyncio.sleep(0)
    await asyncio.gather(engine.close(), engine.close())
    assert set(await asyncio.gather(*before)) <= {"scored", "EngineError", "cancelled"}
    assert [await score(), await generate()] == ["EngineError", "EngineError"]
    await engine.close()
    assert engine.info.model and engine.capabilities.score
    await host.shutdown()
    print("alive")

asyncio.run(main())
"""


@pytest.fixture
def toy(tmp_path, models) -> Path:
    path = write_toy(tmp_path / "toy-F32.gguf")
    models["toy"] = str(path)
    return path


@pytest.fixture
async def living(host, monkeypatch):
    """The native models and contexts that exist, counted."""
    from workbench.engine.llama import native

    await shared_runtime.do(lambda: None)
    api, counts = native.api, Counter()

    def counted(name: str, kind: str, change: int) -> None:
        function = getattr(api, name)

        def call(*arguments: object) -> object:
            result = function(*arguments)
            counts[kind] += change if change < 0 or result else 0
            return result

        monkeypatch.setattr(api, name, call)

    counted("llama_model_load_from_file", "model", 1)
    counted("llama_model_free", "model", -1)
    counted("llama_init_from_model", "context", 1)
    counted("llama_free", "context", -1)
    return counts


async def settled() -> None:
    """Return once the runtime has done what it was given, and what that gave it."""
    for _ in range(3):
        await shared_runtime.do(lambda: None)


def test_every_method_of_a_closed_engine_is_an_error_and_no_crash(toy):
    done = subprocess.run([sys.executable, "-c", AFTER_CLOSE, str(toy)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr[-2000:]


async def test_a_closed_engine_does_not_score(host, toy):
    engine = await load(host, "toy")
    await engine.close()
    with pytest.raises(EngineError, match="closed"):
        await engine.score([5, 6, 7])


async def test_a_host_forgets_the_engines_that_are_closed(host, toy):
    for _ in range(3):
        engine = await load(host, "toy")
        assert len(host._engines) == 1
        await engine.close()
        assert not host._engines


@pytest.mark.parametrize("failing", ["_assemble", "identity", "vocabulary", "engine"])
async def test_a_model_that_cannot_be_put_together_is_freed(host, toy, living, monkeypatch, failing):
    from workbench.engine.llama import engine, model
    from workbench.engine.llama import host as host_module

    def fail(*_: object, **__: object) -> None:
        raise OSError("it went away")

    match failing:
        case "_assemble":
            monkeypatch.setattr(host, "_assemble", fail)
        case "identity":
            monkeypatch.setattr(host_module, "_identity", fail)
        case "vocabulary":
            monkeypatch.setattr(model.Vocabulary, "of", fail)
        case "engine":
            monkeypatch.setattr(engine, "LlamaEngine", fail)
    with pytest.raises(OSError, match="went away"):
        await load(host, "toy")
    assert not any(living.values())


async def test_a_file_that_disappears_while_its_model_is_loaded_does_no_harm(host, toy, living):
    engine = await load(host, "toy", on_progress=lambda fraction: toy.unlink(missing_ok=True))
    assert (await answer(engine, chat("Hello", limit=2))).text
    await engine.close()
    assert not any(living.values())


async def test_a_cancel_after_the_weights_is_a_cancel_and_frees_them(host, toy, living, monkeypatch):
    from workbench.engine.llama import model

    cancel, make = CancelToken(), model.make_context

    def make_context(*call, **values):
        cancel.set()
        return make(*call, **values)

    monkeypatch.setattr(model, "make_context", make_context)
    with pytest.raises(CancelledError):
        await load(host, "toy", cancel=cancel)
    assert not any(living.values())


async def cancelled_after(turns: int, work: Coroutine[Any, Any, Any]) -> None:
    """Cancel some work after so many turns of the event loop, and close what it has opened by then."""
    task = asyncio.create_task(work)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    if not isinstance(result, BaseException):
        await result.close()
    await settled()


async def test_a_caller_that_goes_away_at_any_moment_leaves_no_model(host, toy, living):
    engine = await load(host, "toy")
    await engine.close()
    for turns in range(0, 400, 7):
        await cancelled_after(turns, load(host, "toy"))
        assert not any(living.values()), turns
    assert not host._engines


async def test_a_benchmark_that_cannot_be_described_loads_nothing(toy, living, monkeypatch):
    from workbench.engine.llama import bench

    def fail(*_: object) -> None:
        raise OSError("it went away")

    monkeypatch.setattr(bench, "_describe", fail)
    bencher = LlamaBencher(lambda ref: ModelEntry(ref, ref, path=str(toy)))
    with pytest.raises(OSError, match="went away"):
        await bencher.open(BenchCase("toy", BenchSettings(), BenchTest(n_prompt=8)), lambda _: None, CancelToken())
    assert not any(living.values())


async def test_a_benchmark_whose_caller_goes_away_leaves_no_context(toy, living):
    bencher = LlamaBencher(lambda ref: ModelEntry(ref, ref, path=str(toy)))
    case = BenchCase("toy", BenchSettings(), BenchTest(n_prompt=8))
    target = await bencher.open(case, lambda _: None, CancelToken())
    for turns in range(0, 60, 3):
        await cancelled_after(turns, target.prepare(case.settings, case.test))
        assert living["context"] == 0, turns
    await target.close()
    assert not any(living.values())


async def test_a_waiting_answer_that_is_cancelled_ends_before_the_one_that_runs(host, toy):
    engine = await load(host, "toy")
    cancel, stop = CancelToken(), CancelToken()
    with held_back():
        running = asyncio.create_task(answer(engine, chat("Hello", limit=1500), stop))
        waiting = asyncio.create_task(answer(engine, chat("Hello", limit=1500), cancel))
        await asyncio.sleep(0)
        cancel.set()
        assert (await waiting).end.reason == "cancelled"
        assert not running.done()
        stop.set()
        assert (await running).end.reason == "cancelled"
    await host.shutdown()
    (batch,) = [batch async for batch in engine.generate(chat("Hello"), CancelToken())]
    assert isinstance(batch[-1], Failed)


AFTER_BENCH = """
import asyncio, sys
from workbench.core.bench import BenchCase, BenchSettings, BenchTest
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, WorkbenchError
from workbench.core.models import ModelEntry
from workbench.engine.llama.bench import LlamaBencher
from workbench.engine.llama.runtime import Job, shared_runtime

def close_after(context, steps):
    # Close a context between two steps of its work.
    work = context.repeat(Job(lambda job: iter(())), 1, CancelToken())
    for _ in range(steps):
        if next(work, "over") == "over":
            return True
    context.close()
    try:
        return next(work, "over") == "over"
    except CancelledError:
        return False

async def outcome(work):
    try:
        await work
        return "done"
    except WorkbenchError as error:
        return type(error).__name__

async def main():
    bencher = LlamaBencher(lambda ref: ModelEntry(ref, ref, path=sys.argv[1]))
    case = BenchCase("toy", BenchSettings(), BenchTest(n_prompt=64, n_gen=8, n_depth=256))
    target = await bencher.open(case, lambda _: None, CancelToken())
    for steps in range(1, 30):
        run = await target.prepare(case.settings, case.test)
        over = await shared_runtime.do(close_after, run._context, steps)
        assert over in (True, False), steps
        await run.close()
    await target.close()
    for turns in range(0, 300, 23):
        target = await bencher.open(case, lambda _: None, CancelToken())
        run = await target.prepare(case.settings, case.test)
        work = [run.warm_up(CancelToken()), run.repeat(1, CancelToken()), target.prepare(case.settings, case.test)]
        tasks = [asyncio.create_task(outcome(each)) for each in work]
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.gather(target.close(), target.close())
        assert set(await asyncio.gather(*tasks)) <= {"done", "CancelledError", "EngineError"}
        assert await outcome(run.warm_up(CancelToken())) == "CancelledError"
        assert await outcome(run.repeat(1, CancelToken())) == "CancelledError"
        assert await outcome(target.prepare(case.settings, case.test)) == "EngineError"
        await run.close()
        await target.close()
    print("alive")

asyncio.run(main())
"""


def test_a_benchmark_that_is_closed_at_any_moment_ends_its_work_and_no_process(toy):
    done = subprocess.run([sys.executable, "-c", AFTER_BENCH, str(toy)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr[-2000:]
