"""The work of laying out a text grows in proportion to its length; it is counted, not timed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cached_cell_len
from textual._context import active_app
from textual.app import App

from workbench.ui.kit.sanitize import StreamCleaner, clean
from workbench.ui.markdown import streaming
from workbench.ui.markdown.blocks import MAX_NESTING, blocks_lines, code_blocks, inline, parse
from workbench.ui.markdown.plain import PlainDocument
from workbench.ui.markdown.streaming import StreamingDocument
from workbench.ui.transcript.answer import AnswerTurn

SHORT, FACTOR = 240, 3
WIDTH, PIECE = 20, 20

SHAPES: dict[str, Callable[[int], str]] = {
    "reference definitions": lambda count: "[a]: /long/b\n\n" * (count // 14),
    "different definitions": lambda count: "".join(f"[{index:4}]: /ab\n" for index in range(count // 14)),
    "an endless title": lambda count: '[a]: b "' + "title\n" * (count // 6),
    "marks on a letter": lambda count: "a" + "\u0301" * count,
    "joined letters": lambda count: "👨\u200d" * (count // 2),
    "one word": lambda count: "x" * count,
    "wide letters": lambda count: "日本" * (count // 2),
    "lines": lambda count: "abc def\n" * (count // 8),
    "blank lines": lambda count: "\n" * count,
    "blanks": lambda count: "a" + " " * count + "b",
    "opened emphasis": lambda count: "**a " * (count // 4),
    "nested emphasis": lambda count: "**a " * (count // 8) + "b**" * (count // 8),
    "asterisks": lambda count: "*" * count,
    "brackets": lambda count: "[" * count,
    "nested links": lambda count: "[" * (count // 5) + "](a)" * (count // 5),
    "nested images": lambda count: "![" * (count // 6) + "](a)" * (count // 6),
    "unclosed links": lambda count: "[a](" * (count // 4),
    "backticks": lambda count: "".join("`" * index + " " for index in range(1, int((2 * count) ** 0.5))),
    "angles": lambda count: "<a" * (count // 2),
    "quotes": lambda count: "> a\n" * (count // 4),
    "nested quotes": lambda count: ">" * count + " a",
    "items": lambda count: "- a\n" * (count // 4),
    "one long item": lambda count: "- a\n" + "  b\n" * (count // 4),
    "nested items": lambda count: "- " * (count // 2) + "a",
    "a table": lambda count: "|a|b|\n|-|-|\n" + "|c|d|\n" * (count // 6),
    "a wide table": lambda count: "|a" * (count // 4) + "|\n" + "|-" * (count // 4) + "|\n",
    "opened formulas": lambda count: "$a \\(" * (count // 5),
    "lines of formulas": lambda count: "$$a\n" * (count // 4),
    "code": lambda count: "```py\n" + "x = 1\n" * (count // 6),
    "one line of code": lambda count: "```py\n" + "x = 1; " * (count // 7),
    "one word of code": lambda count: "```\n" + "x" * count,
    "indented code": lambda count: "    x = 1\n" * (count // 10),
}


@pytest.fixture
def app() -> Iterator[App[None]]:
    """An active app, which widgets need even where they are not mounted."""
    running: App[None] = App()
    token = active_app.set(running)
    yield running
    active_app.reset(token)


def work(job: Callable[[], object]) -> int:
    """How many lines of Python a job runs."""
    count = 0

    def local(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return local

    cached_cell_len.cache_clear()
    before = sys.gettrace()
    sys.settrace(local)
    try:
        job()
    finally:
        sys.settrace(before)
    return count


def pieces(text: str) -> list[str]:
    cleaner = StreamCleaner()
    return [cleaner.feed(text[start : start + PIECE]) for start in range(0, len(text), PIECE)]


def whole(text: str) -> None:
    blocks_lines(parse(clean(text)), WIDTH)


def streamed(text: str) -> None:
    document = StreamingDocument()
    document.resize(WIDTH)
    for piece in pieces(text):
        document.append(piece)


def thought(text: str) -> None:
    document = PlainDocument()
    document.resize(WIDTH)
    for piece in pieces(text):
        document.append(piece)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short texts are beyond these, so that little is counted."""
    monkeypatch.setattr(streaming, "LONG_BLOCK", 40)
    monkeypatch.setattr(streaming, "LONG_LINE", 40)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("draw", [whole, streamed])
