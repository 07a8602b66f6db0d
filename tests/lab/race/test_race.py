from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.ui.fakes import FakeClock
from workbench.core.errors import ContextFullError, ModelLoadError
from workbench.core.models import MemoryUse, ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.scripted import Pace, Script, ScriptedEngine, ScriptedHost, ScriptedModel
from workbench.lab.race.lane import Lane, LaneSpec
from workbench.lab.race.race import Race
from workbench.lab.race.report import as_csv, as_json, as_markdown, ratio, result_of

ONE, OTHER = "The sea is blue and wide.", "The sea is blue and deep."
NEXT = "And so on."


class Adviser:
    """Gives a fixed answer, and keeps the requests."""

    def __init__(self, fits: bool = True) -> None:
        self.fits = fits
        self.asked: list[list[str]] = []

    async def fit_together(self, models: Sequence[tuple[str, LoadSettings]]) -> bool:
        self.asked.append([ref for ref, _ in models])
        return self.fits or len(models) < 2


def model(name: str, *answers: str, speed: float = 50.0, size: int = 100, **more: Any) -> ScriptedModel:
    entry = ModelEntry(name, name, name.upper(), f"/m/{name}", size_bytes=size, bits_per_weight=size / 10)
    scripts = tuple(Script.of(text) for text in ("warm", *answers))
    pace = Pace(load_seconds=0.1, decode_tps=speed)
    return ScriptedModel(entry, scripts, pace, memory=MemoryUse(size, 0, 0), **more)


def spec(ref: str, **sampling: Any) -> LaneSpec:
    return LaneSpec(ref, ref, LoadSettings(), replace(Sampling(), **sampling))


@pytest.fixture
def host(clock: FakeClock) -> ScriptedHost:
    broken = model("broken", load_error=ModelLoadError("The file is truncated.", "Download it again."))
    full = model("full")
    failing = Script(("The ", "sea "), (), 1, ContextFullError("The context is full."))
    models = [
        model("a", ONE, NEXT, size=300),
        model("b", OTHER, NEXT, speed=80.0, size=100),
        model("c", ONE, NEXT, size=200),
        broken,
        replace(full, scripts=(full.scripts[0], failing, Script.of(NEXT))),
    ]
    return ScriptedHost(models, clock=clock, sleep=clock.sleep)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make(host: ScriptedHost) -> Callable[..., Race]:
    def race(*refs: str, adviser: Adviser | None = None, **more: Any) -> Race:
        return Race(host, adviser or Adviser(), [spec(ref) for ref in refs], **more)

    return race


def texts(race: Race) -> list[str]:
    return [lane.answer.message().content if lane.answer else "" for lane in race.lanes]


def states(race: Race) -> list[str]:
    return [lane.state for lane in race.lanes]


async def asked(race: Race, *questions: str) -> Race:
    await race.open()
    for question in questions:
        race.ask(question)
        await race.finished()
    return race


async def test_all_lanes_answer_the_same_question(make: Callable[..., Race]) -> None:
    race = await asked(make("a", "b", "c"), "why")
    assert texts(race) == [ONE, OTHER, ONE]
    assert states(race) == ["done"] * 3
    assert [lane.label for lane in race.lanes] == ["a A", "b B", "c C"]


async def test_each_lane_has_a_history_of_its_own(make: Callable[..., Race], host: ScriptedHost) -> None:
    race = await asked(make("a", "b"), "why", "and")
    assert texts(race) == [NEXT, NEXT]
    told = {engine.info.model.ref: [m.content for m in engine.requests[-1].messages] for engine in host.opened}
    assert told == {"a": ["why", ONE, "and"], "b": ["why", OTHER, "and"]}


async def test_all_get_one_seed_unless_one_was_chosen(host: ScriptedHost) -> None:
    race = Race(host, Adviser(), [spec("a"), spec("b"), spec("c", seed=7)])
    await asked(race, "why")
    seeds = [engine.requests[-1].sampling.seed for engine in host.opened]
    assert seeds[0] == seeds[1] >= 0
    assert seeds[2] == 7


