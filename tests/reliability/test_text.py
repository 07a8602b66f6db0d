"""Generated texts through everything that takes the text of a model: no exception, and linear work.

Work is counted in lines of Python, not timed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.reliability.texts import chunks, repeated, text, whole_characters
from tests.ui.drive import app_on, press_keys, settle, shown
from tests.ui.fakes import FakeClock, FakeStore
from tests.ui.markdown.test_linear import work
from workbench.core.chat import Message
from workbench.core.errors import ModelfileError
from workbench.core.models import ModelEntry
from workbench.core.session import Session
from workbench.core.tree import Node, Tree, Turn
from workbench.engine.scripted import NO_DELAY, Script, ScriptedHost, ScriptedModel
from workbench.engine.text import AnswerText
from workbench.modelfile.meaning import read
from workbench.store.export.session import export_session, session_text
from workbench.store.export.session_json import session_from_json
from workbench.store.sessions.store import DatabaseSessionStore
from workbench.ui.kit.sanitize import StreamCleaner, clean
from workbench.ui.markdown import streaming
from workbench.ui.markdown.blocks import blocks_lines, code_blocks, parse
from workbench.ui.markdown.plain import PlainDocument
from workbench.ui.markdown.streaming import StreamingDocument
from workbench.ui.race.lines import difference_lines
from workbench.ui.transcript.folding import opened_lines

WIDTHS = (1, 2, 8, 13, 40, 79, 200)
FACTOR = 3


@pytest.fixture(autouse=True)
def every_layout_works(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The program shows a text plainly where its layout fails; here that is a failure."""
    with caplog.at_level(logging.ERROR, logger="workbench"):
        yield
    assert "plain text" not in caplog.text


def conversation(question: str, answer: str, thoughts: str) -> Session:
    messages = (Message("user", question), Message("assistant", answer, thoughts))
    tree = Tree.of([Turn(message, 1.0, finish_reason="stop") for message in messages])
    return Session("260101-100000", 1.0, 2.0, tree=tree, model="m", model_path="/m.gguf", system=question)


def visible(document: StreamingDocument) -> str:
    return "\n".join(line.plain for line in document.lines)


@pytest.mark.timeout(3600)
def test_layout_streamed_and_resized(cases: Callable[[int], int], seed: str) -> None:
    for number in range(cases(15)):
        random = Random(f"{seed} {number}")
        whole = text(random, random.choice((5, 20, 60)))
        pieces = chunks(random, whole)
        cleaner, thinking = StreamCleaner(), StreamCleaner()
        document, thoughts = StreamingDocument(), PlainDocument()
        document.resize(random.choice(WIDTHS))
        thoughts.resize(random.choice(WIDTHS))
        for piece in pieces:
            document.append(cleaner.feed(piece))
            thoughts.append(thinking.feed(piece))
            if random.random() < 3 / len(pieces):
                document.resize(random.choice(WIDTHS))
                thoughts.resize(random.choice(WIDTHS))
        document.finish()
        document.resize(width := random.choice(WIDTHS))
        assert document.source == clean(whole), number
        again = StreamingDocument()
        again.append(clean(whole))
        again.finish()
        again.resize(width)
        assert visible(document) == visible(again), number
        assert not any(not char.isprintable() and char in "\x00\x1b\x07\x9b\r" for char in visible(document)), number
        assert code_blocks(whole) is not None
        opened_lines(whole, width, "")
        difference_lines(whole, text(random, 5), width)


@pytest.mark.timeout(3600)
def test_reasoning_is_separated(cases: Callable[[int], int], seed: str) -> None:
    """However the bytes are cut, the same text comes out."""
    for number in range(cases(15)):
        random = Random(f"{seed} {number}")
        raw = text(random, random.choice((5, 20, 60))).encode("utf-8", "surrogatepass")
        texts = set()
        for most in (1, 7, 10**6):
            splitter, found = AnswerText(), ["", ""]
            start = 0
            while start < len(raw):
                end = start + random.randint(1, most)
                piece = splitter.push(raw[start:end])
                if piece.recast:
                    found = ["", found[1] + found[0]]
                found[piece.kind == "reasoning"] += piece.text
                start = end
            thoughts, answer = splitter.flush()
            found = [found[0] + answer, found[1] + thoughts]
            texts.add(tuple(found))
        assert len({"".join(found) for found in texts}) == 1, (number, texts)


