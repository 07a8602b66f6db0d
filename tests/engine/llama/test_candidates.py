"""The candidates of a sampler chain, against those that a look at all tokens finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.parameters import Sampling


@given(
    logits=st.lists(st.sampled_from([-np.inf, -3.0, 0.0, 0.5, 0.25, 7.0, 1e30]), min_size=1, max_size=300),
    count=st.integers(1, 40),
)
def test_the_likeliest_are_among_them(logits, count) -> None:
    from workbench.engine.llama.candidates import grouped, likeliest

    values = np.asarray(logits, np.float32)
    found = likeliest(values, grouped(values, count))
    if found is None:
        assert len(logits) < count * 4
        return
    assert len(found) >= count
    others = np.delete(values, found)
    assert not others.size or others.max() < values[found].min()
    assert list(found) == sorted(found)


def test_of_random_logits_few_more_are_found() -> None:
    from workbench.engine.llama.candidates import grouped, likeliest

    values = np.random.default_rng(1).normal(size=50_000).astype(np.float32)
    assert 104 <= len(likeliest(values, grouped(values, 104))) < 200


@pytest.mark.parametrize("place", [0, 1000])
def test_logits_that_are_no_numbers_are_left_to_llama_cpp(place) -> None:
    from workbench.engine.llama.candidates import grouped, likeliest

    values = np.zeros(2000, np.float32)
    values[place::7] = np.nan
    assert likeliest(values, grouped(values, 40)) is None


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({}, 40),
        ({"top_k": 5}, 5),
        ({"repeat_penalty": 1.1}, 40 + 64),
        ({"temperature": 0.0, "presence_penalty": 0.5}, 1 + 64),
        ({"logit_bias": ("3=-inf", "4=-1")}, 42),
        ({"logit_bias": ("3=0.1",)}, 0),
        ({"repeat_penalty": 0.9}, 0),
        ({"frequency_penalty": -0.1}, 0),
        ({"repeat_penalty": 1.1, "repeat_last_n": -1}, 0),
        ({"top_k": 0}, 0),
        ({"top_k": 300}, 0),
        ({"top_n_sigma": 1.0}, 0),
        ({"dry_multiplier": 1.0}, 0),
        ({"mirostat": 2}, 0),
        ({"samplers": ("top_p", "top_k")}, 0),
        ({"samplers": ()}, 0),
    ],
)
def test_a_chain_sees_few_tokens_where_the_others_cannot_win(loaded, values, kept) -> None:
    from workbench.engine.llama.sampler import Sampler

    sampler = Sampler(Sampling(**values), loaded._model.vocabulary, 1024, [])
    sampler.close()
    assert sampler._kept == kept
