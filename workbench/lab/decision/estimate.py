"""Estimates for contenders that were not measured, from those that were: where it may be worth to measure.

Decoding reads all weights for every token, so that speed goes with 1 / size; the logarithm of the divergence is about
linear in the size of the file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from workbench.lab.decision.contender import Contender, Figure

SPEED_ERROR = 1.5
KLD_ERROR = 3.0
"""The factors by which an estimate may be wrong."""


def with_estimates(contenders: Sequence[Contender]) -> tuple[Contender, ...]:
    """The same contenders, with estimates in place of the speeds and divergences that are unknown."""
    rates = [each.speed.value * each.file_bytes for each in contenders if each.speed is not None]
    points = sorted(
        {
            (each.file_bytes, math.log(each.kld.value))
            for each in contenders
            if each.kld is not None and each.kld.value > 0
        }
    )
    found = []
    for each in contenders:
        if each.speed is None and rates and each.file_bytes:
            each = replace(each, speed=_estimate(median(rates) / each.file_bytes, SPEED_ERROR))
        if each.kld is None and len({size for size, _ in points}) > 1:
            each = replace(each, kld=_estimate(math.exp(_line(points, each.file_bytes)), KLD_ERROR))
        found.append(each)
    return tuple(found)


def _estimate(value: float, error: float) -> Figure:
    return Figure(value, (value / error, value * error), estimated=True)


def _line(points: Sequence[tuple[int, float]], at: int) -> float:
    """The value at a place, on the line through the two nearest points with different places."""
    near = sorted(points, key=lambda point: abs(point[0] - at))
    (x, y), (u, v) = near[0], next(point for point in near if point[0] != near[0][0])
    # Far outside the points the line means nothing: exp has to stay finite.
    return max(-20.0, min(3.0, y + (v - y) * (at - x) / (u - x)))
