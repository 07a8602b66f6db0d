from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.core.memory import MemoryBuffer
from workbench.core.models import LoadRecord, MemoryUse
from workbench.core.parameters import LoadSettings
from workbench.store.loads import FileLoadBook

MEMORY = MemoryUse(1, 2, 3, "CUDA0")
RECORD = LoadRecord("/m/a.gguf", LoadSettings(num_ctx=4096), "CPU", MEMORY, MemoryUse(1, 2, 4), 17.5, 12.25)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "loads.json"


async def test_what_was_remembered_is_recalled(path: Path) -> None:
    await FileLoadBook(path).remember(RECORD)
    assert await FileLoadBook(path).recall("/m/a.gguf") == [RECORD]
    assert await FileLoadBook(path).recall("/m/b.gguf") == []


async def test_what_each_device_held_is_recalled(path: Path) -> None:
    memory = MemoryUse(10, 4, 2, "CUDA1", (("CPU", 1), ("CUDA0", 6), ("CUDA1", 9)))
    record = replace(RECORD, memory=memory)
    await FileLoadBook(path).remember(record)
    assert await FileLoadBook(path).recall("/m/a.gguf") == [record]


async def test_a_record_that_does_not_tell_the_devices_is_recalled(path: Path) -> None:
    await FileLoadBook(path).remember(RECORD)
    content = json.loads(path.read_text())
    del content["loads"][0]["memory"]["by_device"]
    path.write_text(json.dumps(content))
    assert await FileLoadBook(path).recall("/m/a.gguf") == [RECORD]


async def test_the_newest_comes_first_and_replaces_the_same_load(path: Path) -> None:
    book = FileLoadBook(path)
    other = LoadRecord("/m/a.gguf", LoadSettings(num_ctx=8192), "CPU", MEMORY, None, 18.0)
    again = LoadRecord("/m/a.gguf", LoadSettings(num_ctx=4096), "CUDA0", MEMORY, None, 19.0)
    for record in (RECORD, other, again):
        await book.remember(record)
    assert await book.recall("/m/a.gguf") == [again, other]


async def test_the_last_load_of_an_architecture_corrects_its_estimates(path: Path) -> None:
    def load(name: str, architecture: str, taken: int) -> LoadRecord:
        sizes = ((200, 0, 100), (200, 0, taken))
        estimate, memory = (
            MemoryUse.of([MemoryBuffer("CPU", "weights", weights), MemoryBuffer("CPU", "compute", compute * 2**20)])
            for weights, _, compute in sizes
        )
        return LoadRecord(name, LoadSettings(), "CPU", memory, estimate, 1.0, architecture=architecture)

    book = FileLoadBook(path)
    assert await book.correction("llama") == {}
    for record in (load("/m/a", "llama", 90), load("/m/b", "llama", 110), load("/m/c", "lfm2", 50), RECORD):
        await book.remember(record)
    assert await book.correction("llama") == {"compute": 1.1}
    assert await book.correction("lfm2") == {"compute": 0.5}
    assert await book.correction("") == {}


async def test_old_records_are_dropped(path: Path) -> None:
    book = FileLoadBook(path, kept=4)
    for number in range(7):
        await book.remember(LoadRecord(f"/m/{number}", LoadSettings(), "CPU", MEMORY, None, float(number)))
    assert await book.recall("/m/2") == []
    assert len(await book.recall("/m/3")) == 1


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"loads": 3}', '{"loads": [3, {}, {"path": "/m/a.gguf"}]}', "[" * 100_000, "\udcff"],
)
async def test_a_damaged_file_holds_nothing_and_is_replaced(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    book = FileLoadBook(path)
    assert await book.recall("/m/a.gguf") == []
    await book.remember(RECORD)
    assert await book.recall("/m/a.gguf") == [RECORD]


async def test_settings_of_another_version_are_left_out(path: Path) -> None:
    await FileLoadBook(path).remember(RECORD)
    path.write_text(path.read_text().replace('"num_ctx"', '"context"'))
    assert await FileLoadBook(path).recall("/m/a.gguf") == []


async def test_a_place_that_cannot_be_written_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    await FileLoadBook(tmp_path / "file" / "loads.json").remember(RECORD)
    assert "not remembered" in caplog.text


async def test_many_at_once_are_all_kept(path: Path) -> None:
    book = FileLoadBook(path)
    records = [LoadRecord(f"/m/{number}", LoadSettings(), "CPU", MEMORY, None, 0.0) for number in range(20)]
    await asyncio.gather(*(book.remember(record) for record in records))
    assert all([len(await book.recall(record.path)) == 1 for record in records])
