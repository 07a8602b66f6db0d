from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
from textual.pilot import Pilot

from tests.lab.bench.fake_bencher import FakeBencher
from tests.ui.drive import app_on, press_keys, settle, until
from tests.ui.fakes import THEMES, FakeBench, FakeClock, FakeStore, models
from workbench.core.chat import Message
from workbench.core.config import Config
from workbench.core.models import MemoryUse, ModelEntry
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn
from workbench.engine.scripted import SECOND, WELCOME, Pace, Script, ScriptedHost, ScriptedModel
from workbench.ui.app import WorkbenchApp
from workbench.ui.transcript.notice import Notice

SIZES = [pytest.param((120, 36), id="normal"), pytest.param((80, 24), id="narrow")]
THINKING = "The user asks what this is. A short explanation is best, with a list, some code and a table."
Steps = Callable[[Pilot[None]], Awaitable[None]]


class SnapCompare(Protocol):
    def __call__(self, app: WorkbenchApp, *, terminal_size: tuple[int, int], run_before: Steps) -> bool: ...


def program(theme: str = "workbench-dark", **services: object) -> tuple[WorkbenchApp, FakeClock]:
    clock = FakeClock()
    smol = ModelEntry(
        "smol:Q4_K_M", "SmolLM2-135M-Instruct", "Q4_K_M", "/m/q4", 105_000_000, 135_000_000, "llama", 6.24
    )
    scripts = (Script.of(WELCOME, THINKING), Script.of(SECOND))
    talker = ScriptedModel(
        smol, scripts, Pace(prefill_tps=640, decode_tps=52), memory=MemoryUse(105_000_000, 46_000_000, 21_000_000)
    )
    host = ScriptedHost([talker, *models()[1:]], clock=clock, sleep=clock.sleep)
    return app_on(host, clock, config=Config(theme=theme), **services), clock


async def ask(pilot: Pilot[None]) -> None:
    await settle(pilot)
    await press_keys(pilot, *"What is this?", "enter")


def after_start(*keys: Sequence[str], first: Steps = settle) -> Steps:
    """Steps that press keys, group after group, once the program is drawn."""

    async def steps(pilot: Pilot[None]) -> None:
        await first(pilot)
        for group in keys:
            await press_keys(pilot, *group)

    return steps


after_answer = partial(after_start, first=ask)
"""The same after a question and its answer."""


@pytest.mark.parametrize("size", SIZES)
def test_answer(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    app, _ = program()
    assert snap_compare(app, terminal_size=size, run_before=ask)


@pytest.mark.parametrize("size", SIZES)
def test_second_answer(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    app, _ = program()
    assert snap_compare(app, terminal_size=size, run_before=after_answer(["ctrl+t", *"And then?", "enter"]))


@pytest.mark.parametrize("size", SIZES)
def test_swap(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    app, _ = program()
    assert snap_compare(app, terminal_size=size, run_before=after_answer(["ctrl+l"], [*"And then?", "enter"]))


@pytest.mark.parametrize("size", SIZES)
def test_race(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    app, _ = program()
    assert snap_compare(app, terminal_size=size, run_before=after_start(["f3"], [*"What is this?", "enter"]))


@pytest.mark.parametrize("size", SIZES)
def test_bench(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    app, _ = program()
    assert snap_compare(app, terminal_size=size, run_before=after_start(["f5"]))


@pytest.mark.parametrize("size", SIZES)
def test_bench_tests(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    app, _ = program(bench=FakeBench(FakeBencher(lambda ref, test, number: 1 + number % 3 / 10)))
    assert snap_compare(app, terminal_size=size, run_before=after_start(["f5"], ["f9"]))


@pytest.mark.parametrize("size", SIZES)
def test_bench_pairs(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    app, _ = program(
        bench=FakeBench(FakeBencher(lambda ref, test, number: (1.0 if ref == "qwen" else 1.03) + number % 3 / 100))
    )
    assert snap_compare(
        app,
        terminal_size=size,
        run_before=after_start(["f5"], ["f6", "down", "enter"], ["ctrl+o"], [*"qwen", "enter"], ["f9"]),
    )


@pytest.mark.parametrize("size", SIZES)
def test_bench_under_load(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    app, _ = program()
    assert snap_compare(
        app,
        terminal_size=size,
        run_before=after_start(["f5"], ["f6", *["down"] * 4, "enter"], [*"http://127.0.0.1:8000", "enter"]),
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("keys", "name"), [("ctrl+o", "models"), ("f6", "settings"), ("f7", "export"), ("f1", "help"), ("f8", "themes")]
)
def test_dialog(snap_compare: SnapCompare, size: tuple[int, int], keys: str, name: str) -> None:
    app, _ = program(export_folder=Path("/exports"))
    assert snap_compare(app, terminal_size=size, run_before=after_answer([keys]))


@pytest.mark.parametrize("size", SIZES)
def test_loading(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    app, clock = program()
    clock.hold_after(8)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.workspace.slot.load is not None and app.workspace.slot.load.fraction == 0.4)
        app.chat.view.look()
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=steps)


@pytest.mark.parametrize("size", SIZES)
def test_prefill(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    app, clock = program()

    async def steps(pilot: Pilot[None]) -> None:
        await settle(pilot)
        clock.hold_after(3)
        app.chat.prompt.put("A long question about light. " * 40)
        await pilot.press("enter")
        await until(
            pilot,
            lambda: bool(
                (answering := app.workspace.answering)
                and answering.answer.progress
                and answering.answer.progress.done == 96
            ),
        )
        app.chat.view.look()
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=steps)


def test_failure_and_reload(snap_compare: SnapCompare) -> None:
    app, _ = program()

    async def steps(pilot: Pilot[None]) -> None:
        await ask(pilot)
        await app.workspace.change("", {"num_ctx": 2048})
        await press_keys(pilot, "ctrl+o", *"broken", "enter")

    assert snap_compare(app, terminal_size=(120, 36), run_before=steps)


def test_offer_to_resume(snap_compare: SnapCompare) -> None:
    turns = (Turn(Message("user", "Why is the sky blue?"), 1.0), Turn(Message("assistant", "Because"), 2.0))
    app, _ = program(store=FakeStore([Session("old", 1.0, 2.0, tree=Tree.of(turns))]))

    async def steps(pilot: Pilot[None]) -> None:
        await settle(pilot)
        app.chat.status.say("")
        await pilot.pause()

    assert snap_compare(app, terminal_size=(120, 36), run_before=steps)


@pytest.mark.parametrize("theme", sorted(file.stem for file in THEMES.glob("*.toml")))
def test_gallery(snap_compare: SnapCompare, theme: str) -> None:
    """Everything that has a colour, in one picture."""
    app, _ = program(theme)

    async def steps(pilot: Pilot[None]) -> None:
        await ask(pilot)
        notices = [
            Notice("Something failed.", "This is what to do.", "error"),
            Notice("Something to know.", severity="warning"),
            Notice("Written to /exports/chat.md", severity="information"),
        ]
        await app.chat.transcript.add(*notices)
        await settle(pilot)

    assert snap_compare(app, terminal_size=(120, 48), run_before=steps)
