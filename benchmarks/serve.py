"""Eight clients that ask `workbench serve` at once, against llama-server of the same llama.cpp with as many slots.

Each client sends a prompt of its own to `/v1/completions` and reads the stream. Taken are the tokens that all of them
get a second, from the first request to the last token, the time to the first token of each, and the processor time of
the server for a token. Both servers are loaded all the time; the one that is not asked waits. Then the same clients ask
the model that the full-screen program serves, and letters are typed into its prompt meanwhile.

    python -m benchmarks.serve [--rounds 8] [--threads 2] [--quant Q4_K_M] [--letters 120]
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import string
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from benchmarks.common import (
    SAMPLE_HEADERS,
    WORKBENCH,
    Bar,
    Samples,
    finish,
    interleave,
    parser,
    print_table,
    sample_rows,
)
from benchmarks.llama_cpp_tools import tool
from benchmarks.models import variant
from benchmarks.program import Program, home_folder
from workbench.core.metrics import percentile

CLIENTS, WORDS, GENERATED, CONTEXT = 8, 60, 96, 512
LEAST = 0.95
KEY_MS = 50
MARK = "qzvx"
"""The beginning of what is typed: no other text has it."""
ALT_S = "\x1bs"
NOUNS = ("sea", "tower", "lamp", "keeper", "storm", "letter", "island", "clock", "horse", "river", "night", "stone")
CONFIG = (
    "model_folders = []\nmodel_stores = []\n[load]\nnum_thread = {threads}\nnum_ctx = {context}\n"
    "num_parallel = {slots}\n"
)


async def ask(client: httpx.AsyncClient, seed: int) -> tuple[float, float, int]:
    """One request: its time to the first token in milliseconds, when it ended, and its tokens."""
    rng = random.Random(seed)
    prompt = f"{seed} " + " ".join(rng.choice(NOUNS) for _ in range(WORDS)) + ". Once upon a time"
    body = {
        "model": "demo", "prompt": prompt, "max_tokens": GENERATED, "temperature": 0, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    began, first, tokens = time.perf_counter(), None, 0
    async with client.stream("POST", "/v1/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                raise SystemExit(f"the server failed: {event['error']}")
            if first is None and any(choice.get("text") for choice in event["choices"]):
                first = time.perf_counter()
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    ended = time.perf_counter()
    return ((first or ended) - began) * 1e3, ended, tokens


async def ask_all(url: str, seed: int) -> dict[str, float]:
    """All clients at once."""
    async with httpx.AsyncClient(base_url=url, timeout=600) as client:
        began = time.perf_counter()
        found = await asyncio.gather(*(ask(client, seed + number) for number in range(CLIENTS)))
    tokens = sum(count for *_, count in found)
    return {
        "tokens/s": tokens / (max(ended for _, ended, _ in found) - began),
        "TTFT p95 ms": percentile([first for first, *_ in found], 0.95) or 0.0,
        "tokens": tokens,
    }


def cpu_seconds(process: psutil.Process) -> float:
    """The processor time of a program and its children."""
    return sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True)))


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A program, ended with the block."""
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield program
    finally:
        program.terminate()
        program.wait(30)


@contextmanager
def ours(path: Path, threads: int) -> Iterator[tuple[str, psutil.Process]]:
    """`workbench serve`: its address and its process."""
    values = {"num_parallel": CLIENTS, "num_ctx": CONTEXT, "num_thread": threads, "num_gpu": 0}
    settings = [text for name, value in values.items() for text in ("--set", f"{name}={value}")]
    with started([WORKBENCH, "serve", str(path), "--port", "0", "--json", *settings]) as program:
        assert program.stdout is not None
        yield json.loads(program.stdout.readline())["address"], psutil.Process(program.pid)


