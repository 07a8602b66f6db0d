from __future__ import annotations

import pytest

from workbench.core.sweep import LoadCost, LoadSample, SweepLevel, SweepSettings

MS = 1_000_000


def sample(sent=0, first=100, last=300, tokens=11, **more):
    return LoadSample(sent * MS, last * MS, first * MS, last * MS, **{"completion_tokens": tokens, **more})


def test_the_figures_of_a_level():
    level = SweepLevel(2, (sample(), sample(50, 200, 400, 21)), LoadCost(1000 * MS, 150 * MS, 2 * MS))
    assert level.ttft_p50_ms == 125
    assert level.tps_per_user == pytest.approx((50 + 100) / 2)
    assert level.tps_total == pytest.approx(32 / 0.4)
    assert level.cost.cpu_pct == 15


def test_a_p95_needs_twenty_answers():
    assert SweepLevel(1, (sample(),) * 19).ttft_p95_ms is None
    assert SweepLevel(1, (sample(),) * 20).ttft_p95_ms == 100


def test_failures_are_counted_and_say_what_it_was_and_no_figure_has_them():
    failed = LoadSample(0, 9000 * MS, error="busy")
    level = SweepLevel(2, (sample(), failed, failed))
    assert (level.failures, level.errors) == (2, {"busy": 2})
    assert level.tps_total == pytest.approx(11 / 0.3)
    assert level.ttft_p50_ms == 100


def test_what_is_not_known_is_not_there():
    level = SweepLevel(1, (LoadSample(0, 10, error="busy"),))
    assert (level.ttft_p50_ms, level.tps_per_user, level.tps_total, level.cached_pct) == (None, None, None, None)
    # All text in one piece says nothing of a speed.
    assert sample(last=100).decode_tps is None
    assert sample(tokens=1).decode_tps is None
    assert sample(tokens=None).decode_tps is None
    assert SweepLevel(1, ()).duration_ns == 0


def test_what_came_from_the_cache():
    cached = sample(prompt_tokens=100, cached_tokens=25)
    assert SweepLevel(1, (cached, sample(prompt_tokens=100))).cached_pct == 25


def test_how_much_there_is_at_most():
    settings = SweepSettings((1, 4), n_prompt=10, n_gen=20, repetitions=3)
    assert (settings.most_requests, settings.most_tokens) == (15, 450)
