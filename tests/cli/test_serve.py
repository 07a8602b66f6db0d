"""`workbench serve` as a program: on a real socket, with a real model, until it is told to stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from workbench.cli.main import main


def test_a_served_model_answers_several_clients_and_ends_with_the_signal(demo_path, tmp_path):
    command = [
        sys.executable,
        "-m",
        "workbench.cli.main",
        "serve",
        str(demo_path),
        "--port",
        "0",
        "--set",
        "num_ctx=512",
    ]
    env = {**os.environ, "WORKBENCH_HOME": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as program:
        assert program.stderr is not None
        line = next(line for line in program.stderr if "served at" in line)
        address = re.search(r"http://\S+(?=/v1)", line)[0]
        question = {"role": "user", "content": "Name the capital of France."}
        body = {"messages": [question], "max_tokens": 8, "temperature": 0}

        def ask(_: int) -> str:
            found = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60).json()
            return found["choices"][0]["message"]["content"]

        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(ask, range(3)))
        assert answers == ["The capital of France is Paris."] * 3
        program.send_signal(signal.SIGINT)
        assert program.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "no key is set"),
        (["--port", "-1"], "Nothing can listen"),
        (["--host", "192.0.2.1", "--key", "x"], "Nothing can listen"),
    ],
)
def test_what_cannot_be_served_is_said(arguments, said, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    assert main(["serve", "demo", *arguments]) in (1, 2)
    assert said in capsys.readouterr().err
