"""Making quantizations from the screen, with the real llama.cpp in its child process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.gguf.conftest import write_model
from tests.ui.drive import app_on, press_keys, settle, shown, started, until
from tests.ui.fakes import FakeClock, FakeFiles
from tests.ui.quantize.test_queue import SlowFiles
from workbench.core.cancel import CancelToken
from workbench.core.errors import DiskFullError, QuantizeError
from workbench.core.models import LibraryView, ModelEntry
from workbench.engine.scripted import ScriptedHost
from workbench.gguf.quantization import ProgressListener, QuantizeJob, QuantizeResult
from workbench.gguf.reader import read_header
from workbench.gguf.targets import QUANT_TYPES
from workbench.ui.app import WorkbenchApp
from workbench.ui.dialogs.confirm import ConfirmDialog
from workbench.ui.model_files.screens import inspect_screen
from workbench.ui.quantize.dialog import QuantizeDialog
from workbench.ui.quantize.jobs_dialog import JobsDialog
from workbench.ui.widgets.job_bar import JobBar

INDEX = {name: index for index, name in enumerate(QUANT_TYPES)}


def entry(path: Path, quant: str) -> ModelEntry:
    return ModelEntry(str(path), "Tiny", quant, str(path), path.stat().st_size, bits_per_weight=32.0)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("tiny") / "Tiny-F32.gguf", width=256, feed_forward=512)


@pytest.fixture
def model(written, tmp_path) -> ModelEntry:
    path = tmp_path / "Tiny-F32.gguf"
    path.write_bytes(written.read_bytes())
    return entry(path, "F32")


@pytest.fixture
def program(host: ScriptedHost, clock: FakeClock):
    """The program with the dialog on top."""

    @asynccontextmanager
    async def start(
        first: ModelEntry, *others: ModelEntry, files: FakeFiles | None = None, size: tuple[int, int] = (120, 36)
    ) -> AsyncIterator[tuple[Pilot[None], QuantizeDialog]]:
        app = app_on(host, clock, None, files=files)
        async with app.run_test(size=size) as pilot:
            await settle(pilot)
            yield pilot, await dialog_on(pilot, first, *others)

    return start


async def dialog_on(pilot: Pilot[None], first: ModelEntry, *others: ModelEntry) -> QuantizeDialog:
    dialog = QuantizeDialog(pilot.app.services, first, [first, *others])
    pilot.app.push_screen(dialog)
    await settle(pilot)
    return dialog


async def choose(pilot: Pilot[None], dialog: QuantizeDialog, kind: str) -> None:
    dialog.types.move_to(INDEX[kind])
    await settle(pilot)


def said(dialog: QuantizeDialog) -> str:
    """The notes, without the line breaks that depend on the length of a path."""
    return " ".join(line.plain for line in dialog.notes.lines)


def made(app: WorkbenchApp) -> list[str]:
    return [queued.state for queued in app.background.workshop.queue.jobs]


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_from_the_choice_to_the_chat(program, model, monkeypatch, size):
    loaded = []
    async with program(model, size=size) as (pilot, dialog):
        app = pilot.app
        monkeypatch.setattr(app.chat.loader, "load", lambda ref, label: loaded.append((ref, label)))
        assert dialog.kind.name == "Q4_K_M"
        target = Path(model.path or "").with_name("Tiny-Q4_K_M.gguf")
        assert dialog.target.value == str(target)
        assert "are free there" in said(dialog)
        await press_keys(pilot, "enter")
        assert read_header(target).tensors
        assert sorted(path.name for path in target.parent.glob("*Tiny*")) == ["Tiny-F32.gguf", target.name]
        assert "Tiny Q4_K_M is ready" in shown(app)
        await press_keys(pilot, "ctrl+s")
        assert isinstance(app.screen, JobsDialog)
        assert "bits per weight" in shown(app)
        await press_keys(pilot, "enter")
        assert app.screen is app.chat
        assert loaded == [(str(target), "Tiny Q4_K_M")]
        assert not app.screen.query(JobBar)


async def test_sizes_of_every_type_are_those_that_come_out(program, model):
    async with program(model) as (pilot, dialog):
        plans = dialog._choices.plans
        assert plans.keys() == QUANT_TYPES.keys()
        await choose(pilot, dialog, "Q6_K")
        await press_keys(pilot, "enter")
        size = plans["Q6_K"].size
        assert size is not None
        path = Path(model.path or "").with_name("Tiny-Q6_K.gguf")
        assert abs(path.stat().st_size - size.file_bytes) <= 100


async def test_a_quantized_source_is_asked_for(program, model, tmp_path):
    async with program(model) as (pilot, dialog):
        await choose(pilot, dialog, "Q8_0")
        await press_keys(pilot, "enter")
        q8 = entry(tmp_path / "Tiny-Q8_0.gguf", "Q8_0")
        dialog = await dialog_on(pilot, q8, model)
        # The better source comes first, whatever model is selected.
        assert dialog.source == model
        await press_keys(pilot, "right")
        assert dialog.source == q8
        assert "already quantized" in said(dialog)
        await choose(pilot, dialog, "Q4_0")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await press_keys(pilot, "escape")
        assert pilot.app.screen is dialog
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await press_keys(pilot, "enter")
        assert (tmp_path / "Tiny-Q4_0.gguf").is_file()


@pytest.mark.parametrize(
    ("kind", "target", "why"),
    [
        ("IQ1_S", None, "needs an importance matrix"),
        ("Q8_0", "Tiny-F32.gguf", "this is the source itself"),
        ("Q8_0", "missing/x.gguf", "there is no such folder"),
        ("Q8_0", "", "Type the path of the file"),
    ],
)
async def test_the_reason_of_a_refusal_is_shown(program, model, tmp_path, kind, target, why):
    async with program(model) as (pilot, dialog):
        await choose(pilot, dialog, kind)
        if target is not None:
            dialog.target.value = str(tmp_path / target) if target else ""
            await settle(pilot)
        await press_keys(pilot, "enter")
        assert pilot.app.screen is dialog
        notices = [notice.message for notice in pilot.app._notifications]
        assert why in said(dialog) or any(why in notice for notice in notices)
        assert [path.name for path in tmp_path.glob("*.gguf")] == ["Tiny-F32.gguf"]


async def test_a_disk_without_room(program, model):
    class FullFiles(FakeFiles):
        async def free_bytes(self, folder: Path) -> int | None:
            return 1_000_000

    async with program(model, files=FullFiles()) as (pilot, dialog):
        assert "only 976.6 KiB are free there" in said(dialog)
        await press_keys(pilot, "enter")
        assert pilot.app.screen is dialog


async def test_a_folder_as_the_target_gets_the_conventional_name(program, model, tmp_path):
    async with program(model) as (pilot, dialog):
        folder = tmp_path / "there"
        folder.mkdir()
        dialog.target.value = str(folder)
        dialog.target.focus()
        await settle(pilot)
        await press_keys(pilot, "enter")
        assert [path.name for path in folder.iterdir()] == ["Tiny-Q4_K_M.gguf"]


async def test_the_target_follows_the_type_until_it_is_edited(program, model, tmp_path):
    async with program(model) as (pilot, dialog):
        await choose(pilot, dialog, "Q8_0")
        assert dialog.target.value.endswith("Tiny-Q8_0.gguf")
        dialog.target.value = str(tmp_path / "mine.gguf")
        await choose(pilot, dialog, "Q6_K")
        assert dialog.target.value.endswith("mine.gguf")


async def test_the_configured_folder_is_made(program, model, tmp_path):
    target = tmp_path / "all" / "of them" / "Tiny-Q4_K_M.gguf"
    async with program(model, files=FakeFiles(quantize_folder=target.parent)) as (pilot, dialog):
        assert dialog.target.value == str(target)
        assert not target.parent.exists()
        await press_keys(pilot, "enter")
        assert target.is_file()


async def test_an_importance_matrix_is_checked(program, model, tmp_path):
    (tmp_path / "bad.dat").write_bytes(b"nonsense")
    async with program(model) as (pilot, dialog):
        dialog.imatrix.value = str(tmp_path / "bad.dat")
        await until(pilot, lambda: bool(dialog._imatrix_problem))
        await settle(pilot)
        assert "not an importance matrix" in said(dialog)
        # The sizes are those without it.
        assert dialog._choices.plans.keys() == QUANT_TYPES.keys()
        await press_keys(pilot, "enter")
        assert pilot.app.screen is dialog
        dialog.imatrix.value = ""
        await until(pilot, lambda: not dialog._imatrix_problem)
        await settle(pilot)
        assert "are free there" in said(dialog)


async def test_a_matrix_that_was_just_typed_is_looked_at_first(program, model, tmp_path):
    async with program(model) as (pilot, dialog):
        dialog.imatrix.value = str(tmp_path / "missing.dat")
        await pilot.pause()
        dialog.imatrix.focus()
        await press_keys(pilot, "enter")
        assert pilot.app.screen is dialog
        assert "no such file" in said(dialog)
        assert made(pilot.app) == []


async def test_no_source_at_all(program, tmp_path):
    broken = ModelEntry("broken", "Broken", "Q4_0", str(tmp_path / "x.gguf"), problem="truncated")
    async with program(broken) as (pilot, dialog):
        assert "None of its files can be read" in shown(pilot.app)
        await press_keys(pilot, "enter", "left", "right", "down")
        assert pilot.app.screen is dialog
        await press_keys(pilot, "escape")
        assert pilot.app.screen is pilot.app.chat


async def test_a_source_that_has_gone(program, model):
    Path(model.path or "").unlink()
    async with program(model) as (pilot, dialog):
        assert "no such file" in said(dialog)
        await press_keys(pilot, "enter", "escape")
        assert pilot.app.screen is pilot.app.chat


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
