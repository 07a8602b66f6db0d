from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.chat import Message
from workbench.engine.text import (
    AnswerText,
    ReasoningSplitter,
    StopStrings,
    TextPiece,
    held_suffix,
    open_reasoning_tag,
    with_beginning,
)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(data) + 1) for place in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def run(pieces: list[bytes], stops: tuple[str, ...] = (), closing: str | None = None) -> tuple[str, str]:
    """The reasoning and the answer that come out."""
    answer = AnswerText(stops, closing)
    out: list[TextPiece] = []
    for piece in pieces:
        out.append(answer.push(piece))
        if answer.stopped:
            break
    out.append(answer.flush())
    texts = {"reasoning": "", "answer": ""}
    for piece in out:
        texts[piece.kind] += piece.text
    return texts["reasoning"], texts["answer"]


cuts = st.lists(st.integers(0, 500), max_size=20)
plain_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(
    lambda text: not text.lstrip().startswith(("<", "["))
)


@given(plain_text, cuts)
def test_characters_survive_any_cut(text, places):
    assert run(cut(text.encode(), places)) == ("", text)


@pytest.mark.parametrize("text", ["日本語のテキスト", "👩‍👩‍👧‍👦 family", "ÄÖÜß", "नमस्ते", "a\u0301\U0001f1e9\U0001f1ea"])
def test_a_character_is_held_back_until_it_is_whole(text):
    answer = AnswerText()
    got = ""
    for byte in text.encode():
        piece = answer.push(bytes([byte]))
        assert "\ufffd" not in piece.text
        got += piece.text
    assert got + answer.flush().text == text


def test_an_unfinished_character_at_the_end_is_dropped():
    assert run(["ok €".encode()[:-1]]) == ("", "ok ")


def test_bytes_that_are_no_text_become_replacement_characters():
    assert run([b"a\xffb"]) == ("", "a\ufffdb")


@given(plain_text, st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=3), cuts)
def test_stop_strings_are_found_across_any_cut(text, stops, places):
    text = "ab\n".join(text.split(" "))
    matches = [(place + len(stop), place) for stop in stops if (place := text.find(stop)) >= 0]
    expected = text[: min(matches)[1]] if matches else text
    assert run(cut(text.encode(), places), tuple(stops)) == ("", expected)


def test_what_could_become_a_stop_string_is_held_and_then_released():
    stop = StopStrings(["<|end|>"])
    assert stop.push("so <|en") == "so "
    assert stop.push("ough") == "<|enough"
    assert not stop.found


def test_an_empty_stop_string_is_ignored():
    stop = StopStrings(["", "x"])
    assert stop.push("abc") == "abc"
    assert not stop.found


@given(cuts)
def test_reasoning_is_separated_across_any_cut(places):
    text = "  <think>\nhmm 日本 </th ink> \n\n</think>\n\nHello <think>x</think> STO"
    assert run(cut(text.encode(), places), ("STOP",)) == ("hmm 日本 </th ink>", "Hello <think>x</think> STO")


@given(cuts)
def test_a_block_that_the_prompt_opened_needs_no_opening_tag(places):
    assert run(cut(b"because</think>42", places), closing="</think>") == ("because", "42")


@pytest.mark.parametrize("text", ["<thin", "a <think>b", "  x", "<b>bold</b>", "[THIN] air", "   "])
def test_an_answer_that_only_looks_like_reasoning_is_kept_whole(text):
    assert run([text.encode()]) == ("", text)


def test_reasoning_that_never_ends_is_reasoning():
    assert run([b"<think>on and on </thin"]) == ("on and on </thin", "")


def test_a_splitter_gives_at_most_one_piece_of_each_kind():
    assert ReasoningSplitter().push("<think>a</think>b") == [TextPiece("a", "reasoning"), TextPiece("b", "answer")]


@pytest.mark.parametrize(
    ("prompt", "closing"),
    [("<|assistant|>\n<think>\n", "</think>"), ("<|assistant|>\n", None), ("[THINK]", "[/THINK]"), ("", None)],
)
def test_an_open_block_is_seen_at_the_end_of_a_prompt(prompt, closing):
    assert open_reasoning_tag(prompt) == closing


@pytest.mark.parametrize(("text", "held"), [("abc", 0), ("ab</th", 4), ("<", 1), ("</think>", 0), ("", 0)])
def test_held_suffix(text, held):
    assert held_suffix(text, ["</think>"]) == held


@pytest.mark.parametrize(
    ("prompt", "content", "reasoning", "whole", "closing"),
    [
        ("<a>", "Yes,", "", "<a>Yes,", None),
        ("<a>", "Yes,", "Hm", "<a><think>Hm\n</think>\n\nYes,", None),
        ("<a>", "", "Hm", "<a><think>Hm", "</think>"),
        ("<a><think>\n", "", "Hm", "<a><think>\nHm", "</think>"),
        ("<a><think>", "Yes,", "Hm", "<a><think>Hm\n</think>\n\nYes,", None),
        ("<a><think>", "Yes,", "", "<a><think>\n</think>\n\nYes,", None),
        ("<a>[THINK]", "", "Hm", "<a>[THINK]Hm", "[/THINK]"),
    ],
)
def test_a_prompt_with_the_beginning_of_its_answer(prompt, content, reasoning, whole, closing):
    assert with_beginning(prompt, Message("assistant", content, reasoning)) == (whole, closing)


def test_a_continued_answer_keeps_its_blanks_and_may_mention_tags():
    answer = AnswerText(continued=True)
    assert answer.push(b" <think>").text + answer.push(b" of it").text == " <think> of it"
    thought = AnswerText(closing="</think>", continued=True)
    pieces = [thought.push(b" more"), thought.push(b"</think> So.")]
    pieces += [thought.push(b""), thought.flush()]
    assert [(piece.text, piece.kind) for piece in pieces if piece.text] == [(" more", "reasoning"), ("So.", "answer")]
