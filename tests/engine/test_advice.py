"""Which models fit together, computed from real files for a machine of a given size."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.core.errors import UnknownModelError
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.engine.advice import LocalAdviser
from workbench.engine.files import LocalFiles
from workbench.gguf.shares import DeviceRoom, Room

LOAD = LoadSettings(num_ctx=512)
COPIED = LoadSettings(num_ctx=512, use_mmap=False)


class FilesHere(LocalFiles):
    """The real files, on a machine with so much free memory."""

    def __init__(self, *free: int) -> None:
        super().__init__()
        host, *gpus = free
        self._room = Room(
            DeviceRoom("CPU", host), tuple(DeviceRoom(f"CUDA{index}", size) for index, size in enumerate(gpus))
        )

    async def room(self) -> Room:
        return self._room


def adviser(demo: Path, *free: int) -> LocalAdviser:
    def resolve(ref: str) -> ModelEntry:
        if ref == "gone":
            raise UnknownModelError("There is no such model.")
        return ModelEntry(ref, ref, path=None if ref == "served" else str(demo))

    return LocalAdviser(resolve, FilesHere(*free))


@pytest.fixture(scope="module")
def weights(demo_path: Path) -> int:
    return demo_path.stat().st_size


async def need(demo_path: Path, load: LoadSettings) -> int:
    """What the model takes of the host alone."""
    model = await LocalFiles().fit_model(demo_path)
    return model.price(model.question(load), Room(DeviceRoom("CPU", 10**12))).shares[0].total_bytes


async def test_two_fit_where_there_is_room_for_both(demo_path: Path) -> None:
    each = await need(demo_path, COPIED)
    pair = [("a", COPIED), ("b", COPIED)]
    assert await adviser(demo_path, 2 * each).fit_together(pair)
    assert not await adviser(demo_path, 2 * each - 1).fit_together(pair)


async def test_a_file_that_is_mapped_twice_is_in_memory_once(demo_path: Path, weights: int) -> None:
    each = await need(demo_path, LOAD)
    room = 2 * each - weights // 2
    assert await adviser(demo_path, room).fit_together([("a", LOAD), ("b", LOAD)])
    assert not await adviser(demo_path, room).fit_together([("a", COPIED), ("b", COPIED)])


async def test_one_alone_is_not_asked_about(demo_path: Path) -> None:
    assert await adviser(demo_path, 1).fit_together([("a", LOAD)])


@pytest.mark.parametrize("unknown", ["gone", "served"])
async def test_an_unknown_need_counts_as_fitting(demo_path: Path, unknown: str) -> None:
    each = await need(demo_path, LOAD)
    assert await adviser(demo_path, each).fit_together([(unknown, LOAD), ("a", LOAD)])
    assert not await adviser(demo_path, each - 1).fit_together([(unknown, LOAD), ("a", LOAD)])


async def test_what_one_takes_of_a_gpu_the_next_cannot_have(demo_path: Path) -> None:
    all_layers = LoadSettings(num_ctx=512, num_gpu=99)
    room = 10**12
    assert await adviser(demo_path, room, room).fit_together([("a", all_layers), ("b", all_layers)])
    model = await LocalFiles().fit_model(demo_path)
    fit = model.price(model.question(all_layers), Room(DeviceRoom("CPU", room), (DeviceRoom("CUDA0", room),)))
    gpu = fit.shares[1].total_bytes
    assert await adviser(demo_path, room, 2 * gpu).fit_together([("a", all_layers), ("b", all_layers)])
    assert not await adviser(demo_path, room, 2 * gpu - 1).fit_together([("a", all_layers), ("b", all_layers)])
