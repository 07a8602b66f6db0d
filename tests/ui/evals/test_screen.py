from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.lab.evals.fake_tools import FakeEvalTools
from tests.lab.evals.test_run import model
from tests.ui.drive import app_on, press_keys, settle, until
from tests.ui.fakes import FakeClock
from workbench.core.chat import Message
from workbench.core.errors import EvalError
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.session import Session, SessionSummary
from workbench.core.tree import Tree, Turn
from workbench.engine.scripted import Pace, ScriptedHost, ScriptedModel
from workbench.lab.evals.pack import EvalPack, of_prompts
from workbench.lab.race.lane import LaneSpec
from workbench.ui.app import WorkbenchApp
from workbench.ui.dialogs.choose import ChooseDialog
from workbench.ui.dialogs.confirm import ConfirmDialog
from workbench.ui.dialogs.text_viewer import TextDialog
from workbench.ui.evals.blind_screen import BlindScreen, choose_blind_test
from workbench.ui.evals.screen import EvalScreen
from workbench.ui.widgets.keybar import KeyBar

PACK = """\
name = "Mine"
[[cases]]
id = "sea"
prompt = "What colour has the sea?"
checks = [{ type = "contains", value = "blue" }]
[[cases]]
id = "fire"
prompt = "And fire?"
checks = [{ type = "contains", value = "red" }]
"""


@pytest.fixture
def host(make_host: Callable[[Sequence[ScriptedModel]], ScriptedHost]) -> ScriptedHost:
    return make_host([
        model("a", *["It is blue.", "It is red."] * 40),
        model("b", *["It is green [bold].", "It is red, too."] * 40),
    ])  # fmt: skip


@asynccontextmanager
async def evals_on(
    host: ScriptedHost, clock: FakeClock, *, size: tuple[int, int] = (120, 36), **services: object
) -> AsyncIterator[tuple[WorkbenchApp, Pilot[None]]]:
    app = app_on(host, clock, "a", **services)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await press_keys(pilot, "f11")
        yield app, pilot


def screen_of(app: WorkbenchApp) -> EvalScreen:
    screen = next(screen for screen in app.screen_stack if isinstance(screen, EvalScreen))
    return screen


def seen(app: WorkbenchApp) -> str:
    screen = screen_of(app)
    rows = [screen._case(index, 80).plain for index in range(screen.cases.count)]
    lines = [*screen.head.lines, *screen.scores.lines, *screen.detail.lines, *screen.state.lines]
    return "\n".join([*rows, *(line.plain for line in lines)])


async def choose_pack(app: WorkbenchApp, pilot: Pilot[None], path: Path, text: str = PACK) -> None:
    path.write_text(text)
    await press_keys(pilot, "ctrl+l")
    assert isinstance(app.screen, ChooseDialog)
    app.screen.dismiss(str(path))
    await until(pilot, lambda: "Mine" in seen(app))


async def add(pilot: Pilot[None], name: str) -> None:
    await press_keys(pilot, "ctrl+o")
    await press_keys(pilot, *name, "enter")


async def test_an_evaluation_from_the_pack_to_the_export(host: ScriptedHost, clock: FakeClock, tmp_path: Path) -> None:
    tools = FakeEvalTools()
    async with evals_on(host, clock, evals=tools, export_folder=tmp_path) as (app, pilot):
        assert "Ctrl+L chooses a pack" in seen(app)
        await pilot.press("f9")
        assert "chooses a pack first" in seen(app)
        await choose_pack(app, pilot, tmp_path / "mine.toml")
        await add(pilot, "b")
        await pilot.press("f9")
        await until(pilot, lambda: bool(tools.eval_runs.records))
        await settle(pilot)
        text = seen(app)
        assert "smol A" in text
        assert "100 %" in text
        assert "not enough cases to tell" in text
        assert "✓ ✗ sea" in text
        assert '"blue" is not' in text
        assert "It is green [bold]." in text
        await press_keys(pilot, "enter")
        assert isinstance(app.screen, TextDialog)
        await press_keys(pilot, "escape", "f7")
        await press_keys(pilot, "escape", "ctrl+r")
        assert isinstance(app.screen, ChooseDialog)
        await press_keys(pilot, "enter")
        assert ", kept." in seen(app)
        await press_keys(pilot, "delete", "f6", "down", "enter")
        assert "3 samples each" in seen(app)


async def test_a_broken_pack_asks_and_a_narrow_screen_fits(
    host: ScriptedHost, clock: FakeClock, tmp_path: Path
) -> None:
    tools = FakeEvalTools()
    tools.eval_runs.error = EvalError("The disk is full.")
    async with evals_on(host, clock, size=(80, 24), evals=tools) as (app, pilot):
        await choose_pack(app, pilot, tmp_path / "m.toml", PACK + '[[cases]]\nprompt = ""\n')
        assert "1 case is broken: line 10" in seen(app)
        await press_keys(pilot, "f9")
        assert isinstance(app.screen, ConfirmDialog)
        await pilot.press("enter")
        await until(pilot, lambda: "The disk is full" in seen(app))
        assert "2 of 2 done" in screen_of(app)._state()
        assert not screen_of(app).detail.display


