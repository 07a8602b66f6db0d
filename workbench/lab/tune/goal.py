"""What a tuning aims at: the work that is to be fast, the memory and the context that it has to keep to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from workbench.core.bench import BenchSettings, BenchTest
from workbench.core.bench_loading import as_bench_settings
from workbench.core.engine import Needs
from workbench.core.engine_hosts import CHILD, PROCESS
from workbench.core.errors import ParameterError
from workbench.core.load_settings import KV_TYPES, LoadSettings
from workbench.core.models import ModelEntry
from workbench.core.units import GIB, size_text
from workbench.lab.bench.grid import LARGEST, parse_number, parse_words

Aim = Literal["decode", "prompt", "mix"]
AIMS: tuple[Aim, ...] = get_args(Aim)
"""`mix` is a prompt and its answer, timed together."""
Busy = Literal["wait", "mark", "stop"]
BUSY: tuple[Busy, ...] = get_args(Busy)
"""What is done where other programs compute: wait until they are done, mark the result, or stop."""

PROMPT, ANSWER = 512, 32
"""Tokens of a short run."""
MIX_ANSWER = 64


def work_of(
    aim: Aim, n_prompt: int | None = None, n_gen: int | None = None, depth: int = 0, users: int = 1
) -> BenchTest:
    """The test of an aim: one short run. Lengths of None have their defaults."""
    prompt = 0 if aim == "decode" else n_prompt or PROMPT
    gen = 0 if aim == "prompt" else n_gen or (ANSWER if aim == "decode" else MIX_ANSWER)
    return BenchTest(prompt, gen, depth, users)


@dataclass(frozen=True, slots=True)
class TuneLimits:
    """What every setting has to keep to."""

    max_bytes: tuple[tuple[str, int], ...] = ()
    """The most memory on a device, by llama.cpp's name of it; an empty name stands for each device."""
    min_ctx: int = 0
    """The context length that has to fit, in tokens; 0 is that of today's settings."""

    def most_on(self, device: str) -> int | None:
        """The most bytes on a device; None where there is no limit."""
        known = dict(self.max_bytes)
        return known.get(device, known.get(""))

    def excess(self, needs: Needs) -> tuple[int, str]:
        """By how many bytes the limits are missed at most, and on which device; 0 where they are met."""
        found = [(each.total_bytes - most, each.device) for each in needs.devices
                 if (most := self.most_on(each.device)) is not None]  # fmt: skip
        return max([(0, ""), *found])


def parse_max_gb(text: str) -> tuple[tuple[str, int], ...]:
    """The limits of `--max-gb`: `6` for each device, or `CPU=16,CUDA0=6`. Raises ParameterError."""
    found = []
    for item in text.split(","):
        device, _, amount = item.rpartition("=")
        try:
            size = float(amount)
        except ValueError:
            size = math.nan
        if not 0 < size < 2**20:
            hint = "It takes GiB, such as 6, or DEVICE=GiB with commas between, such as CPU=16,CUDA0=6."
            raise ParameterError(f"--max-gb cannot be {text!r}.", hint)
        found.append((device.strip(), round(size * GIB)))
    return tuple(found)


def parse_limits(max_gb: str, min_ctx: str) -> TuneLimits:
    """The limits of `--max-gb` and `--min-ctx`; empty texts are none. Raises ParameterError."""
    return TuneLimits(
        parse_max_gb(max_gb) if max_gb.strip() else (),
        parse_number(min_ctx, "--min-ctx", 1, LARGEST) if min_ctx.strip() else 0,
    )


def parse_caches(text: str) -> tuple[str, ...]:
    """The cache types of `--caches`; an empty text is none. Raises ParameterError."""
    return parse_words(text, "--caches", KV_TYPES) if text.strip() else ()


def measured_settings(load: LoadSettings) -> BenchSettings:
    """Settings as they are timed: in a process of their own, which drawing does not disturb, and which may end."""
    settings = as_bench_settings(load)
    return replace(settings, engine_host=CHILD) if settings.engine_host == PROCESS else settings


@dataclass(frozen=True, slots=True)
class TunePlan:
    """A whole tuning."""

    model: ModelEntry
    today: LoadSettings
    """The settings that the model is loaded with now."""
    work: BenchTest
    limits: TuneLimits = field(default_factory=TuneLimits)
    caches: tuple[str, ...] = ()
    """The cache types that may be used beside today's."""
    prices: Mapping[str, str] = field(default_factory=dict, hash=False)
    """By cache type: what it costs in quality, in words."""
    pairs: int = 10
    """Pairs of the last comparison, which is the claim."""
    busy: Busy = "wait"
    minutes: float | None = None
    """The search ends after so many minutes with what is known; None for no limit."""
    seed: int = 1

    @property
    def n_ctx(self) -> int:
        """The context length that has to fit; 0 is the default of the model."""
        return self.limits.min_ctx or self.today.num_ctx


def room_reason(needs: Needs, limits: TuneLimits) -> str:
    """Why settings are not tried: refused by llama.cpp, or no room; empty where they are."""
    if needs.refusal is not None:
        return needs.refusal.message
    over, device = limits.excess(needs)
    if over:
        return f"takes {size_text(over)} more on {device} than allowed"
    for each in needs.devices:
        if each.total_bytes > each.usable_bytes:
            return (
                f"needs {size_text(each.total_bytes)} on {each.device}, where {size_text(each.usable_bytes)} are free"
            )
    return ""
