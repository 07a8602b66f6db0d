from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.ui.drive import app_on, press_keys, settle, shown, started, until
from tests.ui.fakes import ANSWER, FakeClock, FakeLoads
from workbench.core.cancel import CancelToken
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import LoadRecord, MemoryUse, ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.engine.scripted import Script, ScriptedHost, ScriptedModel
from workbench.ui.dialogs.model_picker import ModelPicker
from workbench.ui.transcript.swap_card import SwapCard, swap_lines
from workbench.ui.workspace.swap import Side, Swap, SwapTracker

MakeHost = Callable[[Sequence[ScriptedModel]], ScriptedHost]
MEMORY = MemoryUse(100_000_000, 50_000_000, 20_000_000)


def scripted(quant: str, size: int, *, name: str = "Some-1B", problem: str = "") -> ScriptedModel:
    entry = ModelEntry(f"some:{quant}", name, quant, f"/m/{quant}.gguf", size, bits_per_weight=size / 1e6, group="some")
    script = Script.of(ANSWER * 3)
    return ScriptedModel(replace(entry, problem=problem), (script, script), memory=MEMORY)


def lines(swap: Swap) -> list[str]:
    return [line.plain.rstrip() for line in swap_lines(swap)]


async def opened(host: ScriptedHost) -> list[str]:
    return [engine.info.model.ref for engine in host.opened]


def three_and_another() -> list[ScriptedModel]:
    return [
        scripted("F16", 271_000_000),
        replace(scripted("Q8_0", 8), entry=ModelEntry("other", "Other", "Q8_0", "/m/other.gguf", 100_000_000)),
        scripted("Q8_0", 145_000_000),
        scripted("Q4_K_M", 105_000_000),
        scripted("Q2_K", 80_000_000, problem="The file is truncated."),
    ]


async def test_one_key_goes_round_the_quantizations_by_size(make_host: MakeHost, clock: FakeClock) -> None:
    host = make_host(three_and_another())
    async with app_on(host, clock, "some:Q4_K_M").run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        for _ in range(3):
            await press_keys(pilot, "ctrl+l")
        assert await opened(host) == ["some:Q4_K_M", "some:Q8_0", "some:F16", "some:Q4_K_M"]


async def test_the_conversation_continues_with_the_next_quantization(make_host: MakeHost, clock: FakeClock) -> None:
    host = make_host(three_and_another())
    async with app_on(host, clock, "some:Q4_K_M").run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await press_keys(pilot, *"why", "enter")
        await press_keys(pilot, "ctrl+l")
        await press_keys(pilot, *"and", "enter")
        contents = [message.content for message in host.opened[1].requests[0].messages]
        assert contents == ["why", ANSWER * 3, "and"]


async def test_a_swap_shows_both_and_the_next_answer_completes_it(make_host: MakeHost, clock: FakeClock) -> None:
    async with started(make_host(three_and_another()), clock, "some:Q4_K_M", size=(80, 24)) as (app, pilot):
        assert not app.chat.query(SwapCard)
        await press_keys(pilot, *"why", "enter")
        await press_keys(pilot, "ctrl+l")
        card = app.chat.query_one(SwapCard)
        assert card.text.splitlines()[0] == "Q4_K_M → Q8_0"
        assert "next answer" in card.text
        before = card.text.splitlines()[2]
        assert before.split()[:2] == ["Q4_K_M", "100.1"]
        assert "tok/s" in before
        await press_keys(pilot, *"and", "enter")
        assert "next answer" not in card.text
        assert card.text.splitlines()[3].endswith("tok/s")
        assert card.text.splitlines()[4].endswith("1.00 x")


