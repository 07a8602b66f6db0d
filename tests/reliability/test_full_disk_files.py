"""Every other file that the program writes, on a disk without space: the old content stays, and the error is typed."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from tests.reliability.disks import MIB, mounted
from workbench.core.bench import BenchMachine, MemorySpeed
from workbench.core.cancel import CancelToken
from workbench.core.errors import BenchRunError, ConfigError, DiskFullError, SessionError, TargetError, WorkbenchError
from workbench.core.models import LoadRecord, MemoryUse
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.session import Session
from workbench.engine.llama.quantize.quantizer import quantize
from workbench.gguf.quantization import QuantizeJob
from workbench.gguf.targets import find_quant_type
from workbench.lab.bench.record import BenchRecord
from workbench.library.file_facts import FileFactsCache
from workbench.library.folders import model_file
from workbench.store.config.write import save_config
from workbench.store.documents import write_document
from workbench.store.export.session import export_session
from workbench.store.files import write_copy
from workbench.store.kept_runs import bench_runs
from workbench.store.loads import FileLoadBook
from workbench.store.memory_speed import best_memory_speed
from workbench.store.races import RaceFolder

MACHINE = BenchMachine("", "a processor", "", "CPU", 4, 2**34, "Linux", ())
RUN = "260101-000000-abcd"


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "disk", 2 * MIB) as found:
        yield found


def race(folder: Path, size: int) -> None:
    asyncio.run(RaceFolder(folder).keep(RUN, {"answer": "word " * size}))


def bench(folder: Path, size: int) -> None:
    bench_runs(folder).save(BenchRecord(RUN, "2026", "tests", ("bench",) * size, MACHINE))


def config(folder: Path, size: int) -> None:
    save_config(folder / "config.toml", {"system": "word " * size})


def export(folder: Path, size: int) -> None:
    session = Session("s", 0.0, 0.0, system="word " * size, sampling=Sampling(), load=LoadSettings())
    export_session(session, "json", folder / "s.json")


def document(folder: Path, size: int) -> None:
    if size < 100:
        (folder / "text.md").write_text("old")
    else:
        asyncio.run(write_document(folder / "text.md", "word " * size))


def copy(folder: Path, size: int) -> None:
    if size >= 100:
        write_copy(folder, "word " * size)


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (race, TargetError),
        (bench, BenchRunError),
        (config, ConfigError),
        (export, SessionError),
        (document, DiskFullError),
        (copy, DiskFullError),
    ],
)
def test_a_full_disk_is_a_typed_error_and_the_old_content_stays(disk, write, kind):
    folder = disk.folder / "files"
    folder.mkdir()
    write(folder, 10)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    disk.fill(4096)
    with pytest.raises(kind, match="No space left") as failure:
        write(folder, 40_000)
    assert isinstance(failure.value, WorkbenchError)
    assert failure.value.hint
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    disk.free()
    write(folder, 40_000)


def test_what_is_only_a_record_is_logged(disk, demo_path, caplog):
    caplog.set_level(logging.WARNING)
    folder = disk.folder / "files"
    folder.mkdir()
    record = LoadRecord("/m/a", LoadSettings(), "CPU", MemoryUse(1, 2, 3), None, 1.0)
    book = FileLoadBook(folder / "loads.json")
    asyncio.run(book.remember(record))
    before = (folder / "loads.json").read_bytes()
    disk.fill()
    asyncio.run(book.remember(LoadRecord("/m/b", LoadSettings(), "CPU", MemoryUse(1, 2, 3), None, 2.0)))
    assert best_memory_speed(folder / "speed.json", "a processor", MemorySpeed(1.0, "copy")) == MemorySpeed(1.0, "copy")
    cache = FileFactsCache(folder / "library.json")
    assert not cache.read(model_file(demo_path)).problem
    cache.save()
    assert [path.name for path in folder.iterdir()] == ["loads.json"]
    assert (folder / "loads.json").read_bytes() == before
    assert len(caplog.records) == 3
    assert all("No space left" in line.getMessage() for line in caplog.records)


def test_a_disk_that_fills_up_during_a_quantization_leaves_nothing_behind(tmp_path, demo_path):
    with mounted(tmp_path / "models", 200 * MIB) as disk:
        target = disk.folder / "made.gguf"
        job = QuantizeJob(demo_path, target, find_quant_type("Q8_0"), allow_requantize=True)

        def fill(progress) -> None:
            if progress.done > 0:
                disk.fill()

        with pytest.raises(DiskFullError, match="are free"):
            asyncio.run(quantize(job, fill, CancelToken()))
        assert [path.name for path in disk.folder.iterdir()] == ["filler"]
