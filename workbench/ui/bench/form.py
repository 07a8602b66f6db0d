"""The form of the bench: the kind of run, the models, and the fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Click, DescendantFocus
from textual.getters import query_one
from textual.message import Message
from textual.widgets import Input, Label

from workbench.core.models import ModelEntry
from workbench.lab.bench.record import Kind
from workbench.ui.bench.fields import FIELDS, KIND_NAMES, KINDS, BenchField, note_of, problem_of, takes_list
from workbench.ui.experiment.result_lines import ResultLines
from workbench.ui.keys import key
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.text import short_label, styled
from workbench.ui.widgets.input_line import InputLine
from workbench.ui.widgets.rows import Rows

MOST_MODEL_ROWS = 4
SHORT_OPTION = 7
"""Characters of an option that fit into its column."""
SHORT_KINDS: Mapping[Kind, str] = {**KIND_NAMES, "pairs": "A/B", "sweep": "Load"}
"""The names of the kinds on a narrow screen."""


class KindBar(ResultLines):
    """The kinds of run, the current one marked."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--open"}

    @dataclass
    class Wanted(Message):
        """A kind was clicked."""

        kind: Kind

    def __init__(self) -> None:
        super().__init__(widget_id="bench-kinds")
        self._places: list[tuple[int, int]] = []
        self._kind: Kind = "tests"

    def show(self, kind: Kind) -> None:
        self._kind = kind
        line = self._line(KIND_NAMES)
        self.set_lines([line if line.cell_length <= self.size.width else self._line(SHORT_KINDS)])

    def _line(self, names: Mapping[Kind, str]) -> Content:
        line = styled(("BENCH ", "rows--heading"))
        self._places = []
        for each in KINDS:
            start = line.cell_length + 1
            line += styled((" ", ""), (f" {names[each]} ", "rows--open" if each == self._kind else "rows--dim"))
            self._places.append((start, line.cell_length))
        return line

    def on_resize(self) -> None:
        self.show(self._kind)

    def on_click(self, event: Click) -> None:
        for kind, (start, end) in zip(KINDS, self._places, strict=False):
            if start <= event.x - self.gutter.left < end:
                self.post_message(self.Wanted(kind))


