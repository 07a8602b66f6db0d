from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from tests.ui.drive import press_keys, settle, started, turns, until
from tests.ui.fakes import FakeAdviser, FakeClock, FakeDocuments, FakeFiles, FakeRaces, FakeStore
from workbench.core.errors import CancelledError, ModelLoadError, TargetError
from workbench.core.models import MemoryUse, ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.recipe import Recipe
from workbench.engine.scripted import Script, ScriptedHost, ScriptedModel
from workbench.gguf.quantization import QuantizeJob, QuantizePlan, QuantizeResult
from workbench.gguf.targets import QuantType, TargetSize
from workbench.lab.race.lane import LaneSpec
from workbench.lab.race.race import Race
from workbench.lab.race.report import result_of
from workbench.lab.race.setup import missing_quants, proposed
from workbench.ui.app import WorkbenchApp
from workbench.ui.dialogs.choose import ChooseDialog
from workbench.ui.dialogs.model_picker import ModelPicker
from workbench.ui.dialogs.text_viewer import TextDialog
from workbench.ui.race.lane import LaneColumn
from workbench.ui.race.lines import difference_lines, summary_lines
from workbench.ui.race.offer import RaceOffer
from workbench.ui.race.screen import RaceScreen

MakeHost = Callable[[Sequence[ScriptedModel]], ScriptedHost]
ANSWERS = {
    "F16": "The sea is blue and wide, and nobody owns it.",
    "Q8_0": "The sea is blue and wide, and nobody owns it.",
    "Q4_K_M": "The sea is green and deep, and nobody owns it.",
}
NEXT = "And so it goes on."


def entry(quant: str, size: int, name: str = "Sea-1B") -> ModelEntry:
    return ModelEntry(
        f"{name}:{quant}", name, quant, f"/m/{name}-{quant}", size, bits_per_weight=size / 1e7, group=name
    )


def scripted(quant: str, size: int, **more: Any) -> ScriptedModel:
    scripts = tuple(Script.of(text) for text in ("warm", ANSWERS.get(quant, "Other words."), NEXT))
    return ScriptedModel(entry(quant, size), scripts, memory=MemoryUse(size, 0, 0), **more)


@pytest.fixture
def host(make_host: MakeHost) -> ScriptedHost:
    broken = ScriptedModel(entry("Q2_K", 60, "Broken"), (), load_error=ModelLoadError("The file is truncated."))
    return make_host([scripted("F16", 300), scripted("Q4_K_M", 100), scripted("Q8_0", 200), broken])


def race_of(app: WorkbenchApp) -> RaceScreen:
    assert isinstance(app.screen, RaceScreen)
    return app.screen


def seen(app: WorkbenchApp) -> str:
    """Everything that the screen shows, the text of a lane on one line."""
    screen = race_of(app)
    heads = [line.plain for column in screen.query(LaneColumn) for line in column.head.lines]
    texts = [" ".join(line.plain.strip() for line in column.text.lines) for column in screen.query(LaneColumn)]
    return "\n".join([*heads, *texts, *(line.plain for part in (screen.table, screen.state) for line in part.lines)])


def labels(app: WorkbenchApp) -> list[str]:
    return [column.lane.label for column in race_of(app).query(LaneColumn)]


async def ask(pilot: Pilot[None], text: str) -> None:
    await press_keys(pilot, *text, "enter")


@asynccontextmanager
async def race_on(
    host: ScriptedHost,
    clock: FakeClock,
    model: str | None = "Sea-1B:Q8_0",
    *,
    size: tuple[int, int] = (120, 36),
    question: str = "why",
    **services: Any,
) -> AsyncIterator[tuple[WorkbenchApp, Pilot[None]]]:
    """The program with a race on the screen, whose first question is answered."""
    async with started(host, clock, model, size=size, **services) as (app, pilot):
        await press_keys(pilot, "f3")
        if question:
            await ask(pilot, question)
        yield app, pilot


