"""The engine in a child process against the one in process: decode, prefill, and the time to the first token.

One program holds the demo model open twice, in process and in a child, and asks both the same in turn: only one
computes at a time. Prompts are new each time, so that nothing of them is cached. Decode and prefill are those of the
engine's own clock, which runs where it computes; the time to the first token is that of the reader, with the pipe. The
processor time is that of both processes: other programs change it less than the speed.

    python -m benchmarks.engine_host [--rounds 10] [--threads 2]
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Mapping
from functools import partial

import psutil

from benchmarks.common import SAMPLE_HEADERS, Bar, finish, interleave, parser, print_table, sample_rows
from benchmarks.models import demo_model
from workbench import processes
from workbench.core.cancel import CancelToken
from workbench.core.engine import Request
from workbench.core.engine_hosts import CHILD, PROCESS
from workbench.core.events import Failed, Token
from workbench.core.metrics import Meter
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.open import AnyHost
from workbench.library.catalog import LibraryCatalog

BAR = 0.98
NAMES = {PROCESS: "in process", CHILD: "child"}


def cpu_seconds() -> float:
    """The processor time of this process and of its engine's."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in (os.getpid(), *processes.engines))


class Engines:
    """The model, open in both ways for as long as the measurement takes."""

    def __init__(self, threads: int, prompt: int, tokens: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._prompt, self._tokens = prompt, tokens
        catalog = LibraryCatalog(find_demo_file=lambda: None)
        self._host = AnyHost(catalog.resolve, state_budget_bytes=0, memory_guard=True)
        self._engines = {
            kind: self._loop.run_until_complete(
                self._host.open(
                    str(demo_model()),
                    LoadSettings(num_ctx=2048, num_thread=threads, engine_host=kind),
                    lambda _: None,
                    CancelToken(),
                )
            )
            for kind in NAMES
        }

    def run(self, kind: str) -> Mapping[str, float]:
        """One answer to a new prompt."""
        return self._loop.run_until_complete(self._ask(kind))

    async def _ask(self, kind: str) -> Mapping[str, float]:
        sampling = Sampling(temperature=0.0, num_predict=self._tokens, logit_bias=("0=-inf", "2=-inf"))
        request = Request(tokens=tuple(random.choices(range(1000, 40000), k=self._prompt)), sampling=sampling)
        asked, cpu = time.perf_counter_ns(), cpu_seconds()
        meter, first_ns = Meter(asked), 0
        async for batch in self._engines[kind].generate(request, CancelToken()):
            for event in batch:
                if isinstance(event, Failed):
                    raise SystemExit(str(event.error))
                if isinstance(event, Token) and not first_ns:
                    first_ns = time.perf_counter_ns()
                meter.feed(event)
        found = meter.metrics()
        return {
            "decode": found.decode_tps or 0.0,
            "prefill": found.prefill_tps or 0.0,
            "to the first token (1/s)": 1e9 / (first_ns - asked),
            "tokens per CPU second": (self._prompt + self._tokens) / (cpu_seconds() - cpu),
        }

    def close(self) -> None:
        """Release the memory."""
        self._loop.run_until_complete(self._host.shutdown())


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=10)
    options.add_argument("--prompt", type=int, default=256, help="length of the prompt (default: %(default)s)")
    options.add_argument("--tokens", type=int, default=128, help="length of an answer (default: %(default)s)")
    chosen = options.parse_args()
    engines = Engines(chosen.threads, chosen.prompt, chosen.tokens)
    for kind in NAMES:
        engines.run(kind)
    samples = interleave({name: partial(engines.run, kind) for kind, name in NAMES.items()}, chosen.rounds)
    engines.close()
    bars = [
        Bar(f"{what}: child / in process", samples.ratio(f"child {what}", f"in process {what}"), BAR, at_least=True)
        for what in ("decode", "prefill", "to the first token (1/s)")
    ]
    print(f"tokens/s, {chosen.threads} threads, {chosen.rounds} interleaved rounds\n")
    print_table(SAMPLE_HEADERS, sample_rows(samples))
    return finish("engine_host", bars, {"engine_host": samples}, threads=chosen.threads, tokens=chosen.tokens)


if __name__ == "__main__":
    sys.exit(main())