async def test_who_is_asked_first_changes(make: Callable[..., Race], host: ScriptedHost) -> None:
    order: list[str] = []

    def note(lane: Lane, event: object) -> None:
        if event is None and lane.state == "writing":
            order.append(lane.spec.ref)

    await asked(make("a", "b", "c", on_event=note), "one", "two", "three")
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


async def test_where_two_answers_part_is_told_by_token(make: Callable[..., Race]) -> None:
    race = await asked(make("a", "b", "c"), "why")
    index = race.divergence(race.lanes[1])
    assert index is not None
    end = race.lanes[1].ends[index - 1]
    assert OTHER[:end] == ONE[:end]
    assert OTHER[end : race.lanes[1].ends[index]] != ONE[end : race.lanes[1].ends[index]]
    assert race.divergence(race.lanes[2]) is None
    assert race.divergence(race.lanes[0]) is None


async def test_vocabularies_that_differ_are_not_compared_by_token(make: Callable[..., Race]) -> None:
    race = await asked(make("a", "b"), "why")
    lane = race.lanes[1]
    assert lane.info is not None
    lane.info = replace(lane.info, vocabulary="another")
    assert not race.comparable(lane)
    assert race.differs_in_vocabulary(lane)
    assert race.divergence(lane) is None


@pytest.mark.parametrize("unknown", [(0,), (1,), (0, 1)])
async def test_of_a_vocabulary_that_is_unknown_nothing_is_said(
    make: Callable[..., Race], unknown: Sequence[int]
) -> None:
    race = await asked(make("a", "b"), "why")
    for index in unknown:
        lane = race.lanes[index]
        assert lane.info is not None
        lane.info = replace(lane.info, vocabulary="")
    assert not race.comparable(race.lanes[1])
    assert not race.differs_in_vocabulary(race.lanes[1])
    assert race.divergence(race.lanes[1]) is None


async def test_a_lane_that_cannot_be_opened_leaves_the_others_alone(make: Callable[..., Race]) -> None:
    race = await asked(make("a", "broken", "b"), "why", "and")
    assert states(race) == ["done", "failed", "done"]
    assert str(race.lanes[1].error).startswith("The file is truncated.")
    assert texts(race) == [NEXT, "", NEXT]
    result = result_of(race)
    assert result.lanes[1].info is None
    assert "The file is truncated." in as_markdown(result)


async def test_a_lane_that_runs_out_of_context_leaves_the_others_alone(make: Callable[..., Race]) -> None:
    race = await asked(make("a", "full"), "why")
    assert states(race) == ["done", "failed"]
    assert texts(race) == [ONE, "The "]
    race.ask("and")
    await race.finished()
    assert states(race) == ["done", "done"]


async def test_one_lane_is_stopped_and_the_other_goes_on(make: Callable[..., Race], clock: FakeClock) -> None:
    race = await asked(make("a", "b"))
    clock.hold_after(8)
    race.ask("why")
    while not race.lanes[0].tokens:
        await asyncio.sleep(0)
    race.stop(race.lanes[0])
    clock.release()
    await race.finished()
    assert states(race) == ["stopped", "done"]
    assert ONE.startswith(texts(race)[0])
    assert texts(race)[1] == OTHER
    race.ask("and")
    await race.finished()
    assert states(race) == ["done", "done"]


async def test_a_lane_that_joins_late_answers_what_was_asked(make: Callable[..., Race]) -> None:
    race = await asked(make("a", "b"), "why", "and")
    lane = await race.add(spec("c"))
    await race.finished()
    assert [answer.outcome.message.content for answer in lane.answers] == [ONE, NEXT]
    assert race.lanes[2] is lane


