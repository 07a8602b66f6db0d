"""What it costs to come back to an earlier place of a conversation, where the memory cannot be cut.

A conversation of six turns and about 4,000 tokens with two hybrid models and one whose layers have a
sliding window; random weights, two layers, and feed-forward networks so wide that they take most of the time, as in
real models. Its last answer is regenerated, and its last question edited: with checkpoints, and with everything
computed again. The time is that of the prefill and of going back, on the processor and in the thread that computes.
What the checkpoints of the conversation took is compared with the prefill of all of it.

    python -m benchmarks.checkpoints [--rounds 7] [--threads 2]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from unittest.mock import patch

from benchmarks.common import Bar, finish, interleave, parser, print_samples
from tests.engine.llama.toys import write_toy
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.events import PromptProgress
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.llama.checkpoints import CheckpointLimits
from workbench.engine.llama.host import LlamaHost
from workbench.engine.llama.prompt import PromptTokens

KINDS = {"hybrid": "lfm2", "gated delta net": "qwen35", "window": "gemma3"}
TURNS, QUESTION = 6, "Tell me more of the light and of the sea."
ANSWER = "The keeper of the light went down to the sea and counted the waves that came. " * 12
FEED = 8192
LIMITS = CheckpointLimits()
AGAIN_BAR, TAKING_BAR = 0.05, 0.02

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Spent:
    """The processor time of the thread that computes, in milliseconds, by what it was spent on."""

    def __init__(self) -> None:
        self.ms: defaultdict[str, float] = defaultdict(float)

    def measured(self, what: str, work: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """`work`, whose time is counted."""

        def run(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
            began = time.thread_time_ns()
            try:
                return work(*arguments, **named)
            finally:
                self.ms[what] += (time.thread_time_ns() - began) / 1e6

        return run


class Talk:
    """One conversation with one model."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: Path, threads: int) -> None:
        self._loop = loop
        host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=str(path)), state_budget_bytes=0, checkpoints=LIMITS)
        load = LoadSettings(num_ctx=8192, num_thread=threads)
        engine: Any = loop.run_until_complete(host.open("toy", load, lambda _: None, CancelToken()))
        self._engine, self._model, self.tokens = engine, engine._model, 0
        self._spent = Spent()
        known = engine._slots._free[0]
        self._slot = known.slot
        known.prepare = self._spent.measured("prefill", known.prepare)
        self._model.compute = self._spent.measured("prefill", self._model.compute)
        memory = self._slot.memory
        memory.take_checkpoint = self._spent.measured("checkpoints", memory.take_checkpoint)

    def _ask(self, *messages: Message) -> float:
        """Compute the prompt of a conversation; gives the time of its prefill, and of what it took to go back."""
        self._spent.ms.clear()
        places = PromptTokens.places

        async def read() -> None:
            request = Request(messages, sampling=Sampling(temperature=0.0, num_predict=1))
            async for batch in self._engine.generate(request, CancelToken()):
                for event in batch:
                    if isinstance(event, PromptProgress):
                        self.tokens = event.total

        with patch.object(PromptTokens, "places", self._spent.measured("prefill", places)):
            self._loop.run_until_complete(read())
        return self._spent.ms["prefill"]

    def run(self, *, again: bool) -> Mapping[str, float]:
        """Hold the conversation; then regenerate its last answer, and edit its last question.

        `again` forgets everything before both.
        """
        self._slot.forget()
        taken, messages = 0.0, list[Message]()
        for number in range(TURNS):
            messages.append(Message("user", f"{number}. {QUESTION}"))
            self._ask(*messages)
            taken += self._spent.ms["checkpoints"]
            messages.append(Message("assistant", ANSWER))
        found = {"checkpoints": taken, "MiB of checkpoints": self._slot.memory.checkpoints.size_bytes / 2**20}
        for what, question in (("regenerate", messages[-2]), ("edit", Message("user", f"{TURNS - 1}. Why?"))):
            if again:
                self._slot.forget()
            found[what] = self._ask(*messages[:-2], question)
        return found


def main() -> int:
    """Measure, and print."""
    chosen = parser(__doc__, rounds=7).parse_args()
    loop = asyncio.new_event_loop()
    samples, bars, tokens = {}, [], 0
    with tempfile.TemporaryDirectory() as folder:
        for name, architecture in KINDS.items():
            path = write_toy(Path(folder) / f"{architecture}-F32.gguf", architecture, feed=FEED)
            talk = Talk(loop, path, chosen.threads)
            arms = {arm: partial(talk.run, again=again) for arm, again in (("kept", False), ("again", True))}
            found = samples[name] = interleave(arms, chosen.rounds, name)
            tokens = talk.tokens
            for what in ("regenerate", "edit"):
                ratio = found.ratio(f"kept {what}", f"again {what}")
                bars.append(Bar(f"{name}: {what}, with checkpoints / without", ratio, AGAIN_BAR))
            cost = found.ratio("kept checkpoints", "again regenerate")
            bars.append(Bar(f"{name}: all checkpoints / prefill of the conversation", cost, TAKING_BAR))
            held = max(found.values["kept MiB of checkpoints"]) * 2**20
            bars.append(Bar(f"{name}: memory / budget", held / LIMITS.size_bytes, 1))
    print(f"ms of prefill, {tokens:,} tokens, {chosen.threads} threads, {chosen.rounds} interleaved rounds\n")
    for name, found in samples.items():
        print(f"\n{name}\n")
        print_samples(found)
    return finish("checkpoints", bars, samples, threads=chosen.threads, tokens=tokens)


if __name__ == "__main__":
    sys.exit(main())
