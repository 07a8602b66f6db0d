"""Figures as text. What is not known is a dash, never a zero."""

from __future__ import annotations

DASH = "—"
_UNITS = ("B", "KB", "MB", "GB", "TB")


def rate(value: float | None) -> str:
    """Tokens a second, with as many digits as can be read off."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def milliseconds(value: float | None) -> str:
    """A time, in the unit that suits it."""
    if value is None:
        return DASH
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def count(value: int | None) -> str:
    """A number of things."""
    return DASH if value is None else f"{value:,}"


def size(value: int | None) -> str:
    """A number of bytes, in powers of 1000, as disks and model pages count them."""
    if value is None:
        return DASH
    amount = float(value)
    for unit in _UNITS:
        if amount < 999.5 or unit == _UNITS[-1]:
            return f"{amount:.0f} {unit}" if amount >= 100 or unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return DASH


def energy(joules: float, per_token: float | None) -> str:
    """Joules of an answer, and of each of its tokens."""
    each = "" if per_token is None else f", {per_token:.2g} a token"
    return f"{joules:.0f} J{each}" if joules >= 10 else f"{joules:.1f} J{each}"


def share(part: float, whole: float) -> str:
    """A share in per cent."""
    return f"{100 * part / whole:.0f} %" if whole else DASH


def change(fraction: float) -> str:
    """A difference in per cent, with its sign."""
    text = f"{100 * fraction:+.1f} %"
    return "0.0 %" if text in ("+0.0 %", "-0.0 %") else text


def parameters(value: int | None) -> str:
    """A number of weights, as models are named after them."""
    if value is None:
        return DASH
    for unit, factor in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= factor:
            amount = value / factor
            return f"{amount:.0f}{unit}" if amount >= 100 else f"{amount:.1f}{unit}"
    return str(value)
