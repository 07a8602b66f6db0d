"""What the meters of the machine show, as frozen values.

A figure that is not known is None, never 0; where the source said why, `GpuSample.why_not` repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from workbench.core.models import EngineInfo

Absence = Literal["not supported", "not permitted", "gone", "not identified", "implausible", "failed"]
"""Why there is no figure.

`gone`: the device stopped answering. `not identified`: in a container, process ids are not those that the driver knows.
`implausible`: there was an answer that cannot be true.
"""

SourceName = Literal["nvml", "amdgpu", "apple"]

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
"""Why a GPU does not run at its highest clock."""

THROTTLE_WORDS: dict[Throttle, str] = {
    "idle": "idle",
    "application clocks": "at the clocks that were set for it",
    "power cap": "power-limited",
    "hardware slowdown": "slowed down by the hardware (heat, power supply or a brake signal)",
    "sync boost": "held to the clock of another GPU",
    "software thermal": "slowed down by the driver: too hot",
    "hardware thermal": "slowed down by the hardware: too hot",
    "power brake": "slowed down by the power supply's brake signal",
    "display clocks": "held to the clock of the display",
}
"""Each reason in plain words."""

THROTTLE_WARNINGS: frozenset[Throttle] = frozenset(
    {"hardware slowdown", "software thermal", "hardware thermal", "power brake"}
)
"""The reasons that mean that something is wrong. A power cap is how a busy GPU normally runs."""


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """What does not change about a GPU."""

    key: str
    """The same for the same GPU as long as it is there: its UUID, else its PCI address, else its place in the list."""
    source: SourceName
    index: int
    """Counted as the source counts; ggml may count otherwise."""
    name: str | None = None
    uuid: str | None = None
    pci_id: str | None = None
    """As `normal_pci_id` writes it, such as `0000:c1:00.0`."""
    capability: tuple[int, int] | None = None
    """The CUDA compute capability."""
    unified: bool = False
    """Whether its memory is that of the system, shared with everything else."""
    partition: Literal["", "whole", "part"] = ""
    """`part` for a MIG device; `whole` for the GPU that is split into such, whose memory is theirs."""


@dataclass(frozen=True, slots=True)
class GpuSample:
    """A GPU at one moment. Sizes in bytes."""

    gpu: GpuInfo
    memory_total: int | None = None
    memory_used: int | None = None
    memory_free: int | None = None
    memory_own: int | None = None
    """What of it this process holds."""
    spill_total: int | None = None
    """System memory that the GPU may use beside its own (GTT)."""
    spill_used: int | None = None
    gpu_percent: float | None = None
    """The share of time in which anything ran at all; about 100 while tokens are made, however slow that is."""
    memory_percent: float | None = None
    """The share of time in which its memory was read or written."""
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    throttle: tuple[Throttle, ...] | None = None
    """Why it does not run at its highest clock; empty where it does."""
    energy_mj: int | None = None
    """Millijoules since the driver was loaded."""
    absent: tuple[tuple[str, Absence], ...] = ()
    """The fields that are not known, with the reason."""

    def why_not(self, field: str) -> Absence | None:
        """Why `field` is not known; None where it is, or where nobody said."""
        return next((reason for name, reason in self.absent if name == field), None)


@dataclass(frozen=True, slots=True)
class HostSample:
    """The machine at one moment."""

    rss_bytes: int
    """Resident memory of this process."""
    free_bytes: int
    """Memory that can still be had without swapping."""
    total_bytes: int
    cpu_percent: float
    """Load over all cores, 0 to 100."""
    swap_used_bytes: int | None = None
    swap_total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SourceState:
    """How a source of GPU figures fares."""

    source: SourceName
    status: Literal["working", "absent", "down"]
    """`absent`: this machine has no such thing. `down`: it has, and it does not answer."""
    reason: str = ""
    code: int | None = None
    """The number of the error, where the source has numbers."""


@dataclass(frozen=True, slots=True)
class TelemetrySample:
    """All meters at one moment."""

    at_ns: int
    """`time.perf_counter_ns`, as in the events of an answer."""
    host: HostSample | None = None
    gpus: tuple[GpuSample, ...] = ()
    sources: tuple[SourceState, ...] = ()


@dataclass(frozen=True, slots=True)
class TelemetryEvent:
    """A source or a GPU that came or went. Told once."""

    number: int
    """Counted from 1, without gaps."""
    at_ns: int
    kind: Literal["down", "back", "gpu gone", "gpu new"]
    text: str


@dataclass(frozen=True, slots=True)
class ComputeDevice:
    """A device that this build of llama.cpp computes on, as ggml sees it."""

    name: str
    """ggml's name: `CPU`, `CUDA0`, `Metal`, …"""
    kind: Literal["cpu", "gpu", "integrated", "accelerator", "other"] = "cpu"
    description: str = ""
    backend: str = ""
    pci_id: str | None = None
    """As `normal_pci_id` writes it; None where ggml does not say."""
    free_bytes: int | None = None
    """None for the CPU, of which ggml has no such figure."""
    total_bytes: int | None = None

    @property
    def is_gpu(self) -> bool:
        """Whether layers can be put on it."""
        return self.kind in {"gpu", "integrated"}


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that is not as it should be."""

    id: str
    """What kind of trouble it is; stable."""
    severity: Literal["info", "warning", "error"]
    text: str
    """What is wrong, in plain words."""
    hint: str = ""
    """What to type or change; empty where nothing helps."""
    subject: str = ""
    """What it is about, where there may be several: the key of a GPU."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the program is doing, for judging what the meters show."""

    info: EngineInfo | None = None
    """The open model."""
    asked_layers: int | None = None
    """Layers that the user wants on the GPU, as `LoadSettings.num_gpu`; None where nothing was asked for."""
    decoding: bool = False
    """Whether an answer is being written."""
    settled_ns: int | None = None
    """Since when this program neither loads nor closes anything; None while it does."""
    devices: tuple[ComputeDevice, ...] | None = None
    """What llama.cpp computes on; None before it was asked."""


def normal_pci_id(text: str) -> str | None:
    """A PCI address in one form, `0000:c1:00.0`; None where it is none.

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
    """Reads the machine's meters."""

    def sample(self) -> HostSample:
        """Read them now; costs well under a millisecond."""


class Telemetry(Protocol):
    """Reads all meters, in a thread of its own. No method waits for a device."""

    def start(self) -> None:
        """Begin to read, about once a second."""

    def stop(self) -> None:
        """Read no more."""

    def latest(self) -> TelemetrySample | None:
        """The newest sample; None before the first. It stays when a device blocks: `at_ns` says how old it is."""

    async def fresh(self, patience_s: float = 0.5) -> TelemetrySample | None:
        """A sample that is taken now; None where the meters do not answer in time, or nothing is read."""

    def history(self) -> Sequence[TelemetrySample]:
        """The samples that are still held, oldest first."""

    def events(self, after: int = 0) -> Sequence[TelemetryEvent]:
        """What came and went since event number `after`, as far as it is still held."""

    def paused(self) -> AbstractContextManager[None]:
        """Read nothing inside the `with` block, while something is timed. A read that has begun is not waited for."""


class AlarmWatch(Protocol):
    """Tells of each trouble once, and again only after it was over."""

    def look(self, situation: Situation) -> Sequence[Alarm]:
        """The alarms to tell of now. Reads no meters: it looks at the samples that are there."""

    @property
    def active(self) -> Sequence[Alarm]:
        """The alarms that hold, told of or not."""
