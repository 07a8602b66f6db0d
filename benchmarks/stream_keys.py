"""How soon a key is on the screen, and Escape stops the answer, while a server streams 1,500 tokens a second.

The program runs in a terminal of 120 columns and 36 rows. Letters are typed into the prompt at random moments; what is
taken is the time from the key going into the terminal to the letter coming out of it. Memory is what the process grows
by for each token between two moments of the same answer.

    python -m benchmarks.stream_keys [--rounds 120] [--stops 10] [--pace 1500]
"""

from __future__ import annotations

import random
import re
import string
import sys
import time

import psutil

from benchmarks.common import Bar, Samples, finish, parser, print_samples
from benchmarks.program import CTRL_N, KITTY_ESCAPE, Program, home_folder, is_stopped
from benchmarks.remote_overhead import Server
from workbench.core.metrics import percentile

KEY_MS, STOP_MS, KIB_PER_TOKEN = 50, 100, 0.2
PARAGRAPH = 80
TOKENS = 150_000
WARM_UP_S = 5.0
MARK = "qzvx"
"""The beginning of what is typed: no other text has it."""
_WRITTEN = re.compile(r"Writing\s+([\d,]+) tokens?")


def written(program: Program) -> int:
    """The tokens that have come by now, as the screen says; it is drawn for that, which takes time."""
    found = _WRITTEN.search(program.text)
    if found is None:
        raise SystemExit(f"nothing streams:\n{program.text}")
    return int(found[1].replace(",", ""))


def ask(program: Program) -> None:
    """Send a message in a new conversation, and wait until the answer streams."""
    program.send(CTRL_N)
    program.wait_for("the right model")
    program.send("\x15Count.\r")
    program.wait_until(lambda text: _WRITTEN.search(text) is not None, what="an answer that streams")


def typed(program: Program, count: int) -> list[tuple[float, str]]:
    """Type so many letters; gives when, and what the prompt shows then. Nothing is drawn: the screen would wait."""
    found, text = [], ""
    for number in range(count):
        if number % 30 == 0:
            program.drain(1)
            text = MARK + string.ascii_lowercase[number // 30 % 26]
            program.send("\x15" + text)
            program.drain(0.5)
        program.drain(random.uniform(0.05, 0.25))
        text += random.choice(string.ascii_lowercase)
        found.append((time.perf_counter(), text))
        program.send(text[-1])
    program.drain(1)
    return found


def stopped(program: Program) -> float:
    """Stop the answer; gives the milliseconds until the screen says so."""
    program.drain(random.uniform(0.2, 0.8))
    pressed = time.perf_counter()
    program.send(KITTY_ESCAPE)
    program.drain(1.0)
    return (program.first_time(is_stopped, "that the answer was stopped") - pressed) * 1e3


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=120)
    options.add_argument("--stops", type=int, default=10, help="answers that are stopped (default: %(default)s)")
    options.add_argument("--pace", type=float, default=1500, help="tokens a second (default: %(default)s)")
    chosen = options.parse_args()
    server = Server(TOKENS, chosen.pace, PARAGRAPH)
    try:
        with home_folder("model_folders = []\nmodel_stores = []\n") as home, Program(home, server.url) as program:
            program.wait_until_ready()
            process = psutil.Process(program.pid)
            ask(program)
            started = time.perf_counter()
            program.drain(WARM_UP_S)
            began, cpu, memory = time.perf_counter(), sum(process.cpu_times()[:2]), process.memory_info().rss
            sent = typed(program, chosen.rounds)
            ended, cpu = time.perf_counter(), sum(process.cpu_times()[:2]) - cpu
            memory = process.memory_info().rss - memory
            keys = [(program.first_time(lambda shown, text=text: text in shown, text) - at) * 1e3 for at, text in sent]
            pace = written(program) / (ended - started)
            tokens = pace * (ended - began)
            # Drawing took long: what was written meanwhile comes first.
            program.send(KITTY_ESCAPE)
            program.wait_until(is_stopped, what="that the answer was stopped")
            stops = []
            for _ in range(chosen.stops):
                ask(program)
                stops.append(stopped(program))
            program.quit()
    finally:
        server.close()
    growth = memory / 1024 / tokens
    found = {
        "key to paint ms": keys, "Esc to paint ms": stops, "KiB/token": [growth], "CPU ms/token": [1e3 * cpu / tokens],
        "tokens/s": [pace],
    }  # fmt: skip
    samples = Samples(found)
    print(f"{chosen.rounds} letters and {chosen.stops} stops while {chosen.pace:,.0f} tokens/s stream\n")
    print_samples(samples)
    bars = [
        Bar("key to paint, 95th percentile", percentile(keys, 0.95) or 0.0, KEY_MS, unit="ms"),
        Bar("Esc to paint, slowest", max(stops), STOP_MS, unit="ms"),
        Bar("memory for a token", growth, KIB_PER_TOKEN, unit="KiB"),
    ]
    return finish("stream_keys", bars, {"stream": samples}, pace=chosen.pace)


if __name__ == "__main__":
    sys.exit(main())
