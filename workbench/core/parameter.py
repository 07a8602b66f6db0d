"""The definition of a parameter: its name, type, range and default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Value = bool | int | float | str | tuple[str, ...]
INT32 = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Parameter:
    """The definition of one parameter."""

    name: str
    label: str
    """The name on the screen."""
    kind: Literal["int", "float", "bool", "choice", "name", "strings", "format"]
    default: Value
    help: str
    low: float = 0
    """The bounds of a number, both included."""
    high: float = 0
    choices: tuple[str, ...] = ()
    """The allowed values; of `strings`, those of each text; of a `name`, the well-known ones."""
    form: str = ""
    """A regular expression for a `name` or each text of `strings`; empty for any text."""
    form_text: str = ""
    """The form in words."""
    regex: bool = False
    """Whether each text begins with a regular expression, which ends at `=`."""
    separators: str = "|,;"
    """The characters between texts that have a form or a list of choices; the first one is written."""
    reload: bool = False
    """Whether a change takes effect only when the model is loaded again."""
    in_modelfile: bool = True
    """Whether Ollama's Modelfile has a PARAMETER of this name."""

    @property
    def range_text(self) -> str:
        """The allowed values in words, such as "a whole number from 0 to 1,024"."""
        if self.kind == "choice":
            return f"one of {', '.join(self.choices)}"
        if self.kind == "bool":
            return "true or false"
        if self.kind == "name":
            return self.form_text
        if self.kind in ("strings", "format"):
            return f"names out of {', '.join(self.choices)}" if self.choices else self.form_text or "text"
        noun = "a whole number" if self.kind == "int" else "a number"
        # The bound of the integer type alone says nothing.
        return f"{noun}, {self.low:,} or more" if self.high == INT32 else f"{noun} from {self.low:,} to {self.high:,}"
