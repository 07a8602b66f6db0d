"""Figures as text: numbers of bytes in binary units, durations, and round figures for a scale.

Memory and files are both counted in powers of 1024, as nvidia-smi and llama.cpp count, so that a file and the memory
that it needs compare directly. Amounts are rounded to the nearest tenth. JSON and stored values stay plain bytes;
bandwidths stay in GB/s (powers of 1000), as the makers of memory state them.
"""

from __future__ import annotations

import math

UNKNOWN = "—"
"""Stands for a figure that is not known."""
KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40
_UNITS = ((1, "B"), (KIB, "KiB"), (MIB, "MiB"), (GIB, "GiB"), (TIB, "TiB"))


def figure_text(value: float | None, form: str, unit: str = "") -> str:
    """A figure in a format, such as `.2f`, before its unit; a dash where it is not known."""
    return UNKNOWN if value is None else f"{value:{form}}{unit}"


def size_text(count: int | None) -> str:
    """A number of bytes: `82.7 GiB`, `100.6 MiB`, `512 B`; a dash where it is not known."""
    if count is None:
        return UNKNOWN
    factor, unit = _unit_for(count)
    return f"{_amount(count, factor)} {unit}"


def size_pair(part: int | None, whole: int | None, between: str = " of ") -> str:
    """A number of bytes out of another, both in the unit of the second: `81.5 of 100.6 MiB`."""
    if whole is None:
        return f"{size_text(part)}{between}{UNKNOWN}"
    factor, unit = _unit_for(whole)
    return f"{UNKNOWN if part is None else _amount(part, factor)}{between}{_amount(whole, factor)} {unit}"


def _unit_for(count: int) -> tuple[int, str]:
    # From 1000 on the next unit, so that no amount has more than three digits before the point.
    return next((each for each in _UNITS if abs(count) < 999.95 * each[0]), _UNITS[-1])


def _amount(count: int, factor: int) -> str:
    return str(count) if factor == 1 else f"{count / factor:.1f}"


def duration_text(seconds: float | None) -> str:
    """A duration as minutes and seconds, or hours, minutes and seconds; a dash where it is not known."""
    if seconds is None:
        return UNKNOWN
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def ticks_between(low: float, high: float, count: int = 4) -> tuple[float, ...]:
    """Round figures from `low` to `high`, at most about `count`."""
    if not high > low:
        return (low,)
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(number * step, 10) for number in range(first, last + 1))
