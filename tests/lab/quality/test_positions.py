from __future__ import annotations

import numpy as np
import pytest

from workbench.lab.quality.positions import TOP, compare, compare_kept, keep

rng = np.random.default_rng(5)
A = rng.normal(0, 3, (7, 20_000)).astype(np.float32)
B = (A + rng.normal(0, 0.5, A.shape)).astype(np.float32)
TARGETS = rng.integers(0, A.shape[1], len(A)).astype(np.int32)
ROWS = np.arange(len(A))


def exact(logits):
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def test_the_figures_are_those_of_the_definitions():
    reference, (other,) = compare([A, B], TARGETS)
    lp, lq = exact(A), exact(B)
    np.testing.assert_allclose(reference.nll, -lp[ROWS, TARGETS], rtol=1e-5)
    np.testing.assert_allclose(other.own.nll, -lq[ROWS, TARGETS], rtol=1e-5)
    np.testing.assert_allclose(other.kld, (np.exp(lp) * (lp - lq)).sum(1), rtol=1e-4)
    np.testing.assert_array_equal(reference.best, lp.argmax(1))
    np.testing.assert_array_equal(reference.rank, (lp > lp[ROWS, TARGETS][:, None]).sum(1))
    np.testing.assert_array_equal(other.own.ids, np.argsort(-lq, axis=1)[:, :TOP])
    np.testing.assert_allclose(other.own.logprobs, -np.sort(-lq, axis=1)[:, :TOP], rtol=1e-5)


def test_a_model_does_not_differ_from_itself():
    _, (other,) = compare([A, A.copy()], TARGETS)
    assert not other.kld.any()


def test_a_shift_of_all_logits_changes_nothing():
    _, (other,) = compare([A, A + 100], TARGETS)
    assert other.kld == pytest.approx(0, abs=1e-5)


def test_what_was_kept_gives_a_lower_bound_that_is_near():
    _, (other,) = compare([A, B], TARGETS)
    kept = compare_kept(keep(A, TARGETS), B, TARGETS)
    assert (kept.kld <= other.kld + 1e-6).all()
    assert kept.kld.mean() > 0.5 * other.kld.mean()
    np.testing.assert_array_equal(kept.own.nll, other.own.nll)


def test_tokens_that_both_models_exclude_count_nothing():
    a, b = A.copy(), B.copy()
    a[:, 10:20] = b[:, 10:20] = -np.inf
    found = compare([a, b], np.full(len(a), 5, np.int32))[1][0]
    lp, lq = exact(np.delete(a, range(10, 20), 1)), exact(np.delete(b, range(10, 20), 1))
    np.testing.assert_allclose(found.kld, (np.exp(lp) * (lp - lq)).sum(1), rtol=1e-4)


@pytest.mark.parametrize("size", [3, 100, 4000])
def test_the_first_of_equal_tokens_is_the_likeliest(size):
    logits = np.zeros((2, size), np.float32)
    logits[0, [1, 2]] = 5
    found, _ = compare([logits], np.zeros(2, np.int32))
    assert found.best[0] == 1
    assert found.ids.shape[1] == min(TOP, size)
    assert found.rank.tolist() == [2, 0]
