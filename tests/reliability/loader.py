"""Opens the model files that it is told and lets each decode, in a process that may end by it.

It reads a path a line, and answers with a line of JSON: how it ended.
"""

from __future__ import annotations

import asyncio
import json
import sys

from workbench.core.cancel import CancelToken
from workbench.core.engine import Request
from workbench.core.errors import WorkbenchError
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.llama.aborts import abort_hooks
from workbench.engine.llama.host import LlamaHost

SETTINGS = LoadSettings(num_ctx=64, num_batch=32, num_thread=1, num_gpu=0)
REQUEST = Request(prompt="The sea, 1 2\n\n?", sampling=Sampling(num_predict=2, temperature=0.0))


async def use(path: str) -> str:
    """Open a file, decode, and close it."""
    host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=ref), memory_guard=True, state_budget_bytes=0)
    try:
        engine = await host.open(path, SETTINGS, lambda _: None, CancelToken())
    except WorkbenchError as error:
        return f"refused: {error}"
    events = [event async for batch in engine.generate(REQUEST, CancelToken()) for event in batch]
    await host.shutdown()
    return f"answered: {type(events[-1]).__name__}"


def main() -> None:
    abort_hooks.append(lambda message: print(message, file=sys.stderr, flush=True))
    for line in sys.stdin:
        try:
            said = asyncio.run(use(json.loads(line)))
        except Exception as error:  # noqa: BLE001 - reported to the test, whatever it is
            said = f"raised: {error!r}"
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
