"""Readings of the meters of the machine, as frozen values, and the ports that deliver them.

An unknown figure is None, never 0; `GpuSample.absent` holds the reason, where the source gave one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from workbench.core.models import EngineInfo

Absence = Literal["not supported", "not permitted", "gone", "not identified", "implausible", "failed"]
"""Why a figure is absent.

`gone`: the device stopped responding. `not identified`: process ids in a container differ from those of the driver.
`implausible`: the reported value cannot be right.
"""

SourceName = Literal["nvml", "amdgpu", "apple"]
"""A driver that reports figures of GPUs."""

Throttle = Literal[
    "idle",
    "application clocks",
    "power cap",
    "hardware slowdown",
    "sync boost",
    "software thermal",
    "hardware thermal",
    "power brake",
    "display clocks",
]
"""Why a GPU runs below its highest clock."""

THROTTLE_WORDS: dict[Throttle, str] = {
    "idle": "idle",
    "application clocks": "limited to its configured clocks",
    "power cap": "power-limited",
    "hardware slowdown": "slowed down by the hardware (heat, power supply or a brake signal)",
    "sync boost": "limited to the clock of another GPU",
    "software thermal": "slowed down by the driver: too hot",
    "hardware thermal": "slowed down by the hardware: too hot",
    "power brake": "slowed down by the power supply's brake signal",
    "display clocks": "limited to the clock of the display",
}
"""Each reason as a phrase."""

THROTTLE_WARNINGS: frozenset[Throttle] = frozenset(
    {"hardware slowdown", "software thermal", "hardware thermal", "power brake"}
)
"""The reasons that indicate a fault. A busy GPU normally runs at its power cap."""


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """The constant properties of a GPU."""

    key: str
    """A stable identifier: the UUID, else the PCI address, else the index."""
    source: SourceName | Literal["ggml"]
    """`ggml` for a device that no driver's source reads: llama.cpp's own figures, under its own name as the key."""
    index: int
    """The number that the source gives it; ggml may number GPUs differently."""
    name: str | None = None
    uuid: str | None = None
    pci_id: str | None = None
    """In the form of `normal_pci_id`, such as `0000:c1:00.0`."""
    capability: tuple[int, int] | None = None
    """The CUDA compute capability."""
    unified: bool = False
    """Whether it uses system memory."""
    software: bool = False
    """Whether it is a program on the processor that takes the place of a GPU."""
    partition: Literal["", "whole", "part"] = ""
    """`part` for a MIG device; `whole` for the GPU that is partitioned into MIG devices, which own its memory."""


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One reading of a GPU. Sizes in bytes."""

    gpu: GpuInfo
    memory_total: int | None = None
    memory_used: int | None = None
    memory_free: int | None = None
    memory_own: int | None = None
    """The share that this process holds."""
    spill_total: int | None = None
    """System memory that the GPU may use in addition to its own (GTT)."""
    spill_used: int | None = None
    gpu_percent: float | None = None
    """Share of time with any kernel running; about 100 while tokens are generated, at any speed."""
    memory_percent: float | None = None
    """Share of time with memory accesses."""
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    throttle: tuple[Throttle, ...] | None = None
    """Why it runs below its highest clock; empty where it does not."""
    energy_mj: int | None = None
    """Millijoules since the driver was loaded."""
    absent: tuple[tuple[str, Absence], ...] = ()
    """The unknown fields, each with the reason."""
    asleep: bool = False
    """Whether the system has suspended it; it was not woken for figures."""


@dataclass(frozen=True, slots=True)
class HostSample:
    """One reading of the host."""

    rss_bytes: int
    """Resident memory of this process."""
    free_bytes: int
    """Memory that is available without swapping."""
    total_bytes: int
    cpu_percent: float
    """Load over all cores, 0 to 100."""
    swap_used_bytes: int | None = None
    swap_total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SourceState:
    """The state of a source of GPU figures."""

    source: SourceName
    status: Literal["working", "absent", "down"]
    """`absent`: this machine has no such GPU. `down`: it has one, which does not respond."""
    reason: str = ""
    code: int | None = None
    """The error number, where the source has one."""


@dataclass(frozen=True, slots=True)
class TelemetrySample:
    """One reading of all meters."""

    at_ns: int
    """`time.perf_counter_ns`, as in the events of an answer."""
    host: HostSample | None = None
    gpus: tuple[GpuSample, ...] = ()
    sources: tuple[SourceState, ...] = ()


@dataclass(frozen=True, slots=True)
class TelemetryEvent:
    """The appearance or loss of a source or a GPU."""

    number: int
    """Counted from 1, without gaps."""
    at_ns: int
    kind: Literal["down", "back", "gpu gone", "gpu new"]
    text: str


