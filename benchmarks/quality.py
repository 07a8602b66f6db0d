"""`workbench quality` against llama-perplexity of the same llama.cpp, and the cost of the lens over two prefills.

The text is the beginning of five licences, which Debian and Ubuntu install. Both compute it with F16 as the reference,
on the processor, in chunks of 512 tokens. The lens computes an answer of 500 tokens with two models and compares them
at each place; the same models without that are the two prefills. Meanwhile the event loop, which answers keys, should
run every 5 ms: how much later it does is its delay.

    python -m benchmarks.quality [--rounds 3] [--threads 2]
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.common import WORKBENCH, Bar, Samples, finish, interleave, parser, print_samples, print_table
from benchmarks.llama_cpp_tools import tool
from benchmarks.models import variant
from workbench.core.cancel import CancelToken
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.engine.llama.logits import LlamaLogitHost
from workbench.lab.quality.logits import Chunk, Floats, LogitModels, ModelSpec
from workbench.lab.quality.positions import compare

LICENCES = ("Apache-2.0", "Artistic", "GFDL-1.3", "GPL-3", "MPL-2.0")
LENGTH = 2000
"""Bytes of each."""

CANDIDATES = ("Q8_0", "Q4_K_M")
TICK_S = 0.005
ANSWER, PROMPT = 500, 100
"""Tokens that the lens looks at, and those before."""

_FIGURES = {
    "PPL": r"Mean PPL\(Q\)\s*:\s*([\d.]+)",
    "mean KLD": r"Mean\s+KLD:\s*([\d.]+)",
    "same top": r"Same top p:\s*([\d.]+)",
}


def text() -> bytes:
    """The text; the same on every machine that has these licences."""
    return b"".join((Path("/usr/share/common-licenses") / name).read_bytes()[:LENGTH] for name in LICENCES)


def theirs(quant: str, path: Path, base: Path, threads: int) -> dict[str, float]:
    """The figures that llama-perplexity prints."""
    program = [str(tool("llama-perplexity")), "-c", "512", "-t", str(threads), "--kl-divergence-base", str(base)]
    if not base.exists():
        subprocess.run([*program, "-m", str(variant("F16")), "-f", str(path)], check=True, capture_output=True)
    command = [*program, "-m", str(variant(quant)), "--kl-divergence"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True)
    found = {name: re.search(form, printed.stdout + printed.stderr) for name, form in _FIGURES.items()}
    return {name: float(match[1]) for name, match in found.items() if match}


def ours(path: Path, home: Path, threads: int) -> dict[str, dict[str, float]]:
    """The figures of this program, by quantization."""
    files = [str(variant(quant)) for quant in ("F16", *CANDIDATES)]
    environment = {**os.environ, "WORKBENCH_HOME": str(home)}
    command = [WORKBENCH, "quality", *files, "--text", str(path), "--set", f"num_thread={threads}", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return {
        quant: {"PPL": each["ppl"], "mean KLD": each["mean_kld"], "same top": each["same_top_pct"]}
        for quant, each in zip(CANDIDATES, json.loads(done.stdout)["candidates"], strict=True)
    }


def parity(threads: int) -> tuple[list[Bar], list[tuple[str, ...]]]:
    """Compare the figures of both."""
    bars, rows = [], []
    with tempfile.TemporaryDirectory(prefix="workbench-quality-") as name:
        folder = Path(name)
        path = folder / "text.txt"
        path.write_bytes(text())
        mine = ours(path, folder, threads)
        for quant in CANDIDATES:
            other = theirs(quant, path, folder / "base.kld", threads)
            own = mine[quant]
            rows += [(quant, figure, f"{other[figure]:.5f}", f"{own[figure]:.5f}") for figure in _FIGURES]
            for figure, most in (("PPL", 0.1), ("mean KLD", 1.0)):
                off = 100 * abs(own[figure] / other[figure] - 1)
                bars.append(Bar(f"{quant}: {figure}, off from llama-perplexity by", off, most, unit="%"))
            off = abs(own["same top"] - other["same top"])
            bars.append(Bar(f"{quant}: same top, off from llama-perplexity by", off, 0.2, unit="points"))
    return bars, rows


def lens(rounds: int, threads: int) -> Samples:
    """Time the lens and the two prefills, in seconds."""
    loop = asyncio.new_event_loop()
    host = LlamaLogitHost(lambda quant: ModelEntry(quant, quant, path=str(variant(quant))))
    specs = [ModelSpec(quant, LoadSettings(num_thread=threads)) for quant in ("F16", "Q4_K_M")]
    models: LogitModels = loop.run_until_complete(host.open(specs, ANSWER + PROMPT, lambda _: None, CancelToken()))
    tokens = loop.run_until_complete(models.tokenize(text().decode("utf-8", "replace")))[: ANSWER + PROMPT]

    def reduce(position: int, rows: list[Floats]) -> None:
        compare(rows, np.asarray(tokens[position + 1 : position + 1 + len(rows[0])], np.int32))

    async def compute(first: int) -> dict[str, float]:
        began, cpu, delays = time.perf_counter(), time.process_time(), [0.0]
        chunk = Chunk(tokens, first, part=False)
        working = asyncio.create_task(models.compute(chunk, reduce, CancelToken(), lambda _: None))
        while not working.done():
            asked = time.perf_counter()
            await asyncio.sleep(TICK_S)
            delays.append(1e3 * (time.perf_counter() - asked - TICK_S))
        await working
        taken = {"s": time.perf_counter() - began, "cpu s": time.process_time() - cpu}
        return {**taken, "delay p95 ms": float(np.percentile(delays, 95)), "delay ms": max(delays)}

    def arm(first: int) -> Callable[[], dict[str, float]]:
        return lambda: loop.run_until_complete(compute(first))

    try:
        return interleave({"lens": arm(PROMPT - 1), "prefills": arm(len(tokens))}, rounds, "lens")
    finally:
        loop.run_until_complete(models.close())


def main() -> int:
    """Measure, and print."""
    chosen = parser(__doc__, rounds=3).parse_args()
    samples = lens(chosen.rounds, chosen.threads)
    ratio = samples.ratio("lens s", "prefills s")
    bars, rows = parity(chosen.threads)
    print_samples(samples)
    print_table(("model", "figure", "llama-perplexity", "workbench"), rows)
    delay = samples.median("lens delay p95 ms")
    bars = [
        Bar(f"the lens over {ANSWER} tokens takes, of the two prefills", ratio, 1.3, unit="x"),
        Bar("delay of the event loop meanwhile, p95", delay, 50.0, unit="ms"),
        *bars,
    ]
    return finish("quality", bars, {"lens": samples}, threads=chosen.threads)


if __name__ == "__main__":
    sys.exit(main())