def test_three_times_the_markdown_takes_three_times_the_work(draw: Callable[[str], None], shape: str) -> None:
    text, longer = SHAPES[shape](SHORT), SHAPES[shape](FACTOR * SHORT)
    draw(text)
    # Quadratic work would be nine times as much.
    assert work(lambda: draw(longer)) <= 1.7 * FACTOR * work(lambda: draw(text)) + 2_000


def answered(text: str) -> None:
    turn = AnswerTurn(show_thoughts=True)
    turn.lay_out(WIDTH + 2 * turn.INDENT)
    for start in range(0, len(text), PIECE):
        turn.write("", text[start : start + PIECE])
    for start in range(0, len(text), PIECE):
        turn.write(text[start : start + PIECE], "")


def test_an_answer_below_many_thoughts_takes_no_more_work(app: App[None]) -> None:
    text, longer = "word\n" * 300, "word\n" * 900
    answered(text)
    assert work(lambda: answered(longer)) <= 4.5 * work(lambda: answered(text))


@pytest.mark.parametrize("shape", ["marks on a letter", "joined letters", "one word", "lines", "blank lines", "blanks"])
def test_four_times_the_plain_text_takes_four_times_the_work(shape: str) -> None:
    # A row of twenty cells may hold six hundred characters.
    text, longer = SHAPES[shape](1_200), SHAPES[shape](4_800)
    thought(text)
    assert work(lambda: thought(longer)) <= 6.5 * work(lambda: thought(text)) + 2_000


def shown(text: str, width: int = 60) -> str:
    """What is drawn of a text, without the spaces; the same streamed and as a whole."""
    document = StreamingDocument()
    document.resize(width)
    for piece in pieces(text):
        document.append(piece)
    document.finish()
    return "".join("".join(line.plain.split()) for line in document.lines)


@pytest.mark.parametrize(
    "text",
    [
        "**a " * 300 + "middle" + " b**" * 300,
        "*" * 600 + "middle" + "*" * 600,
        "~~a " * 300 + "middle" + " b~~" * 300,
        "[**a " * 300 + "middle" + " b**](c)" * 300,
        "![" * 300 + "middle" + "](c)" * 300,
        "> " * 300 + "middle",
        "- " * 300 + "middle",
        "1. > " * 300 + "middle",
        "".join(f"{'  ' * level}- a\n" for level in range(60)) + "  " * 60 + "- middle",
    ],
)
def test_any_nesting_is_drawn(text: str) -> None:
    assert "middle" in shown(text)
    assert not code_blocks(text)


def test_emphasis_is_drawn_up_to_a_level() -> None:
    levels = MAX_NESTING + 3
    (paragraph,) = parse("".join(f"**a{level} " for level in range(levels)) + "b**" * levels)
    line = inline(paragraph)
    assert len(line.spans) == MAX_NESTING
    assert line.plain.count("**") == 2 * 3


MARKUP = st.lists(st.sampled_from([*"*_`[]()!<>&\\|#+-=~ \n\ta", "**", "```", "1. ", "> ", "\n\n", "    ", "\u0301"]))


@settings(max_examples=60)
@given(MARKUP, MARKUP, MARKUP, st.integers(1, 60))
@example([], ["**a "], ["b**"], 300)
def test_no_markup_fails(before: list[str], unit: list[str], after: list[str], times: int) -> None:
    text = "".join(before) + "".join(unit) * times + "".join(after) * times
    assert not shown(text, 30) or text.strip()


@pytest.mark.usefixtures("layout_may_fail")
def test_a_layout_that_fails_is_plain_text_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RecursionError

    document = StreamingDocument()
    document.resize(WIDTH)
    document.append("# A title\n\nSome ")
    monkeypatch.setattr(streaming, "parse", fail)
    assert document.append("*text*") == 0
    changed = document.append(" and more")
    assert [line.plain for line in document.lines] == ["# A title", "", "Some *text* and more"]
    assert changed == 2
    document.finish()
    assert [line.plain for line in document.lines] == ["# A title", "", "Some *text* and more"]
    assert "layout" in caplog.text
