"""llama-perplexity's figures of SmolLM2-135M in Q4_K_M against F16, from the values of every token."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from workbench.core.statistics import STUDENT_T
from workbench.lab.quality.figures import PERCENTILES, TokenFigures, figures
from workbench.lab.quality.intervals import mean_intervals, share_interval, student_quantile
from workbench.lab.quality.report import sentence

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


def test_the_chunks_of_a_text_give_its_interval_by_students_t():
    ((low, high),) = mean_intervals([each[:, None] for each in chunks("kld_exact")])
    assert (low + high) / 2 == pytest.approx(0.060653, abs=1e-6)
    assert (high - low) / 2 == pytest.approx(STUDENT_T[6] * 0.003240, rel=2e-3)


def correlated(texts, count, length):
    """Texts of chunks of tokens, (tokens, chunks, texts), normal with the autocorrelation of divergences.

    The measured 0.17, 0.10 and 0.06 at lags 1, 2 and 4 are those of an AR(1) with 0.75 below independent noise.
    """
    rng = np.random.default_rng(3)
    found = rng.standard_normal((length, count, texts))
    slow = found[0]
    for at in range(1, length):
        slow = 0.75 * slow + math.sqrt(1 - 0.75**2) * found[at]
        found[at] = math.sqrt(0.22) * slow + math.sqrt(0.78) * rng.standard_normal(slow.shape)
    return found


@pytest.mark.parametrize("skewed", [False, True], ids=["normal", "skewed"])
@pytest.mark.parametrize(("count", "length"), [(1, 500), (8, 255), (24, 63), (60, 15)])
def test_intervals_cover_the_mean_of_correlated_tokens_in_95_of_100_texts(count, length, skewed):
    tokens = correlated(1000, count, length)
    if skewed:
        tokens = np.exp(tokens) - math.exp(0.5)
    # Each text as a value of every token: one call computes the intervals of all.
    intervals = mean_intervals(list(tokens.transpose(1, 0, 2)))
    covered = np.mean([low <= 0 <= high for low, high in intervals])
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize("share", [0.87, 0.96])
def test_intervals_cover_the_share_of_correlated_tokens(count, share):
    same = correlated(600, count, 500 if count == 1 else 255) < NormalDist().inv_cdf(share)
    intervals = [share_interval(list(text)) for text in np.ascontiguousarray(same.T)]
    assert 0.93 <= np.mean([low <= share <= high for low, high in intervals]) <= 0.97


def test_equal_models_are_found_different_in_5_of_100_texts(found):
    """A difference is said where the interval excludes none; 0.2 % is the binomial error of so many texts."""
    intervals = mean_intervals(list(correlated(10_000, 8, 40).transpose(1, 0, 2)))
    assert np.mean([low > 0 or high < 0 for low, high in intervals]) <= 0.05 + 2 * 0.002
    assert "perplexity 6.24 % higher [+2.64 to +9.96 %]" in sentence("Q4", found)
    assert "no difference in perplexity seen" in sentence("Q4", replace(found, ratio_interval=(0.99, 1.1)))


def test_a_share_of_all_tokens_is_not_certain():
    low, high = share_interval([np.ones(255, bool)] * 8)
    assert 0.98 < low < 1 == high


def test_too_few_tokens_have_no_interval():
    assert mean_intervals([np.zeros((159, 1))]) is None
    assert mean_intervals([np.zeros((160, 1))]) == [(0.0, 0.0)]
    assert mean_intervals([np.zeros((3, 1))] * 40) is None
    assert share_interval([np.ones(31, bool)] * 4) is None


def test_students_quantiles_are_those_of_the_tables():
    for freedom in (3, 4, 8):
        assert student_quantile(freedom) == pytest.approx(STUDENT_T[freedom - 1], abs=0.02)
    assert student_quantile(30) == pytest.approx(2.0423, abs=1e-3)
