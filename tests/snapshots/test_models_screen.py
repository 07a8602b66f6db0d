"""Pictures of the list of models, and of what each would take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.snapshots.test_screens import SIZES, SnapCompare, program
from tests.ui.drive import press_keys, settle, until
from tests.ui.fakes import FakeLoads
from tests.ui.library_fakes import FakeCatalog, NamedFiles, library
from workbench.core.models import LibraryView, LoadRecord, MemoryUse
from workbench.core.parameters import LoadSettings
from workbench.gguf.shares import DeviceRoom, Room
from workbench.ui.app import WorkbenchApp
from workbench.ui.models.screen import ModelsScreen

WITH_GPU = Room(DeviceRoom("CPU", 5_300_000_000), (DeviceRoom("CUDA0", 700_000_000, 500_000_000),))
FOUND_SO_FAR = replace(library(), models=library().models[:3], read=40, found=1000, complete=False)
NOTHING = LibraryView(complete=True)


class RoomyFiles(NamedFiles):
    """One real file under every name, on a machine of one's choice."""

    def __init__(self, real: Path, room: Room | None = None) -> None:
        super().__init__(real)
        self._room = room or self._room


def record() -> LoadRecord:
    """What the Q8_0 took the last time."""
    taken, estimate = MemoryUse(97_000_000, 53_000_000, 21_200_000), MemoryUse(97_000_000, 53_000_000, 21_900_000)
    path = str(library().models[2].path)
    return LoadRecord(path, LoadSettings(num_ctx=8192), "CPU", taken, estimate, 1.0, decode_tps=98.4)


def on(demo_path: Path, view: LibraryView | None = None, **services: object) -> WorkbenchApp:
    loads = FakeLoads()
    loads.records.append(record())
    services.setdefault("files", NamedFiles(demo_path))
    app, _ = program(catalog=FakeCatalog(view or library()), loads=loads, **services)
    return app


async def open_models(pilot: Pilot[None], keys: Sequence[str] = ()) -> None:
    await settle(pilot)
    await pilot.press("f4")
    await until(pilot, lambda: isinstance(pilot.app.screen, ModelsScreen))
    await settle(pilot)
    for key in keys:
        await press_keys(pilot, key)


LAST = ["end", "up"]
"""To the Q8_0 of the last model in the list."""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(LAST, id="list"),
        pytest.param([*LAST, "tab"], id="panel"),
        pytest.param([*LAST, "tab", *["right_square_bracket"] * 5, "K", "v", "v", "a"], id="what-if"),
        pytest.param(["home", "down", "down", "down", "space", "space", "z"], id="folded"),
        pytest.param(["slash", *"qwen q8", "enter"], id="search"),
        pytest.param(["t", "s", "home", "space"], id="flat"),
        pytest.param(["F"], id="filters"),
        pytest.param(["exclamation_mark"], id="problems"),
    ],
)
def test_models(snap_compare: SnapCompare, demo_path: Path, size: tuple[int, int], keys: list[str]) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await open_models(pilot, keys)

    assert snap_compare(on(demo_path), terminal_size=size, run_before=steps)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "keys", [pytest.param([], id="fits"), pytest.param(["tab", *["plus"] * 4], id="too-many-layers")]
)
def test_a_gpu(snap_compare: SnapCompare, demo_path: Path, size: tuple[int, int], keys: list[str]) -> None:
    app = on(demo_path, files=RoomyFiles(demo_path, WITH_GPU))

    async def steps(pilot: Pilot[None]) -> None:
        await open_models(pilot, [*LAST, *keys])

    assert snap_compare(app, terminal_size=size, run_before=steps)


@pytest.mark.parametrize("size", SIZES)
def test_too_little_memory(snap_compare: SnapCompare, demo_path: Path, size: tuple[int, int]) -> None:
    app = on(demo_path, files=RoomyFiles(demo_path, Room(DeviceRoom("CPU", 260_000_000))))

    async def steps(pilot: Pilot[None]) -> None:
        await open_models(pilot, LAST)

    assert snap_compare(app, terminal_size=size, run_before=steps)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", [pytest.param(FOUND_SO_FAR, id="searching"), pytest.param(NOTHING, id="empty")])
def test_how_far_it_is(snap_compare: SnapCompare, demo_path: Path, size: tuple[int, int], view: LibraryView) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await open_models(pilot)

    assert snap_compare(on(demo_path, view), terminal_size=size, run_before=steps)
