"""No stored or streamed text ends the program: where its layout or its drawing fails, it is plain text and logged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from textual.content import Content

from tests.ui.drive import app_on, press_keys, settle, shown, started, turns
from tests.ui.fakes import FakeClock, FakeStore
from workbench.core.chat import Message
from workbench.core.errors import EngineError
from workbench.core.models import ModelEntry
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn
from workbench.engine.scripted import NO_DELAY, Script, ScriptedHost, ScriptedModel
from workbench.ui.kit.sanitize import StreamCleaner
from workbench.ui.kit.text import wrap
from workbench.ui.markdown.blocks import code_blocks, parser
from workbench.ui.markdown.streaming import StreamingDocument
from workbench.ui.race.lane import LaneText
from workbench.ui.race.lines import difference_lines, question_lines
from workbench.ui.transcript.folding import opened_lines
from workbench.ui.transcript.notice import Notice

MakeHost = Callable[[Sequence[ScriptedModel]], ScriptedHost]
BAD = "bad text"
ENTRY = ModelEntry("tiny", "tiny", "Q4_0", "/m/tiny.gguf")


def fail_on_bad_text(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make a method of `Content` fail for every text that contains BAD."""
    works = getattr(Content, name)

    def failing(line: Content, *given: object, **named: object) -> object:
        if BAD in line.plain:
            raise RecursionError("a text that the framework cannot lay out")
        return works(line, *given, **named)

    monkeypatch.setattr(Content, name, failing)


@pytest.mark.parametrize("broken", ["wrap", "render"])
@pytest.mark.usefixtures("layout_may_fail")
async def test_a_chat_goes_on_with_a_text_that_cannot_be_laid_out(
    make_host: MakeHost,
    clock: FakeClock,
    broken: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail_on_bad_text(monkeypatch, broken)
    error = EngineError(f"{BAD} of an error", f"{BAD} of a hint")
    script = Script(("**", BAD, "** of an answer"), reasoning=(BAD, " of thoughts"), fail_at=4, error=error)
    async with started(make_host([ScriptedModel(ENTRY, (script,), NO_DELAY)]), clock, "tiny") as (app, pilot):
        app.chat.prompt.put(f"{BAD} of a question")
        await press_keys(pilot, "enter")
        await pilot.resize_terminal(70, 30)
        await settle(pilot)
        text = shown(app)
        for what in ("a question", "thoughts", "an error", "a hint"):
            assert f"{BAD} of {what}" in text
        assert turns(app)[0] == f"{BAD} of a question"
        assert "is shown as plain text" in caplog.text


@pytest.mark.parametrize("broken", ["wrap", "render"])
@pytest.mark.usefixtures("layout_may_fail")
async def test_a_session_with_such_a_text_is_resumed(
    host: ScriptedHost, clock: FakeClock, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_on_bad_text(monkeypatch, broken)
    messages = (Message("user", f"{BAD} 1"), Message("assistant", f"# {BAD} 2", f"{BAD} 3"))
    tree = Tree.of([Turn(message, 1.0) for message in messages])
    app = app_on(host, clock, None, "old", store=FakeStore(stored=[Session("old", 1.0, 2.0, tree=tree)]))
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        text = shown(app)
        for number in (1, 2, 3):
            assert f"{BAD} {number}" in text


@pytest.mark.usefixtures("layout_may_fail")
def test_lines_outside_the_chat_are_laid_out_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_on_bad_text(monkeypatch, "wrap")
    assert question_lines(BAD, 40)[0].plain == f"› {BAD}"
    lines, rows = difference_lines("other", BAD, 40)
    assert "".join(line.plain for line in lines).endswith(BAD)
    assert rows
    assert [line.plain for line in wrap(Content(f"{BAD}\n{BAD}"), 4)] == ["bad ", "text"] * 2
    assert Notice(BAD).text == BAD
    assert LaneText().lines == []


def test_a_text_that_cannot_be_parsed_has_no_code_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise RecursionError("a text that the parser cannot take")

    monkeypatch.setattr(parser(), "parse", fail)
    assert code_blocks("```\ncode\n```") == []


DEPTH = 300
HOSTILE = {
    "nested images": "![" * DEPTH + "x" + "](u)" * DEPTH,
    "nested links": "[" * DEPTH + "x" + "](u)" * DEPTH,
    "images that never close": "![" * DEPTH,
    "emphasis in images": "![*" * DEPTH + "x" + "*](u)" * DEPTH,
    "mixed emphasis": "*_~~" * DEPTH + "x" + "~~_*" * DEPTH,
    "quoted lists": "> - " * DEPTH + "x",
    "nested lists": "".join(f"{'  ' * level}- x\n" for level in range(DEPTH // 3)),
    "a wide table": "|a|" * DEPTH + "\n" + "|-|" * DEPTH + "\n" + "|![*b*](c)|" * DEPTH,
    "html": "<b>" * DEPTH + "<!--" + "</b>" * DEPTH,
    "character references": "&#x110000;&#0;&#xD800;&nbsp;" * DEPTH,
    "addresses": "[x](http://[bad) <http://\u200d.\u2028> [y](xn--\u00e4:80:90) <a@" + "b." * DEPTH + ">",
    "reference definitions": "".join(f"[a{number}]: http://[::{number}\n[a{number}]\n" for number in range(DEPTH // 3)),
    "lone surrogates": "a\ud800b **\udfff** `\udc80`",
    "an unfinished fence in a quote": "> ```py\n> " * 3 + "\x00\u2028\x1b[2J",
    "joiners and marks": "\u200d" * DEPTH + "a" + "\u0301" * DEPTH + "\u200d",
    "an item of an unusual number": "999999999. x\n1000000000. y\n-1. z\n٣. w",
}


@pytest.mark.parametrize("width", [1, 8, 60])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_unusual_text_is_laid_out_wherever_it_is_shown(text: str, width: int) -> None:
    document = StreamingDocument()
    document.resize(width)
    cleaner = StreamCleaner()
    for start in range(0, len(text), 97):
        document.append(cleaner.feed(text[start : start + 97]))
    document.finish()
    assert document.lines
    assert code_blocks(text) is not None
    for lines in (
        opened_lines(text, width, ""),
        question_lines(text, width),
        difference_lines("another text", text, width)[0],
        difference_lines(text, "another text", width)[0],
    ):
        assert lines
