"""llama-perplexity's figures of SmolLM2-135M in Q4_K_M against F16, from the values of every token."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from workbench.core.statistics import STUDENT_T
from workbench.lab.quality.figures import PERCENTILES, TokenFigures, figures
from workbench.lab.quality.intervals import mean_intervals, student_quantile

TOKENS = np.load(Path(__file__).with_name("tokens-Q4_K_M.npz"))
NOTHING = np.zeros(255, np.int32)


def chunks(name):
    return list(TOKENS[name].astype(np.float64).reshape(8, 255))


@pytest.fixture(scope="module")
def found():
    base, own = ([TokenFigures(nll, NOTHING) for nll in chunks(name)] for name in ("nll_base_coded", "nll_q"))
    return figures(base, own, chunks("kld"))


def test_perplexity_is_llama_perplexitys(found):
    assert (found.scored, found.ppl, found.ppl_error) == pytest.approx((2040, 17.234548, 1.145491), rel=1e-5)
    assert (found.ln_ratio, found.ln_ratio_error) == pytest.approx((0.060496, 0.009335), rel=1e-3)
    assert found.ppl_ratio == pytest.approx(1.062363, abs=1e-5)
    assert 100 * found.correlation == pytest.approx(99.03, abs=0.01)


def test_divergence_is_llama_perplexitys(found):
    assert (found.mean_kld, found.mean_kld_error) == pytest.approx((0.060517, 0.001705), abs=1e-6)
    assert (found.max_kld, found.min_kld) == pytest.approx((1.462162, 0.000008), abs=2e-6)
    wanted = (0.815290, 0.359868, 0.169045, 0.117918, 0.042681, 0.005725, 0.002612, 0.000374)
    assert found.percentiles == pytest.approx(wanted, abs=5e-6)
    assert found.percentile(50) == found.percentiles[PERCENTILES.index(50)]


def test_changes_of_probability_are_llama_perplexitys(found):
    percent = [100 * value for value in (found.mean_dp, found.mean_dp_error, found.max_dp, found.min_dp)]
    assert percent == pytest.approx([-0.175, 0.134, 42.264, -43.103], abs=1e-3)
    assert [100 * found.rms_dp, 100 * found.rms_dp_error] == pytest.approx([6.049, 0.235], abs=1e-3)


def test_the_first_flip_and_the_share_of_same_tokens():
    nll = np.full(25, 2.0)
    best = np.zeros(25, np.int32)
    other = best.copy()
    other[[7, 20]] = 1
    found = figures([TokenFigures(nll, best)], [TokenFigures(nll, other)], [np.zeros(25)])
    assert (found.first_flip, found.same_top) == (7, 0.92)
    assert found.same_top_error == pytest.approx(math.sqrt(0.92 * 0.08 / 24))
    assert found.kld_interval is None
    assert found.correlation is None


def test_intervals_are_wider_than_those_of_independent_tokens(found):
    low, high = found.kld_interval
    assert 1.3 < (high - low) / 2 / 1.96 / found.mean_kld_error < 2.2
    assert low < found.mean_kld < high


@pytest.mark.parametrize(("count", "length"), [(4, 255), (25, 40)])
def test_intervals_cover_the_mean_of_correlated_tokens(count, length):
    """AR(1) with 0.2, as tokens have: 93 % or more, but for the binomial error of so many texts."""
    rng = np.random.default_rng(3)
    texts, covered = 150, 0
    noise = rng.exponential(1, (texts, count, length)) - 1
    for at in range(1, length):
        noise[:, :, at] += 0.2 * noise[:, :, at - 1]
    for text in noise:
        ((low, high),) = mean_intervals(list(text[:, :, None]), resamples=200)
        covered += low <= 0 <= high
    assert 0.93 - 0.04 < covered / texts <= 1


def test_students_quantiles_are_those_of_the_tables():
    for freedom in (3, 4, 8):
        assert student_quantile(freedom) == pytest.approx(STUDENT_T[freedom - 1], abs=0.02)
    assert student_quantile(30) == pytest.approx(2.0423, abs=1e-3)
