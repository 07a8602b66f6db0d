"""Energy of an answer, from the counters that GPUs keep.

A counter is exact over any span; samples of the power are not, since some GPUs measure it for a quarter of the time
only. Without a counter there is no figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.core.telemetry import TelemetrySample


@dataclass(frozen=True, slots=True)
class EnergyUse:
    """What the GPUs took over a span. Everything that ran on them is in it, and what they take when idle as well."""

    joules: float
    error_joules: float
    """By how much it may be off, because the counter was not read at the very ends of the span."""
    gpus: int
    """GPUs with a counter."""

    def per_token(self, tokens: int | None) -> float | None:
        """Joules for each of `tokens`; None where there were none."""
        return self.joules / tokens if tokens else None


def energy_between(first: TelemetrySample, last: TelemetrySample) -> EnergyUse | None:
    """What the GPUs took from one sample to the other.

    None where no GPU has a counter, where one vanished in between, or where a counter went backwards because the driver
    was loaded anew.
    """
    before = {sample.gpu.key: sample.energy_mj for sample in first.gpus if sample.energy_mj is not None}
    after = {sample.gpu.key: sample.energy_mj for sample in last.gpus if sample.energy_mj is not None}
    if not before or before.keys() != after.keys():
        return None
    taken = [after[key] - start for key, start in before.items()]
    if min(taken) < 0 or last.at_ns < first.at_ns:
        return None
    return EnergyUse(sum(taken) / 1000, 0.0, len(taken))


def energy_of_span(samples: Sequence[TelemetrySample], began_ns: int, ended_ns: int) -> EnergyUse | None:
    """What the GPUs took from `began_ns` to `ended_ns`, with the counter taken as even between two samples.

    None where the samples do not reach over the whole span.

    Args:
        samples: In the order of time.
        began_ns: The start, on the clock of the samples.
        ended_ns: The end.
    """
    if ended_ns < began_ns:
        return None
    left = max((index for index, sample in enumerate(samples) if sample.at_ns <= began_ns), default=None)
    right = next((index for index, sample in enumerate(samples) if sample.at_ns >= ended_ns), None)
    if left is None or right is None:
        return None
    if left >= right:
        # Both ends are on the same sample.
        return energy_between(samples[left], samples[left])
    whole = joules = error = 0.0
    gpus = 0
    for one, other in zip(samples[left:right], samples[left + 1 : right + 1], strict=True):
        step = energy_between(one, other)
        if step is None:
            return None
        length = other.at_ns - one.at_ns
        inside = max(0, min(other.at_ns, ended_ns) - max(one.at_ns, began_ns))
        share = inside / length if length else 1.0
        joules += step.joules * share
        # Where a step is cut, all of what was taken in it may have been inside the span, or nothing.
        error += step.joules * max(share, 1 - share) if 0 < share < 1 else 0.0
        whole += step.joules
        gpus = step.gpus
    return EnergyUse(joules, min(error, whole), gpus)
