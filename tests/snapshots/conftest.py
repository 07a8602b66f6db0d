from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.ui.idle import exact_waits

BASELINE = (3, 11)
"""The Python that the pictures are made with."""


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No colours taken away, no animations, and no time zone of the machine."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture(autouse=True)
def only_what_is_to_come_is_waited_for() -> Iterator[None]:
    with exact_waits():
        yield


@pytest.fixture(autouse=True, scope="session")
def only_one_python_makes_pictures(request: pytest.FixtureRequest) -> None:
    """Pictures that another Python made would differ for everybody else."""
    if request.config.getoption("--snapshot-update") and sys.version_info[:2] != BASELINE:
        pytest.exit(f"--snapshot-update works with Python {'.'.join(map(str, BASELINE))} alone", returncode=2)
