from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.chat import Message
from workbench.engine.families import FAMILIES, Family, open_family, tag_family, with_beginning
from workbench.engine.text import AnswerText, StopStrings
from workbench.engine.thoughts import ReasoningSplitter, TextPiece, held_suffix, split_whole


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(data) + 1) for place in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def each_cut(text: str) -> list[list[bytes]]:
    """The text in pieces of each small size, and as a whole."""
    data = text.encode()
    return [[data[at : at + size] for at in range(0, len(data), size)] for size in (1, 2, 3, 5, 8, 13, len(data))]


def by_closing(closing: str) -> Family:
    return next(family for family in FAMILIES if family.closing == closing)


def run(
    pieces: list[bytes | str], stops: tuple[str, ...] = (), opened: Family | None = None, own: Family | None = None
) -> tuple[str, str]:
    """The reasoning and the answer that come out; a text among the pieces is that of a control token."""
    answer = AnswerText(stops, ReasoningSplitter(opened, own))
    texts = {"reasoning": "", "answer": ""}
    for data in pieces:
        piece = answer.push(data) if isinstance(data, bytes) else answer.push_control(data)
        if piece.recast:
            texts = {"reasoning": texts["reasoning"] + texts["answer"], "answer": ""}
        texts[piece.kind] += piece.text
        if answer.stopped:
            break
    thoughts, text = answer.flush()
    return texts["reasoning"] + thoughts, texts["answer"] + text


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
    assert got + answer.flush()[1] == text


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
    assert run(cut(b"because</think>42", places), opened=by_closing("</think>")) == ("because", "42")


@pytest.mark.parametrize("text", ["<thin", "a <think>b", "  x", "<b>bold</b>", "[THIN] air", "   "])
def test_an_answer_that_only_looks_like_reasoning_is_kept_whole(text):
    assert run([text.encode()]) == ("", text)


def test_reasoning_that_never_ends_is_reasoning():
    assert run([b"<think>on and on </thin"]) == ("on and on </thin", "")


def test_a_token_whose_text_is_held_belongs_to_the_thoughts_that_it_is_in():
    text = AnswerText()
    pieces = ["<think>", "\n", "Hm", " ", "\n", "<", "more", " </thi", "nk>", "\n", "Yes", " "]
    kinds = [text.push(piece.encode()).kind for piece in pieces]
    thoughts = [piece for piece, kind in zip(pieces, kinds, strict=True) if kind == "reasoning"]
    assert thoughts == ["Hm", " ", "\n", "<", "more", " </thi"]
    empty = AnswerText()
    assert {empty.push(piece).kind for piece in (b"<think>", b"\n\n", b"</think>", b"Yes")} == {"answer"}


def test_a_splitter_gives_at_most_one_piece_of_each_kind():
    assert ReasoningSplitter().push("<think>a</think>b") == [TextPiece("a", "reasoning"), TextPiece("b", "answer")]


@pytest.mark.parametrize(
    ("prompt", "opening"),
    [
        ("<|assistant|>\n<think>\n", "<think>"),
        ("<|assistant|>\n", None),
        ("[THINK]", "[THINK]"),
        ("<|start|>assistant<|channel|>analysis<|message|>", "<|channel|>analysis<|message|>"),
        ("<think></think>", None),
        ("", None),
    ],
)
def test_an_open_block_is_seen_at_the_end_of_a_prompt(prompt, opening):
    family = open_family(prompt)
    assert (family and family.opening) == opening


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
    made, family = with_beginning(prompt, Message("assistant", content, reasoning))
    assert (made, family and family.closing) == (whole, closing)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.opening)
@pytest.mark.parametrize(("content", "reasoning"), [("It is 4.", "Two and two."), ("", "Two and two."), ("It", "")])
def test_what_is_put_back_is_split_the_same_way(family, content, reasoning):
    made, _ = with_beginning("", Message("assistant", content, reasoning), family)
    for pieces in each_cut(made):
        assert run(pieces, own=family) == (reasoning, content)


