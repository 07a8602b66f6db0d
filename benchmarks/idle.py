"""What the program costs while nobody does anything: processor time of all its threads, in per cent of one core.

Measured twice in one program: before the first message, and with an answer on the screen.

    python -m benchmarks.idle [--rounds 1] [--seconds 20]
"""

from __future__ import annotations

import sys

import psutil

from benchmarks.common import Bar, Samples, finish, log, parser, print_samples, wait_until_quiet
from benchmarks.program import Program, home_folder

BAR_PERCENT = 1.0
SETTLE_S = 3.0


def cpu_percent(program: Program, seconds: float) -> float:
    """The program's processor time while nothing happens, in per cent of one core."""
    process = psutil.Process(program.pid)
    program.drain(SETTLE_S)
    before = process.cpu_times()
    program.drain(seconds)
    after = process.cpu_times()
    return 100 * (after.user + after.system - before.user - before.system) / seconds


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=1)
    options.add_argument("--seconds", type=float, default=20, help="how long to watch (default: %(default)s)")
    chosen = options.parse_args()
    samples = Samples(values={"untouched %": [], "after an answer %": []})
    for _ in range(chosen.rounds):
        wait_until_quiet()
        with home_folder("[sampling]\nnum_predict = 200\nseed = 1\n") as home, Program(home, "demo") as program:
            program.wait_until_ready()
            for arm in samples.values:
                if arm.startswith("after"):
                    program.ask("Write a short story about a clockmaker.")
                    program.wait_for_answer()
                samples.values[arm].append(cpu_percent(program, chosen.seconds))
                log(f"  {arm} {samples.values[arm][-1]:.2f}")
    print_samples(samples)
    bars = [Bar(arm, samples.median(arm), BAR_PERCENT, unit="% of a core") for arm in samples.values]
    return finish("idle", bars, {"idle": samples}, seconds=chosen.seconds)


if __name__ == "__main__":
    sys.exit(main())
