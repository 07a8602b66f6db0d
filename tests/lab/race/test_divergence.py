from __future__ import annotations

from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.lab.race import divergence
from workbench.lab.race.divergence import TextDifference, first_divergence, word_difference


@pytest.mark.parametrize(
    ("reference", "other", "ended", "index"),
    [
        ([1, 2, 3], [1, 2, 3], True, None),
        ([1, 2, 3], [1, 9, 3], False, 1),
        ([1, 2], [9], False, 0),
        ([1, 2, 3], [1, 2], False, None),
        ([1, 2, 3], [1, 2], True, 2),
        ([1, 2], [1, 2, 3], True, 2),
        ([], [], True, None),
        ([], [5], True, 0),
    ],
)
def test_the_first_token_that_differs(reference: list[int], other: list[int], ended: bool, index: int | None) -> None:
    assert first_divergence(reference, other, ended=ended) == index


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_everything_before_it_is_the_same(reference: list[int], other: list[int]) -> None:
    index = first_divergence(reference, other, ended=True)
    if index is None:
        assert reference == other
    else:
        assert reference[:index] == other[:index]
        assert reference[index : index + 1] != other[index : index + 1]


def test_words_that_came_in_the_place_of_others() -> None:
    assert word_difference("The sea is blue.", "The sea was very blue.") == (
        TextDifference("same", "The sea "),
        TextDifference("missing", "is"),
        TextDifference("added", "was very"),
        TextDifference("same", " blue."),
    )


@given(st.text("ab .\n", max_size=40), st.text("ab .\n", max_size=40))
def test_both_texts_can_be_put_together_again(reference: str, text: str) -> None:
    pieces = word_difference(reference, text)
    assert "".join(piece.text for piece in pieces if piece.kind != "missing") == text
    assert "".join(piece.text for piece in pieces if piece.kind != "added") == reference


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("the " * 700, "a the " * 400),
        ("the " * 3_000, "a the " * 3_000),
        ("x\n" * 9_000, "y\nx\n" * 9_000),
        ("begin " + "the " * 3_000 + "end", "begin " + "a the " * 3_000 + "end"),
        ("\u0301" * 5_000, "\u0301" * 5_001),
    ],
    ids=range(5),
)
def test_texts_that_repeat_themselves_are_compared_with_bounded_work(monkeypatch, reference, text):
    monkeypatch.setattr(divergence, "MOST_PAIRS", 20_000)
    tried = []
    longest = SequenceMatcher.find_longest_match
    monkeypatch.setattr(SequenceMatcher, "find_longest_match", lambda *given: tried.append(1) or longest(*given))
    pieces = word_difference(reference, text)
    assert len(tried) < 1_000
    assert "".join(piece.text for piece in pieces if piece.kind != "missing") == text
    assert "".join(piece.text for piece in pieces if piece.kind != "added") == reference


def test_the_beginning_and_the_end_of_long_texts_are_matched(monkeypatch):
    monkeypatch.setattr(divergence, "MOST_PAIRS", 10)
    pieces = word_difference("same\n" * 9 + "old\n" + "end\n" * 9, "same\n" * 9 + "new\n" + "end\n" * 9)
    assert [piece.kind for piece in pieces] == ["same", "missing", "added", "same"]
