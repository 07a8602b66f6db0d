"""The values of a decision: files with settings, what is known of each, and what the user needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from workbench.core.bench import BenchSettings
from workbench.lab.bench.grid import SETTING_OPTIONS

Aspect = Literal["speed", "kld", "passes"]
"""What is measured: decode speed in tokens/s, mean KL divergence in nats, the share of prompts that passed."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95 % interval."""

    value: float
    interval: tuple[float, float] | None = None
    """None where a single value says nothing about its spread."""
    estimated: bool = False
    """Whether it was derived from other files, and not measured; the interval is then a guess at the error."""

    @property
    def low(self) -> float:
        """The lower end; minus infinity where there is no interval."""
        return -math.inf if self.interval is None else self.interval[0]

    @property
    def high(self) -> float:
        """The upper end."""
        return math.inf if self.interval is None else self.interval[1]


@dataclass(frozen=True, slots=True)
class Contender:
    """A file with settings that can be chosen."""

    key: str
    """Names it within the decision: a letter."""
    label: str
    """The quantization, and the settings that differ from the defaults: `Q4_K_M q8_0 K`."""
    ref: str
    path: str
    digest: str
    """As in `store.sessions.digests`; empty where the file cannot be read."""
    file_bytes: int
    settings: BenchSettings
    speed: Figure | None = None
    kld: Figure | None = None
    """Mean divergence from the reference; 0 for the reference itself."""
    passes: Figure | None = None
    passed: int = 0
    """Prompts that passed."""
    judged: int = 0
    memory_bytes: int | None = None
    """The estimate for the context that is asked for; None where there is none."""
    largest_ctx: int | None = None
    """The longest context that fits in the memory that is free, at most the trained one."""
    is_reference: bool = False

    def figure(self, aspect: Aspect) -> Figure | None:
        """What was measured; None where it was not."""
        found: Figure | None = getattr(self, aspect)
        return None if found is None or found.estimated else found

    @property
    def is_measured(self) -> bool:
        """Whether anything was measured with it; a reference that was only compared with counts not."""
        return any(
            self.figure(aspect) is not None and not (aspect == "kld" and self.is_reference)
            for aspect in ("speed", "kld", "passes")
        )

    @property
    def own_options(self) -> tuple[tuple[str, str], ...]:
        """Its settings that differ from the defaults of the bench: their fields, and their values as text."""
        usual = BenchSettings()
        return tuple(
            (name, str(getattr(self.settings, name)))
            for name in SETTING_OPTIONS
            if getattr(self.settings, name) != getattr(usual, name)
        )


def settings_words(settings: BenchSettings) -> str:
    """The settings that differ from the defaults, in few words: `q8_0 K`, `-t 4`; empty for none."""
    usual, words = BenchSettings(), []
    if settings.type_k == settings.type_v != usual.type_k:
        words.append(f"{settings.type_k} KV")
    else:
        words += [f"{settings.type_k} K"] * (settings.type_k != usual.type_k)
        words += [f"{settings.type_v} V"] * (settings.type_v != usual.type_v)
    for name, option in SETTING_OPTIONS.items():
        if name not in ("type_k", "type_v") and getattr(settings, name) != getattr(usual, name):
            words.append(f"{option} {getattr(settings, name)}")
    return " ".join(words)


Prefer = Literal["auto", "quality", "speed", "size"]
"""What the best is. `auto`: speed where only quality is asked for, otherwise quality."""
PREFERENCES: tuple[Prefer, ...] = ("auto", "quality", "speed", "size")


NeedKind = Literal["bench", "pairs", "quality", "eval"]


@dataclass(frozen=True, slots=True)
class Need:
    """A measurement that a decision lacks."""

    kind: NeedKind
    contenders: tuple[str, ...]
    """Their keys; two for `pairs`."""


DecisionVerdict = Literal["choice", "unsure", "none", "nothing"]
"""`none`: no contender meets the constraints; `nothing`: there is no measurement."""


@dataclass(frozen=True, slots=True)
class DecisionAnswer:
    """What the measurements say."""

    verdict: DecisionVerdict
    sentence: str
    chosen: str = ""
    """The key of the best; where the verdict is `unsure`, of the best so far; empty for none."""
    rival: str = ""
    """The key of the contender that the sentence compares it with."""
    need: Need | None = None
    """What would tell, or tell more."""
    prefer: Prefer = "quality"
    """What was taken for the best; never `auto`."""
