"""Quantizing against llama-quantize of the same llama.cpp, from the demo model in F16.

Both write to the same disk with the same number of threads. Compared is what llama.cpp's own function takes in either
program; the whole time, from the start of the process to the file under its name and on the disk, stands beside it.

    python -m benchmarks.quantize [--quants Q8_0 Q4_K_M] [--rounds 6] [--threads 2]
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import Bar, Samples, finish, interleave, parser, print_samples
from benchmarks.llama_cpp_tools import tool
from benchmarks.models import variant
from workbench.engine.llama.quantize.quantizer import quantize
from workbench.gguf.quantization import QuantizeJob
from workbench.gguf.targets import find_quant_type

_TIME = re.compile(r"quantize time =\s*([\d.]+) ms")


def clean(target: Path) -> None:
    """Remove what the run before wrote, and leave nothing to be written to the disk in the time of the next one."""
    for path in target.parent.iterdir():
        path.unlink()
    os.sync()


def of_llama_cpp(program: Path, source: Path, target: Path, quant: str, threads: int) -> dict[str, float]:
    """One run of llama-quantize, in seconds."""
    clean(target)
    began = time.perf_counter()
    done = subprocess.run(
        [str(program), str(source), str(target), quant, str(threads)], capture_output=True, text=True, check=True
    )
    whole = time.perf_counter() - began
    found = _TIME.search(done.stdout + done.stderr)
    assert found is not None, done.stdout[-500:]
    return {"quantizing": float(found[1]) / 1e3, "whole": whole}


def of_workbench(source: Path, target: Path, quant: str, threads: int) -> dict[str, float]:
    """One run of the program's own function, in seconds."""
    clean(target)
    job = QuantizeJob(source, target, find_quant_type(quant), allow_requantize=True, threads=threads)
    result = asyncio.run(quantize(job))
    return {"quantizing": result.native_seconds, "whole": result.seconds}


def measure(quant: str, rounds: int, threads: int, folder: Path) -> Samples:
    """Both on one type."""
    program, source = tool("llama-quantize"), variant("F16")
    source.read_bytes()  # Whoever is first would pay for reading it from the disk.
    return interleave(
        {
            "llama-quantize": lambda: of_llama_cpp(program, source, folder / "theirs.gguf", quant, threads),
            "workbench": lambda: of_workbench(source, folder / "ours.gguf", quant, threads),
        },
        rounds,
        quant,
    )


def main() -> int:
    """Run it."""
    options = parser(__doc__, rounds=6)
    options.add_argument("--quants", nargs="+", default=["Q8_0", "Q4_K_M"])
    chosen = options.parse_args()
    samples, bars = {}, []
    with tempfile.TemporaryDirectory(prefix="workbench-quantize-") as folder:
        for quant in chosen.quants:
            samples[quant] = found = measure(quant, chosen.rounds, chosen.threads, Path(folder))
            print(f"\nDemo model, F16 -> {quant}, {chosen.threads} threads, seconds\n")
            print_samples(found)
            # Speeds are compared, so the ratio of the times is inverted.
            ratio = found.ratio("llama-quantize quantizing", "workbench quantizing")
            bars.append(Bar(f"speed of quantizing to {quant}, against llama-quantize", ratio, 0.97, at_least=True))
    return finish("quantize", bars, samples)


if __name__ == "__main__":
    sys.exit(main())
