"""llama-perplexity's figures of SmolLM2-135M in Q4_K_M against F16, from the values of every token."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality_intervals import TEXTS, correlated, covered_means, covered_shares, false_differences, upper
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


@pytest.mark.parametrize("text", ["independent", "neighbours", "real", "strong"])
@pytest.mark.parametrize("count", [3, 4, 8, 40])
def test_intervals_cover_the_mean_of_correlated_tokens_in_95_of_100_texts(count, text):
    tokens = correlated(1000, count, 255 if count < 8 else 64, *TEXTS[text])
    assert 0.93 <= covered_means(tokens) <= 0.97


@pytest.mark.parametrize("text", ["neighbours", "strong"])
@pytest.mark.parametrize("count", [3, 8])
def test_intervals_cover_the_share_of_correlated_tokens(count, text):
    tokens = correlated(600, count, 128, *TEXTS[text])
    assert all(0.93 <= covered_shares(tokens, share) <= 0.975 for share in (0.67, 0.96))


@pytest.mark.parametrize("count", [3, 8])
def test_equal_models_are_found_different_in_fewer_than_5_of_100_texts(found, count):
    """With a confidence of 99 %."""
    texts = 10_000
    share = false_differences(correlated(texts, count, 40, *TEXTS["real"]))
    assert upper(share, texts) <= 0.05
    assert "perplexity 6.24 % higher [+2.64 to +9.96 %]" in sentence("Q4", found)
    assert "no difference in perplexity seen" in sentence("Q4", replace(found, ratio_interval=(0.99, 1.1)))
    assert "no difference in perplexity seen" in sentence("Q4", replace(found, ratio_interval=(1.001, 1.1)))


def test_a_share_of_all_tokens_is_not_certain():
    low, high = share_interval([np.ones(255, bool)] * 8)
    assert 0.98 < low < 1 == high


def test_too_few_chunks_have_no_interval():
    assert mean_intervals([np.zeros((5000, 1))]) is None
    assert mean_intervals([np.zeros((255, 1))] * 2) is None
    assert mean_intervals([np.zeros((255, 1))] * 3) == [(0.0, 0.0)]
    assert share_interval([np.ones(10, bool)] * 8) is None


def test_students_quantiles_are_those_of_the_tables():
    found = [student_quantile(freedom) for freedom in (2, 8, 9, 30)]
    assert found == pytest.approx([4.3027, 2.3060, 2.2622, 2.0423], abs=1e-3)
