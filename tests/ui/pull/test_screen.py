"""Getting models from the screen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.pilot import Pilot

from tests.ui.drive import press_keys, shown, started, until
from tests.ui.fakes import FakeClock
from tests.ui.pull.fakes import OFFERS, FakePullBook, FakePulls
from workbench.core.pulls import PullProgress, PullRequest
from workbench.engine.scripted import ScriptedHost
from workbench.ui.app import WorkbenchApp
from workbench.ui.dialogs.confirm import ConfirmDialog
from workbench.ui.pull.queue import PullQueue
from workbench.ui.pull.screen import PullScreen
from workbench.ui.widgets.job_bar import JobBar


class Registry:
    """The program on its screen of registries, and what a test asks of it."""

    def __init__(self, pilot: Pilot[None], app: WorkbenchApp, pulls: FakePulls, book: FakePullBook) -> None:
        self.pilot, self.app, self.pulls, self.book = pilot, app, pulls, book

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        # A download that runs is a worker that does not end: it is not waited for.
        for _ in range(3):
            await self.pilot.pause()

    @property
    def queue(self) -> PullQueue:
        return self.app.background.downloads.queue

    @property
    def rows(self) -> str:
        screen = self.app.screen
        assert isinstance(screen, PullScreen)
        listed = [widget._row(index, widget.room).plain for widget in (screen.list, screen.jobs) for index in
                  range(widget.count)]  # fmt: skip
        return "\n".join(listed)


@pytest.fixture
def registry(host: ScriptedHost, clock: FakeClock):
    @asynccontextmanager
    async def start(*left: PullRequest, screen: bool = True) -> AsyncIterator[Registry]:
        pulls, book = FakePulls(), FakePullBook(left)
        async with started(host, clock, None, pulls=lambda: pulls, pull_book=lambda: book, size=(80, 24)) as (
            app,
            pilot,
        ):
            if screen:
                await press_keys(pilot, "f4")
                await press_keys(pilot, "D")
            yield Registry(pilot, app, pulls, book)
            await app.background.close()

    return start


async def test_from_a_name_to_the_chat(registry, monkeypatch) -> None:
    loaded = []
    async with registry() as at:
        monkeypatch.setattr(at.app.chat.loader, "load", lambda ref, label: loaded.append((ref, label)))
        assert isinstance(at.app.screen, PullScreen)
        await at.press(*"tiny")
        assert at.pulls.asked == []
        await at.press("enter")
        assert at.pulls.asked == ["search tiny"]
        assert "maker/Tiny-GGUF" in at.rows
        await at.press("enter")
        assert at.pulls.asked[1:] == ["hf.co/maker/Tiny-GGUF"]
        small, large, here = at.rows.splitlines()
        assert ("4.85" in small, "✓ fits" in small, "✗ too large" in large, "✓ is here" in here) == (True,) * 4
        assert "32,768" in small
        said = " ".join(shown(at.app).split())
        assert "context of up to 32,768 tokens (by its header)" in said
        assert "mmproj-Tiny-F16.gguf (572.2 MiB) is fetched with it; m leaves it out" in said
        assert at.pulls.fetching == []
        await at.press("m", "enter")
        (request,) = at.pulls.fetching
        assert (request.ref, request.size_bytes, request.mmproj) == (OFFERS.offers[0].ref, 4_000_000_000, False)
        at.pulls.listeners[0](PullProgress("x", 10**9, 4 * 10**9, 0, 5e7, 60.0))
        at.app.background.downloads.jobs.look()
        assert "comes" in at.rows.splitlines()[0]
        assert "47.7 MiB/s  1:00 left  25 %" in at.rows
        await at.press("f2")
        await until(at.pilot, lambda: at.app.screen.query(JobBar))
        assert "25 %" in shown(at.app)
        await at.press("f3")
        at.pulls.release()
        await until(at.pilot, lambda: not at.queue.is_busy)
        # From a screen that is not shown, too.
        await until(at.pilot, lambda: not at.app.chat.query(JobBar))
        await at.press("f4", "D", "tab", "enter")
        assert loaded == [("/models/Q4_K_M.gguf", "Tiny-GGUF Q4_K_M")]
        assert at.app.screen is at.app.chat


async def test_the_keys_of_the_queue(registry) -> None:
    async with registry() as at:
        at.app.screen.ask("maker/Tiny-GGUF")
        await at.press("enter", "down", "enter", "tab")
        first, second = at.queue.jobs
        await at.press("h")
        assert (first.state, second.state) == ("stopped", "running")
        await at.press("J")
        assert at.queue.jobs == (second, first)
        await at.press("h")
        assert first.state == "waiting"
        await at.press("H")
        assert {job.state for job in at.queue.jobs} == {"stopped"}
        await at.press("H")
        assert at.queue.is_busy
        await at.press("x")
        assert at.queue.jobs == (second,)
        assert at.book.kept == [second.work]


async def test_quitting_asks_and_the_next_start_offers_to_go_on(registry) -> None:
    async with registry() as at:
        at.app.screen.ask("maker/Tiny-GGUF")
        await at.press("enter", "ctrl+q")
        assert isinstance(at.app.screen, ConfirmDialog)
        await at.press("escape", "ctrl+q", "enter")
        await until(at.pilot, lambda: not at.app.is_running or at.app._exit)
        (kept,) = at.book.kept
    async with registry(kept, screen=False) as at:
        (job,) = at.queue.jobs
        assert job.state == "stopped"
        assert at.pulls.asked == at.pulls.fetching == []
        assert any("1 download not finished" in note.title for note in at.app._notifications)


async def test_another_screen_can_ask_and_an_error_is_a_sentence_and_a_hint(registry) -> None:
    async with registry(screen=False) as at:
        await at.app.run_action("app.pull('other/Thing')")
        await until(at.pilot, lambda: at.pulls.asked)
        assert at.pulls.asked == ["other/Thing"]
        await at.press()
        assert "shows no repository other/Thing. Check the spelling." in " ".join(shown(at.app).split())
        await at.press("escape")
        assert at.app.screen is at.app.chat
