"""The engine against llama-bench of the same llama.cpp, and against the class that llama-cpp-python offers.

llama-bench decodes 128 random tokens and does not sample; the engine samples, turns every token into text and stamps
it, so a ratio of 1 cannot be expected. All three decode behind a prompt of the same length, because attention costs
more with each token before. The prefill is 512 random tokens in an empty context. `1B` is a model of random weights,
for which fewer tokens are enough. The speed of a machine changes within seconds: a round is short, and there are many.

    python -m benchmarks.llama_bench [--quants F16 Q8_0 Q4_K_M 1B] [--rounds 16] [--threads 2]
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


def llama_bench(program: Path, model: Path, threads: int, *work: object) -> float:
    """One run of llama-bench after its warm-up, in tokens a second."""
    options = ("-r", 1, "-t", threads, "-ngl", 0, "-o", "jsonl", *work)
    command = [str(program), "-m", str(model), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    row = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    return float(row["avg_ts"])


def measure(quant: str, rounds: int, threads: int, temperature: float) -> Samples:
    """All three on one model."""
    program, model = tool("llama-bench"), variant(quant)
    decode, prefill = (LARGE_DECODE, LARGE_PREFILL) if quant == LARGE else (DECODE, PREFILL)
    with Worker("engine", str(model), threads) as engine, Worker("llama", str(model), threads) as llama:
        ask = {"decode": decode, "temperature": temperature}
        # The first run pages the weights in and starts the threads.
        depth = int(engine.ask(**ask)["prompt"])
        llama.ask(**ask)
        arms: dict[str, Callable[[], dict[str, float]]] = {
            "llama-bench": lambda: {
                "decode": llama_bench(program, model, threads, "-p", 0, "-n", decode, "-d", depth),
                "prefill": llama_bench(program, model, threads, "-p", prefill, "-n", 0),
            },
            "engine": lambda: {"decode": engine.ask(**ask)["decode"]} | engine.ask(prefill=prefill),
            "Llama class": lambda: llama.ask(**ask),
        }
        return interleave(arms, rounds, quant)


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=16)
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
