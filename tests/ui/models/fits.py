"""Rooms and estimators of the tests of the panel."""

from __future__ import annotations

from pathlib import Path

from tests.ui.fakes import FakeFiles, FakeLoads, fake_services
from workbench.core.parameters import LoadSettings
from workbench.engine.scripted import ScriptedHost
from workbench.gguf.fit import FitModel
from workbench.gguf.shares import DeviceRoom, Room
from workbench.ui.models.fit import FitEstimator

HOST = Room(DeviceRoom("CPU", 5_300_000_000))
WITH_GPUS = Room(DeviceRoom("CPU", 5_300_000_000), (DeviceRoom("CUDA0", 80_000_000), DeviceRoom("CUDA1", 60_000_000)))


class CountingFiles(FakeFiles):
    """Counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def fit_model(self, path: Path, adapter: Path | None = None) -> FitModel:
        self.reads += 1
        return await super().fit_model(path, adapter)


def fitter_on(files: FakeFiles, loads: FakeLoads | None = None) -> FitEstimator:
    services = fake_services(ScriptedHost(()), files=files, loads=loads)
    return FitEstimator(services, LoadSettings, lambda: None)