async def test_a_blind_test_on_the_screen(host: ScriptedHost, clock: FakeClock, tmp_path: Path) -> None:
    tools = FakeEvalTools()
    async with evals_on(host, clock, evals=tools) as (app, pilot):
        await pilot.press("ctrl+b")
        assert "two models" in seen(app)
        await choose_pack(app, pilot, tmp_path / "mine.toml")
        await add(pilot, "b")
        await press_keys(pilot, "ctrl+b")
        # The second offer is a preference.
        await press_keys(pilot, "down", "enter")
        screen = app.screen
        assert isinstance(screen, BlindScreen)
        await until(pilot, lambda: screen._test.next is not None)
        await pilot.press("space")
        shown = "".join(line.plain for name in "12" for line in screen.query_one(f"#blind-{name}").lines)
        assert "smol" not in shown
        assert "It is" in shown
        await pilot.press("1", "0")
        assert len(tools.blind_runs.records[0].voted) == 2
        await settle(pilot)
        keys = screen.query_one(KeyBar)
        assert "1 First" in keys.lines[0].plain
        assert "Export" not in keys.lines[0].plain
        await press_keys(pilot, "escape")
        assert "First" not in keys.lines[0].plain
        assert "F7 Export" in keys.lines[0].plain
        result = " ".join(line.plain for line in screen.head.lines)
        assert "Stopped after 2 of 12 trials." in result
        assert "smol A" in result
        await press_keys(pilot, "escape")
        assert isinstance(app.screen, EvalScreen)


async def test_the_same_model_twice_is_refused_in_a_blind_test(host: ScriptedHost, clock: FakeClock) -> None:
    async with evals_on(host, clock) as (app, pilot):
        await add(pilot, "a")
        await press_keys(pilot, "ctrl+b")
        await press_keys(pilot, *"Why", "enter")
        screen = app.screen
        assert isinstance(screen, BlindScreen)
        await until(pilot, lambda: bool(screen._problem))
        assert "nothing to tell apart" in " ".join(line.plain for line in screen.head.lines)


async def test_a_blind_test_is_left_while_it_generates(
    make_host: Callable[[Sequence[ScriptedModel]], ScriptedHost], clock: FakeClock, tmp_path: Path
) -> None:
    slow = [replace(model(name, f"{name} " * 50), pace=Pace(0, prefill_tps=0, decode_tps=9)) for name in "ab"]
    host = make_host(slow)
    async with evals_on(host, clock) as (app, pilot):
        await choose_pack(app, pilot, tmp_path / "mine.toml")
        await add(pilot, "b")
        clock.hold_after(5)
        await press_keys(pilot, "ctrl+b")
        await pilot.press("enter")
        await until(pilot, lambda: clock.budget == 0 and isinstance(app.screen, BlindScreen) and app.screen.state.lines)
        assert isinstance(app.screen, BlindScreen)
        assert "Generating all answers first" in app.screen.state.lines[0].plain
        explained = " ".join(line.plain.strip() for line in app.screen.head.lines)
        assert "Which of the two wrote X?" in explained
        assert "Vote for the one that wrote X." in explained
        await pilot.press("f3")
        await until(pilot, lambda: not isinstance(app.screen, BlindScreen))
        await until(pilot, lambda: all(engine.closed for engine in host.opened[1:]))
        clock.release()


async def test_the_prompts_of_a_blind_test_are_those_of_the_pack_the_chat_and_the_last_conversations() -> None:
    def session(name: str) -> Session:
        return Session(name, 1.0, 2.0, tree=Tree.of([Turn(Message("user", f"Question of {name}?"), 1.0)]))

    class Store:
        async def summaries(self, *, figures: bool) -> list[SessionSummary]:
            return [SessionSummary(name, name, "m", 1, at) for name, at in (("old", 1.0), ("this", 3.0), ("new", 2.0))]

        async def open_session(self, name: str) -> Session:
            return session(name)

    offered: list[ChooseDialog] = []
    screen: Any = SimpleNamespace(app=SimpleNamespace(push_screen=lambda dialog, chosen: offered.append(dialog)))
    services: Any = SimpleNamespace(sessions=Store())
    specs = LaneSpec("a", "a", LoadSettings(), Sampling()), LaneSpec("b", "b", LoadSettings(), Sampling())
    pack = EvalPack("Mine", of_prompts(["One?"]))
    await choose_blind_test(screen, services, specs, pack, session("this"), lambda *_: None, lambda _: None)
    assert [row.partition("? ")[2].strip() for row in offered[0]._texts[:3]] == [
        "the prompts of Mine", "the questions of this chat", "the questions of the last 2 conversations",
    ]  # fmt: skip
