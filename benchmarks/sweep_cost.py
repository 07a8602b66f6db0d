"""What a sweep costs the machine that asks: 16 users at the same time, 500 tokens/s in all.

The server is the vLLM of the tests, in a process of its own. Counted is the processor time of the client's process, and
of the process that is notified of every answer.

    python -m benchmarks.sweep_cost [--rounds 5]
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.common import ROOT, Bar, finish, interleave, parser, print_samples
from workbench.core.cancel import CancelToken
from workbench.core.sweep import SweepSettings
from workbench.engine.remote.load import ChildLoadClients
from workbench.lab.bench.sweep import Sweep

USERS = 16
TOKENS_PER_S = 500
SERVED_TPS = 540
"""What the server writes: a little more, because it writes nothing between an answer and the next question."""
QUESTIONS = 2
LENGTH = 128


@contextmanager
def server() -> Iterator[str]:
    """The server; gives its address."""
    command = [sys.executable, "-m", "tests.servers", "vllm", "--decode-tps", str(SERVED_TPS / USERS)]
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield child.stdout.readline().strip()
    finally:
        child.stdin.close()
        child.wait()
        child.stdout.close()


async def sweep(url: str) -> dict[str, float]:
    """One level of 16 users."""
    cancel = CancelToken()
    client = await ChildLoadClients().open(url, lambda _: None, cancel)
    work = Sweep(client, SweepSettings((USERS,), n_prompt=128, n_gen=LENGTH, repetitions=QUESTIONS))
    began, own = 0.0, 0.0

    def on_progress(progress: object) -> None:
        nonlocal began, own
        if getattr(progress, "phase", "") == "warming up":
            began, own = time.perf_counter(), time.process_time()

    try:
        await work.run(cancel, on_progress)
    finally:
        await client.close()
    (level,) = work.levels
    parent = 100 * (time.process_time() - own) / (time.perf_counter() - began)
    assert level.failures == 0, level.errors
    assert level.cost is not None
    return {
        "client, % of a core": level.cost.cpu_pct,
        "client and parent, % of a core": level.cost.cpu_pct + parent,
        "tokens/s": level.tps_total or 0.0,
        "late by (p95), ms": level.cost.lag_ns / 1e6,
    }


def main() -> int:
    """Measure, and print."""
    chosen = parser(__doc__, rounds=5).parse_args()
    with server() as url:
        samples = interleave({"sweep": lambda: asyncio.run(sweep(url))}, chosen.rounds, f"{USERS} users")
    print(f"{USERS} users, answers of {LENGTH} tokens, {chosen.rounds} rounds\n")
    print_samples(samples)
    bars = [
        Bar("16 users at 500 tokens/s: the client takes", samples.median("sweep client, % of a core"), 20, unit="%"),
        Bar("the speed that was served", samples.median("sweep tokens/s"), TOKENS_PER_S, True, "tokens/s"),
    ]
    return finish("sweep_cost", bars, {"sweep_cost": samples})


if __name__ == "__main__":
    sys.exit(main())
