"""The engine against llama-bench of the same llama.cpp, and against the class that llama-cpp-python offers.

llama-bench decodes 128 random tokens and does not sample; the engine samples, turns every token into text and stamps
it, so a ratio of 1 cannot be expected. Both start from an (almost) empty context. The prefill is 512 random tokens.
`1B` is a model of random weights, for which fewer tokens are enough.

    python -m benchmarks.llama_bench [--quants F16 Q8_0 Q4_K_M 1B] [--rounds 10] [--threads 2]
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.common import SAMPLE_HEADERS, Bar, Samples, finish, interleave, parser, print_table, sample_rows
from benchmarks.llama_cpp_tools import tool
from benchmarks.models import LARGE, variant
from benchmarks.worker import Worker

DECODE, PREFILL = 128, 512
LARGE_DECODE, LARGE_PREFILL = 32, 64
REPEATS = 3
"""Runs inside one llama-bench, after its own warm-up. The engine and the class run as often; the middle one counts."""


def llama_bench(program: Path, model: Path, threads: int, decode: int, prefill: int) -> dict[str, float]:
    """One run of llama-bench, in tokens a second."""
    options = ("-p", prefill, "-n", decode, "-r", REPEATS, "-t", threads, "-ngl", 0, "-o", "jsonl")
    command = [str(program), "-m", str(model), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    speed = {bool(row["n_prompt"]): middle(row["samples_ts"]) for row in rows}
    return {"prefill": speed[True], "decode": speed[False]}


def middle(values: list[float]) -> float:
    """The middle one of a few values."""
    return sorted(values)[len(values) // 2]


def several(worker: Worker, **command: object) -> float:
    """The middle one of several measurements."""
    return middle([next(iter(worker.ask(**command).values())) for _ in range(REPEATS)])


def measure(quant: str, rounds: int, threads: int, temperature: float) -> Samples:
    """All three on one model."""
    program, model = tool("llama-bench"), variant(quant)
    decode, prefill = (LARGE_DECODE, LARGE_PREFILL) if quant == LARGE else (DECODE, PREFILL)
    with Worker("engine", str(model), threads) as engine, Worker("llama", str(model), threads) as llama:
        ask = {"decode": decode, "temperature": temperature}
        for worker in (engine, llama):  # The first run pages the weights in and starts the threads.
            worker.ask(**ask)
        arms: dict[str, Callable[[], dict[str, float]]] = {
            "llama-bench": lambda: llama_bench(program, model, threads, decode, prefill),
            "engine": lambda: {"decode": several(engine, **ask), "prefill": several(engine, prefill=prefill)},
            "Llama class": lambda: {"decode": several(llama, **ask)},
        }
        return interleave(arms, rounds, quant)


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=10)
    options.add_argument("--quants", nargs="+", default=["F16", "Q8_0", "Q4_K_M", LARGE])
    options.add_argument("--temperature", type=float, default=0.8, help="0 samples greedily (default: %(default)s)")
    chosen = options.parse_args()
    found = {quant: measure(quant, chosen.rounds, chosen.threads, chosen.temperature) for quant in chosen.quants}
    bars, rows = [], []
    for quant, samples in found.items():
        rows += [(f"{quant} {arm}", *values) for arm, *values in sample_rows(samples)]
        for arm, reference, bar in (
            ("engine decode", "llama-bench decode", 0.995 if quant == LARGE else 0.98),
            ("engine prefill", "llama-bench prefill", 0.97),
            ("engine decode", "Llama class decode", 1.1),
        ):
            bars.append(Bar(f"{quant}: {arm} / {reference}", samples.ratio(arm, reference), bar, at_least=True))
    print(f"tokens/s, {chosen.threads} threads, {chosen.rounds} interleaved rounds\n")
    print_table(SAMPLE_HEADERS, rows)
    return finish("llama_bench", bars, found, threads=chosen.threads, temperature=chosen.temperature)


if __name__ == "__main__":
    sys.exit(main())
