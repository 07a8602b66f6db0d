from __future__ import annotations

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
