"""What the author of a model recommends, against everything else that sets a value."""

from __future__ import annotations

import pytest

from workbench.core.origins import recommended_text, settings_text, sourced_values, with_recommended
from workbench.core.parameters import LoadSettings, Sampling

RECOMMENDED = (("temperature", 0.0), ("top_k", 20))


def test_it_is_used_where_nothing_is_set():
    sampling, origins = with_recommended(Sampling(), {}, RECOMMENDED)
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.0, 20, 0.9)
    assert origins == {"temperature": "author", "top_k": "author"}


@pytest.mark.parametrize("origin", ["config", "command line", "Modelfile", "this chat", "lane", "race"])
def test_a_value_that_was_set_counts_more_even_where_it_is_the_default(origin):
    sampling, origins = with_recommended(Sampling(), {"temperature": origin}, RECOMMENDED)
    assert (sampling.temperature, sampling.top_k) == (0.8, 20)
    assert origins == {"temperature": origin, "top_k": "author"}


def test_a_value_that_differs_from_the_default_was_set():
    sampling, origins = with_recommended(Sampling(temperature=0.5), {}, RECOMMENDED)
    assert sampling.temperature == 0.5
    assert origins == {"top_k": "author"}


def test_the_values_of_another_model_are_dropped():
    sampling, origins = with_recommended(Sampling(), {"min_p": "config"}, RECOMMENDED)
    sampling, origins = with_recommended(sampling, origins, (("top_k", 64), ("top_p", 0.95)))
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.8, 64, 0.95)
    assert origins == {"min_p": "config", "top_k": "author", "top_p": "author"}
    assert with_recommended(sampling, origins, ()) == (Sampling(), {"min_p": "config"})


def test_they_are_named_with_their_origins():
    sampling, origins = with_recommended(Sampling(min_p=0.1), {"seed": "command line"}, RECOMMENDED)
    assert recommended_text(sampling, origins) == (
        "The model's author recommends temperature 0, top_k 20: used where you set nothing else."
    )
    assert recommended_text(Sampling(), {"temperature": "config"}) == ""
    values = sourced_values(sampling, LoadSettings(), origins)
    assert values == {
        "temperature": {"value": 0.0, "from": "author"},
        "top_k": {"value": 20, "from": "author"},
        "min_p": {"value": 0.1, "from": None},
        "seed": {"value": -1, "from": "command line"},
    }
    assert settings_text(values) == "temperature 0 (author), top_k 20 (author), min_p 0.1, seed -1 (command line)"
