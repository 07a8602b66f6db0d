from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from workbench.cli.main import main


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
