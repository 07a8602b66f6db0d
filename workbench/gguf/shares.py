"""The free memory of the devices of a machine, and the share of a model on each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from workbench.core.errors import ModelLoadError
from workbench.core.memory import Correction, MemoryBuffer, Purpose


@dataclass(frozen=True, slots=True)
class DeviceRoom:
    """The free memory of one device."""

    name: str
    free_bytes: int
    reserve_bytes: int = 0
    """Memory that must stay free there."""


@dataclass(frozen=True, slots=True)
class Room:
    """The free memory of the machine."""

    host: DeviceRoom
    gpus: tuple[DeviceRoom, ...] = ()

    def without(self, shares: Sequence[Share]) -> Room:
        """What stays free once a model with these shares is loaded."""
        taken = {share.device.name: share.total_bytes for share in shares}
        host, *gpus = (
            replace(device, free_bytes=device.free_bytes - taken.get(device.name, 0))
            for device in (self.host, *self.gpus)
        )
        return Room(host, tuple(gpus))


@dataclass(frozen=True, slots=True)
class Share:
    """The memory that a model needs on one device."""

    device: DeviceRoom
    weights_bytes: int = 0
    kv_bytes: int = 0
    """Keys and values, recurrent states included."""
    compute_bytes: int = 0
    state_bytes: int = 0
    """The recurrent states."""

    @property
    def total_bytes(self) -> int:
        """The sum."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes

    @property
    def buffers(self) -> tuple[MemoryBuffer, ...]:
        """The memory by purpose."""
        sizes: Mapping[Purpose, int] = {
            "weights": self.weights_bytes,
            "KV": self.kv_bytes - self.state_bytes,
            "states": self.state_bytes,
            "compute": self.compute_bytes,
        }
        return tuple(MemoryBuffer(self.device.name, purpose, size) for purpose, size in sizes.items() if size)

    def corrected(self, correction: Correction) -> Share:
        """The share with the factors of its purposes."""
        if not correction:
            return self
        factors = {each.purpose: correction.get(each.purpose, 1) for each in self.buffers}
        sizes = Counter({each.purpose: round(each.size_bytes * factors[each.purpose]) for each in self.buffers})
        caches = sizes["KV"] + sizes["states"]
        return Share(self.device, sizes["weights"], caches, sizes["compute"], sizes["states"])

    @property
    def fits(self) -> bool:
        """Whether the device has enough free memory."""
        room = self.device.free_bytes - self.device.reserve_bytes
        return not self.total_bytes or self.total_bytes <= room


@dataclass(frozen=True, slots=True)
class Fit:
    """The memory that a model needs, by device."""

    shares: tuple[Share, ...]
    """The host first."""
    gpu_layers: int
    """Layers on the GPUs."""
    refusal: ModelLoadError | None = None
    """Why llama.cpp does not load the model with these settings, whatever the memory."""

    @property
    def weights_bytes(self) -> int:
        """The weights, including repacked copies and the adapter."""
        return sum(share.weights_bytes for share in self.shares)

    @property
    def kv_bytes(self) -> int:
        """Keys and values, recurrent states included."""
        return sum(share.kv_bytes for share in self.shares)

    @property
    def compute_bytes(self) -> int:
        """The compute buffers."""
        return sum(share.compute_bytes for share in self.shares)

    @property
    def total_bytes(self) -> int:
        """The sum."""
        return sum(share.total_bytes for share in self.shares)

    @property
    def free_bytes(self) -> int:
        """The free memory of the devices used."""
        return sum(share.device.free_bytes for share in self.shares if share.total_bytes)

    @property
    def fits(self) -> bool:
        """Whether the model is loaded with these settings, and every device has enough free memory for its share."""
        return self.refusal is None and all(share.fits for share in self.shares)
