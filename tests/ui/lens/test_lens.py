from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.lab.quality.fake_logits import FakeHost
from tests.ui.drive import press_keys, settle, shown, started, turns, until
from tests.ui.fakes import FakeAdviser, FakeClock
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Capabilities, Request
from workbench.core.models import EngineInfo, ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.scripted import Script, ScriptedHost, ScriptedModel
from workbench.engine.scripted.engine import ScriptedEngine
from workbench.lab.race.lane import Lane, LaneAnswer, LaneSpec
from workbench.ui.chat.lens_actions import cut_message
from workbench.ui.lens.screen import LensScreen
from workbench.ui.lens.text import lay_out
from workbench.ui.race.lens import open_lane_lens
from workbench.ui.transcript.turns import TurnLines

ANSWER = "It is so, since light is scattered."


@pytest.fixture
def host(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> ScriptedHost:
    """Two models whose logits are those of `FakeHost`, and whose tokens are bytes."""

    async def tokens(_, request):
        last = request.messages[-1].content if request.continues else ""
        return (1, 2, 3, *last.encode())

    monkeypatch.setattr(ScriptedEngine, "tokens", tokens)
    entries = [ModelEntry(ref, "tiny", quant, f"/m/{ref}.gguf") for ref, quant in (("0", "Q8_0"), ("0.5", "Q4_0"))]
    scripts = (Script.of(ANSWER), Script.of(" and more"))
    return ScriptedHost([ScriptedModel(entry, scripts) for entry in entries], clock=clock, sleep=clock.sleep)


async def test_an_answer_is_looked_at_and_goes_on_from_an_alternative(host: ScriptedHost, clock: FakeClock) -> None:
    logits = FakeHost()
    async with started(host, clock, "0", logits=lambda: logits, size=(80, 24)) as (app, pilot):
        await press_keys(pilot, *"why", "enter")
        host.opened[0].capabilities = Capabilities(score=True)
        next(turn for turn in app.query(TurnLines) if turn.text == ANSWER).focus()
        await press_keys(pilot, "L")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, LensScreen) and "mean KLD" in shown(app))
        await settle(pilot)
        assert logits.opened == [["0", "0.5"]]
        assert "Q8_0 → Q4_0" in shown(app)
        assert "first flip" in shown(app)
        screen = app.screen
        assert isinstance(screen, LensScreen)
        assert "worst (w)" in shown(app)
        await pilot.press("w")
        assert screen.text.place == screen._worst[0]
        await pilot.press("w")
        assert screen.text.place == screen._worst[1]
        await pilot.press("left", *["left"] * 40, "n")
        before = screen.text.place
        assert before > 0
        await pilot.press("n", "p")
        assert screen.text.place == before
        for _ in range(10):
            # Tokens that are only a part of a character are refused.
            await press_keys(pilot, "enter")
            if app.screen is not screen:
                break
            assert "part of a character" in shown(app)
            await pilot.press("down")
        answer = turns(app)[-1]
        assert answer.startswith(ANSWER[:before])
        assert answer.endswith(" and more")
        assert not answer.startswith(ANSWER[: before + 1])
        assert "◂2/2▸" in shown(app)


async def test_a_server_has_no_lens(clock: FakeClock) -> None:
    entry = ModelEntry("tiny", "tiny", "Q4_0", "/m/tiny.gguf")
    host = ScriptedHost([ScriptedModel(entry, (Script.of(ANSWER),))], clock=clock, sleep=clock.sleep)
    async with started(host, clock, "tiny", logits=FakeHost, size=(80, 24)) as (app, pilot):
        await press_keys(pilot, *"why", "enter")
        next(turn for turn in app.query(TurnLines) if turn.text == ANSWER).focus()
        await press_keys(pilot, "L")
        assert "The lens needs a model file" in shown(app)


async def test_a_lane_looks_at_the_answer_of_the_reference() -> None:
    model = ModelEntry("0", "tiny", "Q8_0", "/m/0.gguf")
    engine = SimpleNamespace(capabilities=Capabilities(score=True), tokens=None)

    async def tokens(request: Request) -> tuple[int, ...]:
        assert [message.content for message in request.messages] == ["why", ANSWER][: 2 if request.continues else 1]
        return (1, 2, *ANSWER.encode()) if request.continues else (1, 2)

    engine.tokens = tokens
    reference = Lane(LaneSpec("0", "0", LoadSettings(), Sampling(), model=model))
    other = Lane(
        LaneSpec("0.5", "0.5", LoadSettings(), Sampling(), model=ModelEntry("0.5", "tiny", "Q4_0", "/m/1.gguf"))
    )
    race = SimpleNamespace(reference=reference, questions=["why"])
    screen = SimpleNamespace(app=SimpleNamespace(push_screen=(pushed := []).append))
    services, said = SimpleNamespace(logits=FakeHost, adviser=FakeAdviser(), quality=None), []
    open_lane_lens(screen, services, race, other, said.append)
    assert said == ["The lens looks at the answer of lane 1, while its model is open."]
    reference.engine, reference.info = engine, EngineInfo(model, LoadSettings(), "CPU", 1.0)
    open_lane_lens(screen, services, race, other, said.append)
    assert said[1:] == ["Lane 1 has no answer to look at."]
    outcome = SimpleNamespace(message=Message("assistant", ANSWER))
    reference.answers.append(LaneAnswer(outcome, ()))
    open_lane_lens(screen, services, race, other, said.append)
    assert len(said) == 2
    lens = await pushed[0]._look(CancelToken(), lambda _: None)
    assert bytes(lens.tokens).decode() == ANSWER
    assert pushed[0].check_action("branch", ()) is False


def test_rows_have_every_token_and_mark_the_first_flip() -> None:
    rows = lay_out(["ab", " cd", "\n\n", "ef", "\x1b[1m", ""], 3, 5)
    assert [[text for _, text in row] for row in rows] == [["ab", " cd"], ["⏎"], ["⏎"], ["▶ef"], ["␛[1m"]]
    assert [place for row in rows for place, _ in row] == [0, 1, 2, 2, 3, 4]


@pytest.mark.parametrize(
    ("beginning", "content", "reasoning"),
    [
        ("<think>first a, then c", "", "first a, then c"),
        ("<think>first a, then b</think>\n\nyes, no", "yes, no", "first a, then b"),
    ],
)
def test_an_answer_is_cut_in_its_thoughts_or_in_its_text(beginning: str, content: str, reasoning: str) -> None:
    whole = "<think>first a, then b</think>\n\nyes, of course"
    message = Message("assistant", "yes, of course", "first a, then b")
    assert cut_message(message, whole, beginning) == Message("assistant", content, reasoning)