async def test_the_quantizations_of_the_open_model_are_proposed(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock, question="") as (app, _pilot):
        assert labels(app) == ["Sea-1B F16", "Sea-1B Q8_0", "Sea-1B Q4_K_M"]
        assert len(host.opened) == 1
        assert "idle" in seen(app)


async def test_all_lanes_answer_and_are_compared(host: ScriptedHost, clock: FakeClock) -> None:
    races = FakeRaces()
    async with race_on(host, clock, races=races) as (app, _pilot):
        text = seen(app)
        assert text.count("nobody owns it.") == 3
        assert text.count("✓ done") == 3
        assert "smallest" in text
        assert "reference" in text
        assert "0.33x" in text
        (document,) = races.documents.values()
        assert json.dumps(document)
        assert document["questions"] == ["why"]


async def test_the_place_where_a_lane_leaves_the_reference_is_marked(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock) as (app, _pilot):
        columns = list(race_of(app).query(LaneColumn))
        marked = [
            line.plain[span.start : span.end].strip()
            for line in columns[2].text.lines
            for span in line.spans
            if span.style == "lane--parted"
        ]
        assert marked == ["green"]
        assert not any(span.style == "lane--parted" for line in columns[1].text.lines for span in line.spans)


async def test_follow_ups_go_to_all_with_their_own_history(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock) as (app, pilot):
        await ask(pilot, "and")
        assert seen(app).count(NEXT) == 3
        told = [message.content for message in host.opened[-1].requests[-1].messages]
        assert told[0] == "why"
        assert told[2] == "and"


async def test_escape_stops_all_lanes_and_what_was_written_stays(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock) as (app, pilot):
        clock.hold_after(8)
        await pilot.press(*"and", "enter")
        lanes = [column.lane for column in race_of(app).query(LaneColumn)]
        await until(pilot, lambda: all(lane.question == 1 and lane.tokens for lane in lanes))
        await pilot.press("escape")
        clock.release()
        await settle(pilot)
        assert {lane.state for lane in lanes} == {"stopped"}
        assert all(NEXT.startswith(lane.answers[1].outcome.message.content) for lane in lanes)
        assert app.screen.id == "race"


async def test_a_lane_that_cannot_be_opened_is_told_in_its_place(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock, question="") as (app, pilot):
        await press_keys(pilot, "ctrl+o", *"broken", "enter")
        assert labels(app)[-1] == "Broken Q2_K"
        await ask(pilot, "why")
        states = [column.lane.state for column in race_of(app).query(LaneColumn)]
        assert states == ["done", "done", "done", "failed"]


async def test_what_of_a_modelfile_is_not_honoured_stands_above_its_lane_once(
    make_host: MakeHost, clock: FakeClock
) -> None:
    note = "PARSER qwen3 is ignored: the answer is shown as the model writes it."
    plain, other = scripted("F16", 300), scripted("Q4_K_M", 100)
    described = replace(other, entry=replace(other.entry, recipe=Recipe(notes=(note,))), warnings=(note,))
    async with started(make_host([plain, described]), clock, "Sea-1B:F16") as (app, pilot):
        await press_keys(pilot, "f3")
        await until(pilot, lambda: f"▲ {note}" in seen(app))
        for question in ("why", "and"):
            await press_keys(pilot, *question, "enter")
            first, second = (column.text for column in race_of(app).query(LaneColumn))
            assert "▲" not in "".join(line.plain for line in first.lines)
            text = " ".join(line.plain.strip() for line in second.lines)
            assert text.startswith(f"▲ {note}")
            assert text.count("PARSER") == 1


async def test_a_lane_is_removed_swapped_and_stopped_by_its_own_keys(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock) as (app, pilot):
        await press_keys(pilot, "tab", "x", "enter")
        assert len(labels(app)) == 2
        race_of(app).query(LaneColumn).first().scroll.focus()
        await press_keys(pilot, "o")
        assert isinstance(app.screen, ModelPicker)
        await ask(pilot, "q4")
        assert labels(app)[0] == "Sea-1B Q4_K_M"
        assert ANSWERS["Q4_K_M"] in race_of(app).query(LaneColumn).first().lane.answers[0].outcome.message.content


