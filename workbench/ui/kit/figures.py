"""Figures as text. What is not known is a dash, never a zero."""

from __future__ import annotations

from workbench.core.formats import shown_format
from workbench.core.parameters import Value
from workbench.core.units import UNKNOWN, figure_text, size_text

DASH = UNKNOWN
size = size_text


def rate(value: float | None) -> str:
    """Tokens per second, in at most four digits below 1,000."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def milliseconds(value: float | None) -> str:
    """A time in milliseconds or seconds."""
    if value is None:
        return DASH
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def count(value: int | None) -> str:
    """A whole number with its thousands marked."""
    return DASH if value is None else f"{value:,}"


def counted(value: int, noun: str) -> str:
    """A number of things, such as `1 message` or `2,048 messages`."""
    return f"{value:,} {noun}{'s' * (value != 1)}"


def energy(joules: float, per_token: float | None) -> str:
    """The energy of an answer, and of each of its tokens."""
    each = "" if per_token is None else f", {per_token:.2g} per token"
    return f"{joules:.0f} J{each}" if joules >= 10 else f"{joules:.1f} J{each}"


def percent(value: float | None) -> str:
    """A share of 0 to 100 percent."""
    return DASH if value is None else f"{value:.0f} %"


def change(fraction: float) -> str:
    """A difference in percent, with its sign."""
    text = f"{100 * fraction:+.1f} %"
    return "0.0 %" if text in ("+0.0 %", "-0.0 %") else text


def value(of: Value) -> str:
    """The value of a setting, such as `0.7`, `true` or `'User:' '<|end|>'`."""
    if isinstance(of, tuple):
        return " ".join(map(repr, of)) or "none"
    return shown_format(of) if isinstance(of, str) else str(of).removesuffix(".0").lower()


def bits(value: float | None, unit: str = "") -> str:
    """Bits per weight, before a unit."""
    return figure_text(value, ".2f", unit)


def parameters(value: int | None) -> str:
    """A number of weights in the short form of model names, such as `7.2B`."""
    if value is None:
        return DASH
    for unit, factor in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= factor:
            amount = value / factor
            return f"{amount:.0f}{unit}" if amount >= 100 else f"{amount:.1f}{unit}"
    return str(value)
