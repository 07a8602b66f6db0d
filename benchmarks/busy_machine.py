"""Decode beside busy programs: each fixed number of threads, and the number that is adapted.

Beside 0, 1 and 2 programs that each use a core all the time, every arm writes answers with one engine that stays open,
so that an adapted number begins with what it knows from the round before.

    python -m benchmarks.busy_machine [--quant Q4_K_M] [--rounds 8]
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from benchmarks.common import SAMPLE_HEADERS, Bar, Samples, finish, interleave, parser, print_table, sample_rows
from benchmarks.models import token_times, variant
from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, Request
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.llama.host import LlamaHost

LOOPS = (0, 1, 2)
GENERATED = 160
ADAPTED = "adapted"
LEAST, LEAST_ALONE = 0.9, 0.99
STORY = Request(prompt="Once upon a time", sampling=Sampling(num_predict=GENERATED, logit_bias=("0=-100",)))


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Programs that compute all the time."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


async def speed(engine: Engine) -> float:
    """Tokens a second of one answer, from its first token on."""
    times = await token_times(engine, STORY)
    return (len(times) - 1) / ((times[-1] - times[0]) / 1e9)


def best_ratio(samples: Samples, counts: range) -> float:
    """The median over the rounds of the adapted speed against that of the count that is the fastest by its median."""
    best = max((f"{count} threads" for count in counts), key=lambda arm: samples.median(f"{arm} tokens/s"))
    return statistics.median(samples.ratios(f"{ADAPTED} tokens/s", f"{best} tokens/s"))


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=8)
    options.add_argument("--quant", default="Q4_K_M")
    chosen = options.parse_args()
    path, counts = variant(chosen.quant), range(1, chosen.threads + 1)
    found, bars = {}, []
    with asyncio.Runner() as runner:
        host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=str(path)), state_budget_bytes=0)
        load = LoadSettings(num_ctx=1024, num_gpu=0)
        loads = {f"{count} threads": replace(load, num_thread=count) for count in counts} | {ADAPTED: load}
        engines = {arm: runner.run(host.open(arm, each, lambda _: None, CancelToken())) for arm, each in loads.items()}
        for loops in LOOPS:

            def run(engine: Engine, loops: int = loops) -> dict[str, float]:
                with busy(loops):
                    return {"tokens/s": runner.run(speed(engine))}

            arms = {arm: lambda engine=engine: run(engine) for arm, engine in engines.items()}
            label = f"{loops} busy programs"
            samples = found[label] = interleave(arms, chosen.rounds, label)
            least = LEAST if loops else LEAST_ALONE
            bars.append(Bar(f"{label}: {ADAPTED} / best", best_ratio(samples, counts), least, at_least=True))
        runner.run(host.shutdown())
    print(f"tokens/s of decode, {chosen.quant}, {chosen.rounds} interleaved rounds\n")
    print_table(
        SAMPLE_HEADERS, [(f"{label}: {arm}", *row) for label, part in found.items() for arm, *row in sample_rows(part)]
    )
    return finish("busy_machine", bars, found)


if __name__ == "__main__":
    sys.exit(main())
