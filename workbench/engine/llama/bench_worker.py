"""The child process that times one model.

Orders, each answered by `{"result": …}` and `END`, or by `{"error": {kind, message, hint}}` and `END`:
- `{"open": CASE, "model": …, "adapter": PATH or null, "guard": BOOL}`: `{"progress": FRACTION}` any number of times
  before the model;
- `{"prepare": SETTINGS, "test": TEST}`: the number of a context;
- `{"warm_up": NUMBER}`, `{"repeat": NUMBER, "seed": N}`, `{"threads": NUMBER, "decode": N, "prompt": N}`;
- `{"close": NUMBER}`.
Each has a `"number"`. `{"cancel": NUMBER}` ends that order, also before it arrives, and has no answer.
`{"abort": MESSAGE}` precedes the end by llama.cpp.
"""

from __future__ import annotations

import asyncio
import gc
from dataclasses import asdict

from workbench.core.bench import BenchCase, BenchRun, BenchSettings, BenchTarget, BenchTest
from workbench.core.cancel import CancelToken
from workbench.core.errors import WorkbenchError
from workbench.core.json_reader import read_json
from workbench.core.models import ModelEntry
from workbench.core.recipe import Recipe
from workbench.engine.llama.aborts import abort_hooks
from workbench.engine.llama.bench import LlamaBencher
from workbench.processes import END, JsonObject, ParentChannel


class _BenchWorker:
    def __init__(self, channel: ParentChannel) -> None:
        self._channel = channel
        self._target: BenchTarget | None = None
        self._runs: list[BenchRun] = []
        self._cancel = CancelToken()
        self._number = self._cancelled = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Carry out orders until there are no more."""
        while (order := await self._channel.next_order()) is not None:
            if "cancel" in order:
                self._cancelled = order["cancel"]
                if self._cancelled == self._number:
                    self._cancel.set()
                continue
            self._cancel, self._number = CancelToken(), order["number"]
            if self._cancelled == self._number:
                self._cancel.set()
            # Kept, so that it is not collected while it runs.
            task = asyncio.create_task(self._answer(order))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, order: JsonObject) -> None:
        try:
            self._channel.emit(result=await self._do(order))
        except WorkbenchError as error:
            self._channel.emit(error={"kind": error.kind, "message": error.message, "hint": error.hint})
        self._channel.emit(**END)

    async def _do(self, order: JsonObject) -> object:
        if "open" in order:
            return await self._open(order)
        if "prepare" in order:
            assert self._target is not None
            settings, test = read_json(BenchSettings, order["prepare"]), read_json(BenchTest, order["test"])
            self._runs.append(await self._target.prepare(settings, test))
            return len(self._runs) - 1
        if "warm_up" in order:
            return await self._runs[order["warm_up"]].warm_up(self._cancel)
        if "repeat" in order:
            return asdict(await self._runs[order["repeat"]].repeat(order["seed"], self._cancel))
        if "threads" in order:
            await self._runs[order["threads"]].use_threads(order["decode"], order["prompt"])
        elif "close" in order:
            await self._runs[order["close"]].close()
        return None

    async def _open(self, order: JsonObject) -> object:
        recipe = None if order["adapter"] is None else Recipe(adapter=order["adapter"])
        entry = ModelEntry(**order["model"], recipe=recipe)
        bencher = LlamaBencher(lambda _: entry, memory_guard=order["guard"])
        case = read_json(BenchCase, order["open"])
        self._target = await bencher.open(case, lambda part: self._channel.emit(progress=part), self._cancel)
        return asdict(self._target.model)


async def _main() -> None:
    channel = ParentChannel()
    abort_hooks.append(lambda message: channel.emit(abort=message))
    # Objects that exist by now stay: collecting them again and again would delay what is measured.
    gc.freeze()
    await _BenchWorker(channel).run()


if __name__ == "__main__":
    asyncio.run(_main())