_SOFTWARE = ("llvmpipe", "softpipe", "swiftshader", "basic render driver")
"""Programs that take the place of a GPU: Mesa's, Google's and Microsoft's."""


@dataclass(frozen=True, slots=True)
class ComputeDevice:
    """A device that this build of llama.cpp computes on, as ggml lists it."""

    name: str
    """ggml's name: `CPU`, `CUDA0`, `Metal`, …"""
    kind: Literal["cpu", "gpu", "integrated", "accelerator", "other"] = "cpu"
    description: str = ""
    backend: str = ""
    pci_id: str | None = None
    """In the form of `normal_pci_id`; None where ggml reports none."""
    free_bytes: int | None = None
    """None for the CPU, and where its driver does not report it: ggml then has the total in its place."""
    total_bytes: int | None = None
    held_bytes: int = 0
    """What the open models of this process have there."""

    @property
    def is_gpu(self) -> bool:
        """Whether layers can be offloaded to it."""
        return self.kind in {"gpu", "integrated"}

    @property
    def is_software(self) -> bool:
        """Whether it is a program on the processor that takes the place of a GPU, which ggml does not say."""
        return self.is_gpu and any(name in self.description.lower() for name in _SOFTWARE)

    @property
    def usable_bytes(self) -> int:
        """The free memory; without a figure, what the models of this process leave of it."""
        return max(0, (self.total_bytes or 0) - self.held_bytes) if self.free_bytes is None else self.free_bytes


@dataclass(frozen=True, slots=True)
class Alarm:
    """A problem to report."""

    id: str
    """The kind of problem; stable."""
    severity: Literal["info", "warning", "error"]
    text: str
    """The problem, as a sentence."""
    hint: str = ""
    """The fix: a command or a change; empty where there is none."""
    subject: str = ""
    """The object, where there may be several: the key of a GPU."""


@dataclass(frozen=True, slots=True)
class Situation:
    """The activity of the program, by which readings are judged."""

    info: EngineInfo | None = None
    """The open model."""
    asked_layers: int | None = None
    """Layers requested on the GPU, as `LoadSettings.num_gpu`; None where none were requested."""
    decoding: bool = False
    """Whether an answer is being generated."""
    settled_ns: int | None = None
    """Since when this program neither loads nor closes a model; None while it does."""
    devices: tuple[ComputeDevice, ...] | None = None
    """The devices of llama.cpp; None before they were listed."""


def normal_pci_id(text: str) -> str | None:
    """A PCI address in the form `0000:c1:00.0`; None for any other text.

    NVML writes `00000000:C1:00.0`, ggml and Linux `0000:c1:00.0`.
    """
    parts = text.strip().lower().split(":")
    if len(parts) == 2:
        parts.insert(0, "0")
    slot, dot, function = parts[-1].partition(".")
    try:
        domain, bus, device, unit = (int(part, 16) for part in (*parts[:-1], slot, function if dot else "0"))
    except ValueError:
        return None
    if min(domain, bus, device, unit) < 0 or bus > 0xFF or device > 0x1F or unit > 7:
        return None
    return f"{domain:04x}:{bus:02x}:{device:02x}.{unit:x}"


class HostMonitor(Protocol):
    """Reads the meters of the host."""

    def sample(self) -> HostSample:
        """Read them now, in well under a millisecond. The CPU load is that since the last call."""


class Telemetry(Protocol):
    """Reads all meters in its own thread. No method waits for a device."""

    def start(self) -> None:
        """Start reading, about once a second; no effect while running."""

    def stop(self) -> None:
        """Stop reading, without waiting for a device."""

    def use_gpus(self, used: bool) -> None:
        """Say whether this program uses a GPU; by default it does. Otherwise GPUs are left asleep, or rarely read."""

    def latest(self) -> TelemetrySample | None:
        """The newest sample; None before the first. While a device blocks it ages: `at_ns` is when it was taken."""

    async def fresh(self, patience_s: float = 0.5) -> TelemetrySample | None:
        """A sample taken now; None where no meter responds within `patience_s`, or reading is stopped or paused."""

    def history(self) -> Sequence[TelemetrySample]:
        """The samples kept, oldest first."""

    def events(self, after: int = 0) -> Sequence[TelemetryEvent]:
        """The events after event number `after` that are still kept."""

    def paused(self) -> AbstractContextManager[None]:
        """Pause reading inside the `with` block, for a measurement; a read in progress is not waited for."""


class AlarmWatch(Protocol):
    """Reports each alarm once, and again only after it has ended."""

    def look(self, situation: Situation) -> Sequence[Alarm]:
        """The alarms to report now, from the samples that were taken."""

    @property
    def active(self) -> Sequence[Alarm]:
        """The alarms that hold, including those already reported."""
