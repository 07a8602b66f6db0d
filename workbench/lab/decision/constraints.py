"""What the user needs, and whether a contender meets it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.core.errors import ParameterError
from workbench.core.units import GIB, size_text
from workbench.lab.decision.contender import Contender, Figure

State = Literal["met", "failed", "unsure", "unknown"]
"""`unsure`: the limit is inside the interval; `unknown`: it was not measured."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """One thing that the user needs."""

    aspect: Literal["speed", "memory", "context", "kld", "passes"]
    limit: float
    """tokens/s, bytes, tokens, nats, or a share."""

    @property
    def at_least(self) -> bool:
        """Whether more is better."""
        return self.aspect in ("speed", "context", "passes")

    @property
    def text(self) -> str:
        """In words: `≥ 40 tokens/s`."""
        of = " of the prompts" if self.aspect == "passes" else ""
        return f"{'≥' if self.at_least else '≤'} {aspect_text(self.aspect, self.limit)}{of}"

    def figure(self, contender: Contender) -> Figure | None:
        """The figure that it is about; None where it is unknown."""
        if self.aspect in ("memory", "context"):
            value = contender.memory_bytes if self.aspect == "memory" else contender.largest_ctx
            return None if value is None else Figure(value, (value, value))
        found: Figure | None = getattr(contender, self.aspect)
        return found

    def state(self, contender: Contender) -> State:
        """Whether a contender meets it. An estimate can fail it, but not meet it."""
        found = self.figure(contender)
        if found is None:
            return "unknown"
        low, high = (found.low, found.high) if self.at_least else (-found.high, -found.low)
        limit = self.limit if self.at_least else -self.limit
        if high < limit:
            return "failed"
        if found.estimated:
            return "unknown"
        return "met" if low >= limit else "unsure"

    def shortfall(self, contender: Contender) -> float:
        """By how much a contender misses it, as a fraction of the limit; 0 where it meets it or nothing is known."""
        found = self.figure(contender)
        if found is None:
            return 0.0
        missing = self.limit - found.value if self.at_least else found.value - self.limit
        return max(0.0, missing) / self.limit if self.limit else max(0.0, missing)


@dataclass(frozen=True, slots=True)
class Constraints:
    """What the user needs; None where it does not matter."""

    min_speed: float | None = None
    """tokens/s."""
    max_gb: float | None = None
    """GiB of memory, with the context that is asked for."""
    min_context: int | None = None
    """Tokens."""
    max_kld: float | None = None
    """Mean divergence, in nats."""
    min_pass: float | None = None
    """Per cent of the prompts of an evaluation."""

    @property
    def items(self) -> Sequence[Constraint]:
        """Those that are set."""
        given = (
            ("speed", self.min_speed, 1.0),
            ("memory", self.max_gb, float(GIB)),
            ("context", self.min_context, 1.0),
            ("kld", self.max_kld, 1.0),
            ("passes", self.min_pass, 0.01),
        )
        return [Constraint(name, value * unit) for name, value, unit in given if value is not None]  # type: ignore[arg-type]


def aspect_text(aspect: str, value: float) -> str:
    """A figure in words: `41.2 tokens/s`, `5.1 GiB`, `8,192 tokens`, `KLD 0.011`, `95 %`."""
    match aspect:
        case "speed":
            return f"{value:.3g} tokens/s" if value < 100 else f"{value:.0f} tokens/s"
        case "memory":
            return size_text(round(value))
        case "context":
            return f"{value:,.0f} tokens"
        case "kld":
            return f"KLD {value:.2g}" if value else "KLD 0"
        case _:
            return f"{100 * value:.0f} %"


def parse_constraint(name: str, text: str) -> float | int | None:
    """The value of a field of `Constraints` from what was typed; None for nothing.

    Raises:
        ParameterError: It is no number, or out of its range.
    """
    most = 100.0 if name == "min_pass" else float("inf")
    text = text.strip().removesuffix("%").strip()
    if not text:
        return None
    label = f"--{name.replace('_', '-')}"
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most or value == float("inf"):
        limits = "from 0 to 100" if name == "min_pass" else "of 0 or more"
        raise ParameterError(f"{label} cannot be {text!r}.", f"It takes a number {limits}.")
    if name == "min_context":
        if value != int(value):
            raise ParameterError(f"{label} cannot be {text!r}.", "It takes a whole number of tokens.")
        return int(value)
    return value
