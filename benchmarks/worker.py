"""A process that holds one model and measures on request, so that arms can take turns with the model loaded.

Each kind computes in one thread of its own, as the program does; a process that waits uses no processor time. Commands
come as lines of JSON on standard input, figures go as lines of JSON to standard output.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, EngineHost, Request
from workbench.core.events import Failed, Token
from workbench.core.metrics import Meter
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling

PROMPT = "Once upon a time, in a small town by the sea, there lived an old clockmaker who"
"""A text that the demo model continues for longer than any measurement needs."""


class Worker:
    """The other end of such a process.

    Args:
        kind: `engine` for the program's own engine, `llama` for the class of llama-cpp-python.
        path: The model file.
        threads: How many threads compute.
        env: More environment variables for the process.
    """

    def __init__(self, kind: str, path: str, threads: int, env: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "benchmarks.worker", kind, path, str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
        )
        self._read()

    def ask(self, **command: object) -> dict[str, float]:
        """Have something measured: `decode=128` or `prefill=512`, with `temperature` and `seed`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a measuring process ended with status {self._process.wait()}")
        found: dict[str, float] = json.loads(line)
        return found

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def commands() -> Iterator[dict[str, Any]]:
    """What the other end asks for."""
    for line in sys.stdin:
        yield json.loads(line)


def answer(**figures: float) -> None:
    """Give figures to the other end."""
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def random_tokens(count: int) -> tuple[int, ...]:
    """Ids of ordinary tokens, different each time, so that nothing can come from a cache."""
    return tuple(random.choices(range(1000, 30_000), k=count))


async def open_engine(path: str, threads: int, num_ctx: int) -> tuple[EngineHost, Engine]:
    """The program's own engine with one model open, on the processor alone."""
    from workbench.engine.llama.host import LlamaHost

    host = LlamaHost(resolve=lambda ref: ModelEntry(ref=ref, name="model", path=ref))
    settings = LoadSettings(num_ctx=num_ctx, num_thread=threads, num_gpu=0)
    return host, await host.open(path, settings, lambda fraction: None, CancelToken())


async def run_engine(path: str, threads: int) -> None:
    """Measure the program's own engine."""
    host, engine = await open_engine(path, threads, 2048)
    answer(ready=1)
    loop = asyncio.get_running_loop()
    reader = commands()
    while (command := await loop.run_in_executor(None, next, reader, None)) is not None:
        prefill, decode = command.get("prefill"), command.get("decode")
        # N tokens have N - 1 gaps, and the bar is about `decode` steps.
        sampling = Sampling(
            num_predict=1 if prefill else decode + 1,
            temperature=command.get("temperature", 0.8),
            seed=command.get("seed", 1),
        )
        tokens = random_tokens(prefill) if prefill else None
        request = Request(prompt=None if tokens else PROMPT, tokens=tokens, sampling=sampling)
        meter, stamps = Meter(time.perf_counter_ns()), []
        async for batch in engine.generate(request, CancelToken()):
            for event in batch:
                if isinstance(event, Failed):
                    raise event.error
                meter.feed(event)
                if isinstance(event, Token):
                    stamps.append(event.at_ns)
        metrics = meter.metrics()
        if prefill:
            if metrics.prompt_tokens != prefill or metrics.cached_tokens:
                raise SystemExit(f"not a fresh prefill of {prefill} tokens: {metrics}")
            answer(prefill=metrics.prefill_tps or 0)
        else:
            if metrics.completion_tokens != decode + 1:
                raise SystemExit(f"the model ended after {metrics.completion_tokens} tokens: choose another seed")
            # By the wall clock: what the runtime does between two steps is not on the lane's.
            answer(decode=decode * 1e9 / (stamps[-1] - stamps[0]), prompt=metrics.prompt_tokens or 0)
    await host.shutdown()


def run_llama(path: str, threads: int) -> None:
    """Measure `llama_cpp.Llama` as its documentation uses it."""
    from llama_cpp.llama import Llama

    llama = Llama(path, n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False)
    answer(ready=1)
    for command in commands():
        decode = command["decode"]
        stamps = []
        llama.reset()
        stream = llama.create_completion(
            PROMPT,
            max_tokens=decode + 1,
            temperature=command.get("temperature", 0.8),
            seed=command.get("seed", 1),
            top_k=40,
            top_p=0.9,
            min_p=0.0,
            repeat_penalty=1.0,
            stream=True,
        )
        reason = None
        for chunk in stream:
            stamps.append(time.perf_counter_ns())
            reason = chunk["choices"][0]["finish_reason"] or reason
        if reason != "length":
            raise SystemExit(f"the model ended with {reason}: choose another seed")
        # The last chunk has no text: it says why the answer ended.
        answer(decode=decode * 1e9 / (stamps[-2] - stamps[0]))


def main() -> None:
    """Hold one model until standard input ends."""
    kind, path, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if kind == "engine":
        asyncio.run(run_engine(path, threads))
    else:
        run_llama(path, threads)


if __name__ == "__main__":
    main()
