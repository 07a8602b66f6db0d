from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab.bench.fake_bencher import MACHINE
from tests.lab.decision.made import TG, FakeFile, FakeTools, bench, duel, evals, quality
from workbench.core.bench import BenchSettings, BenchTest, RunTime
from workbench.core.errors import DecisionError
from workbench.core.models import ModelEntry
from workbench.core.recipe import Recipe
from workbench.lab.decision.contender import Contender
from workbench.lab.decision.evidence import Evidence
from workbench.lab.decision.gather import gather
from workbench.lab.quality.record import PackedTokens


class House:
    """Files of one model, and what is kept of them."""

    def __init__(self, folder: Path) -> None:
        self.f16, self.q8, self.q4 = (
            FakeFile(folder, quant, size) for quant, size in (("F16", 300), ("Q8_0", 150), ("Q4_K_M", 100))
        )
        self.tools: Any = FakeTools([self.f16, self.q8, self.q4])

    def keep(self, *, benches: Any = (), qualities: Any = (), evaluations: Any = ()) -> None:
        self.tools.bench_runs.records = list(benches)
        self.tools.quality_runs.records = list(qualities)
        self.tools.eval_runs.records = list(evaluations)

    async def gather(self, n_ctx: int = 0) -> Evidence:
        return await gather("m", self.q4.entry, self.tools, self.tools, n_ctx)

    async def contenders(self) -> dict[str, Contender]:
        return {each.label: each for each in (await self.gather()).contenders}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_every_file_of_the_model_is_there_with_what_was_measured(house: House) -> None:
    f16, q8, q4 = house.f16, house.q8, house.q4
    house.keep(
        benches=[bench((f16, 20.0), (q8, 40.0))],
        qualities=[quality(f16, (q8, 0.004), (q4, 0.06))],
        evaluations=[evals((q8, "1110"), (q4, "1100"))],
    )
    found = await house.gather(4096)
    a, b, c = found.contenders
    assert [each.label for each in (a, b, c)] == ["F16", "Q8_0", "Q4_K_M"]
    assert a.is_reference
    assert a.kld is not None
    assert a.kld.value == 0
    assert b.speed is not None
    assert b.speed.value == pytest.approx(40, rel=0.01)
    assert b.speed.low < 40.4
    assert b.kld is not None
    assert b.kld.value == pytest.approx(0.004, rel=0.5)
    assert (c.speed, c.passed, c.judged) == (None, 2, 4)
    assert (c.memory_bytes, c.largest_ctx) == (100 + 4096, 8192)
    assert found.test == TG
    assert found.quality is not None
    assert (found.quality.reference, found.quality.options) == ("a", ("--text", "book.txt"))
    assert found.notes == ()
    assert found.split(b, c) is not None


async def test_the_newest_measurement_of_the_usual_test_counts(house: House) -> None:
    other = BenchTest(n_gen=32)
    house.keep(benches=[
        bench((house.q8, 44.0), run="260101-000005-aaaa"),
        bench((house.q8, 40.0), (house.q4, 50.0), run="260101-000004-aaaa"),
        bench((house.q8, 99.0), run="260101-000003-aaaa", test=other),
        bench((house.q8, 99.0), run="260101-000003-aaaa", test=BenchTest(n_prompt=512)),
    ])  # fmt: skip
    found = await house.gather()
    speeds = {each.label: each.speed.value for each in found.contenders if each.speed is not None}
    assert speeds["Q8_0"] == pytest.approx(44, rel=0.01)
    assert speeds["Q4_K_M"] == pytest.approx(50, rel=0.01)
    assert found.runs == {"b": "260101-000005-aaaa", "c": "260101-000004-aaaa"}


async def test_a_run_that_was_disturbed_does_not_replace_a_quiet_one(house: House) -> None:
    noisy = bench((house.q8, 4.0), (house.q4, 5.0), run="260101-000005-aaaa")
    results = [
        replace(each, samples=tuple(replace(sample, disturbed=("busy",)) for sample in each.samples))
        for each in noisy.results
    ]
    house.keep(benches=[replace(noisy, results=tuple(results)), bench((house.q8, 40.0))])
    found = await house.gather()
    assert found.runs == {"b": "260101-000001-aaaa", "c": "260101-000005-aaaa"}


@pytest.mark.parametrize(("change", "why"), [
    ({"cpu_info": "another"}, "it is of another machine"),
    ({"gpu_info": "a card"}, "it is of another machine"),
    ({"build_commit": "1234567"}, "it is of another build of llama.cpp"),
])  # fmt: skip
async def test_other_machines_and_builds_are_left_out_and_said(house: House, change: dict[str, str], why: str) -> None:
    house.keep(benches=[bench((house.q8, 40.0), (house.q4, 50.0), machine=replace(MACHINE, **change))])
    found = await house.gather()
    assert not any(each.is_measured for each in found.contenders)
    assert found.notes == (f"A result of bench is left out: {why}. (2×)",)


async def test_results_with_an_adapter_are_left_out(house: House) -> None:
    scored, asked = quality(house.f16, (house.q8, 0.4)), evals((house.q8, "00"))
    model, lane = (
        replace(scored.candidates[0].model, adapter="/lora.gguf"),
        replace(asked.lanes[0], adapter="/lora.gguf"),
    )
    candidates = (replace(scored.candidates[0], model=model),)
    house.keep(qualities=[replace(scored, candidates=candidates)], evaluations=[replace(asked, lanes=(lane,))])
    found = await house.gather()
    assert not any(each.is_measured for each in found.contenders)
    assert len(found.notes) == 2
    assert all("another model" in note for note in found.notes)


