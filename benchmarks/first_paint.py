"""From the start of the program to its first full paint, against a Textual program that does nothing.

Both run in a terminal of 120 columns and 36 rows. A paint is full when the prompt and the footer are there; the time is
that of the last byte it needed. A model that is named is loaded after that, in the background.

    python -m benchmarks.first_paint [--rounds 12]
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks.common import Bar, finish, interleave, keep_bytecode, parser, print_samples
from benchmarks.program import Program, home_folder, is_painted
from benchmarks.terminal import Terminal

BAR_S, BAR_RATIO = 0.5, 2.0
WATCH_S = 2.5
"""How long to watch. The screen is put together afterwards, so that nothing but the program uses the processor."""


def painted(terminal: Terminal, condition: Callable[[str], bool]) -> dict[str, float]:
    """The seconds from the start to the first full paint."""
    with terminal:
        terminal.drain(WATCH_S)
        return {"s": terminal.first_time(condition, "its first full paint") - terminal.started}


def workbench(*arguments: str) -> dict[str, float]:
    """The program, on a home that has never been used."""
    with home_folder() as home:
        return painted(Program(home, *arguments), is_painted)


def bare() -> dict[str, float]:
    """The program that does nothing."""
    command = [sys.executable, "-m", "benchmarks.bare_app"]
    return painted(Terminal(command), lambda text: "ready" in text and "Quit" in text)


def main() -> int:
    """Measure, and print."""
    chosen = parser(__doc__, rounds=12).parse_args()
    arms = {
        "workbench demo": lambda: workbench("demo"),
        "workbench scripted": lambda: workbench("scripted"),
        "bare Textual app": bare,
    }
    keep_bytecode()
    for run in arms.values():  # The first run of each writes bytecode and fills the page cache.
        run()
    samples = interleave(arms, chosen.rounds)
    print_samples(samples)
    bars = [
        Bar("workbench demo", samples.median("workbench demo s"), BAR_S, unit="s"),
        Bar("workbench demo / bare Textual app", samples.ratio("workbench demo s", "bare Textual app s"), BAR_RATIO),
    ]
    return finish("first_paint", bars, {"first_paint": samples})


if __name__ == "__main__":
    sys.exit(main())
