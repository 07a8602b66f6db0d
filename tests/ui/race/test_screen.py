from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.ui.drive import press_keys, settle, started, turns, until
from tests.ui.fakes import FakeAdviser, FakeClock, FakeDocuments, FakeRaces, FakeStore
from tests.ui.race.drive import ANSWERS, NEXT, MakeHost, ask, entry, labels, race_of, race_on, scripted, seen
from workbench.core.errors import TargetError
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.recipe import Recipe
from workbench.engine.scripted import ScriptedHost
from workbench.lab.race.lane import LaneSpec
from workbench.lab.race.race import Race
from workbench.lab.race.report import result_of
from workbench.ui.dialogs.choose import ChooseDialog
from workbench.ui.dialogs.text_viewer import TextDialog
from workbench.ui.race.lane import LaneColumn
from workbench.ui.race.lines import difference_lines, summary_lines


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


def test_lanes_that_are_not_open_yet_show_their_quantizations(host: ScriptedHost) -> None:
    models = [entry(quant, 100, "A-model-with-a-long-name-1B") for quant in ("F16", "Q8_0")]
    specs = [LaneSpec(model.ref, model.label, LoadSettings(), Sampling(), model=model) for model in models]
    race = Race(host, FakeAdviser(), specs)
    rows = [line.plain.split()[0] for line in summary_lines(race, result_of(race), 80)]
    assert rows == ["lane", "F16", "Q8_0"]


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
