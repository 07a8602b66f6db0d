"""Checking all files of a model, and repairing those that are damaged."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.core.errors import CancelledError
from workbench.core.models import Place
from workbench.core.pulls import PullProgress
from workbench.core.units import size_text
from workbench.library.folders import model_file
from workbench.library.pull.pull import Report
from workbench.library.pull.repair import Repair
from workbench.library.pull.service import PullService
from workbench.library.pull.verify import Verification


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What was found out about a model."""

    files: tuple[Verification, ...]
    repairs: tuple[str, ...] = ()
    """What was repaired, in sentences."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong now, as far as is known."""
        return all(each.ok for each in self.files)

    @property
    def lines(self) -> list[str]:
        """What was found, in a line or two for each file."""
        found = []
        for each in self.files:
            stated = "the digest is right" if each.expected else "nothing states its digest"
            found.append(f"{each.path}: {'; '.join(each.problems) if each.problems else f'sound, {stated}'}")
            found.append(f"  SHA-256 {each.sha256}")
        return found


async def check_model(
    service: PullService, path: Path, places: Sequence[Place], report: Report, *, repair: bool, source: str = ""
) -> ModelCheck:
    """Check all files of the model at `path`; with `repair`, fetch what is wrong, from `source` where that is named.

    Raises:
        WorkbenchError: A file cannot be read, or not repaired.
    """
    paths = model_file(path).paths
    checked = [await _verified(service, each, report) for each in paths]
    repairs = []
    for index, each in enumerate(checked):
        if repair and not each.ok:
            done = await service.repair(each, places, source, report)
            repairs.append(repair_text(done))
            checked[index] = replace(await _verified(service, each.path, report), repaired_bytes=done.fetched_bytes)
    return ModelCheck(tuple(checked), tuple(repairs))


async def _verified(service: PullService, path: Path, report: Report) -> Verification:
    total, done, stopped = path.stat().st_size, 0, threading.Event()

    def on_bytes(count: int) -> None:
        nonlocal done
        if stopped.is_set():
            raise CancelledError("Stopped.")
        done += count
        report(PullProgress(path.name, done, total, done, None, None))

    try:
        return await asyncio.to_thread(service.verify, path, on_bytes)
    finally:
        # The thread goes on where this was cancelled.
        stopped.set()


def repair_text(repair: Repair) -> str:
    """What a repair did, in a sentence or two."""
    if repair.whole:
        text = f"The whole file was fetched ({size_text(repair.fetched_bytes)}), and replaced the damaged one."
        return f"{text} Its {repair.other_names} other names keep the damaged one." if repair.other_names else text
    text = f"{size_text(repair.fetched_bytes)} were fetched, and written into the file."
    return f"{text} Its {repair.other_names} other names (hard links) are repaired too." if repair.other_names else text
