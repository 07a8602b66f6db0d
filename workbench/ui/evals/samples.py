"""How many answers the cases of an evaluation get."""

from __future__ import annotations

from collections.abc import Callable

from workbench.ui.dialogs.choose import ScreenSetting

SAMPLES = (1, 3, 5, 10)
"""How many answers a case may get."""


def sample_setting(samples: int, choose: Callable[[int], object]) -> ScreenSetting:
    """How many answers each case gets; `choose` takes another number."""
    texts = ("one greedy answer", *(f"{count} sampled answers" for count in SAMPLES[1:]))
    return ScreenSetting(texts, SAMPLES.index(samples), lambda index: choose(SAMPLES[index]))
