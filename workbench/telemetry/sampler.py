"""The thread that reads all meters."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeAlias

from typing_extensions import override

from workbench.core.telemetry import (
    ComputeDevice,
    GpuInfo,
    GpuSample,
    HostMonitor,
    HostSample,
    SourceState,
    Telemetry,
    TelemetryEvent,
    TelemetrySample,
)
from workbench.telemetry.source import GpuSource, SourceError

if TYPE_CHECKING:
    import asyncio

INTERVAL_S = 1.0
SHORTEST_INTERVAL_S = 0.5
"""A shorter interval adds nothing: the drivers average over about this time."""
HISTORY = 600
EVENTS = 200

FIRST_DELAY_S = 2.0
LONGEST_DELAY_S = 60.0
ABSENT_DELAY_S = 300.0
"""Delays after a failure, doubled each time; a source that is absent is retried rarely."""

_TITLES = {"nvml": "NVIDIA GPUs", "amdgpu": "AMD GPUs", "apple": "the Apple GPU"}
_logger = logging.getLogger("workbench.telemetry")

OpenMeters = Callable[[], tuple[HostMonitor, Sequence[GpuSource]]]
"""Returns the meters of the host and the sources of GPU figures."""

Wait = Callable[[threading.Event, float], object]
"""Waits until the event is set, or for that many seconds."""

_Asked: TypeAlias = "tuple[int, asyncio.AbstractEventLoop, asyncio.Future[TelemetrySample]]"
"""When a sample was requested, and the future that waits for it."""


def _identity(gpu: GpuInfo) -> str:
    return gpu.key if gpu.partition else gpu.pci_id or gpu.key


def _answer(future: asyncio.Future[TelemetrySample], sample: TelemetrySample) -> None:
    if not future.done():
        future.set_result(sample)


@dataclass
class _Watched:
    """A source and its state."""

    source: GpuSource
    state: SourceState | None = None
    delay_s: float = 0.0
    again_ns: int = 0
    reported_down: bool = False
    known: dict[str, GpuInfo] | None = None


class TelemetrySampler(Telemetry):
    """Reads all meters about once a second, in a daemon thread, and keeps the latest samples.

    A source that fails is retried after increasing delays; its failure and its return are each reported once. The
    interval is at least half a second; the clock is the one that stamps the events of an answer. `devices` are those of
    llama.cpp at the time of its last call: where this program uses GPUs, those that no source reads have its figures.
    """

    def __init__(
        self,
        host: HostMonitor | None,
        sources: Sequence[GpuSource],
        *,
        interval_s: float = INTERVAL_S,
        history: int = HISTORY,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        wait: Wait = threading.Event.wait,
        devices: Callable[[], Sequence[ComputeDevice]] = tuple,
    ) -> None:
        self._open: OpenMeters | None = None
        self._host = host
        self._watched = [_Watched(source) for source in sources]
        self._interval_s = max(SHORTEST_INTERVAL_S, interval_s)
        self._clock_ns = clock_ns
        self._wait = wait
        self._lock = threading.Lock()
        self._samples: deque[TelemetrySample] = deque(maxlen=history)
        self._events: deque[TelemetryEvent] = deque(maxlen=EVENTS)
        self._event_count = 0
        self._pauses = 0
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._asked: list[_Asked] = []
        self._thread: threading.Thread | None = None
        self._devices = devices
        self.gpus_in_use = True

    @classmethod
    def late(cls, open_meters: OpenMeters, devices: Callable[[], Sequence[ComputeDevice]] = tuple) -> TelemetrySampler:
        """A sampler that opens its meters, and imports what they need, in its own thread."""
        sampler = cls(None, (), devices=devices)
        sampler._open = open_meters
        return sampler

    @override
    def start(self) -> None:
        if self._thread is not None and self._thread.is_alive() and not self._stop.is_set():
            return
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stop,), name="telemetry", daemon=True)
        self._thread.start()

    @override
    def stop(self) -> None:
        # The thread is not joined: a driver that blocks must not keep the program from ending.
        self._stop.set()
        self._wake.set()

    @override
    def use_gpus(self, used: bool) -> None:
        self.gpus_in_use = used

    @override
    async def fresh(self, patience_s: float = 0.5) -> TelemetrySample | None:
        import asyncio

        if self._thread is None or self._stop.is_set():
            return None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[TelemetrySample] = loop.create_future()
        with self._lock:
            if self._pauses:
                return None
            self._asked.append((self._clock_ns(), loop, future))
        self._wake.set()
        try:
            return await asyncio.wait_for(future, patience_s)
        except TimeoutError:
            with self._lock:
                self._asked = [asked for asked in self._asked if asked[2] is not future]
            return None

    @override
    def latest(self) -> TelemetrySample | None:
        with self._lock:
            return self._samples[-1] if self._samples else None

    @override
    def history(self) -> Sequence[TelemetrySample]:
        with self._lock:
            return tuple(self._samples)

    @override
    def events(self, after: int = 0) -> Sequence[TelemetryEvent]:
        with self._lock:
            skip = max(0, after - (self._event_count - len(self._events)))
            return tuple(islice(self._events, skip, None))

    @contextmanager
    @override
    def paused(self) -> Iterator[None]:
        with self._lock:
            self._pauses += 1
        try:
            yield
        finally:
            with self._lock:
                self._pauses -= 1

    def tick(self) -> TelemetrySample | None:
        """Take one sample; None while paused."""
        with self._lock:
            if self._pauses:
                return None
        began_ns = self._clock_ns()
        if self._open is not None:
            self._host, sources = self._open()
            self._open, self._watched = None, [_Watched(source) for source in sources]
        gpus: list[GpuSample] = []
        for watched in self._watched:
            gpus += self._read(watched)
        if self.gpus_in_use and (devices := self._devices()):
            from workbench.telemetry.other_devices import other_devices

            gpus += other_devices(devices, [sample.gpu for sample in gpus])
        states = tuple(watched.state for watched in self._watched if watched.state is not None)
        host = self._read_host()
        # Stamped last, so that no figure is older than its stamp says, even where a driver blocked.
        sample = TelemetrySample(self._clock_ns(), host, tuple(gpus), states)
        with self._lock:
            self._samples.append(sample)
            answered = [asked for asked in self._asked if asked[0] <= began_ns]
            self._asked = [asked for asked in self._asked if asked[0] > began_ns]
        for _, loop, future in answered:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_answer, future, sample)
        return sample

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            taken = None
            try:
                taken = self.tick()
            except Exception:
                # Meters are a convenience: no error of theirs may end the program.
                _logger.exception("the meters could not be read")
            # A request that arrived while this sample was taken gets the next one, at once.
            if taken is None or not self._asked:
                self._wait(self._wake, self._interval_s)
            self._wake.clear()

    def _read_host(self) -> HostSample | None:
        try:
            return None if self._host is None else self._host.sample()
        except Exception as error:  # noqa: BLE001 - psutil reads what a sandbox may hide, and fails in many ways
            _logger.debug("the host's meters: %s: %s", type(error).__name__, error)
            return None

    def _read(self, watched: _Watched) -> Sequence[GpuSample]:
        now = self._clock_ns()
        if now < watched.again_ns:
            return ()
        source = watched.source
        try:
            found = source.read()
        except Exception as error:  # noqa: BLE001 - a driver's binding may raise anything
            if not isinstance(error, SourceError):
                error = SourceError(f"Reading failed: {type(error).__name__}: {error}")
            self._failed(watched, error)
            return ()
        watched.state = SourceState(source.name, "working")
        watched.delay_s, watched.again_ns = 0.0, 0
        if watched.reported_down:
            watched.reported_down = False
            self._report("back", f"The figures of {_TITLES[source.name]} are back.")
        # A GPU that was asleep from the start is known by its address alone.
        self._compare(watched, {_identity(sample.gpu): sample.gpu for sample in found})
        return found

    def _failed(self, watched: _Watched, error: SourceError) -> None:
        name = watched.source.name
        worked = watched.state is not None and watched.state.status == "working"
        watched.state = SourceState(name, "absent" if error.absent else "down", error.reason, error.code)
        if error.absent and not worked and not watched.reported_down:
            watched.delay_s = ABSENT_DELAY_S
        else:
            watched.delay_s = min(LONGEST_DELAY_S, watched.delay_s * 2) or FIRST_DELAY_S
            if not watched.reported_down:
                watched.reported_down = True
                self._report("down", f"No figures of {_TITLES[name]}: {error.reason}")
        watched.again_ns = self._clock_ns() + int(watched.delay_s * 1e9)

    def _compare(self, watched: _Watched, found: dict[str, GpuInfo]) -> None:
        before, watched.known = watched.known, found
        if before is None:
            return
        for key, gpu in before.items():
            if key not in found:
                self._report("gpu gone", f"{gpu.name or 'A GPU'} no longer responds.")
        for key, gpu in found.items():
            if key not in before:
                self._report("gpu new", f"{gpu.name or 'A GPU'} was found.")

    def _report(self, kind: Literal["down", "back", "gpu gone", "gpu new"], text: str) -> None:
        _logger.info("%s", text)
        with self._lock:
            self._event_count += 1
            self._events.append(TelemetryEvent(self._event_count, self._clock_ns(), kind, text))


def system_sampler(devices: Callable[[], Sequence[ComputeDevice]] = tuple, *, gpus: bool = True) -> TelemetrySampler:
    """A sampler of this machine with all sources, not started. No driver is touched or imported before its thread runs.

    Without `gpus` no GPU is ever read.

    `devices` are those of llama.cpp; it is called in the thread of the sampler, and must not call llama.cpp there.
    """

    def open_meters() -> tuple[HostMonitor, Sequence[GpuSource]]:
        from workbench.telemetry import amd, apple, host, nvml, nvml_child, pci, resting

        def in_use() -> bool:
            return sampler.gpus_in_use

        def metal() -> ComputeDevice | None:
            return next((device for device in devices() if device.backend.lower() in {"metal", "mtl"}), None)

        if not gpus:
            return host.PsutilHostMonitor(), []
        nvidia = nvml_child.NvmlAnywhere(nvml.NvmlSource(), nvml_child.NvmlChild(), only_child=host.is_wsl())
        return host.PsutilHostMonitor(), [
            # NVML attaches to all its GPUs at once; AMD's are read one by one.
            resting.RestingSource(nvidia, in_use, partial(pci.cards_asleep, pci.NVIDIA_VENDOR)),
            resting.RestingSource(amd.AmdSource(), in_use),
            apple.AppleSource(metal=metal),
        ]

    sampler = TelemetrySampler.late(open_meters, devices if gpus else tuple)
    return sampler
