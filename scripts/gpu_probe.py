"""Load a model with some layers on the GPUs, and say what it takes, how fast it is, and how soon it can be stopped.

python -m scripts.gpu_probe MODEL LAYERS TOKENS          prints one JSON object
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, Request
from workbench.core.events import PromptProgress
from workbench.core.metrics import AnswerMetrics, Meter
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.llama.host import LlamaHost

PRESSED_S = 0.01
"""When Escape is pressed, after the first word of the prompt's progress."""
WORDS = "one two three four five six seven eight nine ten "


async def answer(engine: Engine, prompt: str, tokens: int, cancel: CancelToken) -> tuple[AnswerMetrics, float | None]:
    """The metrics of an answer, and the milliseconds from cancelling to its end, where it was cancelled."""
    meter, stopped = Meter(time.perf_counter_ns()), [0.0]
    cancel.on_set(lambda: stopped.insert(0, time.perf_counter()))
    request = Request(prompt=prompt, sampling=Sampling(num_predict=tokens, temperature=0.0))
    async for batch in engine.generate(request, cancel):
        for event in batch:
            meter.feed(event)
        if not tokens and any(isinstance(event, PromptProgress) and event.done < event.total for event in batch):
            # In the middle of a step.
            asyncio.get_running_loop().call_later(PRESSED_S, cancel.set)
    return meter.metrics(), (time.perf_counter() - stopped[0]) * 1e3 if cancel.is_set else None


async def probe(path: str, layers: int, tokens: int) -> dict[str, object]:
    """Everything about one number of layers."""
    host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=path))
    settings = LoadSettings(num_gpu=layers, num_ctx=4096)
    engine = await host.open(path, settings, lambda _: None, CancelToken())
    info = engine.info
    repeats = max(1, tokens // 8)
    await answer(engine, "warm up", 2, CancelToken())
    metrics, _ = await answer(engine, WORDS * repeats, tokens, CancelToken())
    _, escape_ms = await answer(engine, "again " + WORDS * repeats * 4, 0, CancelToken())
    await host.shutdown()
    return {
        "asked": layers,
        "got": info.gpu_layers,
        "estimated": sum(info.estimate.on_gpus.values()) if info.estimate else 0,
        "taken": sum(info.memory.on_gpus.values()) if info.memory else 0,
        "load_ms": info.load_ms,
        "prefill_tps": metrics.prefill_tps,
        "decode_tps": metrics.decode_tps,
        "escape_ms": escape_ms,
        "warnings": info.warnings,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(probe(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
