"""Answers of one model that are computed together, against llama-batched-bench of the same llama.cpp.

Eight answers begin at once, each after a prompt of random tokens; counted are the tokens that all of them write a
second, sampled and converted to text, from the first token of the last one to the last token of the first one that
ends. llama-batched-bench samples nothing. The first row asks the same for one answer at a time.

    python -m benchmarks.batching [--quants Q4_K_M F16] [--rounds 10] [--threads 2]
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from pathlib import Path

from benchmarks.common import Bar, Samples, finish, interleave, parser, print_found
from benchmarks.llama_cpp_tools import tool
from benchmarks.models import token_times, variant
from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, Request
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.llama.host import LlamaHost

ANSWERS, PROMPT, GENERATED = 8, 128, 96
LEAST = 0.95


async def times_of(engine: Engine, seed: int) -> list[int]:
    """When each token of one answer was there, in nanoseconds."""
    rng = random.Random(seed)
    prompt = tuple(rng.randrange(1000, 40_000) for _ in range(PROMPT))
    request = Request(tokens=prompt, sampling=Sampling(num_predict=GENERATED, temperature=0.0))
    return await token_times(engine, request)


async def speed(engine: Engine, count: int, first_seed: int) -> float:
    """Tokens that `count` answers write together, a second, while all of them are written."""
    answers = await asyncio.gather(*(times_of(engine, first_seed + number) for number in range(count)))
    began, ended = max(times[0] for times in answers), min(times[-1] for times in answers)
    written = sum(began < at <= ended for times in answers for at in times)
    return written / ((ended - began) / 1e9)


def measure(path: Path, rounds: int, threads: int, label: str) -> Samples:
    """Both on one model."""
    context = PROMPT + GENERATED + 32
    command = [str(tool("llama-batched-bench")), "-m", str(path), "-c", str(ANSWERS * (PROMPT + GENERATED))]
    command += ["-npp", str(PROMPT), "-ntg", str(GENERATED), "-npl", str(ANSWERS), "-t", str(threads), "-ngl", "0"]
    command += ["--output-format", "jsonl"]
    seed = 0
    with asyncio.Runner() as runner:
        host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=str(path)), state_budget_bytes=0)
        load = LoadSettings(num_ctx=context, num_thread=threads, num_gpu=0, num_parallel=ANSWERS)
        engine = runner.run(host.open("it", load, lambda _: None, CancelToken()))

        def ours(count: int) -> dict[str, float]:
            nonlocal seed
            seed += count
            return {"tokens/s": runner.run(speed(engine, count, seed))}

        def theirs() -> dict[str, float]:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            lines = [json.loads(line) for line in (done.stdout + done.stderr).splitlines() if line.startswith("{")]
            return {"tokens/s": lines[-1]["speed_tg"]}

        arms = {"one answer": lambda: ours(1), "answers together": lambda: ours(ANSWERS), "llama-batched-bench": theirs}
        samples = interleave(arms, rounds, label)
        runner.run(host.shutdown())
    return samples


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=10)
    options.add_argument("--quants", nargs="*", default=["Q4_K_M"])
    chosen = options.parse_args()
    found, bars = {}, []
    for quant in chosen.quants:
        samples = found[quant] = measure(variant(quant), chosen.rounds, chosen.threads, quant)
        ratio = samples.ratio("answers together tokens/s", "llama-batched-bench tokens/s")
        bars.append(Bar(f"{quant}: {ANSWERS} answers / llama-batched-bench", ratio, LEAST, at_least=True))
    print(f"tokens/s of decode, {chosen.threads} threads, {chosen.rounds} interleaved rounds\n")
    print_found(found)
    return finish("batching", bars, found, threads=chosen.threads)


if __name__ == "__main__":
    sys.exit(main())