THOUGHTS, ANSWER = "Two and two make four.", "It is 4."
HARMONY = "<|channel|>analysis<|message|>Two and two make four.<|end|><|start|>assistant"


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        (f"{HARMONY}<|channel|>final<|message|>It is 4.<|return|>", THOUGHTS, ANSWER),
        (f"{HARMONY}<|channel|>final <|constrain|>json<|message|>It is 4.", THOUGHTS, ANSWER),
        ("<|channel|>final<|message|>It is 4.<|return|>", "", ANSWER),
        ("<|start|>assistant<|channel|>final<|message|>It is 4.", "", ANSWER),
        (
            f"{HARMONY}<|channel|>commentary<|message|>A word.<|end|>"
            "<|start|>assistant<|channel|>final<|message|>It is 4.<|return|>",
            THOUGHTS,
            "A word. It is 4.",
        ),
        (f"{HARMONY}<|channel|>analysis<|message|>Sure.<|end|>", f"{THOUGHTS}\n\nSure.", ""),
        (f"<|channel>thought\n{THOUGHTS}<channel|>It is 4.", THOUGHTS, ANSWER),
        ("<|channel>thought\n<channel|>It is 4.", "", ANSWER),
        (f"[THINK]{THOUGHTS}[/THINK]It is 4.", THOUGHTS, ANSWER),
        (f"<seed:think>{THOUGHTS}</seed:think>\nIt is 4.", THOUGHTS, ANSWER),
        (f"<mm:think>{THOUGHTS}</mm:think>It is 4.", THOUGHTS, ANSWER),
        (f"<think:opensource>{THOUGHTS}</think:opensource>It is 4.", THOUGHTS, ANSWER),
        (f"<|inner_prefix|>{THOUGHTS}<|inner_suffix|>It is 4.", THOUGHTS, ANSWER),
        (f"<|open|>think<|sep|>{THOUGHTS}<|close|>think<|sep|>It is 4.", THOUGHTS, ANSWER),
        (
            f"<|START_THINKING|>{THOUGHTS}<|END_THINKING|><|START_RESPONSE|>It is 4.<|END_RESPONSE|>",
            THOUGHTS,
            ANSWER,
        ),
        (f"<|START_THINKING|>{THOUGHTS}<|END_THINKING|><|START_TEXT|>It is 4.<|END_TEXT|>", THOUGHTS, ANSWER),
        (f"<think>{THOUGHTS}</think><response>It is 4.</response>", THOUGHTS, ANSWER),
        (f"<think>\n{THOUGHTS}\n</think>\n<answer>\nIt is 4.\n</answer>", THOUGHTS, ANSWER),
        (f"<|think|>{THOUGHTS}<|end|><|begin|>assistant<|content|>It is 4.", THOUGHTS, ANSWER),
        (f"◁think▷{THOUGHTS}◁/think▷It is 4.", THOUGHTS, ANSWER),
        (f"{THOUGHTS}◁/think▷It is 4.", THOUGHTS, ANSWER),
        (
            f"<|begin_of_thought|>\n{THOUGHTS}\n<|end_of_thought|>\n\n<|begin_of_solution|>\nIt is 4.\n"
            "<|end_of_solution|>",
            THOUGHTS,
            ANSWER,
        ),
        (f"<think>\n\n</think>\n\n<think>{THOUGHTS}</think>It is 4.", THOUGHTS, ANSWER),
        (f"{THOUGHTS}\n</think>\n\nIt is 4.", THOUGHTS, ANSWER),
        (f"{THOUGHTS}</think>It is 4.", THOUGHTS, ANSWER),
        (f"{THOUGHTS}\n[/THINK]\nIt is 4.", THOUGHTS, ANSWER),
        (f"{THOUGHTS}<|end|><|start|>assistant<|channel|>final<|message|>It is 4.", THOUGHTS, ANSWER),
        ("Code: `a`.\n</think>\n\nIt is 4.", "Code: `a`.", ANSWER),
        ("</think>\n\nIt is 4.", "", ANSWER),
        ("The tag `</think>` ends the thoughts of a model.", "", None),
        ("The tag </think> ends the thoughts of a model.", "", None),
        ('The tag "</think>" ends them.', "", None),
        ("```xml\n<think>\nHm.\n</think>\n```\n", "", None),
        ("It is <|end|> of <|channel|>final<|message|>.", "", None),
        ("Mind <|start|>assistant.", "", None),
    ],
)
def test_the_markers_of_each_family_are_found_across_any_cut(text, reasoning, answer):
    for pieces in each_cut(text):
        assert run(pieces) == (reasoning, text if answer is None else answer)
    assert split_whole(text) == (reasoning, text if answer is None else answer)


