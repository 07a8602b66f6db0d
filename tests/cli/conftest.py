from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.library.conftest import write_gguf
from workbench.cli.main import main

if TYPE_CHECKING:
    from tests.servers.huggingface import FakeHub


@pytest.fixture
def call(capsys):
    """Runs a command line; gives the exit status, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            status = main(arguments)
        except SystemExit as stop:
            status = stop.code
        out = capsys.readouterr()
        return status, out.out, out.err

    return run


@pytest.fixture
def interrupted(tmp_path):
    """Runs a command in a process of its own, with Ctrl+C at its first measurement; gives what `call` gives."""

    def run(*arguments: str) -> tuple[int, str, str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench.cli.main", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "WORKBENCH_HOME": str(tmp_path)},
        )
        for line in process.stderr:
            if "measuring" in line:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    return run


HUB_NAME = "maker/Tiny-GGUF"


@pytest.fixture
def hub(serve, tmp_path: Path, monkeypatch) -> FakeHub:
    """A Hub with two quantizations of a model; the cache is below the folder of the test."""
    # Starlette is loaded only where a test wants a server.
    from tests.servers.huggingface import FakeCdn, FakeHub, HubContent

    data = {
        quant: write_gguf(tmp_path / "made" / f"{quant}.gguf", rows=rows)
        for quant, rows in {"Q4_K_M": 4, "Q8_0": 8}.items()
    }
    content = HubContent(HUB_NAME, {f"Tiny-{quant}.gguf": path.read_bytes() for quant, path in data.items()})
    cdn = FakeCdn(content)
    server = FakeHub(content, serve(cdn).url)
    monkeypatch.setenv("HF_ENDPOINT", serve(server).url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return server
