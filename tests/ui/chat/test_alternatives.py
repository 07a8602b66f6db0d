"""Recording the alternatives of tokens in the chat: shades, the list at the cursor, and going on from another."""

from __future__ import annotations

import math

import pytest
from textual.content import Content

from tests.ui.drive import press_keys, shown, started, turns, until
from tests.ui.fakes import FakeClock
from workbench.core.alternatives import ChoiceLog, LikelyToken, TokenChoice
from workbench.core.models import ModelEntry
from workbench.engine.scripted import Script, ScriptedHost, ScriptedModel
from workbench.engine.scripted import engine as scripted
from workbench.ui.lens.screen import LensScreen
from workbench.ui.markdown.streaming import StreamingDocument
from workbench.ui.transcript.answer import AnswerTurn
from workbench.ui.transcript.shades import TokenShades
from workbench.ui.workspace.answer_run import NO_ALTERNATIVES

ANSWER = "It is so, since **light** is scattered."


@pytest.fixture
def host(clock: FakeClock) -> ScriptedHost:
    entry = ModelEntry("tiny", "tiny", "Q8_0")
    return ScriptedHost(
        [ScriptedModel(entry, (Script.of(ANSWER), Script.of(ANSWER), Script.of(" and more")))],
        clock=clock,
        sleep=clock.sleep,
    )


def styles(turn: AnswerTurn) -> set[str]:
    return {str(span.style) for line in turn.lines for span in line.spans if "unlikely" in str(span.style)}


async def test_alternatives_are_recorded_shown_and_continued(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, "tiny", size=(80, 24)) as (app, pilot):
        await press_keys(pilot, *"why", "enter")
        app.query(AnswerTurn).last().focus()
        await pilot.press("a")
        assert "Nothing was recorded for this answer" in shown(app)
        assert not styles(app.query(AnswerTurn).last())
        await pilot.press("A")
        app.chat.prompt.focus()
        await press_keys(pilot, *"again", "enter")
        assert [request.alternatives for request in host.opened[0].requests] == [0, 10]
        last = app.query(AnswerTurn).last()
        assert "turn--unlikely-3" in styles(last)
        last.focus()
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, LensScreen) and "probability" in shown(app))
        screen = app.screen
        assert isinstance(screen, LensScreen)
        await pilot.press(*["left"] * 30, "n", "right")
        assert "otherwise" in shown(app)
        place = screen.text.place
        row = next(at for at, each in enumerate(screen._alternatives(of_candidate=False)) if each.text == " otherwise")
        await press_keys(pilot, *["down"] * row, "enter")
        before = "".join(scripted.pieces(ANSWER)[:place])
        assert turns(app)[-1] == f"{before} otherwise and more"
        assert "◂2/2▸" in shown(app)
        # The other branch still has its shades and its list.
        app.query(AnswerTurn).last().focus()
        await press_keys(pilot, "left")
        assert styles(app.query(AnswerTurn).last())


async def test_a_server_without_probabilities_is_said(
    host: ScriptedHost, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripted, "_choices", lambda _: ())
    async with started(host, clock, "tiny", size=(80, 24)) as (app, pilot):
        await press_keys(pilot, *"/alternatives", "enter")
        await press_keys(pilot, *"why", "enter")
        assert NO_ALTERNATIVES[:40] in shown(app)


def log_of(*pieces: tuple[str, float]) -> ChoiceLog:
    log = ChoiceLog()
    for text, p in pieces:
        log.add(text, (TokenChoice(LikelyToken(text.encode(), math.log(p))),))
    return log


def shaded(log: ChoiceLog, lines: list[Content]) -> list[str]:
    return [
        line.plain[span.start : span.end]
        for line in TokenShades(log).over(lines)
        for span in line.spans
        if "unlikely" in str(span.style)
    ]


def test_shades_find_their_words_below_the_markup() -> None:
    pieces = [("# Sea", 0.9), ("\n\n", 1), ("- **bl", 0.9), ("ue**", 0.1), (" is", 1), (" `x`", 0.3), ("\n- sea", 0.04)]
    document = StreamingDocument()
    document.append("".join(text for text, _ in pieces))
    document.resize(40)
    document.finish()
    assert shaded(log_of(*pieces), document.lines) == ["ue", "x", "sea"]


def test_shades_follow_a_growing_text() -> None:
    log, document = log_of(("one two", 0.1)), StreamingDocument()
    document.resize(20)
    shades, lines = TokenShades(log), list[Content]()
    for text in ("one two", " three", "\n\nfour", " two"):
        if text != "one two":
            log.add(text, (TokenChoice(LikelyToken(text.encode(), math.log(0.3))),))
        changed = document.append(text)
        lines[changed:] = shades.over(document.lines, changed)
    assert [line.spans for line in lines] == [line.spans for line in TokenShades(log).over(document.lines)]
    assert all(line.spans for line in lines if line.plain)