async def test_a_lane_with_settings_of_its_own(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock) as (app, pilot):
        list(race_of(app).query(LaneColumn))[1].scroll.focus()
        await press_keys(pilot, "e")
        app.screen.query_one("#field-temperature Input", Input).value = "1.5"
        await press_keys(pilot, "escape")
        assert labels(app) == ["Sea-1B F16", "Sea-1B Q8_0", "Sea-1B Q4_K_M"]
        assert "temperature=1.5" in seen(app)
        assert host.opened[-1].requests[-1].sampling.temperature == 1.5
        await press_keys(pilot, "f2", "f3", *"and", "enter")
        heat = {e.info.model.quant: e.requests[-1].sampling.temperature for e in host.opened[1:] if not e.closed}
        assert heat == {"F16": 0.0, "Q8_0": 1.5, "Q4_K_M": 0.0}
        count = len(host.opened)
        list(race_of(app).query(LaneColumn))[1].scroll.focus()
        await press_keys(pilot, "e", "escape")
        assert len(host.opened) == count


class MakesFiles(FakeFiles):
    """Makes quantizations in no time, without any file."""

    def __init__(self, host: ScriptedHost) -> None:
        super().__init__(quantize_folder=Path("/m"))
        self._host = host
        self.problem = ""
        self.free = 10**10
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def target_problem(self, job: QuantizeJob) -> str:
        return self.problem

    async def free_bytes(self, folder: Path) -> int | None:
        return self.free

    async def plan(self, source: Path, kinds: Sequence[QuantType], imatrix, on_plan, cancel) -> None:
        for kind in kinds:
            on_plan(QuantizePlan(kind, TargetSize(10**8, 10**8, 6.0, 3)))

    async def quantize(self, job: QuantizeJob, on_progress, cancel) -> QuantizeResult:
        cancel.on_set(self.go_on.set)
        await self.go_on.wait()
        if cancel.is_set:
            raise CancelledError("Quantizing was stopped.")
        made = scripted(job.kind.name, 200)
        found = replace(made, entry=replace(made.entry, ref=str(job.target), path=str(job.target)))
        self._host._models[str(job.target)] = found
        return QuantizeResult(job.target, job.kind, 200, 6.0, 1.0, 1.0, ())


@pytest.fixture
def one(make_host: MakeHost) -> ScriptedHost:
    """One quantization of one model."""
    return make_host([scripted("Q4_1", 90)])


async def test_from_one_model_to_three_lanes_that_answer_with_two_keys_and_a_question(
    one: ScriptedHost, clock: FakeClock
) -> None:
    files = MakesFiles(one)
    async with race_on(one, clock, "Sea-1B:Q4_1", question="", files=files, size=(80, 24)) as (app, pilot):
        offer = race_of(app).query_one(RaceOffer)
        text = "\n".join(line.plain for line in offer.lines)
        assert "Enter makes these" in text
        assert all(re.search(rf"{quant} +95.4 MiB +about \d+ s", text) for quant in ("F16", "Q8_0", "Q4_K_M")), text
        assert "quantized already" in text
        await press_keys(pilot, "enter", "enter", *"why", "enter")
        assert labels(app) == ["Sea-1B F16", "Sea-1B Q8_0", "Sea-1B Q4_K_M"]
        lanes = [column.lane for column in race_of(app).query(LaneColumn)]
        assert [lane.answers[0].outcome.message.content for lane in lanes] == list(ANSWERS.values())
        assert not offer.display


async def test_a_question_has_the_models_made_that_it_waits_for_and_escape_gives_it_back(
    one: ScriptedHost, clock: FakeClock
) -> None:
    files = MakesFiles(one)
    files.go_on.clear()
    async with race_on(one, clock, "Sea-1B:Q4_1", question="", files=files) as (app, pilot):
        await pilot.press(*"why", "enter")
        await until(pilot, lambda: race_of(app).query_one(RaceOffer).making)
        assert race_of(app).prompt.text == ""
        await press_keys(pilot, "escape")
        assert race_of(app).prompt.text == "why"
        assert labels(app) == []
        assert "Enter makes these" in "\n".join(line.plain for line in race_of(app).query_one(RaceOffer).lines)