async def test_a_model_with_an_adapter_is_not_the_model_without_it(house: House) -> None:
    plain = house.q8.entry
    adapted = replace(plain, ref="/Modelfile", recipe=Recipe(adapter="/lora.gguf"))
    assert not adapted.is_same(plain)
    assert replace(adapted, recipe=Recipe()).is_same(plain)


async def test_other_builds_of_quality_and_evaluations_are_left_out(house: House) -> None:
    other = replace(MACHINE, build_commit="1234567")
    house.keep(
        qualities=[quality(house.f16, (house.q8, 0.004), machine=other)],
        evaluations=[evals((house.q8, "11"), build="workbench 0.1.0, llama.cpp 2 1234567")],
    )
    found = await house.gather()
    assert not any(each.is_measured for each in found.contenders)
    assert {note.split(":")[0] for note in found.notes} == {
        "A result of quality is left out", "A result of eval is left out",
    }  # fmt: skip
    house.keep(evaluations=[evals((house.q8, "11"), build="workbench 0.2.0, llama.cpp 1 0c1e570")])
    assert (await house.contenders())["Q8_0"].judged == 2


async def test_a_file_that_has_changed_since_is_left_out(house: House) -> None:
    house.keep(
        benches=[bench((house.q8, 40.0))],
        qualities=[quality(house.f16, (house.q8, 0.004))],
        evaluations=[evals((house.q8, "11"))],
    )
    os.utime(house.q8.path, ns=(1, 1))
    house.q8.digest = "sha256:other"
    found = await house.gather()
    assert not any(each.is_measured for each in found.contenders)
    assert any("m-Q8_0.gguf has changed since" in note for note in found.notes)
    assert len(found.notes) == 3


async def test_a_copy_with_the_same_digest_counts(house: House, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    old = FakeFile(tmp_path / "old", "Q8_0", 150)
    house.keep(qualities=[quality(house.f16, (old, 0.004))])
    assert (await house.contenders())["Q8_0"].kld is not None


async def test_settings_make_contenders_of_their_own(house: House) -> None:
    house.keep(
        benches=[
            bench((house.q8, 40.0)),
            bench((house.q8, 39.0), settings=BenchSettings(n_threads=4, n_batch=64), run="260101-000000-aaaa"),
            bench((house.q8, 35.0), settings=BenchSettings(n_threads=1)),
            bench((house.q8, 38.0), settings=BenchSettings(type_k="q8_0")),
        ],
        qualities=[quality(house.f16, (house.q8, 0.005), type_k="q8_0")],
        evaluations=[evals((house.q8, "10"), settings={"type_v": {"value": "q4_0", "from": "eval"}})],
    )
    found = await house.contenders()
    assert {label for label in found if label.startswith("Q8_0")} == {
        "Q8_0", "Q8_0 -t 1", "Q8_0 q8_0 K", "Q8_0 q4_0 V",
    }  # fmt: skip
    assert found["Q8_0"].speed is not None
    assert found["Q8_0"].speed.value == pytest.approx(40, rel=0.01)
    assert found["Q8_0 q8_0 K"].kld is not None
    assert found["Q8_0"].kld is None
    assert found["Q8_0 q4_0 V"].judged == 2


async def test_pairs_are_compared_as_pairs(house: House) -> None:
    house.keep(benches=[duel(house.q8, house.q4, 1.1)])
    found = await house.gather()
    b, c = found.of("b"), found.of("c")
    gap = found.speed_gap(c, b)
    assert gap is not None
    assert gap.value == pytest.approx(1 / 1.1, rel=0.01)
    assert (gap.sign, gap.settled) == (-1, True)
    assert c.speed is not None


async def test_divergences_on_other_texts_are_not_mixed(house: House) -> None:
    house.keep(qualities=[
        quality(house.f16, (house.q4, 0.5), text="other.txt", run="260101-000009-aaaa"),
        quality(house.f16, (house.q8, 0.004), (house.q4, 0.06)),
    ])  # fmt: skip
    found = await house.contenders()
    assert found["Q4_K_M"].kld is not None
    assert found["Q4_K_M"].kld.value == pytest.approx(0.06, rel=0.5)


async def test_damaged_figures_are_left_out(house: House) -> None:
    timed = bench((house.q8, 40.0), (house.q4, 50.0))
    first = timed.results[0]
    broken = replace(first, samples=(replace(first.samples[0], time=RunTime(0, 0, 0)),))
    scored = quality(house.f16, (house.q8, math.nan), (house.q4, 0.06))
    cut = replace(scored.candidates[1], tokens=PackedTokens("AAAA", "AAAA", "AAAA"))
    house.keep(benches=[replace(timed, results=(broken, timed.results[1]))], qualities=[scored])
    found = await house.gather()
    assert [each.speed is not None for each in found.contenders] == [False, False, True]
    assert [each.kld is not None for each in found.contenders] == [True, False, True]
    assert any("is no number" in note for note in found.notes)
    assert any("its times are no times" in note for note in found.notes)
    house.keep(qualities=[replace(scored, candidates=(cut,))])
    assert any("damaged" in note for note in (await house.gather()).notes)


async def test_only_model_files_can_be_compared(house: House) -> None:
    with pytest.raises(DecisionError, match="has no file"):
        await gather("x", ModelEntry("http://host#x", "x"), house.tools, house.tools)
    entry = ModelEntry("/Modelfile", "x", path="/elsewhere", group="x", recipe=Recipe(adapter="/lora.gguf"))
    with pytest.raises(DecisionError, match="adapter"):
        await gather("x", entry, house.tools, house.tools)
