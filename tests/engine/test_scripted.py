from __future__ import annotations

import asyncio
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Engine, Request
from workbench.core.errors import CancelledError, ContextFullError, EngineError, UnknownModelError
from workbench.core.events import Event, Failed, Finished, PromptProgress, Token
from workbench.core.metrics import Meter
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.scripted import NO_DELAY, Pace, Script, ScriptedHost, ScriptedModel, pieces

ENTRY = ModelEntry("tiny", "tiny", "Q4_0")
ASK = Request(messages=(Message("user", "Why is the sky blue?"),))


class FakeClock:
    """Time that passes only in sleeps."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns

    async def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)
        await asyncio.sleep(0)


async def open_model(model: ScriptedModel, clock: FakeClock | None = None, **settings: int) -> Engine:
    clock = clock or FakeClock()
    host = ScriptedHost([model], clock=clock, sleep=clock.sleep)
    return await host.open(model.entry.ref, LoadSettings(**settings), lambda _: None, CancelToken())


async def play(engine: Engine, request: Request = ASK, cancel: CancelToken | None = None) -> list[Event]:
    batches = [batch async for batch in engine.generate(request, cancel or CancelToken())]
    return list(chain.from_iterable(batches))


def text_of(events: list[Event], kind: str = "answer") -> str:
    return "".join(event.text for event in events if isinstance(event, Token) and event.kind == kind)


@given(st.text())
def test_pieces_join_to_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


async def test_an_answer_has_prefill_tokens_and_an_end() -> None:
    engine = await open_model(ScriptedModel(ENTRY, (Script.of("blue light scatters", "let me think"),)))
    events = await play(engine)
    assert isinstance(events[0], PromptProgress)
    assert text_of(events) == "blue light scatters"
    assert text_of(events, "reasoning") == "let me think"
    end = events[-1]
    assert isinstance(end, Finished)
    assert end.reason == "stop"
    assert end.usage.completion_tokens == sum(isinstance(event, Token) for event in events)


async def test_the_figures_are_those_of_the_pace() -> None:
    clock = FakeClock()
    pace = Pace(prefill_tps=500, decode_tps=50)
    engine = await open_model(ScriptedModel(ENTRY, (Script.of("word " * 200),), pace), clock)
    meter = Meter(clock())
    for event in await play(engine, Request(messages=(Message("user", "word " * 300),))):
        meter.feed(event)
    metrics = meter.metrics()
    assert metrics.prefill_tps == pytest.approx(500, rel=0.01)
    assert metrics.decode_tps == pytest.approx(50, rel=0.01)


async def test_what_the_engine_knows_is_cached() -> None:
    engine = await open_model(ScriptedModel(ENTRY, (Script.of("because"),)))
    await play(engine)
    longer = (*ASK.messages, Message("assistant", "because"), Message("user", "And the sea?"))
    first = (await play(engine, Request(messages=longer)))[0]
    assert isinstance(first, PromptProgress)
    assert 0 < first.cached < first.total


async def test_it_fails_at_the_token_that_the_script_names() -> None:
    script = Script(("a", "b", "c"), fail_at=2)
    events = await play(await open_model(ScriptedModel(ENTRY, (script,))))
    assert text_of(events) == "ab"
    assert isinstance(events[-1], Failed)


async def test_the_limit_ends_an_answer() -> None:
    engine = await open_model(ScriptedModel(ENTRY, (Script.of("one two three four"),)))
    events = await play(engine, Request(messages=ASK.messages, sampling=Sampling(num_predict=2)))
    assert text_of(events) == "one two"
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "length"


async def test_a_full_context_ends_an_answer() -> None:
    engine = await open_model(ScriptedModel(ENTRY, (Script.of("word " * 100),)), num_ctx=20)
    events = await play(engine)
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "context"


async def test_a_prompt_longer_than_the_context_fails() -> None:
    engine = await open_model(ScriptedModel(ENTRY, (Script.of("x"),)), num_ctx=5)
    events = await play(engine)
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, ContextFullError)


async def test_the_oldest_turns_are_dropped_but_never_the_system_prompt() -> None:
    engine = await open_model(ScriptedModel(ENTRY, (Script.of("x"),)), num_ctx=30)
    messages = (Message("system", "be brief"), Message("user", "word " * 40), Message("user", "short"))
    first = (await play(engine, Request(messages=messages, when_context_full="drop_oldest")))[0]
    assert isinstance(first, PromptProgress)
    assert first.dropped == 1


@pytest.mark.parametrize("stop_at", [PromptProgress, Token])
async def test_cancelling_stops_prefill_and_decode(stop_at: type[Event]) -> None:
    engine = await open_model(ScriptedModel(ENTRY, (Script.of("word " * 500),)))
    cancel = CancelToken()
    events: list[Event] = []
    async for batch in engine.generate(Request(messages=(Message("user", "word " * 500),)), cancel):
        events += batch
        if isinstance(batch[-1], stop_at):
            cancel.set()
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "cancelled"
    assert sum(isinstance(event, Token) for event in events) <= 1


async def test_a_cancel_cuts_a_sleep_short() -> None:
    host = ScriptedHost([ScriptedModel(ENTRY, (Script.of("x"),), Pace(prefill_tps=0.001))])
    engine = await host.open("tiny", LoadSettings(), lambda _: None, CancelToken())
    cancel = CancelToken()
    task = asyncio.create_task(play(engine, cancel=cancel))
    await asyncio.sleep(0)
    cancel.set()
    async with asyncio.timeout(5):
        events = await task
    assert isinstance(events[-1], Finished)


async def test_a_load_reports_progress_and_can_be_cancelled() -> None:
    clock = FakeClock()
    host = ScriptedHost([ScriptedModel(ENTRY, (Script.of("x"),))], clock=clock, sleep=clock.sleep)
    seen: list[float] = []
    engine = await host.open("tiny", LoadSettings(), seen.append, CancelToken())
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert engine.info.load_ms == pytest.approx(600)
    cancel = CancelToken()
    with pytest.raises(CancelledError):
        await host.open("tiny", LoadSettings(), lambda _: cancel.set(), cancel)


async def test_a_load_fails_as_scripted_and_an_unknown_model_names_the_nearest() -> None:
    host = ScriptedHost([ScriptedModel(ENTRY, (), NO_DELAY, load_error=EngineError("broken"))])
    with pytest.raises(EngineError, match="broken"):
        await host.open("tiny", LoadSettings(), lambda _: None, CancelToken())
    with pytest.raises(UnknownModelError, match="tiny"):
        await host.open("tinny", LoadSettings(), lambda _: None, CancelToken())


async def test_requests_are_recorded_and_closing_is_noted() -> None:
    host = ScriptedHost([ScriptedModel(ENTRY, (Script.of("x"),), NO_DELAY)])
    engine = await host.open("tiny", LoadSettings(), lambda _: None, CancelToken())
    await play(engine)
    await host.shutdown()
    assert host.opened[0].requests == [ASK]
    assert host.opened[0].closed
