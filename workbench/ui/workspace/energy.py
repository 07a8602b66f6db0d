"""The energy of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from workbench.core.energy import energy_of_span
from workbench.core.telemetry import Telemetry


class EnergyMeter:
    """Measures the energy that the GPUs use from now on.

    The counters are read at both ends: samples a second apart are too coarse for an answer of two seconds.

    Args:
        telemetry: Reads the counters.
        now_ns: The clock of the samples' timestamps, in ns.
    """

    def __init__(self, telemetry: Telemetry, now_ns: Callable[[], int]) -> None:
        self._telemetry = telemetry
        self._now_ns = now_ns
        self._began_ns = now_ns()
        latest = telemetry.latest()
        counted = latest is not None and any(gpu.energy_mj is not None for gpu in latest.gpus)
        self._first = asyncio.create_task(telemetry.fresh()) if counted else None

    async def joules(self) -> float | None:
        """The energy used until now, in joules; None where no GPU has a counter, or it was not read in time."""
        if self._first is None:
            return None
        ended_ns = self._now_ns()
        await self._first
        await self._telemetry.fresh()
        use = energy_of_span(self._telemetry.history(), self._began_ns, ended_ns)
        return None if use is None else use.joules
