"""A few kills of the whole program; `python -m tests.reliability.kills` does hundreds, with real models too."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("fcntl", reason="needs a pseudo-terminal")

from tests.reliability.kills import run

KILLS = int(os.environ.get("KILLS", "4"))


@pytest.mark.timeout(60 + 10 * KILLS)
def test_a_program_that_is_killed_at_any_moment_loses_nothing(monkeypatch):
    # A home of its own: the fixture's would be that of other tests.
    monkeypatch.delenv("WORKBENCH_HOME", raising=False)
    found = run(KILLS, seed=12, real=False)
    assert sum(found.done[kind] for kind in ("chat", "load", "export", "config")) == KILLS
