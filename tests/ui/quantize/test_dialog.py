"""Making quantizations from the screen, with the real llama.cpp in its child process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.ui.drive import app_on, press_keys, settle, shown, until
from tests.ui.fakes import FakeClock, FakeFiles
from tests.ui.quantize.drive import choose, dialog_on, entry, made, said
from workbench.core.models import ModelEntry
from workbench.engine.scripted import ScriptedHost
from workbench.gguf.reader import read_header
from workbench.gguf.targets import QUANT_TYPES
from workbench.ui.dialogs.confirm import ConfirmDialog
from workbench.ui.quantize.dialog import QuantizeDialog
from workbench.ui.quantize.jobs_dialog import JobsDialog
from workbench.ui.widgets.job_bar import JobBar


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
