"""The port between the sampler and the sources of GPU figures, and their samples as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from workbench.core.json_reader import read_json
from workbench.core.telemetry import GpuSample, SourceName


class SourceError(Exception):
    """A source that has no figures now; `absent` where this machine has no such GPU, which is not reported."""

    def __init__(self, reason: str, *, absent: bool = False, code: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.absent = absent
        self.code = code


class GpuSource(Protocol):
    """Reads the GPUs of one kind. Used by one thread alone."""

    @property
    def name(self) -> SourceName:
        """Its name."""

    def read(self) -> Sequence[GpuSample]:
        """Every GPU that responds. After a failure the next call starts afresh; the caller waits longer each time.

        Raises:
            SourceError: No GPU can be read, or there is none.
        """


_UNKNOWN_VALUES = frozenset(2**bits - 1 for bits in (16, 31, 32, 63, 64))
"""Drivers return the largest number of a type, signed or unsigned, for an unknown figure."""


def is_known(value: int | None, most: int | None = None) -> bool:
    """Whether a driver's number is a figure of at most `most`, and not one that stands for an unknown figure."""
    return value is not None and 0 <= value <= (most or 2**63 - 1) and value not in _UNKNOWN_VALUES


def sample_to_dict(sample: GpuSample) -> dict[str, Any]:
    """A sample as JSON values."""
    return asdict(sample) | {"absent": dict(sample.absent)}


def sample_from_dict(values: Mapping[str, Any]) -> GpuSample:
    """The inverse of `sample_to_dict`; raises a ValueError where the values are not those of a sample."""
    absent = [list(item) for item in dict(values.get("absent", {})).items()]
    return read_json(GpuSample, {**values, "absent": absent}, "the sample", strict=True)
