"""Decode speed with the whole screen streaming the answer, against `workbench run` without a screen.

Every run is a process of its own with the same prompt, seed and settings, so both write the same text. The program
runs in a terminal of 120 columns and 36 rows whose output is read and not drawn, and its figure is the one that it
records for the answer.

    python -m benchmarks.tui_speed [--rounds 10] [--threads 2]
    python -m benchmarks.tui_speed --lock    # what the measures against the interpreter lock give
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.common import WORKBENCH, Bar, finish, interleave, parser, print_samples
from benchmarks.program import Program, home_folder

BAR = 0.95
PROMPT = "Write a long story about an old clockmaker who lives in a small town by the sea."
CONFIG = "[sampling]\nnum_predict = {tokens}\nseed = {seed}\n[load]\nnum_thread = {threads}\nnum_ctx = 4096\n"

DEFAULT_INTERVAL = "import sys; sys.setswitchinterval = lambda seconds: None"
"""Runs before the program, and leaves Python's switch interval at what it is."""
RELEASE_LOCK = {"WORKBENCH_RELEASE_LOCK": "1"}
"""Lets the short native calls give the interpreter lock up."""


def figures(metrics: Mapping[str, float]) -> dict[str, float]:
    """The decode speed of an answer: as the program shows it, and on the wall clock where it says enough for that."""
    found = {"tokens/s": metrics["decode_tps"]}
    if "total_ms" in metrics:
        seconds = (metrics["total_ms"] - metrics["ttft_ms"]) / 1000
        found["wall tokens/s"] = (metrics["completion_tokens"] - 1) / seconds
    return found


def headless(home: Path) -> dict[str, float]:
    """One answer without a screen."""
    done = subprocess.run(
        [WORKBENCH, "run", "demo", PROMPT, "--json"],
        env={**os.environ, "WORKBENCH_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return figures(json.loads(done.stdout))


def on_screen(home: Path, env: Mapping[str, str] | None = None, python: str = "") -> dict[str, float]:
    """One answer in the full-screen program."""
    with Program(home, "demo", env=env, python=python) as program:
        program.wait_until_ready()
        before = len(program.answers())
        program.ask(PROMPT)
        answer = program.wait_for_answer(before + 1)
        program.quit()
    return figures(answer["metrics"])


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=10)
    options.add_argument("--tokens", type=int, default=400, help="length of the answer (default: %(default)s)")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--lock", action="store_true", help="compare the measures against the interpreter lock")
    chosen = options.parse_args()
    config = CONFIG.format(tokens=chosen.tokens, seed=chosen.seed, threads=chosen.threads)
    with home_folder(config) as home:
        arms = {"headless": partial(headless, home), "screen": partial(on_screen, home)}
        if chosen.lock:
            arms |= {
                "screen, default interval": partial(on_screen, home, python=DEFAULT_INTERVAL),
                "screen, lock released": partial(on_screen, home, env=RELEASE_LOCK),
                "screen, neither measure": partial(on_screen, home, env=RELEASE_LOCK, python=DEFAULT_INTERVAL),
            }
        headless(home)
        samples = interleave(arms, chosen.rounds)
    clocks = [clock for clock in ("tokens/s", "wall tokens/s") if f"headless {clock}" in samples.values]
    print(f"{chosen.threads} compute threads, {chosen.rounds} interleaved rounds\n")
    print_samples(samples)
    bars = [
        Bar(f"screen / headless, {clock}", samples.ratio(f"screen {clock}", f"headless {clock}"), BAR, at_least=True)
        for clock in clocks
    ]
    others = {arm: samples.ratio(f"{arm} tokens/s", "headless tokens/s") for arm in arms if arm.startswith("screen, ")}
    for arm, ratio in others.items():
        print(f"{arm} / headless: {ratio:.3f}")
    return finish("tui_speed", bars, {"tui_speed": samples}, threads=chosen.threads, ratios=others)


if __name__ == "__main__":
    sys.exit(main())
