"""Lines in the colours of a list: what stands above, below and beside its rows."""

from __future__ import annotations

from typing import ClassVar

from workbench.ui.widgets.lines import Lines
from workbench.ui.widgets.painter import styles_of


class ListLines(Lines):
    """Shows lines in the classes of a list."""

    DEFAULT_CSS = styles_of(__file__)
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--header", "rows--sorted", "rows--heading", "rows--name", "rows--strong", "rows--dim", "rows--accent",
        "rows--figure", "rows--good", "rows--warning", "rows--error", "rows--bar", "rows--track", "gauge--track",
    }  # fmt: skip
