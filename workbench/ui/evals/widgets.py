"""Widgets in the colours of an evaluation, and its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from workbench.ui.dialogs.choose import ScreenSetting
from workbench.ui.widgets.lines import Lines


class EvalLines(Lines):
    """Lines in the colours of an evaluation."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--header", "rows--heading", "rows--name", "rows--dim", "rows--accent", "rows--figure", "rows--good",
        "rows--error", "rows--warning", "rows--track", "gauge--track",
    }  # fmt: skip


SAMPLES = (1, 3, 5, 10)
"""How many answers a case may get."""


def sample_setting(samples: int, choose: Callable[[int], object]) -> ScreenSetting:
    """How many answers each case gets; `choose` takes another number."""
    texts = ("one greedy answer", *(f"{count} sampled answers" for count in SAMPLES[1:]))
    return ScreenSetting(texts, SAMPLES.index(samples), lambda index: choose(SAMPLES[index]))
