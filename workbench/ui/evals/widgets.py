"""Widgets in the colours of an evaluation."""

from __future__ import annotations

from typing import ClassVar

from workbench.ui.widgets.lines import Lines


class EvalLines(Lines):
    """Lines in the colours of an evaluation."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--header", "rows--heading", "rows--name", "rows--dim", "rows--accent", "rows--figure", "rows--good",
        "rows--error", "rows--warning", "rows--track", "gauge--track",
    }  # fmt: skip
