"""Scripted use of the whole program for a long time: nothing may grow, be left over, or become slow.

    SOAK_MINUTES=60 python -m tests.reliability.soak

The program runs in a terminal on real models. Round after round it chats (some answers have 4,000 tokens), swaps the
quantization, races three lanes, measures, changes the size of the terminal, and begins a new chat. At the end of each
round, with nothing running, its memory, threads, open files and native contexts are read, and the table gets a row.
"""

from __future__ import annotations

import os
import random
import statistics
import string
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.models import variant
from benchmarks.program import CTRL_N, CTRL_U, ESCAPE, Program, home_folder
from tests.reliability.probe import START, look

QUANTS = ("F16", "Q8_0", "Q4_K_M")
F2, F3, F5, F9, CTRL_L = "\x1bOQ", "\x1bOR", "\x1b[15~", "\x1b[20~", "\x0c"
CONFIG = """\
model_folders = ['{folder}']
model_stores = []
find_servers = false
state_cache_mb = 32
[sampling]
num_predict = 4000
logit_bias = ['0=-inf', '2=-inf']
[load]
num_ctx = 8192
num_thread = {threads}
"""
"""The kept states fill their budget within a few rounds. The tokens that end an answer are never written: answers are
as long as they may be, or are stopped.
"""
STORY = "Write a very long story about an old clockmaker who lives in a small town by the sea."
BUSY = ("Writing", "Reading the prompt", "Waiting for the first", "Loading", "Stopping", "● writes")
LONGEST_SECONDS = 1200.0
"""After this time an answer is stopped that has not reached its 4,000 tokens."""
LONG_EVERY_MINUTES = 15.0
"""From the end of the warm-up, and so long after each, an answer is as long as it may be."""
WARM_MINUTES = 10.0
"""The time after which memory counts as settled."""
GROWTH, LEAST_GROWTH_MB = 0.05, 8
"""How much it may grow after that: a share, and what the allocator may keep in any case."""
SLOWER, LEAST_SLOWER_MS = 1.5, 10
"""Factor, and milliseconds, by which keys may take longer at the end than after the warm-up: a machine has noise."""


@dataclass(frozen=True)
class Reading:
    """The state at the end of a round."""

    minute: float
    rss_mb: float
    private_mb: float
    """Memory that is not a mapped file: the models' weights are."""
    states_mb: float
    """Kept states of closed models."""
    heap_mb: float
    """What the C heap has handed out, and what it holds in reserve."""
    reserve_mb: float
    blocks: int
    """Objects and buffers of Python."""
    threads: int
    files: int
    contexts: int
    models: int
    children: int
    key_ms: float
    answers: int
    tokens: int
    longest: int
    """Tokens of the longest answer."""


def is_idle(text: str) -> bool:
    return not any(word in text for word in BUSY)


class Soak:
    """One program, used by a script."""

    def __init__(self, program: Program, chance: random.Random) -> None:
        self._program = program
        self._chance = chance
        self._keys_ms: list[float] = []
        self._next_long = WARM_MINUTES
        self._began = time.monotonic()

    @property
    def minute(self) -> float:
        """Minutes since the start."""
        return (time.monotonic() - self._began) / 60

    # Use

    def round(self) -> None:
        """Everything once."""
        is_long = self.minute >= self._next_long
        self._chat(STORY, LONGEST_SECONDS if is_long else self._chance.uniform(2, 8))
        if is_long:
            self._next_long = self.minute + LONG_EVERY_MINUTES
        self._resize()
        self._swap()
        self._chat("And what did the fishermen say?", self._chance.uniform(1, 4))
        self._race()
        self._bench()
        self._program.send(F2)
        self._program.send(CTRL_N)
        self._program.wait_for("Send")
        self._program.send(CTRL_U)

    def _settle(self, seconds: float = 90) -> None:
        self._program.wait_until(is_idle, seconds, "an idle program")

    def _chat(self, text: str, seconds: float) -> None:
        program = self._program
        program.send(CTRL_U)
        program.send(text)
        program.wait_for(text[:20])
        before = len(program.answers())
        program.send("\r")
        # After a swap, the new model reads the whole conversation.
        program.wait_until(lambda shown: "Writing" in shown or len(program.answers()) > before, 600, "an answer")
        self._type(6)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and len(program.answers()) == before:
            program.drain(0.5)
        if len(program.answers()) == before:
            program.send(ESCAPE)
        program.wait_for_answer(before + 1, 60)
        self._settle()

    def _type(self, count: int) -> None:
        """Type while something streams, and take the time from each key to its letter on the screen."""
        program, text = self._program, ""
        program.send(CTRL_U)
        program.drain(0.3)
        for _ in range(count):
            text += self._chance.choice(string.ascii_lowercase)
            program.drain(self._chance.uniform(0.05, 0.2))
            assert program.text
            wanted, began = text, time.perf_counter()
            program.send(text[-1])
            program.drain(0.4)
            try:
                at = program.first_time(lambda shown, wanted=wanted: f" {wanted}" in shown, wanted)
            except TimeoutError:
                continue
            self._keys_ms.append((at - began) * 1e3)
        program.send(CTRL_U)

    def _resize(self) -> None:
        for columns, rows in ((80, 24), (60, 20), (160, 48), (120, 36)):
            self._program.resize(columns, rows)
            self._program.drain(0.2)
        self._program.wait_for("CONTEXT")

    def _swap(self) -> None:
        self._program.send(CTRL_L)
        self._program.drain(0.3)
        self._settle()

    def _race(self) -> None:
        program = self._program
        program.send(F3)
        program.wait_for("Ask all lanes")
        program.wait_until(lambda text: text.count("idle") + text.count("tok/s") >= 2, 30, "lanes")
        program.send(f"{CTRL_U}{STORY}")
        program.wait_for("clockmaker")
        program.send("\r")
        program.wait_until(lambda text: "● writes" in text, 90, "lanes that write")
        self._type(4)
        program.drain(self._chance.uniform(1, 4))
        program.send(ESCAPE)
        self._settle()
        # A new race gives the memory of the old lanes back.
        program.send(CTRL_N)
        program.drain(0.5)
        self._settle()

    def _bench(self) -> None:
        program = self._program
        program.send(F5)
        program.drain(0.5)
        program.send(F9)
        program.drain(self._chance.uniform(3, 6))
        program.send(ESCAPE)
        program.wait_until(lambda text: "Stopping" not in text, 90, "a stopped measurement")
        program.drain(0.5)

    # Looking

    def read(self) -> Reading:
        """The state now, after a moment of rest."""
        program = self._program
        program.drain(1.5)
        status = Path(f"/proc/{program.pid}/status").read_text(encoding="utf-8")
        figures = {words[0]: words[1] for words in map(str.split, status.splitlines()) if len(words) > 1}
        found = look(program)
        keys, self._keys_ms = self._keys_ms, []
        tokens = [answer["metrics"]["completion_tokens"] or 0 for answer in program.answers()]
        _ = program.text
        # The program's output is not needed any more.
        program.chunks.clear()
        program._drawn = 0
        return Reading(
            self.minute,
            int(figures["VmRSS:"]) / 1024,
            int(figures["RssAnon:"]) / 1024,
            found["state_bytes"] / 2**20,
            found["heap_bytes"] / 2**20,
            found["free_heap_bytes"] / 2**20,
            found["blocks"],
            int(figures["Threads:"]),
            len(list(Path(f"/proc/{program.pid}/fd").iterdir())),
            found["contexts"],
            found["models"],
            len(Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text(encoding="utf-8").split()),
            statistics.median(keys) if keys else float("nan"),
            len(tokens),
            sum(tokens),
            max(tokens, default=0),
        )


