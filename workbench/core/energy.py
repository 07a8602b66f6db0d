"""Energy of an answer, from the counters that GPUs keep.

A counter is exact over any span; samples of the power are not, since some GPUs measure it for a quarter of the time
only. Without a counter there is no figure.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from workbench.core.telemetry import TelemetrySample


def energy_between(first: TelemetrySample, last: TelemetrySample) -> float | None:
    """The energy that the GPUs used between two samples, in joules: everything that ran on them, idle power included.

    None where no GPU has a counter, where one vanished in between, or where a counter went backwards because the driver
    was reloaded.
    """
    before = {sample.gpu.key: sample.energy_mj for sample in first.gpus if sample.energy_mj is not None}
    after = {sample.gpu.key: sample.energy_mj for sample in last.gpus if sample.energy_mj is not None}
    if not before or before.keys() != after.keys():
        return None
    used = [after[key] - start for key, start in before.items()]
    return sum(used) / 1000 if min(used) >= 0 and last.at_ns >= first.at_ns else None


def energy_of_span(samples: Sequence[TelemetrySample], began_ns: int, ended_ns: int) -> float | None:
    """The energy that the GPUs used from `began_ns` to `ended_ns`, on the clock of the `samples`, in joules.

    Between two samples, which are in order of time, the counter is taken to rise evenly. None where they do not cover
    the whole span.
    """
    if ended_ns < began_ns:
        return None
    times = [sample.at_ns for sample in samples]
    left, right = bisect_right(times, began_ns) - 1, bisect_left(times, ended_ns)
    if left < 0 or right == len(times):
        return None
    if left >= right:
        # Both ends are at the same sample.
        return energy_between(samples[left], samples[left])
    joules = 0.0
    for one, other in zip(samples[left:right], samples[left + 1 : right + 1], strict=True):
        step = energy_between(one, other)
        if step is None:
            return None
        length = other.at_ns - one.at_ns
        inside = max(0, min(other.at_ns, ended_ns) - max(one.at_ns, began_ns))
        joules += step * inside / length if length else step
    return joules
