"""A few kills of the process that hosts the engine; `python -m tests.reliability.engine_kills` does hundreds."""

from __future__ import annotations

import os

import pytest

from tests.reliability.engine_kills import Lives

KILLS = int(os.environ.get("KILLS", "3"))


@pytest.mark.timeout(60 + 10 * KILLS)
async def test_an_engine_that_is_killed_at_any_moment_costs_one_answer(short_demo):
    lives = Lives(short_demo, seed=3)
    await lives.run(KILLS)
    assert sum(lives.done[moment] for moment in ("load", "prompt", "answer", "close", "idle")) == KILLS
