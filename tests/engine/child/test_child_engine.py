"""The engine in a child process: what it answers, and what is left where the child ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from tests.engine.llama.conftest import answer, chat
from workbench import processes
from workbench.core.bench import BenchCase, BenchSettings, BenchTest
from workbench.core.cancel import CancelToken
from workbench.core.engine_hosts import CHILD, PROCESS
from workbench.core.errors import CancelledError, EngineError, ParameterError, QualityError, WorkbenchError
from workbench.core.events import Failed
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.engine.child.bench import AnyBencher
from workbench.engine.child.logits import AnyLogitHost
from workbench.engine.llama.bench import LlamaBencher
from workbench.engine.llama.logits import LlamaLogitHost
from workbench.engine.open import AnyHost
from workbench.lab.quality.logits import Chunk, ModelSpec


@pytest.fixture
def files(short_demo) -> dict[str, str]:
    """The files that the host's references name; tests may add to it."""
    return {"demo": str(short_demo)}


@pytest.fixture
def builds() -> dict[str, str]:
    """The environments of other builds; tests may add to it."""
    return {}


@pytest.fixture
async def host(files, builds):
    def resolve(ref: str) -> ModelEntry:
        return ModelEntry(ref, ref, path=files[ref], architecture="llama")

    host = AnyHost(resolve, state_budget_bytes=2**28, memory_guard=True, builds=builds)
    yield host
    await host.shutdown()
    await all_ended()


async def all_ended() -> None:
    """Wait until no process computes any more."""
    async with asyncio.timeout(30):
        while processes.engines:
            await asyncio.sleep(0.01)


async def load(host, ref="demo", engine_host=CHILD, on_progress=lambda _: None, cancel=None, **settings):
    asked = LoadSettings(num_ctx=1024, flash_attn="on", engine_host=engine_host, **settings)
    return await host.open(ref, asked, on_progress, cancel or CancelToken())


def running() -> int:
    """The id of the one process that computes."""
    (pid,) = processes.engines
    return pid


async def test_it_answers_as_in_process_and_gives_its_memory_back(host, files, caplog):
    engine = await load(host, engine_host=PROCESS)
    caplog.set_level(logging.DEBUG, "workbench")
    caplog.clear()
    fractions, before = [], time.perf_counter_ns()
    child = await load(host, on_progress=fractions.append)
    # Its log is in that of the program.
    assert [record for record in caplog.records if record.name == "workbench.llama_cpp"]
    assert max(fractions) == 1.0
    assert child.info.memory is not None
    assert child.info.settings.engine_host == CHILD
    pid = running()

    request = chat("Hello", limit=12)
    here, there = await answer(engine, request), await answer(child, request)
    assert there.ids == here.ids
    assert there.text == here.text
    assert there.end.usage == here.end.usage
    # One clock counts for all processes of the machine.
    stamps = [event.at_ns for event in there.events]
    assert before < min(stamps)
    assert stamps == sorted(stamps)
    assert max(stamps) < time.perf_counter_ns()

    tokens = await child.tokens(request)
    assert tokens == await engine.tokens(request)
    assert await child.score(tokens) == pytest.approx(await engine.score(tokens))
    choices = ("yes", "no")
    assert await child.rank(request, choices, CancelToken()) == pytest.approx(
        await engine.rank(request, choices, CancelToken())
    )
    with pytest.raises(WorkbenchError, match="fit in a context of 1024"):
        await child.score([1] * 2000)

    cancel = CancelToken()
    stopped = await answer(child, chat("Hello", limit=500), cancel, lambda event: cancel.set())
    assert stopped.end.reason == "cancelled"

    await benchmark(host, files)
    await logits(host, files)
    assert running() == pid
    await child.close()
    assert not psutil.pid_exists(pid)
    assert (await answer(child, request)).end.error.kind == "engine"
    # What it knew of the conversation outlives the process.
    again = await load(host)
    assert running() != pid
    assert (await answer(again, request)).cached > 1
    begun = asyncio.Event()
    asked = asyncio.create_task(answer(again, chat("Hello", limit=800), on_event=lambda _: begun.set()))
    await begun.wait()
    os.kill(running(), signal.SIGKILL)
    end = (await asked).end
    assert isinstance(end, Failed)
    assert "was killed (SIGKILL)" in end.error.message
    # The next question loads the model again.
    end = (await answer(again, request)).end
    assert end.reason == there.end.reason
    assert "loaded again" in end.notice
    assert await again.tokens(request) == tokens
    await again.close()


