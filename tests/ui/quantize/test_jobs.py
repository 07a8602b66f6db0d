"""Quantizations in progress, on every screen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from textual.pilot import Pilot

from tests.ui.drive import app_on, press_keys, settle, shown, started, until
from tests.ui.fakes import FakeFiles
from tests.ui.quantize.drive import INDEX, made, said
from tests.ui.quantize.test_queue import SlowFiles
from workbench.core.cancel import CancelToken
from workbench.core.errors import DiskFullError, QuantizeError
from workbench.core.models import LibraryView, ModelEntry
from workbench.gguf.quantization import ProgressListener, QuantizeJob, QuantizeResult
from workbench.gguf.targets import QUANT_TYPES
from workbench.ui.dialogs.confirm import ConfirmDialog
from workbench.ui.model_files.screens import inspect_screen
from workbench.ui.quantize.dialog import QuantizeDialog
from workbench.ui.quantize.jobs_dialog import JobsDialog
from workbench.ui.widgets.job_bar import JobBar


class Held(SlowFiles):
    """Real sizes, and quantizations that end when the test says so."""


async def begin(pilot: Pilot[None], dialog: QuantizeDialog, files: Held, kind: str) -> None:
    dialog.types.move_to(INDEX[kind])
    await pilot.pause()
    await pilot.press("enter")
    await until(pilot, lambda: pilot.app.screen is not dialog)


async def planned(pilot: Pilot[None], model: ModelEntry) -> QuantizeDialog:
    dialog = QuantizeDialog(pilot.app.services, model, [model])
    pilot.app.push_screen(dialog)
    await until(pilot, lambda: len(dialog._choices.plans) == len(QUANT_TYPES))
    return dialog


async def test_the_job_continues_on_every_screen(host, clock, model):
    files = Held()
    async with started(host, clock, files=files) as (app, pilot):
        await begin(pilot, await planned(pilot, model), files, "Q8_0")
        await begin(pilot, await planned(pilot, model), files, "Q6_K")
        await until(pilot, lambda: made(app) == ["running", "waiting"])
        app.background.workshop.jobs.look()
        await pilot.pause()
        assert app.screen is app.chat
        assert "Tiny Q8_0" in shown(app)
        assert "1 waiting" in shown(app)
        # The chat answers meanwhile.
        await pilot.press(*"Hello", "enter")
        await until(pilot, lambda: "blue" in shown(app))
        app.push_screen(inspect_screen(app.services, model))
        await pilot.pause()
        app.background.workshop.jobs.look()
        await until(pilot, lambda: bool(app.screen.query(JobBar)))
        assert "25 %" in shown(app)
        # Escape leaves the screen and not the job.
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)
        await pilot.press("escape")
        assert made(app) == ["running", "waiting"]
        files.go_on.set()
        await settle(pilot)
        assert made(app) == ["done", "done"]


async def test_what_is_ready_is_loaded_from_any_screen(host, clock, model, monkeypatch):
    loaded = []
    files = Held()
    files.go_on.set()
    async with started(host, clock, None, files=files) as (app, pilot):
        monkeypatch.setattr(app.chat.loader, "load", lambda ref, label: loaded.append(label))
        await begin(pilot, await planned(pilot, model), files, "Q8_0")
        app.push_screen(inspect_screen(app.services, model))
        await settle(pilot)
        await press_keys(pilot, "ctrl+s", "enter")
        assert loaded == ["Tiny Q8_0"]
        assert app.screen is app.chat


async def test_stopping_in_the_list(host, clock, model):
    files = Held()
    async with started(host, clock, None, files=files, size=(80, 24)) as (app, pilot):
        await begin(pilot, await planned(pilot, model), files, "Q8_0")
        await begin(pilot, await planned(pilot, model), files, "Q6_K")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, JobsDialog))
        app.screen.look()
        await pilot.pause()
        assert "tensor   10 of 40  blk.3.ffn_up.weight" in shown(app)
        assert "47.7 MiB/s, 0:02 so far, 0:06 left" in shown(app)
        await pilot.press("enter", "x")
        await until(pilot, lambda: made(app) == ["stopped", "running"])
        await pilot.press("down", "x")
        await until(pilot, lambda: made(app) == ["stopped", "stopped"])
        await press_keys(pilot, "escape")
        assert made(app) == []
        assert not app.screen.query(JobBar)
        await press_keys(pilot, "ctrl+s")
        await pilot.press("x", "enter", "escape")


async def test_a_failure_is_reported(host, clock, model):
    files = Held()
    files.error = DiskFullError("/m: 105 MB are needed there, and 3 MB are free.", "Make room.")
    files.go_on.set()
    async with started(host, clock, None, files=files) as (app, pilot):
        await begin(pilot, await planned(pilot, model), files, "Q8_0")
        await settle(pilot)
        assert "Tiny Q8_0 failed: /m: 105 MB are needed" in shown(app)
        await press_keys(pilot, "ctrl+s")
        assert "Make room." in shown(app)


async def test_quitting_asks_first(host, clock, model):
    files = Held()
    async with started(host, clock, None, files=files, size=(80, 24)) as (app, pilot):
        await begin(pilot, await planned(pilot, model), files, "Q8_0")
        await until(pilot, lambda: made(app) == ["running"])
        await pilot.press("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)
        assert made(app) == ["running"]
        await pilot.press("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("enter")
        await until(pilot, lambda: not app.is_running)
    assert made(app) == ["stopped"]


async def test_quitting_twice_does_not_ask_again(host, clock, model):
    files = Held()
    app = app_on(host, clock, None, files=files)
    async with app.run_test() as pilot:
        await settle(pilot)
        await begin(pilot, await planned(pilot, model), files, "Q8_0")
        await pilot.press("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("ctrl+q")
        await until(pilot, lambda: not app.is_running)
    assert made(app) == ["stopped"]


async def test_a_real_job_that_is_quit_leaves_nothing(host, clock, demo_path, tmp_path):
    """The demo model takes long enough to be stopped in the middle."""
    begun = asyncio.Event()

    class Watched(FakeFiles):
        async def quantize(
            self, job: QuantizeJob, on_progress: ProgressListener, cancel: CancelToken
        ) -> QuantizeResult:
            def progress(progress) -> None:
                begun.set()
                on_progress(progress)

            return await super().quantize(job, progress, cancel)

    app = app_on(host, clock, None, files=Watched())
    async with app.run_test() as pilot:
        await settle(pilot)
        job = QuantizeJob(demo_path, tmp_path / "big.gguf", QUANT_TYPES["F32"], allow_requantize=True)
        app.background.workshop.begin(job, "Demo")
        await asyncio.wait_for(begun.wait(), 60)
        await app.background.workshop.jobs.close()
        assert not [*tmp_path.glob("*big*")]
        assert made(app) == ["stopped"]


async def test_the_library_is_searched_again(host, clock, model):
    class Searched:
        def __init__(self) -> None:
            self.again: list[bool] = []

        async def models(self) -> list[ModelEntry]:
            return [model]

        async def watch(self, *, again: bool = False) -> AsyncIterator[LibraryView]:
            self.again.append(again)
            yield LibraryView((model,), complete=True)

    files, catalog = Held(), Searched()
    files.go_on.set()
    app = app_on(host, clock, None, files=files, catalog=catalog)
    async with app.run_test() as pilot:
        await settle(pilot)
        await begin(pilot, await planned(pilot, model), files, "Q8_0")
        await settle(pilot)
        assert catalog.again == [True]


async def test_the_open_model_from_the_palette(host, clock):
    async with started(host, clock) as (app, pilot):
        await press_keys(pilot, "ctrl+p", *"quantize the model")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, QuantizeDialog))
        await settle(pilot)
        # The scripted model's file is not there.
        assert "no such file" in said(app.screen)


async def test_an_unexpected_error_is_reported(host, clock, model, caplog):
    files = Held()
    files.error = QuantizeError("its process ended unexpectedly.", "Try once more.")
    files.go_on.set()
    app = app_on(host, clock, None, files=files)
    async with app.run_test() as pilot:
        await settle(pilot)
        await begin(pilot, await planned(pilot, model), files, "Q8_0")
        await settle(pilot)
        assert made(app) == ["failed"]
        files.error = ZeroDivisionError()
        await begin(pilot, await planned(pilot, model), files, "Q6_K")
        await settle(pilot)
    assert "ZeroDivisionError" in caplog.text
