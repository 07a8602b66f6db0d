"""Which lanes are proposed, and quantizations that a race is offered to make."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ui.drive import press_keys, until
from tests.ui.fakes import FakeClock, FakeFiles
from tests.ui.race.drive import ANSWERS, MakeHost, ask, entry, labels, race_of, race_on, scripted, seen
from workbench.core.errors import CancelledError
from workbench.engine.scripted import ScriptedHost
from workbench.gguf.quantization import QuantizeJob, QuantizePlan, QuantizeResult
from workbench.gguf.targets import QuantType, TargetSize
from workbench.lab.race.setup import missing_quants, proposed
from workbench.ui.race.lane import LaneColumn
from workbench.ui.race.offer import RaceOffer


async def test_the_quantizations_of_the_open_model_are_proposed(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock, question="") as (app, _pilot):
        assert labels(app) == ["Sea-1B F16", "Sea-1B Q8_0", "Sea-1B Q4_K_M"]
        assert len(host.opened) == 1
        assert "idle" in seen(app)


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


def test_what_people_compare_is_missing_or_not() -> None:
    assert missing_quants([entry("Q4_1", 1)]) == ["F16", "Q8_0", "Q4_K_M"]
    assert missing_quants([entry("BF16", 3), entry("Q8_0", 2)]) == ["Q4_K_M"]
    assert missing_quants([entry("F16", 3), entry("Q8_0", 2), entry("Q4_K_M", 1)]) == []


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