async def test_a_crash_is_a_sentence_and_a_process_that_hangs_is_ended(host, caplog, files, monkeypatch):
    caplog.set_level(logging.DEBUG, "workbench")
    files["missing"] = "/nowhere.gguf"
    with pytest.raises(WorkbenchError, match=r"nowhere.gguf"):
        await load(host, "missing")
    process = await host.seats.take(CHILD)
    os.kill(process.pid, signal.SIGSEGV)
    while process.ended is None:
        await asyncio.sleep(0.01)
    with pytest.raises(EngineError, match=r"The engine's process crashed \(SIGSEGV\)\. What"):
        await process.call(0, "machine")
    assert "Fatal Python error" in caplog.text
    await host.seats.leave(process)
    process = await host.seats.take(CHILD)
    monkeypatch.setattr("workbench.engine.child.seats.HAND_OVER_S", 0.01)
    monkeypatch.setattr("workbench.engine.child.process.END_S", 0.1)
    os.kill(process.pid, signal.SIGSTOP)
    waiting = process.submit(0, "open", "x" * 10**6)
    await host.seats.leave(process)
    with pytest.raises(EngineError):
        await asyncio.wrap_future(waiting)


async def benchmark(host, files) -> None:
    """Time something in the process that hosts the engines."""
    here = LlamaBencher(lambda ref: ModelEntry(ref, ref, path=files[ref]))
    bencher = AnyBencher(here, here._resolve, host.seats)
    case = BenchCase("demo", BenchSettings(n_threads=1, engine_host=CHILD), BenchTest(n_prompt=8, n_gen=2))
    target = await bencher.open(case, lambda _: None, CancelToken())
    assert target.model.name == "demo"
    assert target.model.build.build_commit
    run = await target.prepare(case.settings, case.test)
    await run.use_threads(1, 1)
    assert await run.warm_up(CancelToken()) > 0
    time = await run.repeat(1, CancelToken())
    assert min(time.prompt_ns, time.gen_ns) > 0
    cancel = CancelToken()
    cancel.set()
    with pytest.raises(CancelledError):
        await run.repeat(1, cancel)
    await run.close()
    await target.close()


async def logits(host, files) -> None:
    """The logits that come through the pipe are those that are computed here."""
    here = LlamaLogitHost(lambda ref: ModelEntry(ref, ref, path=files[ref]))
    logit_host = AnyLogitHost(here, here._resolve, host.seats)
    found = []
    for kind in (PROCESS, CHILD):
        specs = [ModelSpec("demo", LoadSettings(engine_host=kind, num_thread=1, flash_attn="on"))] * 2
        models = await logit_host.open(specs, 64, lambda _: None, CancelToken())
        tokens, positions, rows = await models.tokenize("a b c d e f g"), [], []

        def keep(first, each, rows=rows):
            rows += [first, [row.copy() for row in each]]

        await models.compute(Chunk(tokens, 2), keep, CancelToken(), positions.append)
        found.append((tokens, rows[0], np.array(rows[1]), positions[-1], await models.texts(tokens[:2])))
        with pytest.raises(ZeroDivisionError):
            await models.compute(Chunk(tokens, 2), lambda *_: 1 / 0, CancelToken(), positions.append)
        await models.close()
    assert found[0][:2] + found[0][3:] == found[1][:2] + found[1][3:]
    np.testing.assert_array_equal(found[0][2], found[1][2])
    with pytest.raises(QualityError, match="in one process, not in child and process"):
        await logit_host.open([specs[0], ModelSpec("demo")], 64, lambda _: None, CancelToken())


async def test_a_load_that_is_stopped_leaves_nothing_open(host):
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(load(host, on_progress=lambda _: loop.call_soon_threadsafe(begun.set)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await all_ended()


async def test_an_unknown_build_and_one_that_cannot_start_are_said(host, builds, tmp_path):
    with pytest.raises(ParameterError, match=r"no build 'olf'.*"):
        await load(host, engine_host="olf")
    builds["old"] = str(tmp_path)
    with pytest.raises(ParameterError, match=r"Did you mean 'old'"):
        await load(host, engine_host="olf")
    with pytest.raises(EngineError, match="has no Python in"):
        await load(host, engine_host="old")
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nshift; exec {sys.executable} -S -P "$@"\n')
    with pytest.raises(EngineError, match="does not start: Permission denied"):
        await load(host, engine_host="old")
    python.chmod(0o755)
    with pytest.raises(EngineError, match=r"build old ended .*No module named") as caught:
        await load(host, engine_host="old")
    assert "llama-cpp-python" in caught.value.hint


ORPHAN = """
import os, sys, time
from workbench.core.models import ModelEntry
from workbench.engine.open import AnyHost
import asyncio
host = AnyHost(ModelEntry, state_budget_bytes=0, memory_guard=False)
process = asyncio.run(host.seats.take("child"))
print(process.pid, flush=True)
time.sleep(600)
"""


def test_an_orphan_ends():
    with subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
    child.wait(20)