async def test_a_lane_is_thrown_out_while_the_others_run(
    make: Callable[..., Race], host: ScriptedHost, clock: FakeClock
) -> None:
    race = await asked(make("a", "b"))
    clock.hold_after(8)
    race.ask("why")
    while not race.lanes[1].tokens:
        await asyncio.sleep(0)
    removing = asyncio.create_task(race.remove(race.lanes[1]))
    clock.release()
    await removing
    await race.finished()
    assert texts(race) == [ONE]
    assert [engine.closed for engine in host.opened] == [False, True]


async def test_a_swap_keeps_the_place(make: Callable[..., Race], host: ScriptedHost) -> None:
    race = await asked(make("a", "b"), "why")
    await race.swap(race.lanes[0], spec("c"))
    await race.finished()
    assert [lane.spec.ref for lane in race.lanes] == ["c", "b"]
    assert texts(race) == [ONE, OTHER]
    assert [engine.closed for engine in host.opened] == [True, False, False]


def open_engines(host: ScriptedHost) -> list[ScriptedEngine]:
    return [engine for engine in host.opened if not engine.closed]


async def test_what_does_not_fit_together_is_run_in_turn(make: Callable[..., Race], host: ScriptedHost) -> None:
    most = 0

    def look(_: Lane, __: object) -> None:
        nonlocal most
        most = max(most, len(open_engines(host)))

    race = await asked(make("a", "b", "c", adviser=Adviser(fits=False), on_event=look), "why")
    assert race.in_turn
    assert texts(race) == [ONE, OTHER, ONE]
    race.ask("and")
    await race.finished()
    assert most == 1
    again = {engine.info.model.ref: [m.content for m in engine.requests[-1].messages] for engine in host.opened[3:]}
    assert again == {"a": ["why", ONE, "and"], "b": ["why", OTHER, "and"], "c": ["why", ONE, "and"]}
    assert result_of(race).in_turn
    assert "one after the other" in as_markdown(result_of(race))


@pytest.mark.parametrize("several", [False, True])
async def test_solo_lanes_and_those_of_several_engines_write_one_after_the_other(
    make: Callable[..., Race], host: ScriptedHost, several: bool
) -> None:
    writing: set[str] = set()

    def look(lane: Lane, _: object) -> None:
        (writing.add if lane.state == "writing" else writing.discard)(lane.spec.ref)
        assert len(writing) <= 1

    race = make("a", "b", "c", solo=not several, on_event=look)
    if several:
        race.lanes[1].spec = race.lanes[1].spec.changed({"engine_host": "old"})
    race = await asked(race, "why")
    assert texts(race) == [ONE, OTHER, ONE]
    assert len(open_engines(host)) == 3


async def test_closing_gives_everything_back(make: Callable[..., Race], host: ScriptedHost) -> None:
    race = await asked(make("a", "b"), "why")
    await race.close()
    assert not open_engines(host)


async def test_a_lane_that_breaks_in_an_unforeseen_way_has_failed(
    make: Callable[..., Race], monkeypatch: pytest.MonkeyPatch
) -> None:
    race = await asked(make("a", "b"))
    monkeypatch.setattr(race.lanes[0].engine, "generate", lambda *_: 1 / 0)
    race.ask("why")
    await race.finished()
    assert states(race) == ["failed", "done"]


async def test_the_figures_of_the_result(make: Callable[..., Race]) -> None:
    result = result_of(await asked(make("a", "b", "c", solo=True), "why"))
    assert (result.fastest, result.smallest, result.leanest) == (1, 1, 1)
    assert result.marks(1) == ["fastest", "smallest"]
    document = as_json(result)
    lanes = document["lanes"]
    assert isinstance(lanes, list)
    assert [lane["text"] for lane in lanes] == [ONE, OTHER, ONE]
    assert lanes[0]["decode_ratio"] == 1.0
    assert lanes[1]["decode_ratio"] == pytest.approx(1.6, rel=0.05)
    assert lanes[1]["first_divergence"] is not None
    assert lanes[1]["peak_bytes"] == 100
    rows = list(csv.DictReader(io.StringIO(as_csv(result))))
    assert [row["model"] for row in rows] == ["a", "b", "c"]
    assert list(rows[0])[:3] == ["lane", "model", "quant"]
    assert rows[0]["first_divergence"] == ""


