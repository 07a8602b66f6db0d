from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import split_graphemes

from workbench.ui.kit.sanitize import MAX_MARKS, StreamCleaner, clean, clean_line

LETTERS = "aé日👨❤"
MARKS = "\u0301\u0e47\u200d\ufe0f\u1160\xad"
FLOODS = st.lists(
    st.tuples(st.sampled_from(LETTERS + MARKS), st.integers(1, 2 * MAX_MARKS)).map(lambda pair: pair[0] * pair[1])
    | st.tuples(st.sampled_from(LETTERS), st.integers(1, MAX_MARKS)).map(lambda pair: f"{pair[0]}\u200d" * pair[1]),
    max_size=8,
).map("".join)
EVIL = st.text(alphabet=st.sampled_from("ab\r\n\t\x1b[31m]0;\x07\x9b\u202e\u2066\u2028\ud800\x00\x7f🙂"), max_size=60)


def obeyed(text: str) -> bool:
    """Whether a terminal would do more with the text than show it."""
    return any((ord(char) < 32 and char not in "\n\t") or 127 <= ord(char) < 160 for char in text)


@given(EVIL | st.text())
def test_nothing_is_left_that_a_terminal_would_obey(text: str) -> None:
    assert not obeyed(clean(text))
    assert not obeyed(clean_line(text))
    assert "\n" not in clean_line(text)
    assert "\t" not in clean_line(text)
    clean(text).encode()


@given(st.lists(EVIL, max_size=12))
def test_pieces_come_out_as_the_whole(chunks: list[str]) -> None:
    cleaner = StreamCleaner()
    assert "".join(cleaner.feed(chunk) for chunk in chunks) == clean("".join(chunks))


@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp"))))
def test_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


@given(FLOODS, st.data())
def test_one_cell_holds_a_bounded_number_of_characters(text: str, data: st.DataObject) -> None:
    cleaned = clean(text)
    spans, _ = split_graphemes(cleaned)
    assert max((end - start for start, end, _ in spans), default=0) <= 2 * MAX_MARKS + 2
    assert clean(cleaned) == cleaned
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    cleaner = StreamCleaner()
    assert "".join(cleaner.feed(text[start:end]) for start, end in pairwise([0, *cuts, len(text)])) == cleaned


def test_what_people_write_is_never_too_much():
    for text in (
        "e\u0301\u0323",
        "\u0e01\u0e49\u0e33",
        "👨\u200d👩\u200d👧\u200d👦 👩🏽\u200d🚀",
        "日本語" * 40,
        "नमस्ते " * 20,
    ):
        assert clean(text) == text


def test_an_escape_sequence_is_seen_and_harmless() -> None:
    assert clean("\x1b[31mred\x1b[0m") == "␛[31mred␛[0m"


def test_line_ends_become_newlines() -> None:
    assert clean("a\r\nb\rc\u2028d") == "a\nb\nc\nd"
    assert clean_line("a\r\nb\tc") == "a b c"
