"""Benchmarks in a process of their own."""

from __future__ import annotations

import os
import signal

import pytest

from workbench.core.bench import BenchCase, BenchSettings, BenchTest
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, EngineProcessError, ModelLoadError
from workbench.core.models import ModelEntry
from workbench.engine.llama.bench_child import ChildBencher

CPU = BenchSettings(n_gpu_layers=0)


async def test_a_model_is_timed_in_a_process_whose_end_is_an_error(short_demo):
    processes: set[int] = set()
    bencher = ChildBencher(lambda ref: ModelEntry(ref, "SmolLM2", path=str(short_demo)), processes)
    fractions, cancel, test = [], CancelToken(), BenchTest(8, 2)
    target = await bencher.open(BenchCase("demo", CPU, test), fractions.append, cancel)
    assert target.model.name == "SmolLM2"
    assert fractions[-1] == 1.0
    (process,) = processes
    # What llama.cpp refuses is an error of that setting alone.
    with pytest.raises(ModelLoadError, match="flash attention"):
        await target.prepare(BenchSettings(type_v="q8_0", flash_attn="off", n_gpu_layers=0), test)
    run = await target.prepare(CPU, test)
    await run.use_threads(1, 1)
    assert await run.warm_up(cancel) > 0
    taken = await run.repeat(1, cancel)
    assert taken.prompt_ns > 0
    assert taken.gen_ns > 0
    stopped = CancelToken()
    stopped.set()
    with pytest.raises(CancelledError):
        await run.repeat(2, stopped)
    os.kill(process, signal.SIGKILL)
    with pytest.raises(EngineProcessError, match="exit status -9"):
        await run.repeat(3, cancel)
    await run.close()
    await target.close()
    assert not processes