@pytest.mark.timeout(3600)
async def test_storage_and_export(tmp_path: Path, cases: Callable[[int], int], seed: str) -> None:
    store = DatabaseSessionStore(tmp_path / "sessions.db")
    for number in range(cases(15)):
        random = Random(f"{seed} {number}")
        session = conversation(*(text(random, random.choice((0, 5, 40))) for _ in range(3)))
        journal = await store.create()
        question, answer = session.tree.nodes
        await journal.message(question)
        await journal.partial(Node(2, 1, answer.turn))
        await journal.message(answer)
        await journal.close()
        read_back = await store.open_session(journal.id)
        assert read_back.turns == session.turns, number
        await store.search(" ".join(text(random, 3).split()))
        kept = await store.open_session(await store.keep(session))
        assert kept.turns == session.turns
        assert session_from_json(session_text(session, "json")) == session, number
        for form in ("md", "json", "modelfile", "sh"):
            try:
                path = export_session(session, form, tmp_path / f"{number}.{form}")
            except ModelfileError:
                assert form in {"modelfile", "sh"}, number
                continue
            if form == "json":
                assert session_from_json(path.read_text("utf-8")) == session, number
            elif form == "modelfile":
                found = [message for message in read(path.read_bytes()).messages if message.content]
                # A Modelfile is UTF-8, and holds no lone surrogates.
                expected = [message.content for message in session.messages[-2:] if message.content]
                assert [message.content.encode("utf-8", "replace") for message in found] == [
                    content.encode("utf-8", "replace") for content in expected
                ], number
    assert await store.summaries()
    store.close()


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    return FakeClock()


@pytest.mark.timeout(3600)
async def test_chat_resize_and_resume(screen: FakeClock, cases: Callable[[int], int], seed: str) -> None:
    entry = ModelEntry("tiny", "tiny", "Q4_0", "/m/tiny.gguf")
    for number in range(-(-cases(20) // 20)):
        random = Random(f"{seed} {number}")
        whole, thoughts = text(random, 60), text(random, 20)
        script = Script(tuple(chunks(random, whole)), reasoning=tuple(chunks(random, thoughts)))
        host = ScriptedHost([ScriptedModel(entry, (script,), NO_DELAY)], clock=screen, sleep=screen.sleep)
        turns = [Turn(Message("assistant" if index % 2 else "user", text(random, 20)), 1.0) for index in range(6)]
        stored = Session("old", 1.0, 2.0, tree=Tree.of(turns))
        app = app_on(host, screen, "tiny", "old", store=FakeStore(stored=[stored]))
        async with app.run_test(size=(random.choice((40, 80, 160)), random.choice((12, 24, 50)))) as pilot:
            await settle(pilot)
            app.chat.prompt.put("go on")
            await press_keys(pilot, "enter")
            for _ in range(2):
                await pilot.resize_terminal(random.choice((20, 40, 80, 160)), random.choice((10, 24, 50)))
                await settle(pilot)
            assert shown(app)


def through_all(whole: str) -> None:
    """Everything that takes the text of an answer, without the screen."""
    document, cleaner, splitter = StreamingDocument(), StreamCleaner(), AnswerText()
    document.resize(20)
    raw = whole.encode("utf-8", "surrogatepass")
    for start in range(0, len(raw), 20):
        document.append(cleaner.feed(splitter.push(raw[start : start + 20]).text))
    blocks_lines(parse(clean(whole)), 20)
    code_blocks(whole)
    session = conversation("q", whole, whole)
    session_from_json(session_text(session, "json"))
    session_text(session, "md")
    try:
        read(session_text(session, "modelfile"))
    except ModelfileError:
        return


@pytest.mark.timeout(3600)
def test_three_times_the_text_takes_three_times_the_work(
    cases: Callable[[int], int], seed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Short texts are beyond these, so that little is counted.
    monkeypatch.setattr(streaming, "LONG_BLOCK", 40)
    monkeypatch.setattr(streaming, "LONG_LINE", 40)
    through_all("warm")
    worse = []
    for number in range(cases(4)):
        random = Random(f"{seed} {number}")
        before, unit, after = repeated(random)

        times = max(1, 400 // len(unit + after))
        short, long = (
            work(partial(through_all, whole_characters(before + unit * count + after * count)))
            for count in (times, FACTOR * times)
        )
        if long > 1.7 * FACTOR * short + 20_000:
            worse.append((number, json.dumps([before, unit, after]), short, long))
    assert not worse
