from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.prompt_text import PromptText, Range
from workbench.ui.prompt import pastes
from workbench.ui.prompt.pastes import Pastes, is_long, line_count, middle, summary
from workbench.ui.transcript.folding import OPENED_CHARACTERS, folded_lines, opened_lines

LONG = "\n".join(f"line {number}" for number in range(42))
OTHER = "\n".join(f"zeile {number}" for number in range(42))
words = st.text(st.characters(codec="utf-8", exclude_characters="[]"), max_size=40)
pasted = st.builds(lambda text, times: (text + "\n") * times, words, st.integers(9, 60))


def rows(text: str, folds: list[Range], width: int = 80) -> list[str]:
    return [line.plain for line in folded_lines(text, folds, width, "")[0]]


@pytest.mark.parametrize(
    ("text", "lines"), [("", 1), ("a", 1), ("a\n", 1), ("a\nb", 2), ("a\n\n", 2), ("\n", 1)], ids=repr
)
def test_lines_are_counted(text: str, lines: int) -> None:
    assert line_count(text) == lines


@pytest.mark.parametrize(
    ("text", "long"),
    [
        ("x" * 600, False),
        ("x" * 601, True),
        ("x\n" * 8, False),
        ("x\n" * 8 + "x", True),
        ("x\n" * 9, True),
    ],
)
def test_what_is_long(text: str, long: bool) -> None:
    assert is_long(text) is long


@pytest.mark.parametrize(
    ("text", "said"),
    [("x" * 700, "1 line, 700 B"), ("xy\n" * 1200, "1,200 lines, 3.5 KiB"), ("ä" * 700, "1 line, 1.4 KiB")],
)
def test_the_length_of_a_paste_is_shown(text: str, said: str) -> None:
    assert summary(text) == said


def test_a_chip_stands_for_its_text() -> None:
    pastes = Pastes()
    chip = pastes.fold(LONG)
    assert chip == f"[pasted: {summary(LONG)}]"
    assert pastes.fold(LONG) == chip
    assert pastes.expand(f"see {chip}, and again {chip}") == f"see {LONG}, and again {LONG}"
    assert pastes.chips(f"see {chip}") == [(4, 4 + len(chip))]


def test_texts_of_one_length_have_chips_of_their_own() -> None:
    pastes = Pastes()
    one, other = LONG, LONG.replace("line", "lane")
    assert pastes.fold(one) != pastes.fold(other)
    assert pastes.expand(pastes.fold(one) + pastes.fold(other)) == one + other


def test_what_only_looks_like_a_chip_stays() -> None:
    pastes = Pastes()
    pastes.fold(LONG)
    typed = "[pasted: 7 lines, 1.0 KiB] and [pasted #2: 42 lines, 323 B]"
    assert pastes.expand(typed) == typed
    assert pastes.chips(typed) == []


def test_a_chip_in_a_paste_is_text() -> None:
    pastes = Pastes()
    inner = pastes.fold(LONG)
    outer = f"{inner}\n{OTHER}"
    assert pastes.expand(pastes.fold(outer)) == outer


@given(st.lists(st.one_of(words, pasted), max_size=8))
def test_nothing_typed_or_pasted_is_lost(parts: list[str]) -> None:
    pastes = Pastes()
    shown = "".join(pastes.fold(part) if is_long(part) else part for part in parts)
    assert pastes.expand(shown) == "".join(parts)


@given(st.lists(st.one_of(words, pasted), max_size=8))
def test_chips_are_the_same_in_the_next_session(parts: list[str]) -> None:
    first, second = Pastes(), Pastes()
    shown = "".join(first.fold(part) if is_long(part) else part for part in parts)
    prompt = first.expanded(shown)
    assert prompt.text == first.expand(shown)
    assert [prompt.text[start:end] for start, end in prompt.pastes] == [part for part in parts if is_long(part)]
    again = second.folded(prompt)
    assert second.expanded(again) == prompt
    assert PromptText.of(prompt.text, [list(each) for each in prompt.pastes]) == prompt


