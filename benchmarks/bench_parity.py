"""`workbench bench` against the instruments of the same llama.cpp: llama-bench, and llama-batched-bench.

All compute pp512 and tg128 of random tokens with nothing sampled, on the processor. Eight sequences together are
compared on the tokens that they generate a second.

    python -m benchmarks.bench_parity [--quants F16 Q8_0 Q4_K_M] [--rounds 10] [--threads 2]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import WORKBENCH, Bar, Samples, finish, interleave, parser, print_found
from benchmarks.llama_cpp_tools import tool
from benchmarks.models import variant

REPEATS = 3
"""Repetitions inside one run of either; the middle one counts."""

SEQUENCES, PROMPT, GENERATED = 8, 128, 64
"""The test of several sequences."""

PARALLEL = "Q4_K_M"
"""The type that it is run on."""


def run_lines(command: list[str], home: Path | None = None) -> list[dict[str, Any]]:
    """The lines of JSON that a program prints."""
    env = {**os.environ, "WORKBENCH_HOME": str(home)} if home else None
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return [json.loads(line) for line in (done.stdout + done.stderr).splitlines() if line.startswith("{")]


def middle(values: list[float]) -> float:
    """The middle one of a few values."""
    return sorted(values)[len(values) // 2]


def speeds(lines: list[dict[str, Any]]) -> dict[str, float]:
    """The speeds that llama-bench's fields tell."""
    return {"pp512" if line["n_prompt"] else "tg128": middle(line["samples_ts"]) for line in lines}


def measure(quant: str, rounds: int, threads: int, home: Path) -> Samples:
    """Both on one model."""
    model = str(variant(quant))
    options = ["-p", "512", "-n", "128", "-r", str(REPEATS), "-t", str(threads), "-ngl", "0"]
    theirs = [str(tool("llama-bench")), "-m", model, *options, "-o", "jsonl"]
    ours = [WORKBENCH, "bench", model, *options, "--json"]
    arms = {
        "llama-bench": lambda: speeds(run_lines(theirs)),
        "workbench bench": lambda: speeds(run_lines(ours, home)),
    }
    return interleave(arms, rounds, quant)


def measure_parallel(rounds: int, threads: int, home: Path) -> Samples:
    """Several sequences together, in both."""
    model = str(variant(PARALLEL))
    lengths = ["-npp", str(PROMPT), "-ntg", str(GENERATED), "-npl", str(SEQUENCES)]
    context = str(SEQUENCES * (PROMPT + GENERATED))
    theirs = [str(tool("llama-batched-bench")), "-m", model, "-c", context, *lengths, "-t", str(threads), "-ngl", "0"]
    theirs += ["--output-format", "jsonl"]
    ours = [WORKBENCH, "bench", model, "--parallel", str(SEQUENCES), "-p", str(PROMPT), "-n", str(GENERATED)]
    ours += ["-r", "1", "-t", str(threads), "-ngl", "0", "--no-warmup", "--json"]

    def figures(lines: list[dict[str, Any]]) -> dict[str, float]:
        return {"prefill": lines[-1]["speed_pp"], "decode": lines[-1]["speed_tg"]}

    arms = {
        "llama-batched-bench": lambda: figures(run_lines(theirs)),
        "workbench bench": lambda: figures(run_lines(ours, home)),
    }
    return interleave(arms, rounds, f"{PARALLEL} x{SEQUENCES}")


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=10)
    options.add_argument("--quants", nargs="*", default=["F16", "Q8_0", "Q4_K_M"])
    chosen = options.parse_args()
    bars, found = [], {}
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as folder:
        for quant in chosen.quants:
            samples = found[quant] = measure(quant, chosen.rounds, chosen.threads, Path(folder))
            for test in ("pp512", "tg128"):
                ratio = samples.ratio(f"workbench bench {test}", f"llama-bench {test}")
                bars.append(Bar(f"{quant}: {test}, off from llama-bench by", 100 * abs(ratio - 1), 3, unit="%"))
        samples = measure_parallel(chosen.rounds, chosen.threads, Path(folder))
    label = f"{PARALLEL}, {SEQUENCES} sequences"
    found[label] = samples
    for part in ("decode", "prefill"):
        ratio = samples.ratio(f"workbench bench {part}", f"llama-batched-bench {part}")
        bars.append(Bar(f"{label}: {part} / llama-batched-bench", ratio, 0.95, at_least=True))
    print(f"tokens/s, {chosen.threads} threads, {chosen.rounds} interleaved rounds\n")
    print_found(found)
    return finish("bench_parity", bars, found, threads=chosen.threads)


if __name__ == "__main__":
    sys.exit(main())
