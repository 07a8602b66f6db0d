"""The dialog of quantizations, as it is used."""

from __future__ import annotations

from pathlib import Path

from textual.pilot import Pilot

from tests.ui.drive import settle
from workbench.core.models import ModelEntry
from workbench.gguf.targets import QUANT_TYPES
from workbench.ui.app import WorkbenchApp
from workbench.ui.quantize.dialog import QuantizeDialog

INDEX = {name: index for index, name in enumerate(QUANT_TYPES)}


def entry(path: Path, quant: str) -> ModelEntry:
    return ModelEntry(str(path), "Tiny", quant, str(path), path.stat().st_size, bits_per_weight=32.0)


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
