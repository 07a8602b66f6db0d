"""How soon a key is on the screen while three lanes of a race stream beside each other.

The program runs in a terminal of 120 columns and 36 rows, F16, Q8_0 and Q4_K_M of the demo model answer at once, and
letters are typed into the prompt at random moments. What is taken is the time from the key going into the terminal to
the letter coming out of it.

    python -m benchmarks.race_keys [--rounds 120] [--threads 2]
"""

from __future__ import annotations

import random
import string
import sys

from benchmarks.common import Bar, Samples, finish, parser, print_samples
from benchmarks.models import variant
from benchmarks.program import Program, home_folder
from workbench.core.metrics import percentile

BAR_MS = 50
QUANTS = ("F16", "Q8_0", "Q4_K_M")
F3 = "\x1bOR"
PROMPT = "Write a very long story about an old clockmaker who lives in a small town by the sea."
CONFIG = (
    "model_folders = ['{folder}']\nmodel_stores = []\n[sampling]\nnum_predict = 3000\n[load]\nnum_thread = {threads}\n"
)


def ask(program: Program) -> None:
    """Put the question to all lanes, and wait until all of them write."""
    program.send("\x15")
    program.drain(0.2)
    program.send(PROMPT)
    program.wait_for("clockmaker")
    program.send("\r")
    program.wait_until(lambda text: text.count("● writes") == len(QUANTS), 60, "three lanes that write")


def typed(program: Program, count: int) -> list[float]:
    """Type so many letters while the lanes stream; gives what each took, in milliseconds."""
    found: list[float] = []
    text = ""
    for _ in range(count):
        program.drain(random.uniform(0.05, 0.25))
        if program.text.count("● writes") < len(QUANTS):
            # One of them has ended its story.
            program.send("\x1b")
            program.wait_until(lambda shown: "● writes" not in shown, what="lanes that have stopped")
            ask(program)
            text = ""
        text = (text + random.choice(string.ascii_lowercase))[-40:]
        found.append(program.letter_ms(text))
        if len(text) == 40:
            program.send("\x15")
            program.drain(0.2)
            text = ""
    return found


def main() -> int:
    """Measure, and print."""
    chosen = parser(__doc__, rounds=120).parse_args()
    models = [variant(quant) for quant in QUANTS]
    config = CONFIG.format(folder=models[0].parent, threads=chosen.threads)
    with home_folder(config) as home, Program(home, str(models[1])) as program:
        program.wait_until_ready()
        program.send(F3)
        program.wait_for("Ask all lanes")
        program.wait_until(lambda text: text.count("idle") == len(QUANTS), what="three lanes")
        ask(program)
        times = typed(program, chosen.rounds)
        program.send("\x1b")
        program.wait_until(lambda text: "● writes" not in text, what="lanes that have stopped")
        program.quit()
    samples = Samples({"key to paint ms": times})
    p95 = percentile(times, 0.95) or 0.0
    bars = [Bar("key to paint, 95th percentile", p95, BAR_MS, at_least=False, unit=" ms")]
    print(f"milliseconds, {chosen.rounds} letters, three lanes streaming, {chosen.threads} threads\n")
    print_samples(samples)
    return finish("race_keys", bars, {"race": samples}, threads=chosen.threads)


if __name__ == "__main__":
    sys.exit(main())
