"""The fields of the tune screen."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Label

from workbench.ui.widgets.input_line import InputLine

FIELDS = {
    "max-gb": ("≤ GiB", "6, CPU=16"),
    "min-ctx": ("≥ context", "today's"),
    "caches": ("caches", "q8_0,q4_0"),
}
"""The fields, with their labels and what can be typed."""


class TuneFields(Horizontal):
    """The constraints, and the cache types that may be used."""

    def compose(self) -> ComposeResult:
        for name, (label, typed) in FIELDS.items():
            yield Label(label, markup=False)
            yield InputLine(f"tune-{name}", typed)

    def text(self, name: str) -> str:
        return self.query_one(f"#tune-{name}", Input).value
