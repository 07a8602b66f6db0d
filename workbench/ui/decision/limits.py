"""The constraints on top of the decision screen."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label

from workbench.core.errors import ParameterError
from workbench.lab.decision.constraints import Constraints, parse_constraint
from workbench.ui.widgets.input_line import InputLine

LABELS = {
    "min_speed": "≥ tokens/s",
    "max_gb": "≤ GiB",
    "min_context": "≥ context",
    "max_kld": "≤ KLD",
    "min_pass": "≥ pass %",
}


class LimitBar(Horizontal):
    """A field for each constraint."""

    class Changed(Message):
        """A constraint has changed."""

    def __init__(self) -> None:
        super().__init__()
        self._known = [""] * len(LABELS)
        """The texts of the fields, as far as others know them."""

    def compose(self) -> ComposeResult:
        for name, label in LABELS.items():
            yield Label(label, markup=False)
            yield InputLine(f"limit-{name}")

    def read(self) -> tuple[Constraints, str]:
        """The constraints that can be read, and the first error; empty for none."""
        values: dict[str, float | None] = {}
        problem = ""
        for name in LABELS:
            field = self.query_one(f"#limit-{name}", Input)
            try:
                values[name] = parse_constraint(name, field.value)
            except ParameterError as error:
                problem = problem or f"{LABELS[name]} {error.hint[0].lower()}{error.hint[1:]}"
            field.set_class(name not in values, "-wrong")
        return Constraints(**values), problem  # type: ignore[arg-type]

    def show(self, constraints: Constraints) -> None:
        """Put constraints into the fields, without a message."""
        for name in LABELS:
            value = getattr(constraints, name)
            self.query_one(f"#limit-{name}", Input).value = "" if value is None else f"{value:.10g}"
        self._known = self._texts()

    def _texts(self) -> list[str]:
        return [field.value for field in self.query(Input)]

    @on(Input.Changed)
    def _change(self, event: Input.Changed) -> None:
        event.stop()
        if (texts := self._texts()) != self._known:
            self._known = texts
            self.post_message(self.Changed())
