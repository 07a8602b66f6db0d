"""How soon Escape stops a prefill of 1,500 tokens.

In the engine, from the cancelling to its last event; and as a user meets it, from the key going into the terminal to
the screen that says so, in two kinds of terminal. One that knows the kitty keyboard protocol sends Escape as a sequence
of its own. All others send a byte with which other keys begin too, and the program waits 30 ms for another one.

    python -m benchmarks.escape [--rounds 12] [--threads 2]
"""

from __future__ import annotations

import asyncio
import random
import sys
import time

from benchmarks.common import Bar, finish, interleave, parser, print_samples
from benchmarks.models import demo_model
from benchmarks.program import CTRL_N, CTRL_U, ESCAPE, KITTY_ESCAPE, Program, home_folder, is_stopped
from benchmarks.worker import open_engine, random_tokens
from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, Request

BAR_MS = 100
TOKENS = 1500
WORDS = ("sea", "salt", "stone", "clock", "wheel", "tide", "rope", "lamp", "ship", "crow")
"""Words of one token each."""


async def engine_once(engine: Engine) -> dict[str, float]:
    """Cancel somewhere in the prefill, and wait for the end."""
    cancel = CancelToken()
    events = engine.generate(Request(tokens=random_tokens(TOKENS)), cancel)
    loop = asyncio.get_running_loop()
    stopped_at = 0

    def stop() -> None:
        nonlocal stopped_at
        stopped_at = time.perf_counter_ns()
        cancel.set()

    loop.call_later(random.uniform(0.2, 0.8), stop)
    last = None
    async for batch in events:
        last = batch[-1]
    ended_at = time.perf_counter_ns()
    if getattr(last, "reason", "") != "cancelled":
        raise SystemExit(f"the prefill was over before it could be stopped: {last}")
    return {"ms": (ended_at - stopped_at) / 1e6}


def screen_once(program: Program, key: str) -> dict[str, float]:
    """Ask something long, press Escape in the prefill, and look when the screen says so."""
    program.paste(" ".join(random.choices(WORDS, k=TOKENS)))
    program.wait_for("pasted")
    program.send("\r")
    program.wait_for("Reading the prompt")
    program.drain(random.uniform(0.1, 0.5))
    if "Reading the prompt" not in program.text:
        raise SystemExit(f"the prefill was over before it could be stopped:\n{program.text}")
    pressed = time.perf_counter()
    program.send(key)
    program.drain(1.0)
    stopped = program.first_time(is_stopped, "that the answer was stopped")
    program.send(CTRL_N)
    program.wait_for("the right model")
    program.send(CTRL_U)  # A question that was not answered comes back into the prompt.
    program.wait_until(lambda text: "pasted" not in text, what="an empty prompt")
    return {"ms": (stopped - pressed) * 1000}


def main() -> int:
    """Measure, and print."""
    chosen = parser(__doc__, rounds=12).parse_args()
    config = f"[load]\nnum_thread = {chosen.threads}\nnum_ctx = 4096\n"
    with home_folder(config) as home, asyncio.Runner() as runner, Program(home, "demo") as program:
        program.wait_until_ready()
        host, engine = runner.run(open_engine(str(demo_model()), chosen.threads, 4096))
        arms = {
            "engine": lambda: runner.run(engine_once(engine)),
            "screen, kitty protocol": lambda: screen_once(program, KITTY_ESCAPE),
            "screen, plain byte": lambda: screen_once(program, ESCAPE),
        }
        samples = interleave(arms, chosen.rounds)
        runner.run(host.shutdown())
    print_samples(samples)
    bars = [Bar(f"{arm}, slowest", samples.spread(f"{arm} ms")[1], BAR_MS, unit="ms") for arm in arms]
    return finish("escape", bars, {"escape": samples}, threads=chosen.threads, tokens=TOKENS)


if __name__ == "__main__":
    sys.exit(main())