async def test_a_lane_that_joins_later_is_not_ranked_until_all_answer_together(make: Callable[..., Race]) -> None:
    race = await asked(make("a", "c"), "why")
    await race.add(spec("b"))
    await race.finished()
    result = result_of(race)
    assert result.fastest != 2
    assert result.marks(2) == ["smallest", "joined late"]
    assert (result.decode_ratio(1), result.decode_ratio(2)) == (pytest.approx(1.0, rel=0.05), None)
    race.ask("and")
    await race.finished()
    result = result_of(race)
    assert result.marks(2) == ["fastest", "smallest"]
    assert result.decode_ratio(2) is not None


async def test_in_a_race_of_lanes_that_answer_alone_a_later_one_is_ranked(make: Callable[..., Race]) -> None:
    race = await asked(make("a", "c", solo=True), "why")
    await race.add(spec("b"))
    await race.finished()
    assert result_of(race).marks(2) == ["fastest", "smallest"]


async def test_markdown_escapes_what_would_break_its_table(make: Callable[..., Race]) -> None:
    race = await asked(make("a", "b"), "a | b\nc")
    lane = race.lanes[1]
    assert lane.info is not None
    lane.info = replace(lane.info, model=replace(lane.info.model, name="x|y"))
    text = as_markdown(result_of(race))
    assert "x\\|y" in text
    assert "> a | b\n> c" in text


async def test_of_two_alike_none_is_the_smallest(make: Callable[..., Race]) -> None:
    result = result_of(await asked(make("b", "b"), "why"))
    assert (result.smallest, result.leanest) == (None, None)


async def test_the_lane_with_the_least_memory_need_not_have_the_smallest_file(make: Callable[..., Race]) -> None:
    race = await asked(make("a", "b"), "why")
    lane = race.lanes[0]
    assert lane.info is not None
    lane.info = replace(lane.info, model=replace(lane.info.model, size_bytes=1))
    result = result_of(race)
    assert (result.marks(0), result.marks(1)) == (["smallest"], ["fastest", "least memory"])


def test_a_ratio_needs_both() -> None:
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(None, 2.0) is None
    assert ratio(3.0, None) is None
    assert ratio(3.0, 0.0) is None


async def test_the_thoughts_of_a_lane_are_ended_and_measured_apart(clock: FakeClock) -> None:
    thinks = (Script.of("warm"), Script.of("It is four.", "Two and two and two and two and two and two make eight."))
    lanes = [replace(model(name, measured_by=by), scripts=thinks) for name, by in (("a", "engine"), ("b", "client"))]
    host = ScriptedHost(lanes, clock=clock, sleep=clock.sleep)
    told: list[Sequence[Lane]] = []

    def look(lane: Lane, event: object) -> None:
        if lane.answer is not None and lane.answer.is_thinking and not told:
            told.append(race.end_thoughts())

    race = Race(host, Adviser(), [spec("a"), spec("b")], on_event=look)
    assert race.end_thoughts() == []
    await race.open()
    race.ask("2+2?")
    await race.finished()
    first, second = race.lanes
    assert told == [[first]]
    assert [lane["text"] for lane in as_json(result_of(race))["lanes"]] == ["It is four.", "It is four."]
    counts = [lane["reasoning_tokens"] for lane in as_json(result_of(race))["lanes"]]
    assert 0 < counts[0] < counts[1] == len(thinks[1].reasoning)
    assert race.end_thoughts(second) == []
    await race.close()
