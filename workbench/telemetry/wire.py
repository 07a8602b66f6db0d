"""GPU samples as plain values for JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from workbench.core.json_reader import read_json
from workbench.core.telemetry import GpuSample


def sample_to_dict(sample: GpuSample) -> dict[str, Any]:
    """A sample as plain values."""
    return asdict(sample) | {"absent": dict(sample.absent)}


def sample_from_dict(values: Mapping[str, Any]) -> GpuSample:
    """The sample that `sample_to_dict` wrote.

    Raises:
        ValueError: It is not one.
    """
    absent = [list(item) for item in dict(values.get("absent", {})).items()]
    return read_json(GpuSample, {**values, "absent": absent}, "the sample", strict=True)