async def test_two_presses_before_the_load_lead_two_further(make_host: MakeHost, clock: FakeClock) -> None:
    host = make_host(three_and_another())
    async with started(host, clock, "some:Q4_K_M") as (app, pilot):
        clock.hold_after(1)
        await pilot.press("ctrl+l")
        await until(pilot, lambda: app.workspace.slot.load is not None and app.workspace.slot.load.ref == "some:Q8_0")
        await pilot.press("ctrl+l")
        clock.release()
        await settle(pilot)
        assert await opened(host) == ["some:Q4_K_M", "some:F16"]


async def test_a_message_that_waits_goes_to_the_model_that_was_chosen_last(
    make_host: MakeHost, clock: FakeClock
) -> None:
    host = make_host(three_and_another())
    async with started(host, clock, "some:Q4_K_M") as (app, pilot):
        clock.hold_after(1)
        await pilot.press("ctrl+l")
        await until(pilot, lambda: app.workspace.slot.loading)
        await pilot.press(*"why", "enter", "ctrl+l")
        clock.release()
        await settle(pilot)
        assert await opened(host) == ["some:Q4_K_M", "some:F16"]
        assert [message.content for message in host.opened[1].requests[0].messages] == ["why"]


async def test_without_another_quantization_it_says_so(make_host: MakeHost, clock: FakeClock) -> None:
    host = make_host(three_and_another())
    async with started(host, clock, "other") as (app, pilot):
        await press_keys(pilot, "ctrl+l")
        assert "no other quantization of Other" in shown(app)
        assert await opened(host) == ["other"]


async def test_without_a_model_the_key_opens_the_picker(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, None) as (app, pilot):
        await press_keys(pilot, "ctrl+l")
        assert isinstance(app.screen, ModelPicker)


async def test_the_speed_of_an_earlier_load_is_shown_as_such(make_host: MakeHost, clock: FakeClock) -> None:
    loads = FakeLoads()
    host = make_host(three_and_another())
    async with app_on(host, clock, "some:Q4_K_M", loads=loads).run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await press_keys(pilot, "ctrl+l")
        await press_keys(pilot, *"why", "enter")
    assert [record.path for record in loads.records[:1]] == ["/m/Q8_0.gguf"]
    assert loads.records[0].decode_tps is not None
    async with started(make_host(three_and_another()), clock, "some:Q4_K_M", loads=loads) as (app, pilot):
        await press_keys(pilot, "ctrl+l")
        assert app.chat.query_one(SwapCard).text.splitlines()[3].endswith("tok/s  last time")


async def test_too_short_an_answer_says_nothing_about_the_speed(host: ScriptedHost) -> None:
    loads = FakeLoads()
    track = SwapTracker(loads, lambda: 1.0)
    engine = await host.open("smol:Q4_K_M", LoadSettings(), lambda _: None, CancelToken())
    await track.opened(engine)
    await track.answered(AnswerMetrics(decode_tps=900.0, completion_tokens=3))
    assert [record.decode_tps for record in loads.records] == [None]
    await track.answered(AnswerMetrics(decode_tps=40.0, completion_tokens=50))
    assert loads.records[0].decode_tps == 40.0


def test_two_different_models_are_told_apart_by_name() -> None:
    one = ModelEntry("a", "A-very-long-name-of-a-model-that-does-not-fit", "Q4_K_M", size_bytes=100)
    other = ModelEntry("b", "Short", "Q8_0", size_bytes=200)
    text = lines(Swap(Side(one), Side(other, decode_tps=10.0)))
    assert text[0] == "A-very-long-name… Q4_K_M → Short Q8_0"
    assert text[-1].split() == ["ratio", "2.00", "x", "—", "—", "—"]
    assert len({line.index("B") for line in text[2:4]}) <= 1


def test_the_error_of_an_estimate_has_a_sign() -> None:
    record = LoadRecord("/m", LoadSettings(), "CPU", MEMORY, MemoryUse(100_000_000, 50_000_000, 36_999_999), 1.0)
    assert record.error is not None
    assert round(record.error, 3) == 0.1
    assert replace(record, estimate=None).error is None
