"""What leaves for llama-server is taken by it: started, and asked once."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import platformdirs
import pytest

from workbench.core.cancel import CancelToken
from workbench.core.engine import Request
from workbench.core.events import Finished, Token
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.session import Session
from workbench.engine.llama.host import LlamaHost
from workbench.store.export.session import session_text

PROMPT = "Once upon a time"
SAMPLING = Sampling(temperature=0.0, num_predict=64, logit_bias=("2=-inf",), samplers=("top_k", "temperature"))
LOAD = LoadSettings(num_ctx=512, num_thread=1, use_mmap=False)


@pytest.fixture(scope="module")
def program() -> str:
    """llama-server of the path, or the one that the benchmarks have built."""
    cache = os.environ.get("WORKBENCH_BENCH_CACHE") or platformdirs.user_cache_path("workbench-bench", appauthor=False)
    built = sorted(Path(cache).glob("build-*/bin/llama-server"))
    found = shutil.which("llama-server") or (str(built[-1]) if built else None)
    if found is None:
        pytest.skip("llama-server is not installed")
    return found


def session(model: Path) -> Session:
    return Session("s", 1.0, 2.0, "demo", str(model), sampling=SAMPLING, load=LOAD, name="Tiny")


@contextmanager
def started(command: list[str]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert server.poll() is None, server.stderr.read()[-2000:]
            try:
                if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(30)
        server.stderr.close()


async def own_text(model: Path) -> str:
    host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=str(model)))
    engine = await host.open("demo", LOAD, lambda _: None, CancelToken())
    request = Request(prompt=PROMPT, sampling=SAMPLING)
    events = [event async for batch in engine.generate(request, CancelToken()) for event in batch]
    await host.shutdown()
    return "".join(event.text for event in events if isinstance(event, Token | Finished))


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_llama_server_writes_the_same_tokens_with_the_exported_options(program, demo_path, tmp_path):
    expected = await own_text(demo_path)
    script = session_text(session(demo_path), "sh")
    line = script[script.index("\nllama-server ") :].replace("\\\n", " ").strip().partition("\n")[0]
    with started([program, *shlex.split(line)[1:]]) as url:
        body = {"prompt": PROMPT}
        found = httpx.post(f"{url}/v1/completions", json=body, timeout=120).json()
    assert found["choices"][0]["text"] == expected
    assert found["usage"]["completion_tokens"] == 64

    presets = tmp_path / "presets.ini"
    presets.write_text(session_text(session(demo_path), "ini"))
    with started([program, "--models-preset", str(presets)]) as url:
        names = [model["id"] for model in httpx.get(f"{url}/models", timeout=30).json()["data"]]
        assert "tiny" in names
        body = {"prompt": PROMPT, "model": "tiny"}
        found = httpx.post(f"{url}/v1/completions", json=body, timeout=120).json()
    assert found["choices"][0]["text"] == expected
