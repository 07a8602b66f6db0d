"""How long `workbench --help` takes, against an interpreter that does nothing.

python -m benchmarks.startup [--rounds 20]
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.common import WORKBENCH, Bar, finish, interleave, keep_bytecode, parser, print_samples

BAR_MS = 150


def timed(*command: str) -> dict[str, float]:
    """How long a command takes, in milliseconds."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {"ms": (time.perf_counter() - started) * 1000}


def main() -> int:
    """Measure, and print."""
    chosen = parser(__doc__, rounds=20).parse_args()
    arms = {
        "workbench --help": lambda: timed(WORKBENCH, "--help"),
        "workbench --version": lambda: timed(WORKBENCH, "--version"),
        "python -c pass": lambda: timed(sys.executable, "-c", "pass"),
    }
    keep_bytecode()
    for run in arms.values():  # The first run of each writes bytecode and fills the page cache.
        run()
    samples = interleave(arms, chosen.rounds)
    print_samples(samples)
    bar = Bar("workbench --help", samples.median("workbench --help ms"), BAR_MS, unit="ms")
    return finish("startup", [bar], {"startup": samples})


if __name__ == "__main__":
    sys.exit(main())