async def test_the_offer_says_why_nothing_can_be_made(one: ScriptedHost, clock: FakeClock) -> None:
    files = MakesFiles(one)
    files.free = 1000
    async with race_on(one, clock, "Sea-1B:Q4_1", question="", files=files) as (app, pilot):
        await pilot.press("enter")
        await ask(pilot, "why")
        assert "only 1.0 KiB are f" in "\n".join(line.plain for line in race_of(app).query_one(RaceOffer).lines)
        assert race_of(app).prompt.text == "why"
        await press_keys(pilot, "ctrl+o", "enter")
        assert labels(app) == ["Sea-1B Q4_1", "Sea-1B Q4_1"], "the open model is the first lane"


def test_lanes_that_are_not_open_yet_show_their_quantizations(host: ScriptedHost) -> None:
    models = [entry(quant, 100, "A-model-with-a-long-name-1B") for quant in ("F16", "Q8_0")]
    specs = [LaneSpec(model.ref, model.label, LoadSettings(), Sampling(), model=model) for model in models]
    race = Race(host, FakeAdviser(), specs)
    rows = [line.plain.split()[0] for line in summary_lines(race, result_of(race), 80)]
    assert rows == ["lane", "F16", "Q8_0"]


def test_what_people_compare_is_missing_or_not() -> None:
    assert missing_quants([entry("Q4_1", 1)]) == ["F16", "Q8_0", "Q4_K_M"]
    assert missing_quants([entry("BF16", 3), entry("Q8_0", 2)]) == ["Q4_K_M"]
    assert missing_quants([entry("F16", 3), entry("Q8_0", 2), entry("Q4_K_M", 1)]) == []


async def test_a_race_needs_two_lanes(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock, None, question="") as (app, pilot):
        await ask(pilot, "why")
        assert race_of(app).prompt.text == "why"
        assert "two models" in seen(app)


async def test_no_fifth_lane(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock, question="") as (app, pilot):
        await press_keys(pilot, "ctrl+o", "enter")
        await press_keys(pilot, "ctrl+o")
        assert len(labels(app)) == 4
        assert "4 lanes at most" in seen(app)


