"""Write Modelfiles that Ollama parses to exactly the same values."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from workbench.core.errors import ModelfileError
from workbench.modelfile.syntax import COMMANDS, ROLES, Instruction, is_kept, visible

_PARAMETER_NAME = re.compile(r"[A-Za-z0-9_]+")
# A value in triple quotes ends with the first line that ends in them.
_EARLY_END = re.compile(r'"""[ \t]*[\r\n]')
_DROPPED_HINT = (
    "Ollama drops non-printing characters and has no escape for them. Remove it, or export as Markdown or JSON."
)


def write(commands: Iterable[Instruction], header: Iterable[str] = ()) -> str:
    """The text of a Modelfile with these instructions; `header` are comments for the top, one line each.

    Raises:
        ModelfileError: A Modelfile cannot hold a value; the message names it.
    """
    lines = [f"# {visible(' '.join(comment.split()))}".rstrip() for comment in header]
    if lines:
        lines.append("")
    counts: dict[str, int] = {}
    for command in commands:
        counts[command.name] = counts.get(command.name, 0) + 1
        lines.append(_written(command, counts[command.name]))
    return "\n".join(lines) + "\n"


def _written(command: Instruction, number: int) -> str:
    if command.name not in COMMANDS:
        raise ModelfileError(f"A Modelfile has no command {command.name!r}.")
    words = [command.name.upper()]
    if command.name == "parameter":
        if not _PARAMETER_NAME.fullmatch(command.parameter):
            raise ModelfileError(f"A Modelfile cannot hold a parameter called {command.parameter!r}.")
        words.append(command.parameter)
    elif command.name == "message":
        if command.role not in ROLES:
            raise ModelfileError(f"A Modelfile cannot hold a message by {command.role!r}.")
        words.append(command.role)
    label = " ".join(words)
    if command.name == "message":
        label += f" (number {number})"
    if command.name == "from" and not command.args:
        raise ModelfileError("FROM needs a model.")
    return f"{' '.join(words)} {_quoted(command.args, label)}"


def _quoted(value: str, label: str) -> str:
    """`value` in quotes where a bare value would be trimmed, cut off, or taken for a quoted one."""
    _refuse_dropped(value, label)
    if value and value == value.strip() and not value.startswith('"') and not re.search(r"[\r\n]", value):
        return value
    if '"' not in value:
        return f'"{value}"'
    if _EARLY_END.search(value):
        raise ModelfileError(
            f'{label} has a line that ends in """, where a Modelfile would end the value.',
            "Change that line, or export as Markdown or JSON.",
        )
    return f'"""{value}"""'


def _refuse_dropped(value: str, label: str) -> None:
    if is_kept(value):
        return
    position = next(index for index, character in enumerate(value) if not is_kept(character))
    character = value[position]
    name = unicodedata.name(character, "no name")
    raise ModelfileError(
        f"{label} has a character at position {position + 1} that a Modelfile cannot hold: "
        f"U+{ord(character):04X} ({name}).",
        _DROPPED_HINT,
    )
