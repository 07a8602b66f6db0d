"""Servers that are real: llama.cpp's own, out of the package `xllamacpp`, and the one of llama-cpp-python.

Each runs in a child process, which ends when its standard input closes: also where the tests are killed.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

PATIENCE_S = 60.0

LLAMA_SERVER = """
import os, sys, threading
import xllamacpp

def leave():
    sys.stdin.read()
    os._exit(0)

params = xllamacpp.CommonParams()
params.model.path, params.model_alias = sys.argv[1], [sys.argv[2]]
params.n_ctx, params.n_parallel, params.warmup = int(sys.argv[3]), int(sys.argv[4]), False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.endpoint_metrics = params.endpoint_slots = True
if sys.argv[5]:
    params.api_keys = [sys.argv[5]]
if sys.argv[6]:
    params.chat_template = sys.argv[6]
threading.Thread(target=leave, daemon=True).start()
server = xllamacpp.Server(params)
# In one write, and on a line of its own: the server's threads log to the same pipe.
os.write(1, f"\\nlistening at {server.listening_address}\\n".encode())
threading.Event().wait()
"""

PYTHON_SERVER = """
import os, sys, threading

def leave():
    sys.stdin.read()
    os._exit(0)

threading.Thread(target=leave, daemon=True).start()
sys.argv = ["llama_cpp.server", *sys.argv[1:]]
from llama_cpp.server.__main__ import main
main()
"""


@contextmanager
def llama_server(
    model: str, *, alias: str = "demo", context: int = 4096, slots: int = 4, key: str = "", template: str = ""
) -> Iterator[str]:
    """llama-server with a model, and with a chat template in the place of the model's; gives its address."""
    arguments = [model, alias, str(context), str(slots), key, template]
    with _child(LLAMA_SERVER, arguments) as child:
        yield _said(child, "listening at")


@contextmanager
def python_server(model: str, *, alias: str = "demo", context: int = 2048, key: str = "") -> Iterator[str]:
    """The server of llama-cpp-python with a model; gives its address."""
    arguments = ["--model", model, "--model_alias", alias, "--n_ctx", str(context), "--host", "127.0.0.1"]
    arguments += ["--port", "0", "--n_threads", "1", "--n_threads_batch", "1", "--verbose", "False"]
    arguments += ["--api_key", key] if key else []
    with _child(PYTHON_SERVER, arguments) as child:
        yield _said(child, "INFO:     Uvicorn running on").partition(" ")[0]


@contextmanager
def _child(code: str, arguments: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1", "PYTHONWARNINGS": "ignore"}
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


def _said(child: subprocess.Popen[bytes], words: str) -> str:
    """What the child says after `words`, on a line of its own."""
    found: queue.Queue[str | None] = queue.Queue()
    log: list[str] = []

    def read() -> None:
        # Read to the end, or until `_child` closes the pipe: a child whose pipe is full stands still.
        assert child.stdout is not None
        with suppress(ValueError):
            for raw in child.stdout:
                line = raw.decode(errors="replace").strip()
                log.append(line)
                if line.startswith(words):
                    found.put(line.removeprefix(words).strip())
        found.put(None)

    threading.Thread(target=read, daemon=True).start()
    answer = found.get(timeout=PATIENCE_S)
    assert answer is not None, "the server ended: " + "\n".join(log[-20:])
    return answer
