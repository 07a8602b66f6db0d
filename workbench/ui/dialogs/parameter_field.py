"""A field for one parameter: its name, its value, and a note."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.events import DescendantFocus
from textual.getters import query_one
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Input, Label

from workbench.core.errors import ParameterError
from workbench.core.parameters import PARAMETERS, Parameter, Value, check_value, parse_value
from workbench.ui.keys import key
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.widgets.input_line import InputLine

SEPARATOR = "|"
"""Separates several texts in one field."""
SERVER = "not sent: the server decides"
"""The note on a value that nobody has set, for the model of a server."""
FIELD_BINDINGS: list[BindingType] = [
    key("settings.next", "down", "Next", "Go to the next field.", action="app.focus_next", show=False),
    key("settings.previous", "up", "Back", "Go to the field above.", action="app.focus_previous", show=False),
]
"""Keys of a field. The box around the fields, which scrolls, would take them before its dialog."""
_MEANINGS: dict[tuple[str, Value | None], str] = {
    ("top_k", 0): "keeps all",
    ("top_p", 1.0): "keeps all",
    ("min_p", 0.0): "off",
    ("typical_p", 1.0): "off",
    ("repeat_last_n", 0): "off",
    ("repeat_last_n", -1): "the whole context",
    ("repeat_penalty", 1.0): "off",
    ("presence_penalty", 0.0): "off",
    ("frequency_penalty", 0.0): "off",
    ("top_n_sigma", -1.0): "off",
    ("xtc_probability", 0.0): "off",
    ("dry_multiplier", 0.0): "off",
    ("dry_penalty_last_n", 0): "off",
    ("dry_penalty_last_n", -1): "the whole context",
    ("mirostat", 0): "off",
    ("adaptive_target", -1.0): "off",
    ("temperature", 0.0): "greedy",
    ("seed", -1): "random each time",
    ("num_predict", -1): "no limit",
    ("num_ctx", 0): "automatic",
    ("num_gpu", -1): "as many as fit",
    ("num_gpu", 0): "none",
    ("num_cpu_moe", 0): "none",
    ("num_cpu_moe", -1): "all layers",
    ("num_thread", 0): "one per physical core",
    ("num_thread_batch", 0): "as for the answer",
    ("tensor_split", ()): "by free memory",
    ("devices", ()): "all",
    ("override_tensor", ()): "none",
    ("speculation", "ngram"): "what followed before",
}


_ESCAPED = re.compile(r"\\(.)")


def _unescape(escaped: re.Match[str]) -> str:
    return "\n" if escaped[1] == "n" else escaped[1]


def shown(parameter: Parameter, value: Value) -> str:
    """A value of a parameter as it is typed."""
    if isinstance(value, tuple):
        if parameter.form or parameter.choices:
            return parameter.separators[0].join(value)
        return SEPARATOR.join(item.replace("\\", "\\\\").replace("\n", "\\n") for item in value)
    return value or "off" if isinstance(value, str) else fmt.value(value)


def words_of(parameter: Parameter) -> tuple[str, ...]:
    """The only words that a parameter takes; none where it takes others."""
    return ("true", "false") if parameter.kind == "bool" else parameter.choices


def typed(parameter: Parameter, text: str) -> Value:
    """The value of a typed text.

    Raises:
        ParameterError: The text is not a value of the parameter.
    """
    if parameter.name not in PARAMETERS:
        word, words = text.strip(), words_of(parameter)
        if word not in words:
            raise ParameterError(f"{parameter.label} is one of {', '.join(words)}.")
        return word == words[0] if parameter.kind == "bool" else word
    if parameter.kind == "strings" and not (parameter.form or parameter.choices):
        items = [_ESCAPED.sub(_unescape, item) for item in text.split(SEPARATOR)]
        return check_value(parameter.name, [item for item in items if item])
    return parse_value(parameter.name, text.strip())


class ParameterField(Horizontal):
    """A parameter whose value is checked with every key."""

    BINDINGS: ClassVar[list[BindingType]] = FIELD_BINDINGS

    @dataclass
    class Entered(Message):
        """The field got the focus."""

        field: ParameterField

    input = query_one(Input)
    note = query_one(".field-note", Label)

    def __init__(self, parameter: Parameter, value: Value, origin: str = "", *, changed: str = "this chat") -> None:
        """`changed` is the note on a value that was changed here."""
        super().__init__(id=f"field-{parameter.name}")
        self.parameter = parameter
        self.value: Value | None = value
        """The typed value; None where the text is invalid."""
        self.problem = ""
        """The accepted values, where the text is invalid."""
        self._initial = value
        self._origin = origin
        self._changed_note = changed
        self._initial_text = clean_line(shown(parameter, value))

    def compose(self) -> ComposeResult:
        parameter = self.parameter
        choices = words_of(parameter)
        yield Label(parameter.label, classes="field-name", markup=False)
        yield InputLine(value=self._initial_text, suggester=SuggestFromList(choices) if choices else None)
        yield Label("", classes="field-note", markup=False)

    def on_mount(self) -> None:
        self._annotate()

    @property
    def changed(self) -> bool:
        return self.value is not None and self.value != self._initial

    @on(Input.Changed)
    def _check(self, event: Input.Changed) -> None:
        event.stop()
        try:
            # A value that is shown cleaned must not change unless it was edited.
            unchanged = event.value == self._initial_text
            self.value, self.problem = self._initial if unchanged else typed(self.parameter, event.value), ""
        except ParameterError:
            self.value, self.problem = None, self.parameter.range_text
        self._annotate()

    def _annotate(self) -> None:
        self.set_class(bool(self.problem), "-wrong")
        self.set_class(self.value is not None and self.value != self.parameter.default, "-set")
        if self.problem:
            note = self.problem
        elif self._origin == SERVER and not self.changed:
            note = SERVER
        else:
            parts = [_MEANINGS.get((self.parameter.name, self.value), "")]
            if self.changed and self.parameter.reload:
                parts.append("F9 reloads with it")
            elif self.value != self.parameter.default or self._origin:
                parts.append(self._changed_note if self.changed else self._origin)
                parts.append(f"default {shown(self.parameter, self.parameter.default) or 'none'}")
            else:
                parts.append("default")
            note = " · ".join(part for part in parts if part)
        self.note.update(note)

    @on(DescendantFocus)
    def _enter(self) -> None:
        self.post_message(self.Entered(self))
