"""The screen and the command line measure the same thing for the same question, and keep the same command."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.bench.fake_bencher import FakeBencher
from tests.ui.drive import press_keys, settle
from tests.ui.fakes import FakeAdviser, FakeClock, FakeTelemetry
from tests.ui.idle import exact_waits
from workbench.cli import composition
from workbench.cli.composition import Workers, compose
from workbench.cli.screen import services_of
from workbench.core.bench import MemorySpeed
from workbench.core.logbook import LogBook
from workbench.engine.scripted import Script, ScriptedHost, ScriptedModel
from workbench.lab.bench.record import BenchRecord
from workbench.store.paths import find_paths
from workbench.ui.app import WorkbenchApp
from workbench.ui.bench.form import BenchInput
from workbench.ui.workspace.pacing import Clocks

CONFIG = '[load]\nnum_thread = 5\ntype_k = "q8_0"\nmain_gpu = 1\n'
KINDS = {"tests": 0, "pairs": 1, "parallel": 2, "felt": 3}
"""How often F6 is pressed for a kind of run."""


@pytest.fixture
def modelfile(tmp_path: Path) -> str:
    path = tmp_path / "own.modelfile"
    path.write_text("FROM scripted\nPARAMETER num_thread 3\nPARAMETER num_batch 64\nPARAMETER num_ctx 4096\n")
    return str(path)


@pytest.fixture
def host(modelfile: str, monkeypatch: pytest.MonkeyPatch) -> ScriptedHost:
    """Opens the Modelfile's model and the scripted one; nothing computes."""
    path = find_paths().config_file
    path.parent.mkdir(parents=True)
    path.write_text(CONFIG)
    clock = FakeClock()
    models = [
        ScriptedModel(compose().catalog.resolve(ref), (Script.of("The sea."),) * 20) for ref in (modelfile, "scripted")
    ]
    host = ScriptedHost(models, clock=clock, sleep=clock.sleep)
    for name, value in {"engines": host, "bencher": FakeBencher(), "adviser": FakeAdviser()}.items():
        monkeypatch.setattr(composition.Workers, name, value, raising=False)
    monkeypatch.setattr(composition.Workers, "measure_memory", lambda self, machine: MemorySpeed(1e9, "copying"))
    return host


@pytest.fixture(autouse=True)
def only_what_is_to_come_is_waited_for() -> Iterator[None]:
    with exact_waits():
        yield


async def on_the_screen(workers: Workers, model: str, kind: str, fields: dict[str, str]) -> None:
    services = replace(services_of(workers, LogBook()), telemetry=FakeTelemetry())
    recipe = workers.catalog.recipe(model)
    app = WorkbenchApp(services, model, None, recipe=recipe, clocks=Clocks(FakeClock(), lambda: 0.0))
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        # The settings of the conversation are no part of a measurement.
        await app.workspace.change("", {"num_thread": 1, "type_v": "q4_0", "num_batch": 32})
        await press_keys(pilot, "f5", "f6", "home", *["down"] * KINDS[kind], "enter")
        for name, text in fields.items():
            app.screen.query_one(f"#bench-{name}", BenchInput).input.value = text
        await press_keys(pilot, "f9")


def essence(record: BenchRecord) -> object:
    """What is measured, without the time at which it was."""
    return (
        record.kind,
        record.command,
        record.models,
        [(result.case, len(result.samples)) for result in record.results],
        [(duel.a, duel.b, len(duel.pairs)) for duel in record.duels],
        [[(one.n_prompt, one.n_gen, one.again, len(one.answers)) for one in each.results] for each in record.felt],
    )


FELT = ("felt", "--felt 32,64 -n 4 -r 2 --cache", {"felt": "32,64", "n_gen": "4", "repetitions": "2", "cache": "yes"})
SET = ("felt", "--felt 32 -n 4 -t 7 -ub 128", {"felt": "32", "n_gen": "4", "n_threads": "7", "n_ubatch": "128"})
TESTS = ("tests", "-p 16 -n 8 -ngl 0,3", {"n_prompt": "16", "n_gen": "8", "n_gpu_layers": "0,3"})


@pytest.mark.parametrize(
    ("with_modelfile", "kind", "arguments", "fields"),
    [
        (False, *FELT),
        (True, *FELT),
        (True, *SET),
        (False, *TESTS),
        (True, *TESTS),
        (True, "pairs", "-p 16 -n 0 -ctk f16,q8_0 --pairs 3",
         {"n_prompt": "16", "n_gen": "0", "type_k": "f16,q8_0", "pairs": "3"}),
        (True, "parallel", "-p 16 -n 8 --parallel 1,4", {"n_prompt": "16", "n_gen": "8", "sequences": "1,4"}),
    ],
)  # fmt: skip
def test_both_faces_measure_the_same(call, host, modelfile, with_modelfile, kind, arguments, fields):
    model = modelfile if with_modelfile else "scripted"
    status, _, err = call("bench", model, *arguments.split())
    assert status == 0, err
    settings = [engine.info.settings for engine in host.opened]
    host.opened.clear()
    workers = compose()
    asyncio.run(on_the_screen(workers, model, kind, fields))
    on_screen, on_line = workers.bench_runs.records()
    assert essence(on_screen) == essence(on_line)
    assert on_line.kind == kind
    assert [engine.info.settings for engine in host.opened[1:]] == settings


@pytest.mark.parametrize("with_modelfile", [True, False])
def test_the_command_of_a_latency_test_needs_no_config(call, host, modelfile, with_modelfile):
    model = modelfile if with_modelfile else "scripted"
    call("bench", model, "--felt", "32", "-n", "4", "-r", "1")
    (first,) = compose().bench_runs.records()
    measured = host.opened[-1].info.settings
    assert measured.num_thread == (3 if with_modelfile else 5)
    assert measured.num_batch == (64 if with_modelfile else 512)
    assert measured.type_k == "q8_0"
    find_paths().config_file.unlink()
    call(*first.command)
    assert host.opened[-1].info.settings == measured
    assert [record.command for record in compose().bench_runs.records()] == [first.command] * 2