async def test_going_on_in_the_chat_with_a_lane(host: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore()
    async with race_on(host, clock, store=store) as (app, pilot):
        list(race_of(app).query(LaneColumn))[2].scroll.focus()
        await press_keys(pilot, "enter")
        assert app.screen is app.chat
        assert turns(app)[:2] == ["why", ANSWERS["Q4_K_M"]]
        assert app.workspace.model is not None
        assert app.workspace.model.ref == "Sea-1B:Q4_K_M"
        assert "answer" in store.journals[-1].kinds()
        await ask(pilot, "and")
        asked = [message.content for message in host.opened[-1].requests[-1].messages]
        assert asked == ["why", ANSWERS["Q4_K_M"], "and"]


async def test_leaving_with_a_lane_and_with_the_race(host: ScriptedHost, clock: FakeClock, tmp_path) -> None:
    store, documents = FakeStore(), FakeDocuments()
    async with race_on(host, clock, store=store, documents=documents, export_folder=tmp_path, question="") as (
        app,
        pilot,
    ):
        await press_keys(pilot, "f7")
        assert "nothing to export" in seen(app)
        await ask(pilot, "why")
        race_of(app).query(LaneColumn).first().scroll.focus()
        await press_keys(pilot, "m")
        session, form, path = store.exports[0]
        assert form == "modelfile"
        assert path.suffix == ".modelfile"
        assert session.turns[1].message.content == ANSWERS["F16"]
        await press_keys(pilot, "f7", "down", "enter")
        ((path, text),) = documents.written
        assert path.suffix == ".json"
        assert json.loads(text)["lanes"][0]["text"] == ANSWERS["F16"]


async def test_the_differences_are_gone_through(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock) as (app, pilot):
        column = list(race_of(app).query(LaneColumn))[2]
        column.scroll.focus()
        await press_keys(pilot, "w")
        styles = {span.style for line in column.text.lines for span in line.spans}
        assert {"lane--added", "lane--missing"} <= styles
        assert column.text.differences
        await press_keys(pilot, "n", "p", "w")
        assert not any(span.style == "lane--added" for line in column.text.lines for span in line.spans)


async def test_keys_that_are_pressed_fast_reach_the_lane_that_tab_goes_to(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock, size=(80, 24), question="") as (app, pilot):
        for key in ("tab", "tab", "right"):
            app.post_message(events.Key(key, None))
        await settle(pilot)
        assert "lanes ← 2-3/3" in seen(app)


async def test_on_a_narrow_screen_every_lane_is_gone_to_and_has_its_keys(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock, size=(80, 24)) as (app, pilot):
        columns = list(race_of(app).query(LaneColumn))

        def shown() -> list[int]:
            return [index for index, column in enumerate(columns) if column.display]

        async def press(*keys: str) -> list[int]:
            await press_keys(pilot, *keys)
            return shown()

        assert shown() == [0, 1]
        assert "lanes 1-2/3 →" in seen(app)
        assert await press("tab", "tab") == [0, 1]
        assert await press("right") == [1, 2]
        assert columns[2].scroll.has_focus
        assert "lanes ← 2-3/3" in seen(app)
        assert "green" in " ".join(line.plain for line in columns[2].text.lines)
        assert await press("right") == [1, 2], "there is no lane behind the last one"
        assert await press("left", "left") == [0, 1]
        await pilot.resize_terminal(60, 24)
        await settle(pilot)
        assert shown() == [0]
        assert "lanes 1/3 →" in seen(app)
        assert await press("tab", "tab") == [2]
        assert columns[2].scroll.has_focus
        assert await press("tab") == [2]
        assert race_of(app).prompt.has_focus
        await press("shift+tab", "x", "enter")
        assert len(labels(app)) == 2


async def test_what_is_typed_after_a_click_on_a_lane_goes_to_the_prompt(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock) as (app, pilot):
        column = list(race_of(app).query(LaneColumn))[1]
        await pilot.click(column.text, offset=(2, 2))
        await pilot.press(*"extra")
        assert race_of(app).prompt.text == "extra"
        assert len(labels(app)) == 3
        await pilot.click(column.head, offset=(2, 1))
        assert column.scroll.has_focus


async def test_a_new_question_scrolls_every_lane_to_it_and_another_width_hides_no_word(
    make_host: MakeHost, clock: FakeClock
) -> None:
    long = " ".join(f"word{number}" for number in range(300))
    entries = [scripted("F16", 300), scripted("Q8_0", 200)]
    models = [replace(each, scripts=(Script.of("warm"), Script.of(long), Script.of(long))) for each in entries]
    async with started(make_host(models), clock, "Sea-1B:F16", size=(80, 24)) as (app, pilot):
        await press_keys(pilot, "f3")
        await ask(pilot, "why")
        columns = list(race_of(app).query(LaneColumn))
        for column in columns:
            column.scroll.scroll_home(animate=False)
        await ask(pilot, "and")
        assert all(column.scroll.scroll_y == column.scroll.max_scroll_y > 0 for column in columns)
        await pilot.resize_terminal(140, 24)
        await settle(pilot)
        for column in columns:
            assert max(line.cell_length for line in column.text.lines) <= column.text.size.width
            assert " ".join(line.plain.strip() for line in column.text.lines).endswith(long)


async def test_an_earlier_race_is_opened(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock, question="") as (app, pilot):
        await press_keys(pilot, "ctrl+r")
        assert "No race is kept yet." in seen(app)
        await ask(pilot, "why")
        await press_keys(pilot, "ctrl+r")
        assert isinstance(app.screen, ChooseDialog)
        await press_keys(pilot, "enter")
        assert isinstance(app.screen, TextDialog)
        rows = [app.screen.rows._row(index, 100).plain for index in range(app.screen.rows.count)]
        assert rows[0] == "› why"
        assert "Sea-1B Q4_K_M smallest" in "\n".join(rows)
        assert ANSWERS["Q4_K_M"] in rows


async def test_what_does_not_fit_together_is_said(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock, adviser=FakeAdviser(fits=False)) as (app, _pilot):
        assert "one after the other" in seen(app)
        assert seen(app).count("✓ done") == 3


async def test_greedy_solo_and_a_new_race(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock) as (app, pilot):
        assert host.opened[-1].requests[-1].sampling.temperature == 0.0
        await press_keys(pilot, "f6", "down", "enter")
        await press_keys(pilot, "f6", "end", "up", "enter", "ctrl+t")
        assert "sampled, one seed for all · solo" in seen(app)
        await press_keys(pilot, "ctrl+n")
        assert len(labels(app)) == 3
        assert "nobody owns" not in seen(app)
        assert all(engine.closed for engine in host.opened[1:])


async def test_a_race_that_cannot_be_kept_is_told(host: ScriptedHost, clock: FakeClock) -> None:
    races = FakeRaces()
    races.error = TargetError("The disk is full.", "Make room.")
    async with race_on(host, clock, races=races) as (app, _pilot):
        assert "The disk is full." in seen(app)


async def test_chat_and_race_are_a_key_apart(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock) as (app, pilot):
        await pilot.press("f2", *"hello")
        assert app.screen is app.chat
        assert app.chat.prompt.text == "hello"
        await pilot.press("f3")
        assert app.screen.id == "race"
        assert "nobody owns it." in seen(app)


async def test_quitting_gives_the_lanes_back(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock) as (_app, pilot):
        await pilot.press("ctrl+q")
        await until(pilot, lambda: all(engine.closed for engine in host.opened))


def test_of_many_quantizations_three_are_proposed() -> None:
    models = [entry(quant, size) for size, quant in enumerate(("Q2_K", "Q3_K_M", "Q4_K_M", "Q8_0", "F16"), 1)]
    assert [model.quant for model in proposed(models[4], models)] == ["F16", "Q8_0", "Q4_K_M"]
    assert [model.quant for model in proposed(models[2], models)] == ["F16", "Q8_0", "Q4_K_M"]
    assert [model.quant for model in proposed(models[1], models)] == ["F16", "Q8_0", "Q3_K_M"]
    assert [model.quant for model in proposed(models[0], models)] == ["F16", "Q8_0", "Q2_K"]


def test_where_the_usual_quantizations_are_not_there_the_smallest_is_proposed() -> None:
    models = [entry(quant, size) for size, quant in enumerate(("Q2_K", "Q3_K_M", "Q4_0", "Q6_K", "BF16"), 1)]
    assert [model.quant for model in proposed(models[4], models)] == ["BF16", "Q6_K", "Q2_K"]


def test_nothing_is_proposed_without_a_model_or_with_a_broken_one() -> None:
    models = [entry("Q2_K", 1), entry("F16", 5)]
    assert proposed(None, models) == []
    assert [model.quant for model in proposed(models[0], [replace(models[1], problem="broken")])] == ["Q2_K"]


def test_a_word_and_its_replacement_stand_apart() -> None:
    lines, _rows = difference_lines("blue and wide, yes", "green and deep, yes", 60)
    assert [line.plain for line in lines] == ["blue green and wide deep, yes"]


@given(st.text("ab c\n", max_size=60), st.text("ab c\n", max_size=60), st.integers(8, 40))
def test_differences_are_found_on_rows_that_exist(reference: str, text: str, width: int) -> None:
    lines, rows = difference_lines(reference, text, width)
    assert all(0 <= row < len(lines) for row in rows)
    assert rows == sorted(set(rows))
    if reference == text:
        assert not rows
