"""The devices of llama.cpp as they are now, for the meters: asked in llama.cpp's thread, between two steps."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import Future

from workbench.core.telemetry import ComputeDevice
from workbench.engine.llama.runtime import Runtime, shared_runtime

_DEVICES = "workbench.engine.llama.devices"


class DeviceReadings:
    """The devices that llama.cpp offloads to. For one thread, which never waits."""

    def __init__(self, runtime: Runtime = shared_runtime) -> None:
        self._runtime = runtime
        self._asked: Future[Sequence[ComputeDevice]] | None = None
        self._latest: Sequence[ComputeDevice] = ()

    def latest(self) -> Sequence[ComputeDevice]:
        """The answer to an earlier call; empty before llama.cpp was loaded, which this does not do."""
        if self._asked is not None and self._asked.done():
            self._latest = () if self._asked.exception() else self._asked.result()
            self._asked = None
        if self._asked is None and _DEVICES in sys.modules:
            self._asked = self._runtime.call(_look)
        return self._latest


def _look() -> Sequence[ComputeDevice]:
    from workbench.engine.llama.devices import list_devices, offload_devices

    return offload_devices(list_devices())
