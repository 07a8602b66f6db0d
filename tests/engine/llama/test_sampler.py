"""Sampling: which calls keep the interpreter lock."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from tests.gguf.conftest import write_model
from workbench.core.cancel import CancelToken
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.llama.checkpoints import CheckpointLimits, CheckpointPool
from workbench.engine.llama.runtime import shared_runtime

VOCABULARY = 131_072


@pytest.fixture(scope="module")
def large_vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "large.gguf"
    write_model(path, vocab=VOCABULARY, width=32, heads=1, kv_heads=1, layers=1)
    yield path
    path.unlink()


@pytest.mark.parametrize(
    ("sampling", "released"),
    [
        (Sampling(top_k=0, top_p=0.9), True),
        (Sampling(top_k=0, typical_p=0.9), True),
        (Sampling(top_k=0, top_p=1.0, min_p=0.05), True),
        (Sampling(top_k=0, top_p=1.0), True),
        (Sampling(top_k=100_000, top_p=0.9), True),
        (Sampling(top_k=0, top_p=0.9, repeat_penalty=1.1), True),
        (Sampling(top_k=300), False),
    ],
    ids=lambda value: "" if isinstance(value, bool) else str(value)[:60],
)
async def test_a_long_call_releases_the_interpreter_lock(large_vocabulary, sampling, released):
    def count_of_others() -> int:
        from workbench.engine.llama.model import Model
        from workbench.engine.llama.sampler import Sampler

        settings = LoadSettings(num_ctx=256, num_thread=1, num_batch=64, num_gpu=0)
        model = Model(
            str(large_vocabulary), settings, lambda _: None, CancelToken(), "", CheckpointPool(CheckpointLimits())
        )
        model.slots[0].compute([1, 2, 3])
        sampler = Sampler(sampling, model.vocabulary, 256, [1, 2, 3])
        turns, running = 0, True

        def others() -> None:
            nonlocal turns
            while running:
                turns += 1
                time.sleep(0)

        thread, interval = threading.Thread(target=others), sys.getswitchinterval()
        # Only a thread that releases the lock by itself lets others run.
        sys.setswitchinterval(30)
        try:
            thread.start()
            before = turns
            # On a busy machine a released lock is not taken at once.
            for _ in range(200 if released else 3):
                assert 0 <= sampler.sample(model.native) < VOCABULARY
                if turns > before:
                    break
            return turns - before
        finally:
            running = False
            sys.setswitchinterval(interval)
            thread.join()
            sampler.close()
            model.close()

    assert (await shared_runtime.do(count_of_others) > 0) is released