HEADERS = (
    "| minute | RSS MB | private MB | states MB | heap MB | reserve MB | blocks | threads | files | contexts | models "
    "| children | key ms | answers | tokens | longest |"
)


def row(reading: Reading) -> str:
    r = reading
    return (
        f"| {r.minute:.1f} | {r.rss_mb:.0f} | {r.private_mb:.0f} | {r.states_mb:.0f} | {r.heap_mb:.0f} "
        f"| {r.reserve_mb:.0f} | {r.blocks:,} | {r.threads} | {r.files} | {r.contexts} | {r.models} | {r.children} "
        f"| {r.key_ms:.1f} | {r.answers} | {r.tokens:,} | {r.longest:,} |"
    )


def faults(readings: Sequence[Reading]) -> list[str]:
    """What grew, or was left over, after the warm-up; each as a sentence."""
    settled = [reading for reading in readings if reading.minute >= WARM_MINUTES] or list(readings)
    part = max(1, len(settled) // 3)
    first, last = settled[:part], settled[-part:]

    def median(group: Sequence[Reading], value: Callable[[Reading], float]) -> float:
        return statistics.median(map(value, group))

    found = []
    # The smallest of each part: what a round happens to hold is no leak.
    before, after = (min(reading.private_mb for reading in group) for group in (first, last))
    if after > before + max(before * GROWTH, LEAST_GROWTH_MB):
        found.append(f"memory grew from {before:.0f} to {after:.0f} MB")
    for name in ("threads", "files", "contexts", "models", "children"):
        before, after = (median(group, lambda each, name=name: getattr(each, name)) for group in (first, last))
        if after > before:
            found.append(f"{name} grew from {before:g} to {after:g}")
    before, after = (median(group, lambda each: each.key_ms) for group in (first, last))
    if after > max(before * SLOWER, before + LEAST_SLOWER_MS):
        found.append(f"a key took {before:.0f} ms, and takes {after:.0f} ms")
    return found


def main() -> int:
    """Run, and print the table."""
    minutes = float(os.environ.get("SOAK_MINUTES", "60"))
    seed = int(os.environ.get("SOAK_SEED", "12"))
    threads = int(os.environ.get("SOAK_THREADS", "0"))
    models = [variant(quant) for quant in QUANTS]
    readings = []
    with home_folder(CONFIG.format(folder=models[0].parent, threads=threads)) as home:
        with Program(home, str(models[2]), python=START) as program:
            program.wait_until_ready()
            soak = Soak(program, random.Random(seed))
            print(HEADERS, "|" + "---|" * (HEADERS.count("|") - 1), sep="\n", flush=True)
            while soak.minute < minutes:
                soak.round()
                readings.append(soak.read())
                print(row(readings[-1]), flush=True)
            program.quit()
        log = "".join(path.read_text(encoding="utf-8") for path in sorted((home / "state").rglob("*.log*")))
    found = faults(readings)
    if "Traceback" in log:
        found.append(f"the log has a traceback:\n{log[log.index('Traceback') - 300 :][:3000]}")
    print(*(f"- {each}" for each in found) if found else ["nothing grew, and nothing was left over"], sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
