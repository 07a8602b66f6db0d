"""The estimator of the Models screen: what it reads, keeps and reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ui.fakes import FakeFiles, FakeLoads
from tests.ui.models.fits import CountingFiles, fitter_on
from workbench.core.errors import ModelFileError
from workbench.core.models import LoadRecord, MemoryUse, ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.gguf.fit import FitModel
from workbench.gguf.shares import DeviceRoom, Room
from workbench.ui.models.fit import UNKNOWN


async def test_a_file_is_read_once_and_priced_from_then_on(demo_entry: ModelEntry) -> None:
    files = CountingFiles()
    estimator = fitter_on(files)
    assert estimator.estimate(demo_entry) is None
    for _ in range(3):
        await estimator.look()
        await estimator.read(demo_entry)
    assert files.reads == 1
    first = estimator.estimate(demo_entry)
    assert first is not None
    assert estimator.estimate(demo_entry) is first
    estimator.what_if = estimator.what_if.put("num_ctx", 512)
    second = estimator.estimate(demo_entry)
    assert second is not None
    assert second.fit.kv_bytes < first.fit.kv_bytes


async def test_what_is_free_is_looked_at_again(demo_entry: ModelEntry) -> None:
    files = FakeFiles()
    estimator = fitter_on(files)
    assert await estimator.look()
    assert not await estimator.look()
    await estimator.read(demo_entry)
    files._room = Room(DeviceRoom("CPU", 1_000_000))
    assert await estimator.look()
    estimate = estimator.estimate(demo_entry)
    assert estimate is not None
    assert not estimate.fit.fits


async def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    estimator = fitter_on(FakeFiles())
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF\x1b[31m")
    bad, none = ModelEntry("bad", "Bad", path=str(path)), ModelEntry("far", "Far")
    await estimator.look()
    for model in (bad, none):
        assert not estimator.knows(model)
        await estimator.read(model)
        assert estimator.knows(model)
        assert estimator.estimate(model) is None
        assert estimator.problem(model)
        assert "\x1b" not in estimator.problem(model)


async def test_what_the_arithmetic_does_not_understand_is_reported(
    demo_entry: ModelEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimator = fitter_on(FakeFiles())
    monkeypatch.setattr("workbench.ui.models.fit.estimate_fit", lambda *_: None)
    await estimator.look()
    await estimator.read(demo_entry)
    assert estimator.problem(demo_entry) == UNKNOWN


async def test_files_are_not_kept_without_end(demo_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.ui.models.fit.KEPT", 2)
    estimator = fitter_on(FakeFiles())
    models = [ModelEntry(str(number), "Some", path=str(demo_path)) for number in range(3)]
    for model in models:
        await estimator.read(model)
    assert [estimator.knows(model) for model in models] == [False, True, True]


async def test_the_newest_load_is_recalled(demo_entry: ModelEntry) -> None:
    loads = FakeLoads()
    estimator = fitter_on(FakeFiles(), loads)
    await estimator.recall(demo_entry)
    assert estimator.record(demo_entry) is None
    memory = MemoryUse(1, 2, 3)
    for at in (1.0, 2.0):
        await loads.remember(LoadRecord(str(demo_entry.path), LoadSettings(), "CPU", memory, memory, at))
    await estimator.recall(demo_entry)
    record = estimator.record(demo_entry)
    assert record is not None
    assert record.at == 2.0


async def test_reading_reports_errors_without_raising(demo_entry: ModelEntry) -> None:
    class Gone(FakeFiles):
        async def fit_model(self, path: Path, adapter: Path | None = None) -> FitModel:
            raise ModelFileError("It is gone.", "Look again.")

    estimator = fitter_on(Gone())
    await estimator.read(demo_entry)
    assert estimator.problem(demo_entry) == "It is gone."