class BenchModelRows(Rows):
    """The models that are measured."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("bench.remove", "x,delete,backspace", "Remove", "Remove the selected model from the list."),
    ]

    @dataclass
    class Removed(Message):
        """The user removes a model."""

        index: int

    @dataclass
    class Left(Message):
        """The arrow leads out of the list, one field further or back."""

        step: int

    def action_move(self, step: int) -> None:
        if self.cursor is not None and abs(step) == 1 and not 0 <= self.cursor + step < self.count:
            self.post_message(self.Left(step))
        else:
            super().action_move(step)

    def enter(self, step: int) -> None:
        """Select the row that is next to where the arrow came from."""
        self.move_to(0 if step > 0 else self.count - 1)

    def action_remove(self) -> None:
        if self.cursor is not None:
            self.post_message(self.Removed(self.cursor))


class BenchInput(Horizontal):
    """A field: its name, its option on the command line, its value, and a note."""

    input = query_one(Input)
    note = query_one(".bench-note", Label)

    def __init__(self, field: BenchField) -> None:
        super().__init__(id=field.id)
        self.set_class(field.wide, "-wide").set_class(len(field.option) > SHORT_OPTION, "-long")
        self.field = field
        self._checked: str | None = None

    def compose(self) -> ComposeResult:
        yield Label(self.field.label, classes="bench-name", markup=False)
        yield Label(self.field.option, classes="bench-option", markup=False)
        yield InputLine(value=self.field.default)
        yield Label("", classes="bench-note", markup=False)

    def on_mount(self) -> None:
        self.check()

    @property
    def text(self) -> str:
        return self.input.value

    def check(self) -> bool:
        """Mark an error, or show the meaning of the value. Returns whether it is another value than before."""
        if self.text == self._checked:
            return False
        self._checked = self.text
        wrong = bool(problem_of(self.field, self.text))
        self.set_class(wrong, "-wrong")
        self.set_class(not wrong and self.text.strip() != self.field.default, "-set")
        self.note.update("✗ see below" if wrong else note_of(self.field, self.text))
        return True


class BenchFields(VerticalScroll, can_focus=False, inherit_bindings=False):
    """The fields. The arrow keys go from one to the next, and it scrolls with them, at every height."""


class BenchForm(Vertical):
    """Models and fields, and a hint about the focused one."""

    models = query_one("#bench-models", BenchModelRows)
    heading = query_one("#bench-models-heading", ResultLines)
    fields = query_one("#bench-fields", BenchFields)
    hint = query_one("#bench-hint", Label)

    class Changed(Message):
        """A value has changed."""

    class Submitted(Message):
        """The user pressed Enter in a field."""

    def __init__(self) -> None:
        super().__init__(id="bench-form")
        self._kind: Kind = "tests"

    def compose(self) -> ComposeResult:
        yield ResultLines(widget_id="bench-models-heading")
        yield BenchModelRows("bench-models")
        with BenchFields(id="bench-fields"):
            for field in FIELDS:
                yield BenchInput(field)
        yield Label("", id="bench-hint", markup=False)

    @property
    def texts(self) -> Mapping[str, str]:
        return {each.field.name: each.text for each in self.query(BenchInput)}

    def put(self, texts: Mapping[str, str]) -> None:
        """Put values into the fields, by their names; all others get their defaults."""
        for each in self.query(BenchInput):
            each.input.value = texts.get(each.field.name, each.field.default)

    def show(self, kind: Kind, models: Sequence[ModelEntry], add_key: str) -> None:
        """Show the fields of a kind of run, and the models."""
        self._kind = kind
        for each in self.query(BenchInput):
            each.display = kind in each.field.kinds
        count = "" if not models else f"  {len(models)}"
        self.heading.set_lines(
            [styled(("Models", "rows--heading"), (count, "rows--dim"), (f"   {add_key} adds one", "rows--dim"))]
        )
        self.models.styles.height = max(1, min(MOST_MODEL_ROWS, len(models)))
        self.models.display = bool(models)
        self.models.show(
            len(models), lambda index, width: self._model_row(models, index, width), choosable=True,
            cursor=self.models.cursor or 0,
        )  # fmt: skip

    def _model_row(self, models: Sequence[ModelEntry], index: int, width: int) -> Content:
        model = models[index]
        letter = "AB"[index] if self._kind == "pairs" and index < 2 else str(index + 1)
        size = fmt.size(model.size_bytes)
        name = short_label(model, max(8, width - len(size) - 5))
        gap = " " * max(1, width - len(name) - len(size) - 3)
        first = "rows--first" if index == 0 else "rows--second" if index == 1 else "rows--dim"
        return styled((f"{letter}  ", first), (name, "rows--name"), (gap, ""), (size, "rows--dim"))

    def focus_field(self, name: str = "") -> None:
        """Go to a field; to the first one where none is named."""
        for each in self.query(BenchInput):
            if each.display and name in ("", each.field.name):
                each.input.focus()
                return

    @on(Input.Changed)
    def _check(self, event: Input.Changed) -> None:
        event.stop()
        line = event.input.parent
        # A new field reports its first value, too.
        if isinstance(line, BenchInput) and line.check():
            self._show_hint(line)
            self.post_message(self.Changed())

    @on(Input.Submitted)
    def _submit(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Submitted())

    @on(DescendantFocus)
    def _enter(self, event: DescendantFocus) -> None:
        line = event.widget.parent
        if isinstance(line, BenchInput):
            self._show_hint(line)
        elif event.widget is self.models:
            self._hint("The first model is A, the reference.")

    def _show_hint(self, line: BenchInput) -> None:
        """Show what is wrong with a field, or its meaning."""
        problem = problem_of(line.field, line.text)
        takes = " A list with commas makes a grid." if takes_list(line.field, self._kind) else ""
        self._hint(problem or f"{line.field.about}{takes}", wrong=bool(problem))

    def refuse(self, text: str, name: str = "") -> None:
        """Show why a run cannot start, at the field to blame."""
        if name:
            self.focus_field(name)
        # The field that gets the focus shows its own hint first.
        self.call_after_refresh(self._hint, text, wrong=True)

    def _hint(self, text: str, *, wrong: bool = False) -> None:
        self.hint.set_class(wrong, "-wrong")
        self.hint.update(text)
