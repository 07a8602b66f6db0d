"""Kills the child process that hosts the engine at random moments, and checks after each that the program goes on.

    KILLS=200 KILL_SEED=1 python -m tests.reliability.engine_kills

A kill comes while the model loads, while a prompt is computed, while an answer is written, while a model is closed, or
while nothing runs. Each time, what waits ends within `PATIENCE_S` with a sentence, all text that had arrived is in the
answer, and the model is loaded again, by hand or with the next question, and answers. What the whole program does then
is a part of `kills.py`.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from workbench import processes
from workbench.core.answer import Answer
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Engine, Request
from workbench.core.engine_hosts import CHILD
from workbench.core.errors import EngineError, WorkbenchError
from workbench.core.events import Finished, Token
from workbench.core.metrics import Meter
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.open import AnyHost

PATIENCE_S = 120.0
"""How long anything may take, on a machine that does other things too."""
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)
MOMENTS = ("load", "prompt", "answer", "close", "idle")


class Lives:
    """One program that opens `model` in a child again and again."""

    def __init__(self, model: Path, seed: int) -> None:
        entry = ModelEntry("model", "model", path=str(model), architecture="llama")
        self._host = AnyHost(lambda _: entry, state_budget_bytes=2**24, memory_guard=True)
        self._chance = random.Random(seed)
        self._engine: Engine | None = None
        self._load_s = 1.0
        """The duration of the last load."""
        self.done: Counter[str] = Counter()

    async def run(self, kills: int) -> None:
        """So many kills."""
        try:
            for number in range(kills):
                async with asyncio.timeout(PATIENCE_S):
                    await self._life(MOMENTS[number % len(MOMENTS)], number)
        finally:
            await self._host.shutdown()
        assert not processes.engines, "a process is left over"

    async def _life(self, moment: str, number: int) -> None:
        engine, self._engine = self._engine or await self._open(), None
        if moment == "prompt":
            words = " ".join(str(self._chance.random()) for _ in range(40))
            await self._answered(engine, words, after=0, within_s=0.3)
        elif moment == "answer":
            await self._answered(engine, f"Question {number}", after=self._chance.randrange(1, 40), within_s=0.02)
        elif moment == "close":
            await self._during(engine.close(), 0.05)
        elif moment == "idle":
            self._kill()
            await self._failing(engine)
        if moment in ("load", "close") or self._chance.random() < 0.3:
            await engine.close()
            if moment == "load":
                await self._during(self._open(), self._load_s)
            engine = await self._open()
        self._engine = engine
        answer = await self._ask(engine, "And now?", 2, [])
        assert answer.outcome().error is None, f"{moment}: the model does not answer again: {answer.outcome().error}"
        self.done[moment] += 1

    async def _open(self) -> Engine:
        began = time.monotonic()
        settings = LoadSettings(num_ctx=1024, num_thread=1, engine_host=CHILD)
        engine = await self._host.open("model", settings, lambda _: None, CancelToken())
        self._load_s = time.monotonic() - began
        return engine

    def _kill(self) -> None:
        for pid in tuple(processes.engines):
            with suppress(ProcessLookupError):
                os.kill(pid, self._chance.choice(SIGNALS))
                self.done["processes"] += 1

    async def _during(self, work, longest_s: float) -> None:
        """Kill at a random moment of some work, which has to end."""
        task = asyncio.create_task(work)
        await asyncio.wait([task], timeout=self._chance.uniform(0, longest_s))
        self._kill()
        with suppress(WorkbenchError):
            engine = await task
            if engine is not None:
                await engine.close()

    async def _ask(
        self, engine: Engine, text: str, limit: int, seen: list[str] | None = None, after: int = 0
    ) -> Answer:
        request = Request(
            messages=(Message("user", text),), sampling=Sampling(num_predict=limit, logit_bias=("0=-inf", "2=-inf"))
        )
        answer, count = Answer(Meter(time.perf_counter_ns())), 0
        async for batch in engine.generate(request, CancelToken()):
            for event in batch:
                answer.feed(event)
                if isinstance(event, Token | Finished):
                    seen.append(event.text)
                    count += 1
                    if count == after:
                        self._soon.set()
        return answer

    async def _answered(self, engine: Engine, text: str, *, after: int, within_s: float) -> None:
        """Kill in an answer, so many tokens after it has begun."""
        seen: list[str] = []
        self._soon = asyncio.Event()
        task = asyncio.create_task(self._ask(engine, text, 800, seen, after))
        if after:
            await self._soon.wait()
        await asyncio.sleep(self._chance.uniform(0, within_s))
        self._kill()
        outcome = (await task).outcome()
        assert isinstance(outcome.error, EngineError), f"the answer ended as {outcome.reason}"
        assert "process" in outcome.error.message
        assert len(seen) >= after
        assert outcome.message.content == "".join(seen), "a part of the answer is lost"

    async def _failing(self, engine: Engine) -> None:
        """A call that comes when the process is gone, or about to be, fails or is answered."""
        with suppress(EngineError):
            await engine.tokens(Request(messages=(Message("user", "Hello"),)))
            self.done["answered before the end"] += 1


def main() -> int:
    """Run, and print what was done."""
    from workbench.library.demo import find_demo

    kills, seed = int(os.environ.get("KILLS", "200")), int(os.environ.get("KILL_SEED", "1"))
    demo = find_demo()
    assert demo is not None
    began = time.monotonic()
    lives = Lives(demo, seed)
    asyncio.run(lives.run(kills))
    print(f"{kills} kills in {time.monotonic() - began:.0f} s, seed {seed}; nothing hung, nothing was lost")
    print("\n".join(f"| {kind} | {count} |" for kind, count in sorted(lives.done.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