def test_what_was_typed_like_the_chip_of_a_paste_stays_itself() -> None:
    chip = f"[pasted: {summary(LONG)}]"
    prompt = PromptText(f"{LONG} {chip}", ((0, len(LONG)),))
    pastes = Pastes()
    assert pastes.expand(pastes.folded(prompt)) == prompt.text
    assert pastes.expand(pastes.folded(PromptText(chip))) == chip


@given(st.lists(st.one_of(words, pasted), max_size=8))
def test_pastes_are_found_again_in_what_was_sent(parts: list[str]) -> None:
    pastes = Pastes()
    for part in parts:
        if is_long(part):
            pastes.fold(part)
    text = "".join(parts)
    found = pastes.found_in(text)
    assert found == sorted(found)
    assert all(end <= start for (_, end), (start, _) in pairwise(found))
    assert all(is_long(text[start:end]) for start, end in found)
    assert bool(found) == any(map(is_long, parts))
    assert pastes.expand(pastes.fold_again(text)) == text


@given(st.text("ab \n", max_size=80), st.text("ab \n", min_size=1, max_size=80), st.integers(10, 200))
def test_the_middle_of_a_long_message_is_folded(first: str, repeated: str, times: int) -> None:
    text = first + repeated * times
    folds = middle(text)
    most = pastes.LONG_LINES
    if folds:
        [(start, end)] = folds
        assert 0 < start < end <= len(text)
        most = pastes.HEAD[0] + pastes.TAIL[0] + 1
    assert len(rows(text, folds, 10_000)) <= most


def test_a_short_message_is_shown_in_full() -> None:
    assert middle("x" * pastes.LONG_CHARACTERS) == []
    assert middle("x\n" * pastes.LONG_LINES) == []


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    text = "\n".join(f"  line {number}" for number in range(100))
    assert rows(text, middle(text)) == [
        *(f"  line {number}" for number in range(8)),
        "▸ 89 lines, 888 B, folded here; all of it is sent",
        *(f"  line {number}" for number in range(97, 100)),
    ]


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("", "", []),
        ("Explain this:\n", "", ["Explain this:"]),
        ("Explain ", " please", ["Explain", "please"]),
        ("", "\n  indented", ["  indented"]),
        ("", "why", ["why"]),
        ("", "\n\nwhy", ["why"]),
    ],
)
def test_a_paste_is_one_row_among_what_was_typed(before: str, after: str, shown: list[str]) -> None:
    pastes = Pastes()
    pastes.fold(LONG)
    text = before + LONG + after
    lines, marks = folded_lines(text, pastes.found_in(text), 80, "turn--note")
    plain = [line.plain for line in lines]
    assert [line for number, line in enumerate(plain) if number not in marks] == shown
    assert [plain[number] for number in marks] == [f"▸ {summary(LONG)}, folded here; all of it is sent"]


def test_after_whole_lines_no_blank_is_left() -> None:
    pastes = Pastes()
    pastes.fold(f"{LONG}\n")
    text = f"{LONG}\n please"
    assert rows(text, pastes.found_in(text))[1] == "please"


@pytest.mark.parametrize("width", [1, 9, 30])
def test_rows_fit(width: int) -> None:
    text = f"see:\n{LONG}\nwhy"
    pastes = Pastes()
    pastes.fold(LONG)
    lines, _ = folded_lines(text, pastes.found_in(text), width, "")
    assert max(line.cell_length for line in lines) <= width


def test_of_a_very_long_message_the_beginning_is_shown() -> None:
    text = "x" * (OPENED_CHARACTERS + 5)
    assert "5 more characters" in opened_lines(text, 80, "")[-1].plain
    assert all("more characters" not in line.plain for line in opened_lines(text[:-5], 80, ""))


def test_control_characters_are_shown_as_pictures() -> None:
    assert rows("\x1b[2J", []) == ["␛[2J"]
