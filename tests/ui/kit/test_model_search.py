from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.models import ModelEntry
from workbench.ui.kit import model_search
from workbench.ui.kit.model_search import ModelSearch

MODELS = [
    ModelEntry(f"{name} {quant}", name, quant, architecture="llama", source="/models")
    for name in ("SmolLM2-135M-Instruct", "Qwen2.5-0.5B", "Llama-3.1-8B", "lxama")
    for quant in ("Q4_K_M", "Q8_0", None)
]


def match_score(query: str, text: str) -> int:
    return ModelSearch().scores(query, [ModelEntry("ref", text, source="")]).get("ref", 0)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("smol", "SmolLM2-135M-Instruct"),
        ("q4km", "Qwen Q4_K_M"),
        ("qwen 0.5", "Qwen2.5-0.5B-Instruct"),
        ("smol135", "SmolLM2-135M"),
        ("INSTRUCT llama", "llama-3.1-Instruct"),
        ("", "anything"),
    ],
)
def test_words_match_in_any_order_and_with_gaps(query: str, text: str) -> None:
    assert bool(match_score(query, text)) is bool(query)


@pytest.mark.parametrize(
    ("query", "text"), [("zzz", "Some"), ("q8", "Some Q4_0"), ("smol big", "smol"), ("sax", "sbbbbbax")]
)
def test_what_does_not_match(query: str, text: str) -> None:
    assert not match_score(query, text)


def test_the_start_of_a_word_is_better_than_its_middle_and_both_than_gaps() -> None:
    start, middle, gaps = (match_score("lama", text) for text in ("lama", "xlama", "lxama"))
    assert start > middle > gaps > 0


@given(st.text(max_size=40), st.text(max_size=60))
def test_a_search_takes_any_text(query: str, text: str) -> None:
    assert match_score(query, text) >= 0


@given(st.text("smolqwena l8k45_-", max_size=12))
def test_a_query_that_is_typed_finds_what_the_whole_query_finds(query: str) -> None:
    typed = ModelSearch()
    for length in range(1, len(query) + 1):
        begun = query[:length].strip()
        assert typed.scores(begun, MODELS) == ModelSearch().scores(begun, MODELS)


def test_a_longer_query_is_put_only_to_the_models_that_matched(monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[object] = []
    score = model_search._score
    monkeypatch.setattr(model_search, "_score", lambda words, text: scored.append(text) or score(words, text))
    search = ModelSearch()
    matches = search.scores("smo", MODELS)
    assert len(matches) == 3
    scored.clear()
    assert search.scores("smol", MODELS).keys() == matches.keys()
    assert len(scored) == 3
    # Other models are asked anew.
    scored.clear()
    search.scores("smoll", list(MODELS))
    assert len(scored) > 3