@contextmanager
def theirs(path: Path, threads: int) -> Iterator[tuple[str, psutil.Process]]:
    """llama-server: its address and its process."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [str(tool("llama-server")), "-m", str(path), "-c", str(CLIENTS * CONTEXT), "-np", str(CLIENTS)]
    command += ["-t", str(threads), "-ngl", "0", "--host", "127.0.0.1", "--port", str(port), "--log-disable"]
    url = f"http://127.0.0.1:{port}"
    with started(command) as program:
        deadline = time.monotonic() + 120
        while not _is_ready(url):
            if program.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("llama-server does not start")
            time.sleep(0.2)
        yield url, psutil.Process(program.pid)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def compare(path: Path, rounds: int, threads: int) -> Samples:
    """Both servers in turn."""
    seed = 0

    def asked(url: str, process: psutil.Process) -> dict[str, float]:
        nonlocal seed
        seed += CLIENTS
        before = cpu_seconds(process)
        found = asyncio.run(ask_all(url, seed))
        return found | {"CPU ms/token": 1e3 * (cpu_seconds(process) - before) / max(1, found["tokens"])}

    with ours(path, threads) as (own, own_process), theirs(path, threads) as (other, other_process):
        arms = {"workbench": lambda: asked(own, own_process), "llama-server": lambda: asked(other, other_process)}
        for run in arms.values():
            run()
        return interleave(arms, rounds, "serve")


def type_mark(program: Program) -> str:
    """Empty the prompt, and type what is nowhere else on the screen; gives it."""
    program.send("\x15" + MARK)
    program.drain(0.5)
    return MARK


def keys(path: Path, letters: int, threads: int) -> list[float]:
    """What letters take from the key to the screen, in milliseconds, while clients ask the model of the program."""
    config = CONFIG.format(threads=threads, context=CONTEXT, slots=CLIENTS + 1)
    found: list[float] = []
    with home_folder(config) as home, Program(home, str(path)) as program:
        program.wait_until_ready()
        program.send(ALT_S)
        program.wait_for("is served at")
        url = re.search(r"http://[\d.]+:\d+", program.text)
        assert url is not None
        ended = threading.Event()

        def clients() -> None:
            seed = 10_000
            while not ended.is_set():
                asyncio.run(ask_all(url[0], seed))
                seed += CLIENTS

        asking = threading.Thread(target=clients)
        asking.start()
        text = type_mark(program)
        for _ in range(letters):
            program.drain(random.uniform(0.05, 0.25))
            text += random.choice(string.ascii_lowercase)
            found.append(program.letter_ms(text))
            if len(text) == 40:
                text = type_mark(program)
        ended.set()
        asking.join()
        program.quit()
    return found


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=8)
    options.add_argument("--quant", default="Q4_K_M")
    options.add_argument("--letters", type=int, default=120, help="letters that are typed; 0 leaves that out")
    chosen = options.parse_args()
    path = variant(chosen.quant)
    samples = compare(path, chosen.rounds, chosen.threads)
    bars = [
        Bar(f"{CLIENTS} clients / llama-server, tokens/s", samples.ratio("workbench tokens/s", "llama-server tokens/s"),
            LEAST, at_least=True),
        Bar("TTFT p95 / llama-server's", samples.ratio("workbench TTFT p95 ms", "llama-server TTFT p95 ms"), 1.0),
    ]  # fmt: skip
    parts = {"clients": samples}
    if chosen.letters:
        times = keys(path, chosen.letters, chosen.threads)
        parts["keys"] = Samples({"key to paint ms": times})
        bars.append(Bar("key to paint meanwhile, 95th percentile", percentile(times, 0.95) or 0.0, KEY_MS, unit="ms"))
    print(f"{CLIENTS} clients at once, {chosen.quant}, {chosen.threads} threads, {chosen.rounds} interleaved rounds\n")
    print_table(SAMPLE_HEADERS, [row for part in parts.values() for row in sample_rows(part)])
    ratio = samples.ratio("workbench CPU ms/token", "llama-server CPU ms/token")
    print(f"\nprocessor time for a token / llama-server's: {ratio:.3f}")
    return finish("serve", bars, parts, threads=chosen.threads)


if __name__ == "__main__":
    sys.exit(main())
