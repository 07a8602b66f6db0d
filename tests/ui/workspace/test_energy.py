from __future__ import annotations

import pytest

from tests.ui.fakes import FakeTelemetry
from workbench.core.telemetry import GpuInfo, GpuSample, TelemetrySample
from workbench.ui.kit import figures as fmt
from workbench.ui.workspace.answer_run import EnergyMeter


class Counters(FakeTelemetry):
    """A GPU that has a counter, which is read only when somebody asks."""

    def __init__(self, *readings: tuple[int, int | None]) -> None:
        super().__init__()
        self.readings = list(readings)
        self.samples = []
        self.read()

    def read(self) -> None:
        at_ms, energy_mj = self.readings.pop(0)
        gpu = GpuSample(GpuInfo("0", "nvml", 0), energy_mj=energy_mj)
        self.samples.append(TelemetrySample(at_ms * 10**6, gpus=(gpu,)))

    async def fresh(self, patience_s: float = 0.5) -> TelemetrySample | None:
        self.read()
        return self.latest()


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        # From 1,000 to 3,000 ms; the reading after the end is cut in proportion.
        ([(900, 0), (1000, 70_000), (3000, 670_000)], 600.0),
        ([(1000, 0), (1000, 0), (5000, 400_000)], 200.0),
        ([(900, 0), (1010, 1_000), (2000, 9_000)], None),
        ([(900, 9_000), (1000, 9_000), (3000, 1_000)], None),
        ([(900, None)], None),
    ],
)
async def test_the_counters_are_read_at_both_ends(
    readings: list[tuple[int, int | None]], expected: float | None
) -> None:
    clock = iter([1000 * 10**6, 3000 * 10**6])
    meter = EnergyMeter(Counters(*readings), lambda: next(clock))
    found = await meter.joules()
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("joules", "each", "text"),
    [(84.4, 0.3312, "84 J, 0.33 per token"), (2.25, None, "2.2 J"), (900.0, 12.0, "900 J, 12 per token")],
)
def test_energy_is_written(joules: float, each: float | None, text: str) -> None:
    assert fmt.energy(joules, each) == text