MARKERS = [("[THINK]", "[/THINK]"), ("<|START_THINKING|>", "<|END_THINKING|>"), ("◁think▷", "◁/think▷")]


@pytest.mark.parametrize(("opening", "closing"), MARKERS)
def test_markers_that_are_control_tokens_are_seen_and_others_are_no_text(opening, closing):
    assert run([opening, b" capital", b" of", closing, b" Paris", "<|im_end|>", b"."]) == ("capital of", "Paris.")
    assert run(["<|im_start|>", opening, b"Hm", "<|im_end|>", closing, b"Yes"]) == ("Hm", "Yes")
    assert run(["<|im_start|>", b" Yes", "<|x|>", b" of"]) == ("", " Yes of")


def test_channels_that_are_control_tokens():
    assert run(["<|channel>", b"thought\n", b" of", "<channel|>", b", ", "<turn|>"]) == ("of", ", ")
    harmony = ["<|channel|>", b"analysis", "<|message|>", b"Hm", "<|end|>", "<|start|>", b"assistant"]
    assert run([*harmony, "<|channel|>", b"final", "<|message|>", b"Yes"]) == ("Hm", "Yes")


@pytest.mark.parametrize(
    ("pieces", "stop", "text"),
    [
        ([b"Yes", "[/THINK]", b" no"], "[/THINK]", "Yes"),
        ([b"Yes", "<|im_end|>", b"\n", b" no"], "<|im_end|>\n", "Yes"),
        ([b"Yes", "<|im_end|>", b" no"], "end|> n", "Yes"),
        ([b"Yes", "<|im_end|>", b" no"], "<|im_end|>!", "Yes no"),
        ([b"Yes", "<｜end▁of▁sentence｜>", b" no"], "<｜end▁of▁sentence｜>", "Yes"),
    ],
)
def test_a_stop_string_may_be_a_control_token(pieces, stop, text):
    assert run(pieces, (stop,)) == ("", text)


def test_a_family_of_which_only_the_template_shows_the_markers():
    own = tag_family("<muse>", "</muse>")
    assert run([b"<mu", b"se>Hm</mu", b"se>Yes"], own=own) == ("Hm", "Yes")
    assert run([b"Hm</muse>Yes"], opened=open_family("<a><muse>\n", own), own=own) == ("Hm", "Yes")


@given(plain_text, cuts)
def test_private_characters_of_a_text_are_kept(text, places):
    whole = f"\ue000{text}\U00100041"
    assert run(cut(whole.encode(), places)) == ("", whole)


def test_a_continued_answer_keeps_its_blanks_and_may_mention_tags():
    answer = AnswerText(splitter=ReasoningSplitter(continued=True))
    assert answer.push(b" <think>").text + answer.push(b" of it").text == " <think> of it"
    thought = AnswerText(splitter=ReasoningSplitter(by_closing("</think>"), continued=True))
    pieces = [thought.push(b" more"), thought.push(b"</think> So."), thought.push(b"")]
    assert [(piece.text, piece.kind) for piece in pieces if piece.text] == [(" more", "reasoning"), ("So.", "answer")]
