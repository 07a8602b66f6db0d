"""GPU samples as plain values for JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from workbench.core.telemetry import GpuInfo, GpuSample


def sample_to_dict(sample: GpuSample) -> dict[str, Any]:
    """A sample as plain values."""
    found = asdict(sample)
    found["absent"] = dict(sample.absent)
    return found


def sample_from_dict(values: Mapping[str, Any]) -> GpuSample:
    """The sample that `sample_to_dict` wrote.

    Raises:
        KeyError, TypeError: It is not one.
    """
    gpu = dict(values["gpu"])
    if gpu["capability"] is not None:
        major, minor = gpu["capability"]
        gpu["capability"] = (major, minor)
    known = {each.name: values[each.name] for each in fields(GpuSample)}
    throttle = known["throttle"]
    return GpuSample(
        **known
        | {
            "gpu": GpuInfo(**gpu),
            "throttle": None if throttle is None else tuple(throttle),
            "absent": tuple(dict(known["absent"]).items()),
        }
    )
