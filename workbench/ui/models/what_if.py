"""Load settings on trial: changed to see what a model would need before it is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from workbench.core.errors import ParameterError
from workbench.core.load_settings import LOAD_MODES
from workbench.core.parameters import LoadSettings, Sampling, Value, check_value, with_values

CELLS = 256
"""The context is rounded up to a multiple of this."""
LONGEST = 2**24
"""The longest context that can be asked for."""
BATCHES = (64, 128, 256, 512, 1024, 2048)
CACHE_TYPES = ("f16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl", "bf16", "f32")
"""The types of keys and values, the smaller ones first that are tried for their size."""
FLASH = ("auto", "on", "off")
CHOICES: Mapping[str, Sequence[Value]] = {
    "type_k": CACHE_TYPES,
    "type_v": CACHE_TYPES,
    "flash_attn": FLASH,
    "num_batch": BATCHES,
    "num_ubatch": BATCHES,
    "offload_kqv": (True, False),
    "load_mode": LOAD_MODES,
    "swa_full": (False, True),
}
"""The values of each setting that is changed by going through a list."""
_TYPED = re.compile(r"\s*([0-9][0-9,_ ]*(?:\.[0-9]+)?)\s*([kKmM]?)\s*")
_FACTORS = {"": 1, "k": 1024, "m": 2**20}


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The settings of the conversation with changes on trial."""

    base: LoadSettings
    """The settings of the conversation."""
    values: Mapping[str, Value] = field(default_factory=dict)
    """The changes, by parameter name."""

    @property
    def settings(self) -> LoadSettings:
        return with_values(Sampling(), self.base, self.values)[1]

    def on(self, base: LoadSettings) -> WhatIf:
        """The same changes, applied to other settings."""
        return WhatIf(base, {name: value for name, value in self.values.items() if value != getattr(base, name)})

    def put(self, name: str, value: Value) -> WhatIf:
        """With another value; a value that the settings have anyway is not a change.

        Raises:
            ParameterError: The value is out of its range.
        """
        values = {**self.values, name: check_value(name, value)}
        return replace(self, values=values).on(self.base)

    def next(self, name: str) -> WhatIf:
        """With the next of a setting's `CHOICES`; the first follows the last."""
        value, choices = getattr(self.settings, name), CHOICES[name]
        return self.put(name, choices[(choices.index(value) + 1) % len(choices)] if value in choices else choices[0])


def next_context(now: int, step: int, trained: int | None) -> int:
    """The next longer context, or with `step` -1 the next shorter one: a power of two, or the trained context."""
    steps = {CELLS * 2**power for power in range(LONGEST.bit_length()) if CELLS * 2**power <= LONGEST}
    steps |= {trained} if trained else set()
    if step > 0:
        return min((each for each in steps if each > now), default=now)
    return max((each for each in steps if each < now), default=now)


def typed_context(text: str) -> int:
    """The context that a user typed, such as `16384`, `16,384` or `16k`.

    Raises:
        ParameterError: It is not a number of tokens.
    """
    match = _TYPED.fullmatch(text)
    if match is None:
        raise ParameterError(f"{text.strip()!r} is not a number of tokens.", "Type one such as 16384 or 16k.")
    number = re.sub(r"[,_ ]", "", match[1])
    tokens = float(number) * _FACTORS[match[2].casefold()]
    if not 1 <= round(min(tokens, LONGEST + 1)) <= LONGEST:
        raise ParameterError(f"{tokens:,.0f} tokens are too many or too few.", f"It takes 1 to {LONGEST:,}.")
    return round(tokens)
