"""Key latency of the Models screen with 1,000 models: while they are read, and after.

The program runs in a terminal of 120 columns and 36 rows, with no model open. The files are those of `library_scan`.
They are read again as often as it takes, after the times of the files were changed.
Each time is measured from the key going into the terminal to its effect coming out: another model in the panel, a
letter of a search with the remaining rows, another order of all rows.

    python -m benchmarks.models_keys [--rounds 60] [--files 1000]
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.common import Bar, Samples, finish, log, parser, print_samples
from benchmarks.library_scan import write_library
from benchmarks.program import Program, home_folder
from workbench.core.metrics import percentile

BAR_MS = 50
DOWN, HOME, F4, ESCAPE = "\x1b[B", "\x1b[H", "\x1bOS", "\x1b"
PANEL = 79
"""The first column of the panel."""
WORDS = ("instruct", "q4", "model", "7b")
CONFIG = "model = ''\nmodel_folders = ['{folder}']\nmodel_stores = []\n"


def in_panel(text: str) -> str:
    return "\n".join(line[PANEL:] for line in text.split("\n")[1:4])


def title(text: str) -> str:
    return text.split("\n", 1)[0]


def timed(program: Program, key: str, part: Callable[[str], str], pause: float = 0.6) -> float:
    """Press a key; gives the milliseconds until a part of the screen has changed."""
    before = part(program.text)
    began = time.perf_counter()
    program.send(key)
    program.drain(pause)
    return (program.first_time(lambda text: part(text) != before, f"an answer to {key!r}") - began) * 1e3


def while_reading(program: Program, library: Path, rounds: int) -> list[float]:
    """The times of the key down, while all files are read again."""
    times: list[float] = []
    while len(times) < rounds:
        for path in library.rglob("*.gguf"):
            os.utime(path)
        program.send("r")
        program.wait_for("reading ")
        while True:
            # From the top, there is always a next model.
            program.send(HOME)
            program.drain(random.uniform(0.2, 0.4))
            time_ms = timed(program, DOWN, in_panel, 0.3)
            if len(times) == rounds or "reading " not in program.text:
                break
            times.append(time_ms)
        program.wait_until(lambda text: "reading " not in text, 120, "the whole library")
    return times


def measure(program: Program, library: Path, rounds: int, count: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"down, while it is read": [], "down": [], "a letter of a search": [], "sort": []}
    program.wait_for("Enter", "Send")
    program.drain(1)
    program.send(F4)
    program.wait_until(lambda text: f"{count:,} models" in text and "reading" not in text, 120, "the whole library")
    program.drain(1)
    times["down, while it is read"] = while_reading(program, library, rounds)
    program.send(HOME)
    program.drain(1)
    times["down"] = [timed(program, DOWN, in_panel, random.uniform(0.4, 0.6)) for _ in range(rounds)]
    while len(times["a letter of a search"]) < rounds:
        program.send("/")
        program.drain(0.3)
        for word in WORDS:
            times["a letter of a search"] += [timed(program, letter, title) for letter in word]
            program.send(" ")
            program.drain(0.1)
        program.send(ESCAPE)
        program.drain(0.5)
    times["sort"] = [timed(program, "s", title) for _ in range(rounds // 2)]
    return times


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=60)
    options.add_argument("--files", type=int, default=1000, help="how many files to write (default: %(default)s)")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="workbench-library-") as folder:
        library = Path(folder) / "models"
        log(f"  writing {chosen.files} files")
        write_library(library, chosen.files)
        os.sync()
        with home_folder(CONFIG.format(folder=library)) as home, Program(home) as program:
            times = measure(program, library, chosen.rounds, chosen.files + 1)
            program.quit()
    samples = Samples({f"{name} ms": values for name, values in times.items() if values})
    print(f"milliseconds from key to paint, {chosen.files} models\n")
    print_samples(samples)
    bars = [
        Bar(f"{name}, 95th percentile", percentile(values, 0.95) or 0.0, BAR_MS, at_least=False, unit=" ms")
        for name, values in times.items()
        if values
    ]
    return finish("models_keys", bars, {"keys": samples})


if __name__ == "__main__":
    sys.exit(main())
